"""A replica: a copy of the model on a node of the cluster, which answers the chunks that the driver sends.

It trusts nothing: its weights, its heads and its libraries must be those of the driver, or it says in a line what is
otherwise and gets no work. Knows no Ray: the driver makes an actor of it.
"""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning_probe.cluster.chunk_queue import Chunk
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import Engine
    from reasoning_probe.engine.protocol import Analysis, Result
    from reasoning_probe.engine.tokenization import Baseline
    from reasoning_probe.models.device_map import DeviceMap
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.results.answer import Answer

NAMES = ("tiny-reasoner", "smollm2")
"""Models that are known by these words wherever the package is installed."""

SAME = (
    "weights",
    "architecture",
    "config",
    "tokenizer",
    "reasoning-probe",
    "engine",
    "torch",
    "transformers",
    "tokenizers",
)
"""What of a model's context must be the driver's; device, dtype and attention may be the cluster's own."""


@dataclass(frozen=True)
class ReplicaConfig:
    """What every replica is to be: the model by name (``None``: it is sent along), and how it is run."""

    model: str | None
    device: str
    dtype: str
    device_map: DeviceMap | None
    memory: int | None
    seed: int
    references: dict[str, list[str]]
    head_map: HeadMap
    context: dict[str, str]
    chats: frozenset[str] = frozenset()
    remote_code: bool = False
    pickled: bool = False


@dataclass(frozen=True)
class ReplicaStatus:
    """A replica that has loaded its model: where it runs, and its whole context; or the ``error`` in one line."""

    context: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """What came of a chunk: outcomes in the engine's batches, and what they cost.

    Where the model raised, ``error`` says what, ``trace`` where, and the outcomes are those found before.
    """

    outcomes: list[list[Answer]]
    baselines: dict[Query, Baseline]
    skipped: list[dict[str, str]]
    counts: dict[str, int]
    seconds: dict[str, float]
    path: str
    why: str
    peak_bytes: int
    error: str = ""
    trace: str = ""


class Replica:
    """One copy of the model with its engine."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def here(self) -> None:
        """Return at once: the process runs, so the cluster had room for it."""

    def load(self, order: ReplicaConfig, given: Any, neighbours: int) -> ReplicaStatus:
        """Load the model of *order*, or take the *given* one; *neighbours* replicas share the node's memory."""
        from reasoning_probe.models.errors import ModelError
        from reasoning_probe.models.head_map import HeadError

        try:
            return self._load(order, given, neighbours)
        except (ModelError, HeadError) as error:
            return ReplicaStatus(error=str(error))
        except Exception as error:  # whatever a node lacks: the driver says it in one line and goes on without it
            return ReplicaStatus(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def _load(self, order: ReplicaConfig, given: Any, neighbours: int) -> ReplicaStatus:
        from reasoning_probe.engine.cache.key import model_context
        from reasoning_probe.engine.engine import Engine
        from reasoning_probe.engine.memory import SHARE, Memory
        from reasoning_probe.models import loading
        from reasoning_probe.models.heads import find_heads, verify_heads
        from reasoning_probe.models.weights import device_of, fingerprint

        if order.model is None:
            device = loading.resolve_device(order.device)
            loaded = loading.wrap_model(given[0].to(device), given[1])
        else:
            source = loading.resolve_model(order.model, remote_code=order.remote_code, pickled=order.pickled)
            loaded = loading.load_model(source, order.device, order.dtype, device_map=order.device_map)
        digest = fingerprint(loaded.model)
        context = model_context(loaded.model, loaded.tokenizer, digest) or {"weights": digest}
        other = difference(order.context, context)
        if other:
            return ReplicaStatus(error=other)
        if order.head_map.attention_layers:
            if find_heads(loaded.model) != order.head_map:
                return ReplicaStatus(error="its model has other heads")
            verify_heads(loaded.model, order.head_map)
        cap = order.memory
        if cap is None and device_of(loaded.model).type == "cpu":
            cap = int(SHARE * Memory("cpu").free() / max(1, neighbours))
        self.engine = Engine(
            loaded.model,
            loaded.tokenizer,
            order.head_map,
            order.references,
            memory_cap=cap,
            seed=order.seed,
            chats=order.chats,
        )
        return ReplicaStatus(context)

    def answer(self, chunk: Chunk) -> ChunkResult:
        """Return what the engine answers to *chunk*; what the model raises is part of it."""
        engine = self._engine()
        engine.baselines = dict(chunk.known)
        engine.skipped.clear()
        before = self._spent()
        found: list[list[Answer]] = []
        error = trace = ""
        try:
            for batch in engine.run(chunk.works):
                found.append(batch)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            trace = traceback.format_exc()
        counts, seconds = self._spent()
        return ChunkResult(
            found,
            engine.baselines,
            list(engine.skipped),
            {name: count - before[0][name] for name, count in counts.items()},
            {name: spent - before[1][name] for name, spent in seconds.items()},
            engine.path_name,
            engine.why,
            engine.memory.peak(),
            error,
            trace,
        )

    def measure(self, analysis: Analysis[Result]) -> tuple[Result | None, float, str]:
        """Return the result of *analysis*, the seconds that it took, and in a line why it could not be measured."""
        from reasoning_probe.models.head_map import HeadError

        engine = self._engine()
        before = vars(engine.timing)[analysis.timing]
        result, error = None, ""
        try:
            result = engine.measure(analysis)
        except HeadError as raised:
            error = str(raised)
        return result, vars(engine.timing)[analysis.timing] - before, error

    def _engine(self) -> Engine:
        assert self.engine is not None  # the driver sends nothing before load has returned
        return self.engine

    def _spent(self) -> tuple[dict[str, int], dict[str, float]]:
        engine = self._engine()
        return asdict(engine.counts), asdict(engine.timing)


def difference(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """Say in one line what is otherwise on a node whose model has the context *theirs*; empty where nothing is.

    Builds of a library for several kinds of device (``2.13.0+cpu``) are one version.
    """
    for name in SAME:
        here, there = ours.get(name), theirs.get(name, "")
        if here is None:
            continue  # a model in memory with code of its own: only its weights can be compared
        if here.partition("+")[0] != there.partition("+")[0]:
            if name in ("weights", "config", "tokenizer", "architecture"):
                return f"the model has other {name} than here: give every node the same files"
            return f"{name} is {there or 'missing'} and {here} here: install the same version on every node"
    return ""


def name_on_nodes(name: str) -> str:
    """Return *name* as it is known on every node: a path in full, since processes there have another folder."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() and name not in NAMES else name
