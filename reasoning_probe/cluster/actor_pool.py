"""The replicas on a Ray cluster: starting them where nodes have room, watching, replacing and ending them.

Only this module uses Ray, and imports it when a cluster is used.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.cluster.replica import Replica, ReplicaConfig, ReplicaStatus
from reasoning_probe.engine import SETTLE
from reasoning_probe.models.errors import ModelError

CONNECT_S = 5.0
"""Seconds to wait for a cluster to answer at its address."""

START_S = 60.0
"""Seconds to wait for the cluster to have room for a replica while no replica runs."""

POLL_S = 1.0
"""Seconds between two reads of the list of nodes, and at most for a result."""

MAX_DEATHS = 3
"""Processes that may end on a node, one after another without a result, before it gets no more of them."""


class ClusterError(ModelError):
    """Raised for a cluster that cannot be used; the message is one line that says what to do."""


@dataclass(eq=False)
class PooledActor:
    """A replica and its state: ``stage`` is ``waiting`` for room, ``loading``, ``idle`` or ``busy``."""

    node: str
    host: str
    handle: Any  # of the Ray actor
    stage: str = "waiting"
    ref: Any = None  # of the result of its last call
    task: Any = None  # that the call is for
    rate: float = 0.0  # rows per second of its last chunk


@dataclass(frozen=True)
class Event:
    """The ``result`` of an actor's ``task``, or ``None`` if its process ended."""

    actor: PooledActor
    task: Any
    result: Any


def check(spec: ClusterSpec) -> None:
    """Raise :class:`ClusterError` if it is known before a model is loaded that *spec* cannot be used."""
    address = spec.address or os.environ.get("RAY_ADDRESS")
    encrypted = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")  # then only Ray itself can connect
    if address and address != "auto" and not encrypted and (reason := unreachable_reason(address)) is not None:
        raise ClusterError(f"there is no Ray cluster at {address} ({reason}): give the HOST:PORT of its head node")
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("--probe-engine ray needs Ray: pip install 'reasoning-probe[ray]'")


def _ray() -> Any:
    import ray

    return ray


def _affinity(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


# ray.util.ActorPool and Ray's restarts were tried: the pool picks the actor after the task, so a chunk cannot be sized
# for its actor, and a lost task's exception does not name the task. max_restarts revives an actor that has not loaded
# its model, so that its weights go unchecked; max_task_retries repeats a chunk that ends the process on the same node,
# where here another actor takes it over.
class ActorPool:
    """Replicas of the model of *replica_config* on the cluster of *spec*, one or more on each node with room.

    *in_memory_model*, ``(model, tokenizer)``, is sent to the nodes if the model has no name.
    """

    def __init__(self, spec: ClusterSpec, replica_config: ReplicaConfig, in_memory_model: Any = None) -> None:
        check(spec)
        self.ray = _ray()
        self.replica_config = replica_config
        self.address = spec.address or os.environ.get("RAY_ADDRESS") or "this machine"
        self.owns_connection = _connect(self.ray, spec.address)
        nodes = self._nodes()
        gpus = spec.gpus
        if gpus is None:
            gpus = 1.0 if any(node["Resources"].get("GPU", 0) >= 1 for node in nodes) else 0.0
        self.resources = {"CPU": spec.cpus, "GPU": gpus}
        self.in_memory_model = None if in_memory_model is None else self.ray.put(in_memory_model)
        self.actors: list[PooledActor] = []
        self.context: dict[str, str] = {}  # of the first replica; all others must equal it
        self.numerics_why = ""
        self.notes: list[str] = []  # one line for each error that was recovered from
        self.used_nodes: set[str] = set()
        self.lost = 0
        self._deaths: Counter[str] = Counter()
        self._excluded_nodes: set[str] = set()
        self._last_poll = -math.inf
        self._last_live = time.monotonic()  # when a replica was last loading or loaded

    # -- actors -------------------------------------------------------------------------------------------------------

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _capacity(self, node: dict[str, Any]) -> int:
        """Return how many replicas a node's resources allow, whether or not they are free at present."""
        counts = [int(node["Resources"].get(name, 0.0) // amount) for name, amount in self.resources.items() if amount]
        return min(counts, default=0)

    def scale_up(self) -> None:
        """Start replicas on nodes with room for more; raise :class:`ClusterError` if none can be expected to run."""
        now = time.monotonic()
        if any(actor.stage in ("loading", "idle", "busy") for actor in self.actors):
            self._last_live = now
        if now - self._last_poll < POLL_S:
            return
        self._last_poll = now
        usable = [node for node in self._nodes() if node["NodeID"] not in self._excluded_nodes]
        for node in usable:
            running = sum(actor.node == node["NodeID"] for actor in self.actors)
            for _ in range(self._capacity(node) - running):
                self._start(node)
        if not self.actors and self._excluded_nodes and not usable:
            raise ClusterError(f"no node of the cluster at {self.address} can be used: {self.notes[-1]}")
        patience = START_S if self.actors or self.used_nodes else 0.0
        if now - self._last_live > patience:
            raise ClusterError(self._no_capacity_message())

    def _no_capacity_message(self) -> str:
        resources = " and ".join(f"{amount:g} {name}" for name, amount in self.resources.items() if amount)
        if self.used_nodes and not self.actors:
            return (
                f"the cluster at {self.address} has lost its nodes, and got no other in {START_S:.0f} s: run it again"
            )
        waited = f" in {START_S:.0f} s" if self.actors else ""
        return (
            f"no node of the cluster at {self.address} had {resources} free for a replica of the model{waited}:"
            " add nodes, or lower --probe-replica-cpus or --probe-replica-gpus"
        )

    def _start(self, node: dict[str, Any]) -> None:
        handle = (
            self.ray.remote(Replica)
            .options(
                num_cpus=self.resources["CPU"],
                num_gpus=self.resources["GPU"],
                max_restarts=0,
                scheduling_strategy=_affinity(node["NodeID"]),
            )
            .remote()
        )
        actor = PooledActor(node["NodeID"], node["NodeManagerAddress"], handle)
        self.actors.append(actor)
        self._set_stage(actor, "waiting", None, handle.ping.remote())

    def _set_stage(self, actor: PooledActor, stage: str, task: Any, ref: Any) -> None:
        actor.stage, actor.task, actor.ref = stage, task, ref

    def idle(self) -> list[PooledActor]:
        """Return the replicas that wait for a task."""
        return [actor for actor in self.actors if actor.stage == "idle"]

    def submit(self, actor: PooledActor, method: str, task: Any, argument: Any) -> None:
        """Call *method* of *actor* with *argument*; *task* identifies the call in its event."""
        self._set_stage(actor, "busy", task, getattr(actor.handle, method).remote(argument))

    def events(self) -> Iterator[Event]:
        """Wait at most :data:`POLL_S`, and yield the results that have arrived."""
        pending = {actor.ref: actor for actor in self.actors if actor.stage != "idle"}
        if not pending:
            time.sleep(0.05)
            return
        done, _ = self.ray.wait(list(pending), num_returns=1, timeout=POLL_S)
        if done:
            done, _ = self.ray.wait(list(pending), num_returns=len(pending), timeout=0)
        for ref in done:
            actor = pending[ref]
            stage, task = actor.stage, actor.task
            try:
                result = self.ray.get(ref)
            except self.ray.exceptions.RayError as error:  # the node or the process has ended, or the call raised
                self._handle_death(actor, error)
                if stage == "busy":
                    yield Event(actor, task, None)
                continue
            actor.stage, actor.task = "idle", None
            if stage == "waiting":
                neighbours = sum(other.node == actor.node for other in self.actors)
                status = actor.handle.load.remote(self.replica_config, self.in_memory_model, neighbours)
                self._set_stage(actor, "loading", None, status)
            elif stage == "loading":
                self._on_loaded(actor, result)
            else:
                self._deaths[actor.node] = 0
                yield Event(actor, task, result)

    def _on_loaded(self, actor: PooledActor, status: ReplicaStatus) -> None:
        """Admit a replica that has loaded, unless it differs from the driver or from the first replica."""
        error = status.error
        if not error and self.context and status.context != self.context:
            defaults = {"numerics": SETTLE}
            here, there = defaults | status.context, defaults | self.context
            name = min(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
            error = (
                f"{name} is {here.get(name)} and {there.get(name)} on other nodes:"
                " outcomes would hang on where they are computed"
            )
        if error:
            self._release(actor)
            self._exclude_node_of(actor, error)
            return
        self.context = self.context or status.context
        self.numerics_why = self.numerics_why or status.numerics_why
        self.used_nodes.add(actor.node)

    def _handle_death(self, actor: PooledActor, error: Exception) -> None:
        self._release(actor)
        self.lost += 1
        self._deaths[actor.node] += 1
        if self._deaths[actor.node] >= MAX_DEATHS:
            reason = " ".join(str(error).split())[:300]
            self._exclude_node_of(actor, f"its processes end one after another: {reason}")

    def _exclude_node_of(self, actor: PooledActor, error: str) -> None:
        if actor.node not in self._excluded_nodes:
            self._excluded_nodes.add(actor.node)
            self.notes.append(f"the node {actor.host} is left out: {error}")

    def _release(self, actor: PooledActor) -> None:
        self.actors.remove(actor)
        with suppress(Exception):  # it may have ended already
            self.ray.kill(actor.handle)

    def close(self) -> None:
        """End every replica, and the connection if this object made it."""
        for actor in list(self.actors):
            self._release(actor)
        self.in_memory_model = None
        if self.owns_connection and self.ray.is_initialized():
            self.ray.shutdown()
        self.owns_connection = False


def _connect(ray: Any, address: str | None) -> bool:
    """Connect to the cluster unless connected; tell whether it did. Raises :class:`ClusterError` in bounded time."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here sends nothing to Ray's makers
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # ``notes`` has what matters of a lost node
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"cannot use the Ray cluster at {address or 'this machine'}: {reason}") from error
    return True


def unreachable_reason(address: str) -> str | None:
    """Return why no gRPC server answers at *address*, ``None`` if one does: ``ray.init`` would wait for ever."""
    host, _, port = address.rpartition(":")
    # HTTP/2's connection preface with empty settings: RFC 9113, 3.4
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as connection:
            connection.settimeout(CONNECT_S)
            connection.sendall(preface)
            answer = connection.recv(9)
    except (OSError, ValueError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return None if len(answer) >= 4 and answer[3] == 4 else "what answers there is something else"
