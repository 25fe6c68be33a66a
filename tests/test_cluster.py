"""A sweep on several machines: what the driver does with replicas that die, join, raise or differ.

The two-node cluster is real (``tests/on_a_cluster.py``); what chance would have to bring about there is tried on
replicas in this process, which die as the test says.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from families import build
from planted import planted

from conftest import PROBES
from reasoning_probe import Item, weights
from reasoning_probe.cluster import fleet as fleets
from reasoning_probe.cluster import sweep as sweeps
from reasoning_probe.cluster.chunks import GIVEN_UP_AFTER, Chunks
from reasoning_probe.cluster.fleet import ClusterError, Event, Member
from reasoning_probe.cluster.replica import Order, Ready, Replica, difference, name_on_nodes
from reasoning_probe.cluster.spec import ClusterSpec, parse_engine
from reasoning_probe.engine.run import Engine, Work
from reasoning_probe.heads import HeadError, find_heads
from reasoning_probe.outcome import Outcome
from reasoning_probe.prompts import Generation, query
from reasoning_probe.resume import context_of
from reasoning_probe.targets import every_head

MODEL, TOKENIZER = planted()
HEAD_MAP = find_heads(MODEL)
WORDS = ("sky", "grass", "snow", "3", "10", "6", "20")


def plan(*, ablations: tuple[str, ...] = ("zero", "mean")) -> list[Work]:
    items = [Item(question=f"What colour is the {word}?", answer="blue", id=word) for word in WORDS]
    items.append(Item(question="What is the " * 30, answer="blue", id="too-long"))
    off = tuple((target, name) for name in ablations for target in every_head(HEAD_MAP))
    return [Work(query("colours", item, Generation(8)), off) for item in items]


REFERENCES = {"colours": [work.query.prompt for work in plan()[:-1]]}


def order(**changes: Any) -> Order:
    context = context_of(MODEL, TOKENIZER, weights.fingerprint(MODEL))
    assert context is not None
    made = Order(None, "cpu", "auto", None, None, 0, REFERENCES, HEAD_MAP, context)
    return replace(made, **changes)


def by_case(outcomes: list[Outcome]) -> dict[tuple[str, ...], Outcome]:
    found = {(made.item, made.target, str(made.ablation)): made for made in outcomes}
    assert len(found) == len(outcomes)  # none twice
    return found


def same(ours: list[Outcome], theirs: list[Outcome]) -> bool:
    one, other = by_case(ours), by_case(theirs)
    assert one.keys() == other.keys()
    for key, outcome in one.items():
        assert outcome.answer_logprob == pytest.approx(other[key].answer_logprob, abs=1e-4)
        assert replace(outcome, answer_logprob=None) == replace(other[key], answer_logprob=None)
    return True


@pytest.fixture(scope="module")
def expected() -> list[Outcome]:
    """What one engine in this process finds."""
    engine = Engine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES)
    return [outcome for batch in engine.run(plan()) for outcome in batch]


class InProcess:
    """A fleet of real replicas in this process, ``size`` of them; each call has the *chance* to end its replica."""

    size, chance, seed = 3, 0.0, 0

    def __init__(self, spec: ClusterSpec, given_order: Order, given: Any = None) -> None:
        self.order, self.given = given_order, given
        self.random = random.Random(self.seed)
        self.members: list[Member] = []
        self.pending: list[tuple[Member, str, Any, Any]] = []
        self.context, self.notes, self.lost, self.started = given_order.context, [], 0, 0  # type: ignore[var-annotated]

    def grow(self) -> None:
        while len(self.members) < self.size:
            replica = Replica()
            assert replica.load(self.order, self.given, self.size).problem == ""
            self.started += 1
            self.members.append(Member(f"node-{self.started}", "here", replica, "idle"))

    def idle(self) -> list[Member]:
        return [member for member in self.members if member.stage == "idle"]

    def ask(self, member: Member, method: str, task: Any, argument: Any) -> None:
        member.stage = "busy"
        self.pending.append((member, method, task, argument))

    def events(self) -> Iterator[Event]:
        if not self.pending:
            return
        member, method, task, argument = self.pending.pop(self.random.randrange(len(self.pending)))
        if self.dies(task):
            self.members.remove(member)
            self.lost += 1
            yield Event(member, task, None)
            return
        result = getattr(member.actor, method)(argument)
        member.stage = "idle"
        yield Event(member, task, result)

    def dies(self, task: Any) -> bool:
        return self.random.random() < self.chance

    def close(self) -> None:
        self.members.clear()


def cluster(monkeypatch: pytest.MonkeyPatch, fleet: type[InProcess] = InProcess, **values: Any) -> sweeps.Cluster:
    rows = values.pop("chunk_rows", None)
    monkeypatch.setattr(sweeps, "Fleet", type("Fleet", (fleet,), values))
    return sweeps.Cluster(ClusterSpec(), order(), (MODEL, TOKENIZER), chunk_rows=rows)


def collect(shared: sweeps.Cluster, found: list[Outcome]) -> None:
    """Add what *shared* finds before it raises."""
    for batch in shared.run(plan()):
        found += batch


@pytest.mark.parametrize("rows", [2, 20, 1000, None])
def test_outcomes_are_those_of_one_engine_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], rows: int | None
) -> None:
    shared = cluster(monkeypatch, chunk_rows=rows)
    found = list(shared.run(plan()))
    assert same([outcome for batch in found for outcome in batch], expected)
    assert all(len({outcome.item for outcome in batch}) <= 1 for batch in found)  # what a store's transaction holds
    assert shared.skipped == [{"dataset": "colours", "item": "too-long", "reason": shared.skipped[0]["reason"]}]
    assert shared.facts()["rows"] == len(WORDS) * 2 * len(HEAD_MAP)
    assert shared.facts()["verified"] + shared.facts()["decoded"] == shared.facts()["rows"]


@pytest.mark.parametrize("seed", range(4))
def test_replicas_that_die_lose_nothing(monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], seed: int) -> None:
    shared = cluster(monkeypatch, chance=0.25, seed=seed, chunk_rows=(6, 11, 18, 25)[seed])
    found = [outcome for batch in shared.run(plan()) for outcome in batch]
    assert same(found, expected)
    assert shared.facts()["lost"] > 0


def test_each_baseline_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_probe.engine.plain import Plain

    asked: list[int] = []
    baseline = Plain.baseline
    monkeypatch.setattr(Plain, "baseline", lambda self, encoded, stop: asked.append(1) or baseline(self, encoded, stop))
    shared = cluster(monkeypatch, chunk_rows=3)
    list(shared.run(plan()))
    self_checks = 2 * len(shared._hosts)  # each replica's proof of its fast path asks two questions of its own
    assert len(asked) == len(WORDS) + self_checks


class _Raising:
    """The model raises at one item."""

    def __init__(self, word: str) -> None:
        self.word, self.encode = word, Engine._jobs

    def __call__(self, engine: Engine, work: Work, encoded: Any) -> Any:
        if work.query.item_id == self.word:
            raise RuntimeError("the model raised")
        return self.encode(engine, work, encoded)


@pytest.mark.parametrize("rows", [4, 1000])
def test_an_item_at_which_the_model_raises_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], rows: int
) -> None:
    raising = _Raising("snow")
    monkeypatch.setattr(Engine, "_jobs", lambda engine, work, encoded: raising(engine, work, encoded))
    shared = cluster(monkeypatch, chunk_rows=rows)
    found: list[Outcome] = []
    said = r"RuntimeError: the model raised \(item snow of colours, on the node here"
    with pytest.raises(sweeps.ItemError, match=said) as error:
        collect(shared, found)
    assert "in __call__" in str(error.value.__cause__)  # where it raised, there
    assert same(found, [outcome for outcome in expected if outcome.item != "snow"])


class Poisoned(InProcess):
    """Whoever answers one item dies, as when memory runs out."""

    def dies(self, task: Any) -> bool:
        return any(work.query.item_id == "snow" for work in getattr(task, "works", ()))


def test_an_item_that_ends_every_process_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, Poisoned, chunk_rows=40)
    found: list[Outcome] = []
    with pytest.raises(sweeps.ItemError, match=r"every process that answered item snow of colours ended"):
        collect(shared, found)
    assert same(found, [outcome for outcome in expected if outcome.item != "snow"])
    assert shared.facts()["lost"] == GIVEN_UP_AFTER


def test_a_caller_that_goes_away_spoils_nothing_for_the_next(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, chunk_rows=5)
    for number, _ in enumerate(shared.run(plan())):
        if number == 4:
            break
    assert same([outcome for batch in shared.run(plan()) for outcome in batch], expected)


@pytest.mark.parametrize("chance", [0.0, 0.2])
def test_the_control_task_is_that_of_one_engine(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    from reasoning_probe.control import control_task

    variants = [(target, name) for name in ("zero", "mean") for target in every_head(HEAD_MAP)]
    alone = control_task(Engine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), variants)
    shared = cluster(monkeypatch, chance=chance, seed=3).control(variants)
    assert alone is not None
    assert shared is not None
    for ours, theirs in zip(shared.pop("targets"), alone.pop("targets"), strict=True):
        assert (ours.pop("target"), ours.pop("ablation")) == (theirs.pop("target"), theirs.pop("ablation"))
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert shared == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("chance", [0.0, 0.4])
def test_the_screening_is_that_of_one_engine(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    from reasoning_probe.screening import screen

    queries = [work.query for work in plan()]
    alone = screen(Engine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), queries, ("zero", "mean"), 2, 0)
    shared = cluster(monkeypatch, chance=chance, seed=1).screen(queries, ("zero", "mean"), 2, 0)
    assert [(made.ranked, made.sampled) for made in shared] == [(made.ranked, made.sampled) for made in alone]
    for ours, theirs in zip(shared, alone, strict=True):
        assert ours.scores == pytest.approx(dict(theirs.scores), abs=1e-5)


def test_baselines_of_an_earlier_plan_are_not_answered_again(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    from reasoning_probe.engine.plain import Plain

    shared = cluster(monkeypatch, size=1)
    first = [Work(work.query, work.ablated[:3]) for work in plan()]
    list(shared.run(first))
    monkeypatch.setattr(Plain, "baseline", lambda *_: pytest.fail("the baseline is known"))
    again = [outcome for batch in shared.run(plan()) for outcome in batch]
    assert same(again, expected)
    only = [Work(work.query) for work in plan()]
    assert len([outcome for batch in shared.run(only) for outcome in batch]) == len(WORDS)


class Doomed(InProcess):
    """Whoever is asked for anything beside outcomes dies."""

    def dies(self, task: Any) -> bool:
        return not hasattr(task, "works")


def test_a_control_task_that_ends_every_process_is_left_out(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, Doomed)
    assert shared.control([(target, "zero") for target in every_head(HEAD_MAP)]) is None
    assert shared.facts()["lost"] >= GIVEN_UP_AFTER
    assert same([outcome for batch in shared.run(plan()) for outcome in batch], expected)


def test_a_screening_that_ends_every_process_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [work.query for work in plan()]
    with pytest.raises(ClusterError, match=r"every process that screened the heads ended: .* run without --probe-scr"):
        cluster(monkeypatch, Doomed).screen(queries, ("zero",), 2, 0)


def test_a_model_that_cannot_be_screened_is_told_as_by_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no gradient of this kernel")

    monkeypatch.setattr("torch.autograd.grad", fails)
    queries = [work.query for work in plan()]
    said = "its heads cannot be screened, since taking gradients failed .*no gradient of this kernel.*: run it without"
    with pytest.raises(HeadError, match=said):
        cluster(monkeypatch).screen(queries, ("zero",), 2, 0)


def test_no_control_without_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster(monkeypatch).control([]) is None


def test_chunks_grow_with_the_speed_and_shrink_towards_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = cluster(monkeypatch, size=2)
    member = shared.fleet.members[0]
    assert shared._rows_for(member, 10_000) == sweeps.FIRST_ROWS
    member.rate = 100.0
    assert shared._rows_for(member, 10_000) == 100 * sweeps.CHUNK_S
    assert shared._rows_for(member, 800) == 200
    assert shared._rows_for(member, 4) == 25  # never so little that sending it costs more
    member.rate = 0.01
    assert shared._rows_for(member, 10_000) == sweeps.LEAST_ROWS["cpu"]


def test_no_work_is_left_and_none_is_handed_out_twice() -> None:
    work = plan(ablations=("zero",))[:3]
    chunks = Chunks(work)
    assert chunks.left == 3 * (1 + len(HEAD_MAP))
    taken = []
    while (chunk := chunks.take(4)) is not None:
        taken.append(chunk)
    assert [len(chunk.works) for chunk in taken] == [1, 1, 1]  # the rest waits for the baselines
    assert chunks
    assert chunks.left == sum(len(HEAD_MAP) - 3 for _ in work)


# -- replicas that are otherwise --------------------------------------------------------------------------------------


def test_a_replica_with_other_weights_is_refused() -> None:
    import torch

    model, tokenizer = planted()
    with torch.no_grad():
        model.lm_head.weight[-1, -1] += 1e-3
    ready = Replica().load(order(), (model, tokenizer), 1)
    assert ready.problem == "the model has other weights than here: give every node the same files"


@pytest.mark.parametrize("library", ["torch", "transformers", "reasoning-probe", "engine"])
def test_a_replica_with_another_version_is_refused(library: str) -> None:
    ours = order().context
    ready = Replica().load(order(context=ours | {library: "0.1"}), (MODEL, TOKENIZER), 1)
    assert ready.problem == f"{library} is {ours[library]} and 0.1 here: install the same version on every node"


def test_builds_of_one_version_are_the_same() -> None:
    ours = order().context
    assert difference(ours | {"torch": "2.13.0+cpu"}, ours | {"torch": "2.13.0+cu126", "device": "cuda"}) == ""


def test_a_node_without_the_model_says_so(tmp_path: Path) -> None:
    ready = Replica().load(order(model=str(tmp_path / "gone")), None, 1)
    assert ready.problem.startswith(f"there is no model at {tmp_path / 'gone'}")


def test_a_node_whose_model_has_other_heads_says_so() -> None:
    other = find_heads(build("gpt2"))
    assert Replica().load(order(head_map=other), (MODEL, TOKENIZER), 1).problem == "its model has other heads"


def test_whatever_a_node_lacks_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: Any) -> Any:
        raise OSError("no space\nleft on device")

    given = order()
    monkeypatch.setattr(weights, "fingerprint", lacks)
    ready = Replica().load(given, (MODEL, TOKENIZER), 1)
    assert ready.problem == "OSError: no space left on device"


def test_a_path_is_sent_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path)
    names = ("mine", "./mine", "smollm2", "gpt2", "org/model@v1")
    assert [name_on_nodes(name) for name in names] == [str(tmp_path / "mine")] * 2 + ["smollm2", "gpt2", "org/model@v1"]


# -- what people write ------------------------------------------------------------------------------------------------


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
        fleets.Fleet(ClusterSpec(), order())


def test_an_address_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(
        ClusterError, match=rf"there is no Ray cluster at {address} \(Connection refused\): give the HOST"
    ):
        fleets.check(ClusterSpec(address))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
def test_an_address_where_something_else_answers(monkeypatch: pytest.MonkeyPatch, answer: bytes | None) -> None:
    monkeypatch.setattr(fleets, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if answer is None:
                    connection.recv(1)
                    threading.Event().wait(1.0)  # says nothing at all
                else:
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"there is no Ray cluster at {address}"):
            fleets.check(ClusterSpec(address))


# -- the fleet, on a cluster that does as the test says ---------------------------------------------------------------


class FakeRay:
    """What a fleet needs of Ray: nodes by id with their CPUs; calls answer at once, in this process."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **cpus: float) -> None:
        self.cpus = cpus
        self.full: set[str] = set()  # nodes whose CPUs others use: nothing starts there
        self.broken: set[str] = set()  # nodes on which every process ends
        self.otherwise: dict[str, dict[str, str]] = {}  # by node, how its replicas' context differs
        self.now = 0.0
        monkeypatch.setattr(fleets, "_ray", lambda: self)
        monkeypatch.setattr(fleets, "check", lambda spec: None)
        monkeypatch.setattr(fleets, "_affinity", lambda node: node)
        monkeypatch.setattr(fleets.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(fleets.time, "sleep", self.sleep)

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
        return type("Made", (), {"remote": lambda made: FakeActor(self, scheduling_strategy)})()

    def wait(self, refs: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        self.now += timeout
        done = [ref for ref in refs if ref[0] not in self.full]
        return done[:num_returns], []

    def get(self, ref: tuple[str, str]) -> Any:
        node, method = ref
        if node in self.broken or node not in self.cpus:
            raise self.exceptions.RayError("the process ended")
        context = order().context | {"device": "cpu"} | self.otherwise.get(node, {})
        return Ready(context) if method == "load" else None

    def kill(self, actor: Any) -> None:
        actor.killed = True


class Ref(tuple[str, str]):
    """A reference to what a call gives: two calls are two, though they ask the same."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class FakeActor:
    def __init__(self, ray: FakeRay, node: str) -> None:
        self.ray, self.node, self.killed = ray, node, False

    def __getattr__(self, method: str) -> Any:
        return type("Method", (), {"remote": lambda made, *_: Ref((self.node, method))})()


def settle(fleet: fleets.Fleet, looks: int = 80) -> None:
    for _ in range(looks):
        fleet.grow()
        list(fleet.events())


def test_nodes_get_replicas_for_their_cpus_and_new_ones_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=4.0, b=1.0)
    fleet = fleets.Fleet(ClusterSpec(cpus=2.0), order())
    settle(fleet)
    assert [member.node for member in fleet.idle()] == ["a", "a"]
    ray.cpus["c"] = 2.0
    settle(fleet)
    assert sorted(member.node for member in fleet.idle()) == ["a", "a", "c"]


def test_a_node_whose_processes_end_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0, b=1.0)
    ray.broken.add("b")
    fleet = fleets.Fleet(ClusterSpec(), order())
    settle(fleet)
    assert [member.node for member in fleet.idle()] == ["a"]
    assert fleet.lost == fleets.MOST_DEATHS
    assert fleet.notes == ["the node b is left out: its processes end one after another: the process ended"]


def test_a_node_that_is_otherwise_than_the_first_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0, b=1.0)
    ray.otherwise["b"] = {"attention": "eager"}
    fleet = fleets.Fleet(ClusterSpec(), order())
    settle(fleet)
    assert [member.node for member in fleet.idle()] == ["a"]
    assert "the node b is left out: attention is eager and sdpa on other nodes" in fleet.notes[0]


def test_where_every_node_is_left_out_the_reason_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0)
    ray.broken.add("a")
    fleet = fleets.Fleet(ClusterSpec("h:1"), order())
    with pytest.raises(ClusterError, match=r"no node of the cluster at h:1 can be used: the node a is left out"):
        settle(fleet)


def test_room_that_others_use_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0)
    ray.full.add("a")
    fleet = fleets.Fleet(ClusterSpec("h:1"), order())
    with pytest.raises(ClusterError, match=r"no node of the cluster at h:1 had 1 CPU free .* in 60 s: add nodes"):
        settle(fleet, 1000)
    assert fleets.START_S < ray.now < fleets.START_S + 5
    ray.full.clear()
    other = fleets.Fleet(ClusterSpec("h:1"), order())
    settle(other)
    assert len(other.idle()) == 1


def test_a_cluster_that_lost_all_its_nodes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay(monkeypatch, a=1.0)
    fleet = fleets.Fleet(ClusterSpec("h:1"), order())
    settle(fleet)
    fleet.ask(fleet.idle()[0], "answer", "task", "task")
    ray.cpus.clear()
    assert [(event.task, event.result) for event in fleet.events()] == [("task", None)]
    lost_at = ray.now
    with pytest.raises(ClusterError, match=r"the cluster at h:1 has lost its nodes, and got no other in 60 s: run it"):
        settle(fleet, 10_000)
    assert ray.now - lost_at < fleets.START_S + 5


def test_closing_ends_every_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeRay(monkeypatch, a=3.0)
    fleet = fleets.Fleet(ClusterSpec(), order())
    settle(fleet)
    actors = [member.actor for member in fleet.members]
    fleet.close()
    assert fleet.members == []
    assert [actor.killed for actor in actors] == [True] * 3


# -- a real cluster ---------------------------------------------------------------------------------------------------

CASES = 107
"""Items of the script's sweep that fit the planted model's context: 100 of arithmetic, 4 of logic, 3 of gsm8k."""

MEMORY_PROBE = """
import pytest, transformers
@pytest.fixture(scope="session")
def probe_model():
    return (transformers.AutoModelForCausalLM.from_pretrained({0!r}), transformers.AutoTokenizer.from_pretrained({0!r}))
"""


def _apart() -> list[str] | None:
    """Return the command that gives a process a network with nothing but the loopback, if this machine has one."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        up = subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True)
        if up.returncode == 0:
            return command
    return None


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened on two nodes, one of which was killed while a third joined."""
    pytest.importorskip("ray", reason="the extra reasoning-probe[ray] is not installed")
    apart = _apart()
    if apart is None:
        pytest.skip("needs unshare (util-linux) and ip (iproute2), and the right to make a network namespace")
    folder = tmp_path_factory.mktemp("cluster")
    MODEL.save_pretrained(folder / "model")
    TOKENIZER.save_pretrained(folder / "model")
    shutil.copy(PROBES / "test_logic.py", folder)
    (folder / "conftest.py").write_text(MEMORY_PROBE.format(str(folder / "model")))
    script = Path(__file__).parent / "on_a_cluster.py"
    command = [*apart, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    return found


def outcomes_of(values: dict[str, Any]) -> list[Outcome]:
    return [Outcome(**outcome) for outcome in values["outcomes"]]


def test_a_node_that_is_killed_loses_nothing_and_one_that_joins_is_used(seen: dict[str, Any]) -> None:
    shared = seen["shared"]
    assert 0 < shared["killed_at"] < shared["batches"]
    assert shared["engine"]["lost"] >= 1
    assert shared["third_used"]
    assert shared["engine"]["nodes"] == 3
    assert len(outcomes_of(shared)) == CASES * 3
    assert same(outcomes_of(shared), outcomes_of(seen["alone"]))
    assert shared["skipped"] == seen["alone"]["skipped"]
    assert len(shared["skipped"]) == 2


def test_counts_and_control_task_are_those_of_one_process(seen: dict[str, Any]) -> None:
    shared, alone = seen["shared"], seen["alone"]
    assert shared["engine"]["rows"] == alone["engine"]["rows"] == CASES * 2
    assert shared["engine"]["verified"] == alone["engine"]["verified"]
    assert shared["control"]["logprob"] == pytest.approx(alone["control"]["logprob"], abs=1e-5)
    deltas = [[row["delta"] for row in part["control"]["targets"]] for part in (shared, alone)]
    assert deltas[0] == pytest.approx(deltas[1], abs=1e-5)


def test_the_store_has_what_the_nodes_found(seen: dict[str, Any]) -> None:
    again = seen["again"]
    assert again["engine"]["recalled"] == CASES * 3
    assert again["engine"]["rows"] == 0
    assert same(outcomes_of(again), outcomes_of(seen["shared"]))


def test_more_than_any_node_has_is_refused_at_once(seen: dict[str, Any]) -> None:
    assert seen["too_much"]["type"] == "ClusterError"
    assert (
        "had 64 CPU free for a replica of the model: add nodes, or lower --probe-replica-cpus"
        in seen["too_much"]["said"]
    )
    assert seen["too_much"]["seconds"] < 30


def test_a_model_in_memory_is_sent_to_the_nodes(seen: dict[str, Any]) -> None:
    assert seen["pytest"]["code"] == 1, seen["pytest"]["said"]
    assert "1 failed, 4 passed, 3 xfailed" in seen["pytest"]["said"]
