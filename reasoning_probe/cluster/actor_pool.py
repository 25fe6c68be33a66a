"""The replicas on a Ray cluster: started where there is room, watched, started again, let go.

Only this module knows Ray, and imports it when a cluster is used.
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
from reasoning_probe.models.errors import ModelError

CONNECT_S = 5.0
"""Seconds that an address has to show that a cluster is there."""

START_S = 60.0
"""Seconds that a cluster has, while nothing else of the sweep runs, to give a replica room."""

LOOK_S = 1.0
"""Seconds between two looks at which nodes there are."""

MOST_DEATHS = 3
"""So many processes may end on a node, one after another without an answer, before it gets no more of them."""


class ClusterError(ModelError):
    """A cluster that cannot be used; the message is one line that names the mend."""


@dataclass(eq=False)
class PooledActor:
    """A replica and what it is doing: ``stage`` is ``waiting`` for room, ``loading``, ``idle`` or ``busy``."""

    node: str
    host: str
    actor: Any
    stage: str = "waiting"
    ref: Any = None  # of what it was asked
    task: Any = None  # what that was
    rate: float = 0.0  # rows a second, of its last chunk


@dataclass(frozen=True)
class Event:
    """What a member gave back for its ``task``: a ``result``, or ``None`` where its process ended."""

    member: PooledActor
    task: Any
    result: Any


def check(spec: ClusterSpec) -> None:
    """Raise :class:`ClusterError` where it can be known, before a model is loaded, that *spec* cannot be used."""
    named = spec.address or os.environ.get("RAY_ADDRESS")
    encrypted = os.environ.get("RAY_USE_TLS", "0") not in ("", "0")  # then only Ray itself can talk to it
    if named and named != "auto" and not encrypted and (why := unreachable_reason(named)) is not None:
        raise ClusterError(f"there is no Ray cluster at {named} ({why}): give the HOST:PORT of its head node")
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("--probe-engine ray needs Ray: pip install 'reasoning-probe[ray]'")


def _ray() -> Any:
    import ray

    return ray


def _affinity(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


class ActorPool:
    """Replicas of the model of *order* on the cluster of *spec*; *given* is the model itself where it has no name."""

    def __init__(self, spec: ClusterSpec, order: ReplicaConfig, given: Any = None) -> None:
        check(spec)
        self.ray = _ray()
        self.order = order
        self.address = spec.address or os.environ.get("RAY_ADDRESS") or "this machine"
        self.ours = _connect(self.ray, spec.address)
        nodes = self._nodes()
        gpus = spec.gpus
        if gpus is None:
            gpus = 1.0 if any(node["Resources"].get("GPU", 0) >= 1 for node in nodes) else 0.0
        self.needs = {"CPU": spec.cpus, "GPU": gpus}
        self.given = None if given is None else self.ray.put(given)
        self.members: list[PooledActor] = []
        self.context: dict[str, str] = {}  # of the first replica: all others must have the same
        self.notes: list[str] = []  # one line each, of what went wrong and was got over
        self.seen: set[str] = set()  # nodes that had a replica
        self.lost = 0
        self._deaths: Counter[str] = Counter()
        self._closed_to: set[str] = set()  # nodes that get no more replicas
        self._looked = -math.inf
        self._last_live = time.monotonic()  # when there was a working replica last

    # -- members ----------------------------------------------------------------------------------------------------

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _room(self, node: dict[str, Any]) -> int:
        """Return how many replicas a node's resources are for, whoever uses them at present."""
        counts = [int(node["Resources"].get(name, 0.0) // need) for name, need in self.needs.items() if need]
        return min(counts, default=0)

    def scale_up(self) -> None:
        """Start replicas where nodes have room for more; raise :class:`ClusterError` where there is no hope of any."""
        now = time.monotonic()
        if any(member.stage in ("loading", "idle", "busy") for member in self.members):
            self._last_live = now
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        open_to = {node["NodeID"]: node for node in self._nodes() if node["NodeID"] not in self._closed_to}
        for node in open_to.values():
            here = sum(member.node == node["NodeID"] for member in self.members)
            for _ in range(self._room(node) - here):
                self._start(node)
        if not self.members and self._closed_to and not open_to:
            raise ClusterError(f"no node of the cluster at {self.address} can be used: {self.notes[-1]}")
        patience = START_S if self.members or self.seen else 0.0
        if now - self._last_live > patience:
            raise ClusterError(self._no_capacity_message())

    def _no_capacity_message(self) -> str:
        needs = " and ".join(f"{amount:g} {name}" for name, amount in self.needs.items() if amount)
        if self.seen and not self.members:
            return (
                f"the cluster at {self.address} has lost its nodes, and got no other in {START_S:.0f} s: run it again"
            )
        waited = f" in {START_S:.0f} s" if self.members else ""
        return (
            f"no node of the cluster at {self.address} had {needs} free for a replica of the model{waited}:"
            " add nodes, or lower --probe-replica-cpus or --probe-replica-gpus"
        )

    def _start(self, node: dict[str, Any]) -> None:
        actor = (
            self.ray.remote(Replica)
            .options(
                num_cpus=self.needs["CPU"],
                num_gpus=self.needs["GPU"],
                max_restarts=0,
                scheduling_strategy=_affinity(node["NodeID"]),
            )
            .remote()
        )
        member = PooledActor(node["NodeID"], node["NodeManagerAddress"], actor)
        self.members.append(member)
        self._send(member, "waiting", None, actor.here.remote())

    def _send(self, member: PooledActor, stage: str, task: Any, ref: Any) -> None:
        member.stage, member.task, member.ref = stage, task, ref

    def idle(self) -> list[PooledActor]:
        """Return the replicas that have nothing to do."""
        return [member for member in self.members if member.stage == "idle"]

    def ask(self, member: PooledActor, method: str, task: Any, argument: Any) -> None:
        """Send *member* the call of *method*; *task* comes back with its event."""
        self._send(member, "busy", task, getattr(member.actor, method).remote(argument))

    def events(self) -> Iterator[Event]:
        """Wait a moment, and yield what came of what members were asked."""
        pending = {member.ref: member for member in self.members if member.stage != "idle"}
        if not pending:
            time.sleep(0.05)
            return
        done, _ = self.ray.wait(list(pending), num_returns=1, timeout=LOOK_S)
        if done:
            done, _ = self.ray.wait(list(pending), num_returns=len(pending), timeout=0)
        for ref in done:
            member = pending[ref]
            stage, task = member.stage, member.task
            try:
                result = self.ray.get(ref)
            except self.ray.exceptions.RayError as error:  # the node or the process is gone, or what it said
                self._handle_death(member, error)
                if stage == "busy":
                    yield Event(member, task, None)
                continue
            member.stage, member.task = "idle", None
            if stage == "waiting":
                neighbours = sum(other.node == member.node for other in self.members)
                self._send(member, "loading", None, member.actor.load.remote(self.order, self.given, neighbours))
            elif stage == "loading":
                self._on_loaded(member, result)
            else:
                self._deaths[member.node] = 0
                yield Event(member, task, result)

    def _on_loaded(self, member: PooledActor, ready: ReplicaStatus) -> None:
        """Take a replica that has loaded into service, unless it is otherwise than the driver or the first one."""
        error = ready.error
        if not error and self.context and ready.context != self.context:
            name = min(name for name in ready.context if ready.context[name] != self.context.get(name))
            error = (
                f"{name} is {ready.context[name]} and {self.context.get(name)} on other nodes:"
                " outcomes would hang on where they are computed"
            )
        if error:
            self._release(member)
            self._close_to(member, error)
            return
        self.context = self.context or ready.context
        self.seen.add(member.node)

    def _handle_death(self, member: PooledActor, error: Exception) -> None:
        self._release(member)
        self.lost += 1
        self._deaths[member.node] += 1
        if self._deaths[member.node] >= MOST_DEATHS:
            said = " ".join(str(error).split())[:300]
            self._close_to(member, f"its processes end one after another: {said}")

    def _close_to(self, member: PooledActor, error: str) -> None:
        if member.node not in self._closed_to:
            self._closed_to.add(member.node)
            self.notes.append(f"the node {member.host} is left out: {error}")

    def _release(self, member: PooledActor) -> None:
        self.members.remove(member)
        with suppress(Exception):  # it may be gone already
            self.ray.kill(member.actor)

    def close(self) -> None:
        """End every replica, and the connection where it was made here."""
        for member in list(self.members):
            self._release(member)
        self.given = None
        if self.ours and self.ray.is_initialized():
            self.ray.shutdown()
        self.ours = False


def _connect(ray: Any, address: str | None) -> bool:
    """Connect to the cluster, and tell whether that was done here. Raises :class:`ClusterError` in bounded time."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here: it calls nobody
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what matters of a lost node is in our own notes
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=False)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ClusterError(f"cannot use the Ray cluster at {address or 'this machine'}: {said}") from error
    return True


def unreachable_reason(address: str) -> str | None:
    """Return why no gRPC server answers at *address*, ``None`` where one does: ``ray.init`` would wait for ever."""
    host, _, port = address.rpartition(":")
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(
        [0, 0, 0, 4, 0, 0, 0, 0, 0]
    )  # RFC 9113, 3.4: and no settings
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S) as connection:
            connection.settimeout(CONNECT_S)
            connection.sendall(greeting)
            answer = connection.recv(9)
    except (OSError, ValueError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return None if len(answer) >= 4 and answer[3] == 4 else "what answers there is something else"
