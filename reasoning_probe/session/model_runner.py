"""The model of a session: found, loaded, its heads verified, and the engine that answers on it. Knows no cases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.models.targets import Target
from reasoning_probe.session.queries import QueryBuilder
from reasoning_probe.session.settings import Settings

if TYPE_CHECKING:
    from reasoning_probe.cluster.cluster_engine import ClusterEngine
    from reasoning_probe.engine.cache.store import OutcomeCache
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.protocol import Engine
    from reasoning_probe.models.generation import GenerationRules
    from reasoning_probe.models.head_map import HeadMap
    from reasoning_probe.models.loading import LoadedModel, ModelSource
    from reasoning_probe.models.weight_files import WeightFiles


class ModelRunner:
    """The model of *settings*, or one in memory, with the engine that answers on it, here or on a cluster."""

    def __init__(self, settings: Settings, queries: QueryBuilder) -> None:
        self.settings, self.queries = settings, queries
        self.provided: LoadedModel | None = None  # a model in memory, in place of the one that the settings name
        self.from_fixture = False  # a user's fixture gives the model, and not before a test asks for it
        self.fixture_has_dependencies = False  # that fixture asks for others, which may be the one that loads --model
        self.engine: Engine | None = None
        self.model_info: dict[str, Any] = {}  # ``model`` of ``run.json``
        self.load_s = self.proof_s = 0.0
        self.store: OutcomeCache | None = None
        self._loaded: LoadedModel | None = None
        self._note = ""  # why there is no store
        self._files: WeightFiles | None = None  # those that the model goes on reading from
        self.notes: list[str] = []  # what went wrong around the engine and ended no run, a line each

    @cached_property
    def head_map(self) -> HeadMap:
        """Where the model's heads are, found without its weights unless the model is in memory already."""
        source = self._source() if self.provided is None else None  # a mistyped name is told before torch is imported
        from reasoning_probe.models import loading
        from reasoning_probe.models.heads import find_heads

        if self.provided is not None:
            return find_heads(self.provided.model)
        assert source is not None
        return loading.load_shape(source).head_map

    def _source(self, *, checked: bool = True) -> ModelSource:
        """Return where the model's files are, *checked* to be there. Raises ``ModelError``."""
        from reasoning_probe.models import loading
        from reasoning_probe.models.hub import check_hub

        settings = self.settings
        source = loading.resolve_model(settings.model, remote_code=settings.remote_code, pickled=settings.pickled)
        if checked:
            check_hub(source)
        return source

    def check_source(self) -> None:
        """Raise ``ModelError`` if the settings name a model that is not there, before anything is loaded."""
        if self.provided is None and not self.from_fixture:
            self._source()

    @property
    def loaded(self) -> bool:
        """Whether the model has been loaded."""
        return self._loaded is not None

    def load(self) -> LoadedModel:
        """Load the model, once. Raises ``ModelError`` or ``HeadError``, each one line."""
        if self._loaded is None:
            from reasoning_probe.models import loading
            from reasoning_probe.models.hub import local_folder
            from reasoning_probe.models.weight_files import WeightFiles
            from reasoning_probe.models.weights import offloaded

            if self.settings.cluster is not None:
                from reasoning_probe.cluster.actor_pool import check

                check(self.settings.cluster)
            started = time.perf_counter()
            if self.provided is not None:
                self._loaded = self.provided
            else:
                # A cluster's driver computes nothing: it leaves the devices to the replicas.
                device = self.settings.device if self.settings.cluster is None else "cpu"
                source = self._source()
                folders = [local_folder(source), *([Path(source.adapter)] if source.adapter else [])]
                files = WeightFiles(*folders)
                loaded = loading.load_model(source, device, self.settings.dtype, device_map=self.settings.device_map)
                files.check_loaded()
                self._loaded = loaded
                self._files = files if offloaded(loaded.model) else None
            self.load_s = time.perf_counter() - started
        return self._loaded

    def use(self, value: Any, name: str | None = None) -> None:
        """Probe *value*, ``(model, tokenizer)`` in memory, as *name*. Raises ``ModelError`` for other things."""
        from reasoning_probe.models import loading

        model, tokenizer = value if isinstance(value, tuple | list) and len(value) == 2 else (value, None)
        self.provided = loading.wrap_model(model, tokenizer, name)

    def start(self, targets: Sequence[Target]) -> Engine:
        """Load the model, verify its heads and the *targets*, and return the engine, the outcome store before it.

        Raises ``ModelError``, ``HeadError`` or ``PromptError``, each one line.
        """
        from reasoning_probe.engine.cache.key import model_context
        from reasoning_probe.models import weights

        loaded = self.load()
        started = time.perf_counter()
        weights.check_finite(loaded.model, loaded.name)
        head_map = self._verified_heads(loaded, targets)
        self.proof_s = time.perf_counter() - started
        self.queries.set_tokenizer(loaded.tokenizer)
        rules = self._checked_rules(loaded)
        fingerprint = weights.fingerprint(loaded.model)
        context = model_context(loaded.model, loaded.tokenizer, fingerprint, rules)
        self._guard()  # the fingerprint is that of the weights that were loaded
        device = loaded.device
        engine: Engine
        if self.settings.cluster is None:
            engine = local = self._on_this_machine(loaded, head_map, rules)
            context = context and context | local.numerics.context
        else:
            engine = cluster = self._on_cluster(loaded, head_map, context or {"weights": fingerprint})
            context, device = context and cluster.context, cluster.device  # those of the nodes, which compute
        self.model_info = {
            "name": loaded.name,
            "fingerprint": fingerprint,
            "architecture": type(loaded.model).__name__,
            "layers": len(head_map.attention_layers),
            "heads": max((layer.heads for layer in head_map.attention_layers), default=0),
            "layer_indices": list(head_map.layers),
            "dtype": loaded.dtype,
            "device": device,
            "generation": rules.record(),
        }
        self.engine = self._with_store(engine, context)
        return self.engine

    def _verified_heads(self, loaded: LoadedModel, targets: Sequence[Target]) -> HeadMap:
        """Return where the heads are; no heads where there are none to be found and nothing is switched off."""
        from reasoning_probe.models.head_map import HeadError, HeadMap
        from reasoning_probe.models.heads import find_heads, verify_heads

        try:
            head_map = find_heads(loaded.model)
        except HeadError:
            if self.settings.ablating:
                raise
            return HeadMap(())
        if self.settings.ablating:
            if head_map != self.head_map:
                raise HeadError(
                    f"{loaded.name} has other heads than its config says: they cannot be switched off reliably"
                )
            verify_heads(loaded.model, head_map, targets)
        return head_map

    @property
    def rules(self) -> GenerationRules:
        """What the model's generation settings change, as far as its files or its object in memory say."""
        from reasoning_probe.models import generation
        from reasoning_probe.models.errors import ModelError

        in_memory = self._loaded or self.provided
        if in_memory is not None:
            return generation.rules_of(in_memory.model, self.settings.generation)
        try:
            return generation.rules_of_files(self._source(checked=False), self.settings.generation)
        except ModelError:  # loading it says so
            return generation.GenerationRules(self.settings.generation)

    def _checked_rules(self, loaded: LoadedModel) -> GenerationRules:
        """Return what the generation settings of the model change. Raises ``ModelError`` where they cannot be used."""
        from reasoning_probe.engine.tokenization import TokenCodec
        from reasoning_probe.models.generation import check_rules

        check_rules(loaded.model, self.rules, loaded.name, sorted(TokenCodec(loaded.model, loaded.tokenizer).eos))
        return self.rules

    def _on_this_machine(self, loaded: LoadedModel, head_map: HeadMap, rules: GenerationRules) -> LocalEngine:
        from reasoning_probe.engine.engine import LocalEngine

        return LocalEngine(
            loaded.model,
            loaded.tokenizer,
            head_map,
            self.queries.references(),
            memory_cap=self.settings.memory,
            wanted_numerics=self.settings.numerics,
            seed=self.settings.seed,
            baselines={},  # the curve asks some queries again
            chats=self.queries.chats,
            rules=rules,
            guard=self._guard,
            where=self.settings.where,
        )

    def _guard(self) -> None:
        """Raise ``ModelError`` if the files changed from which weights are brought in while the model runs."""
        if self._files is not None:
            self._files.check()

    def _on_cluster(self, loaded: LoadedModel, head_map: HeadMap, context: dict[str, str]) -> ClusterEngine:
        from reasoning_probe.cluster.cluster_engine import ClusterEngine
        from reasoning_probe.cluster.replica import ReplicaConfig, name_on_nodes
        from reasoning_probe.engine.tokenization import TokenCodec

        settings, chats = self.settings, self.queries.chats
        assert settings.cluster is not None
        config = ReplicaConfig(
            model=None if self.provided is not None else name_on_nodes(settings.model),
            device=settings.device,
            dtype=settings.dtype,
            device_map=settings.device_map,
            remote_code=settings.remote_code,
            pickled=settings.pickled,
            generation=settings.generation,
            memory=settings.memory,
            numerics=settings.numerics,
            seed=settings.seed,
            references=TokenCodec(loaded.model, loaded.tokenizer).within_context(self.queries.references(), chats),
            chats=chats,
            head_map=head_map,
            context=context,
            where=settings.where,
        )
        return ClusterEngine(settings.cluster, config, self.provided and (loaded.model, loaded.tokenizer))

    def _with_store(self, engine: Engine, context: dict[str, str] | None) -> Engine:
        """Return *engine* with the outcome store before it, if there is one and what the answers depend on is known."""
        from reasoning_probe.engine.cache.cached_engine import CachedEngine
        from reasoning_probe.engine.cache.store import OutcomeCache

        if self.settings.cache is None:
            return engine
        if context is None:
            self._note = "the model has code or a tokenizer of its own: its outcomes are not kept in the outcome store"
            return engine
        self.store = OutcomeCache(self.settings.cache, fresh=self.settings.fresh)
        return CachedEngine(engine, self.store, context, self.model_info["name"])

    def engine_facts(self) -> dict[str, Any]:
        """Return what the engine did, how many answers the store knew, and in a line what went wrong with it."""
        assert self.engine is not None
        facts = self.engine.facts() | ({"recalled": 0, "store": self._note} if self.store is None else {})
        return facts | {"store": "; ".join(note for note in (*self.notes, facts["store"]) if note)}

    def close(self) -> None:
        """Let a cluster's replicas go."""
        if self.engine is not None:
            self.engine.close()
