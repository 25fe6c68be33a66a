"""The model that a session asks: found, loaded, its heads proved, and what answers on it. Knows no cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reasoning_probe.models.targets import Target
from reasoning_probe.session.queries import QueryBuilder
from reasoning_probe.session.settings import Settings

if TYPE_CHECKING:
    from reasoning_probe.cluster.cluster_engine import ClusterEngine
    from reasoning_probe.engine.cache.cached_engine import CachedEngine
    from reasoning_probe.engine.engine import Engine
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.models.loading import LoadedModel
    from reasoning_probe.models.loading import ModelSource as Found


class ModelRunner:
    """The model of *settings*, or one in memory, with the engine or the cluster that answers on it."""

    def __init__(self, settings: Settings, queries: QueryBuilder) -> None:
        self.settings, self.queries = settings, queries
        self.provided: LoadedModel | None = None  # a model in memory, in place of the one that the settings name
        self.from_fixture = False  # a user's fixture gives the model, and not before a test asks for it
        self.fixture_has_dependencies = False  # that fixture asks for others, which may be the one that loads --model
        self.engine: Engine | ClusterEngine | None = None
        self.facts: dict[str, Any] = {}  # of the model, for the run's files
        self.load_s = self.proof_s = 0.0
        self.resumer: CachedEngine | None = None
        self._loaded: LoadedModel | None = None
        self._note = ""  # why there is no resumer

    @cached_property
    def head_map(self) -> HeadMap:
        """Where the model's heads are, found without its weights unless the model is in memory already."""
        from reasoning_probe.models import loading
        from reasoning_probe.models.heads import find_heads

        if self.provided is not None:
            return find_heads(self.provided.model)
        return loading.load_shape(self._source()).head_map

    def _source(self) -> Found:
        from reasoning_probe.models import loading

        settings = self.settings
        return loading.resolve_model(settings.model, remote_code=settings.remote_code, pickled=settings.pickled)

    @property
    def loaded(self) -> bool:
        """Whether the model has been loaded."""
        return self._loaded is not None

    def load(self) -> LoadedModel:
        """Load the model, once. Raises ``ModelError`` or ``HeadError``, each one line."""
        if self._loaded is None:
            from reasoning_probe.models import loading

            if self.settings.cluster is not None:
                from reasoning_probe.cluster.actor_pool import check

                check(self.settings.cluster)
            started = time.perf_counter()
            if self.provided is not None:
                self._loaded = self.provided
            else:
                # A cluster's driver computes nothing: it leaves the devices to the replicas.
                device = self.settings.device if self.settings.cluster is None else "cpu"
                self._loaded = loading.load_model(
                    self._source(), device, self.settings.dtype, device_map=self.settings.device_map
                )
            self.load_s = time.perf_counter() - started
        return self._loaded

    def use(self, given: Any) -> None:
        """Probe *given*, ``(model, tokenizer)`` in memory. Raises ``ModelError`` where it is something else."""
        from reasoning_probe.models import loading

        pair = given if isinstance(given, tuple | list) and len(given) == 2 else (given, None)
        self.provided = loading.wrap_model(*pair)

    def start(self, targets: Sequence[Target]) -> Engine | ClusterEngine:
        """Load the model, prove its heads and the *targets*, and return what answers on it; take up the outcome store.

        Raises ``ModelError``, ``HeadError`` or ``PromptError``, each one line.
        """
        from reasoning_probe.engine.cache.key import model_context
        from reasoning_probe.engine.engine import Engine
        from reasoning_probe.engine.tokenization import TokenCodec
        from reasoning_probe.models import weights
        from reasoning_probe.models.head_map import HeadError, HeadMap
        from reasoning_probe.models.heads import find_heads, verify_heads

        loaded = self.load()
        started = time.perf_counter()
        weights.check_finite(loaded.model, loaded.name)
        try:
            head_map = find_heads(loaded.model)
        except HeadError:
            if self.settings.ablating:
                raise
            head_map = HeadMap(())
        if self.settings.ablating:
            if head_map != self.head_map:
                raise HeadError(
                    f"{loaded.name} has other heads than its config says: they cannot be switched off reliably"
                )
            verify_heads(loaded.model, head_map, targets)
        self.proof_s = time.perf_counter() - started
        self.queries.set_tokenizer(loaded.tokenizer)
        references = self.queries.references()
        fingerprint = weights.fingerprint(loaded.model)
        context = model_context(loaded.model, loaded.tokenizer, fingerprint)
        if self.settings.cluster is None:
            self.engine = Engine(
                loaded.model,
                loaded.tokenizer,
                head_map,
                references,
                memory_cap=self.settings.memory,
                seed=self.settings.seed,
                baselines={},  # the curve asks some queries again
                chats=self.queries.chats,
            )
        else:
            references = TokenCodec(loaded.model, loaded.tokenizer).within_context(references, self.queries.chats)
            self.engine = self._on_cluster(loaded, head_map, references, context or {"weights": fingerprint})
            context = context and self.engine.context  # that of the nodes, which compute
        self.facts = {
            "name": loaded.name,
            "fingerprint": fingerprint,
            "architecture": type(loaded.model).__name__,
            "layers": len(head_map.sites),
            "heads": max((site.heads for site in head_map.sites), default=0),
            "layer_indices": list(head_map.layers),
            "dtype": loaded.dtype,
            "device": loaded.device if isinstance(self.engine, Engine) else self.engine.device,
        }
        self._resume_from(context)
        return self.engine

    def _on_cluster(
        self, loaded: LoadedModel, head_map: HeadMap, references: dict[str, list[str]], context: dict[str, str]
    ) -> ClusterEngine:
        from reasoning_probe.cluster.cluster_engine import ClusterEngine
        from reasoning_probe.cluster.replica import ReplicaConfig, name_on_nodes

        settings = self.settings
        assert settings.cluster is not None
        order = ReplicaConfig(
            model=None if self.provided is not None else name_on_nodes(settings.model),
            device=settings.device,
            dtype=settings.dtype,
            device_map=settings.device_map,
            remote_code=settings.remote_code,
            pickled=settings.pickled,
            memory=settings.memory,
            seed=settings.seed,
            references=references,
            chats=self.queries.chats,
            head_map=head_map,
            context=context,
        )
        return ClusterEngine(settings.cluster, order, self.provided and (loaded.model, loaded.tokenizer))

    def close(self) -> None:
        """Let a cluster's replicas go."""
        close: Callable[[], None] | None = getattr(self.engine, "close", None)
        if close is not None:
            close()

    def _resume_from(self, context: dict[str, str] | None) -> None:
        """Take up the outcome store, if there is one and what the model answers depends on can be told."""
        from reasoning_probe.engine.cache.cached_engine import CachedEngine
        from reasoning_probe.engine.cache.store import OutcomeCache

        if self.settings.cache is None or self.engine is None:
            return
        if context is None:
            self._note = "the model has code or a tokenizer of its own: its outcomes are not kept in the outcome store"
            return
        store = OutcomeCache(self.settings.cache, fresh=self.settings.fresh)
        self.resumer = CachedEngine(self.engine, store, context, self.facts["name"])

    def store_facts(self) -> dict[str, Any]:
        """Return how many outcomes the store knew, and in a line what went wrong with it."""
        if self.resumer is None:
            return {"recalled": 0, "store": self._note}
        return {"recalled": self.resumer.recalled, "store": "; ".join(self.resumer.cache.notes)}
