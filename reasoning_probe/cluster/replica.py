"""A replica: a copy of the model on a node of the cluster, which answers the chunks that the driver sends.

Its weights, heads and libraries must equal the driver's; otherwise it reports the difference in one line and gets no
chunks. This module does not import Ray: the driver makes an actor of the class.
"""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.data.places import ALL

if TYPE_CHECKING:
    from reasoning_probe.cluster.chunk_queue import Chunk
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.protocol import Analysis, Result
    from reasoning_probe.engine.tokenization import Baseline
    from reasoning_probe.models.device_map import DeviceMap
    from reasoning_probe.models.generation import GenerationMode
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.results.answer import Answer

PACKAGED_MODELS = ("tiny-reasoner", "smollm2")
"""Models that these names mean wherever the package is installed."""

MUST_MATCH = (
    "weights",
    "architecture",
    "config",
    "generation",
    "tokenizer",
    "reasoning-probe",
    "engine",
    "torch",
    "transformers",
    "tokenizers",
)
"""Parts of a model's context that must equal the driver's; device, dtype and attention may differ."""


@dataclass(frozen=True)
class ReplicaConfig:
    """What every replica loads: the model by name (``None`` if it is sent along), and how to run it."""

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
    numerics: str = "auto"
    remote_code: bool = False
    pickled: bool = False
    generation: GenerationMode = "model"
    where: str = ALL


@dataclass(frozen=True)
class ReplicaStatus:
    """The context of a replica that has loaded its model, and why its numerics, or the ``error`` in one line."""

    context: dict[str, str] = field(default_factory=dict)
    error: str = ""
    numerics_why: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """The answers to a chunk, in the engine's batches, and what they cost.

    If the model raised, ``error`` is its message, ``trace`` the traceback, and the answers are those before it.
    """

    answers: list[list[Answer]]
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
        self.engine: LocalEngine | None = None

    def ping(self) -> None:
        """Return at once, which shows that the cluster had room for the process."""

    def load(self, replica_config: ReplicaConfig, in_memory_model: Any, neighbours: int) -> ReplicaStatus:
        """Load the model of *replica_config*, or use the *in_memory_model* ``(model, tokenizer)``; report the status.

        *neighbours* replicas share the node's memory.
        """
        from reasoning_probe.models.errors import ModelError
        from reasoning_probe.models.head_map import HeadError

        try:
            return self._load(replica_config, in_memory_model, neighbours)
        except (ModelError, HeadError) as error:
            return ReplicaStatus(error=str(error))
        except Exception as error:  # the driver reports it in one line and leaves the node out
            return ReplicaStatus(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def _load(self, config: ReplicaConfig, in_memory_model: Any, neighbours: int) -> ReplicaStatus:
        from reasoning_probe.engine.cache.key import model_context
        from reasoning_probe.engine.engine import LocalEngine
        from reasoning_probe.engine.memory import SHARE, Memory, enough_for
        from reasoning_probe.models import loading
        from reasoning_probe.models.generation import rules_of
        from reasoning_probe.models.heads import find_heads, verify_heads
        from reasoning_probe.models.weights import device_of, fingerprint

        if config.model is None:
            device = loading.resolve_device(config.device)
            loaded = loading.wrap_model(in_memory_model[0].to(device), in_memory_model[1])
        else:
            source = loading.resolve_model(config.model, remote_code=config.remote_code, pickled=config.pickled)
            loaded = loading.load_model(source, config.device, config.dtype, device_map=config.device_map)
        digest = fingerprint(loaded.model)
        rules = rules_of(loaded.model, config.generation)
        context = model_context(loaded.model, loaded.tokenizer, digest, rules) or {"weights": digest}
        mismatch = context_mismatch(config.context, context)
        if mismatch:
            return ReplicaStatus(error=mismatch)
        if config.head_map.attention_layers:
            if find_heads(loaded.model) != config.head_map:
                return ReplicaStatus(error="its model has other heads")
            verify_heads(loaded.model, config.head_map)
        cap = config.memory
        if cap is None and device_of(loaded.model).type == "cpu":
            cap = min(enough_for(loaded.model), int(SHARE * Memory("cpu").free() / max(1, neighbours)))
        self.engine = LocalEngine(
            loaded.model,
            loaded.tokenizer,
            config.head_map,
            config.references,
            memory_cap=cap,
            seed=config.seed,
            chats=config.chats,
            rules=rules,
            wanted_numerics=config.numerics,
            where=config.where,
        )
        return ReplicaStatus(context | self.engine.numerics.context, numerics_why=self.engine.numerics.why)

    def answer(self, chunk: Chunk) -> ChunkResult:
        """Return the engine's answers to *chunk*; an exception of the model is part of the result."""
        engine = self._engine()
        engine.baselines = dict(chunk.baselines)
        engine.skipped.clear()
        counts_before, seconds_before = self._totals()
        answers: list[list[Answer]] = []
        error = trace = ""
        try:
            for batch in engine.run(chunk.requests):
                answers.append(batch)
        except Exception as model_error:
            error = f"{type(model_error).__name__}: {model_error}"
            trace = traceback.format_exc()
        counts, seconds = self._totals()
        return ChunkResult(
            answers,
            engine.baselines,
            list(engine.skipped),
            {name: count - counts_before[name] for name, count in counts.items()},
            {name: total - seconds_before[name] for name, total in seconds.items()},
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

    def _engine(self) -> LocalEngine:
        assert self.engine is not None  # the driver sends no chunk before load has returned
        return self.engine

    def _totals(self) -> tuple[dict[str, int], dict[str, float]]:
        engine = self._engine()
        return asdict(engine.counts), asdict(engine.timing)


def context_mismatch(ours: dict[str, str], theirs: dict[str, str]) -> str:
    """Return in one line how a node's context *theirs* differs from the driver's; empty if they match.

    Builds of a library for several kinds of device (``2.13.0+cpu``) count as one version.
    """
    for name in MUST_MATCH:
        here, there = ours.get(name), theirs.get(name, "")
        if here is None:
            continue  # a model in memory with custom code: only its weights can be compared
        if here.partition("+")[0] != there.partition("+")[0]:
            if name in ("weights", "config", "generation", "tokenizer", "architecture"):
                return f"the model has other {name} than here: give every node the same files"
            return f"{name} is {there or 'missing'} and {here} here: install the same version on every node"
    return ""


def name_on_nodes(name: str) -> str:
    """Return *name* as every node understands it: paths in full, since processes there run in another folder."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.exists() and name not in PACKAGED_MODELS else name
