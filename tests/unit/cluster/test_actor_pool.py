"""The pool of replicas: spellings of ``--probe-engine``, wrong addresses, and nodes that join, fail and leave."""

from __future__ import annotations

import importlib.util
import socket
import threading
from typing import Any

import pytest

from reasoning_probe.cluster import actor_pool as pools
from reasoning_probe.cluster.actor_pool import ClusterError
from reasoning_probe.cluster.config import ClusterSpec, parse_engine
from reasoning_probe.cluster.replica import ReplicaStatus
from tests.helpers.ray_plan import replica_config

# -- spellings of the option ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("local", None),
        ("ray", ClusterSpec()),
        ("ray=auto", ClusterSpec("auto")),
        ("ray=10.0.0.1:6379", ClusterSpec("10.0.0.1:6379")),
        ("ray=[::1]:6379", ClusterSpec("[::1]:6379")),
    ],
)
def test_engines(text: str, spec: ClusterSpec | None) -> None:
    assert parse_engine(text) == spec


@pytest.mark.parametrize(
    "text", ["", "Ray", "dask", "ray=", "ray=host", "ray=host:", "ray=:1", "ray=ray://h:1", "local=1"]
)
def test_engines_that_nobody_knows(text: str) -> None:
    with pytest.raises(ValueError, match=r"write local, ray, or ray=HOST:PORT of the head node"):
        parse_engine(text)


def test_without_ray_a_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"--probe-engine ray needs Ray: pip install 'reasoning-probe\[ray\]'"):
        pools.ActorPool(ClusterSpec(), replica_config())


def test_an_address_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        ClusterError, match=rf"there is no Ray cluster at {address} \(Connection refused\): give the HOST"
    ):
        pools.check(ClusterSpec(address))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
def test_an_address_where_something_else_answers(monkeypatch: pytest.MonkeyPatch, answer: bytes | None) -> None:
    monkeypatch.setattr(pools, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if answer is None:
                    connection.recv(1)
                    threading.Event().wait(1.0)  # sends nothing at all
                else:
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"there is no Ray cluster at {address}"):
            pools.check(ClusterSpec(address))


# -- the pool, on a cluster that the test controls --------------------------------------------------------------------


class FakeRay:
    """The part of Ray that a pool uses: nodes by id with their CPUs; calls return at once, in this process."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **cpus: float) -> None:
        self.cpus = cpus
        self.full: set[str] = set()  # nodes whose CPUs others use: no process starts there
        self.broken: set[str] = set()  # nodes on which every process ends
        self.differences: dict[str, dict[str, str]] = {}  # by node, how its replicas' context differs
        self.now = 0.0
        monkeypatch.setattr(pools, "_ray", lambda: self)
        monkeypatch.setattr(pools, "check", lambda spec: None)
        monkeypatch.setattr(pools, "_affinity", lambda node: node)
        monkeypatch.setattr(pools.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pools.time, "sleep", self.sleep)

    @staticmethod
    def is_initialized() -> bool:
        return True

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": name, "Alive": True, "NodeManagerAddress": name, "Resources": {"CPU": cpus}}
            for name, cpus in self.cpus.items()
        ]

    def remote(self, cls: Any) -> Any:
        return self

    def options(self, *, scheduling_strategy: str, **_: Any) -> Any:
        return type("Options", (), {"remote": lambda options: FakeActor(self, scheduling_strategy)})()

    def wait(self, refs: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        self.now += timeout
        done = [ref for ref in refs if ref[0] not in self.full]
        return done[:num_returns], []

    def get(self, ref: tuple[str, str]) -> Any:
        node, method = ref
        if node in self.broken or node not in self.cpus:
            raise self.exceptions.RayError("the process ended")
        context = replica_config().context | {"device": "cpu"} | self.differences.get(node, {})
        return ReplicaStatus(context) if method == "load" else None

    def kill(self, actor: Any) -> None:
        actor.killed = True


class Ref(tuple[str, str]):
    """A reference to the result of a call; two calls of the same method differ."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class FakeActor:
    def __init__(self, ray: FakeRay, node: str) -> None:
        self.ray, self.node, self.killed = ray, node, False

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": lambda call, *_: Ref((self.node, method))})()


def poll(pool: pools.ActorPool, times: int = 80) -> None:
    for _ in range(times):
        pool.scale_up()
        list(pool.events())


def test_nodes_get_replicas_for_their_cpus_and_new_ones_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=4.0, b=1.0)
    pool = pools.ActorPool(ClusterSpec(cpus=2.0), replica_config())
    poll(pool)
    assert [actor.node for actor in pool.idle()] == ["a", "a"]
    ray.cpus["c"] = 2.0
    poll(pool)
    assert sorted(actor.node for actor in pool.idle()) == ["a", "a", "c"]


def test_a_node_whose_processes_end_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0, b=1.0)
    ray.broken.add("b")
    pool = pools.ActorPool(ClusterSpec(), replica_config())
    poll(pool)
    assert [actor.node for actor in pool.idle()] == ["a"]
    assert pool.lost == pools.MAX_DEATHS
    assert pool.notes == ["the node b is left out: its processes end one after another: the process ended"]


def test_a_node_that_is_otherwise_than_the_first_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0, b=1.0)
    ray.differences["b"] = {"attention": "eager"}
    pool = pools.ActorPool(ClusterSpec(), replica_config())
    poll(pool)
    assert [actor.node for actor in pool.idle()] == ["a"]
    assert "the node b is left out: attention is eager and sdpa on other nodes" in pool.notes[0]


@pytest.mark.parametrize(
    ("node", "words"), [("b", "invariant, 8 rows and settle"), ("a", "settle and invariant, 8 rows")]
)
def test_a_node_of_other_numerics_is_left_out_and_told(node: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numerics that settle are not in the context, so that old keys of the store stay."""
    ray = FakeRay(monkeypatch, a=1.0, b=1.0)
    ray.differences[node] = {"numerics": "invariant, 8 rows"}
    pool = pools.ActorPool(ClusterSpec(), replica_config())
    poll(pool)
    assert [actor.node for actor in pool.idle()] == ["a"]
    assert f"the node b is left out: numerics is {words} on other nodes" in pool.notes[0]


def test_where_every_node_is_left_out_the_reason_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0)
    ray.broken.add("a")
    pool = pools.ActorPool(ClusterSpec("h:1"), replica_config())
    with pytest.raises(ClusterError, match=r"no node of the cluster at h:1 can be used: the node a is left out"):
        poll(pool)


def test_room_that_others_use_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0)
    ray.full.add("a")
    pool = pools.ActorPool(ClusterSpec("h:1"), replica_config())
    with pytest.raises(ClusterError, match=r"no node of the cluster at h:1 had 1 CPU free .* in 60 s: add nodes"):
        poll(pool, 1000)
    assert pools.START_S < ray.now < pools.START_S + 5
    ray.full.clear()
    other = pools.ActorPool(ClusterSpec("h:1"), replica_config())
    poll(other)
    assert len(other.idle()) == 1


def test_a_cluster_that_lost_all_its_nodes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0)
    pool = pools.ActorPool(ClusterSpec("h:1"), replica_config())
    poll(pool)
    pool.submit(pool.idle()[0], "answer", "task", "task")
    ray.cpus.clear()
    assert [(event.task, event.result) for event in pool.events()] == [("task", None)]
    lost_at = ray.now
    with pytest.raises(ClusterError, match=r"the cluster at h:1 has lost its nodes, and got no other in 60 s: run it"):
        poll(pool, 10_000)
    assert ray.now - lost_at < pools.START_S + 5


def test_closing_ends_every_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, a=3.0)
    pool = pools.ActorPool(ClusterSpec(), replica_config())
    poll(pool)
    handles = [actor.handle for actor in pool.actors]
    pool.close()
    assert pool.actors == []
    assert [handle.killed for handle in handles] == [True] * 3
