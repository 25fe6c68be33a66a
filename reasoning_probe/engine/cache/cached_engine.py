"""Resuming: an engine's plan with the outcomes that are known already, so that only what is missing is computed.

An outcome is known under a hash of everything that determines it. What all outcomes of a model share is its *context*:
the content of the weights, the config, the code (classes and versions of engine and libraries), dtype, kind of device,
attention implementation and tokenizer. Added to it are the prompt as sent, the expected answer (its log-probability is
part of the outcome), the generation settings, the heads that are off, the ablation and its reference prompts.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reasoning_probe.data.prompts.prompting import Query
from reasoning_probe.engine import ENGINE_VERSION
from reasoning_probe.engine.cache.store import Answer, OutcomeCache
from reasoning_probe.judged import judged
from reasoning_probe.models.targets import Target
from reasoning_probe.results.outcome import BASELINE, ItemKey, Outcome

if TYPE_CHECKING:
    from reasoning_probe.engine.engine import Work

_NAMES = {"_name_or_path", "name_or_path", "transformers_version"}  # of a config: these change no answer


def context_of(model: Any, tokenizer: Any, fingerprint: str) -> dict[str, str] | None:
    """Return what all outcomes of *model* depend on, or ``None`` where that cannot be told from outside.

    It cannot where Python code was put into the model (hooks, a replaced ``forward``), where a class of it has no file
    (as in a notebook), or the tokenizer is unknown.
    """
    from importlib.metadata import version

    from reasoning_probe.models.weights import device_of

    words = _tokenizer_text(tokenizer)
    if words is None or _patched(model):
        return None
    config = {key: value for key, value in model.config.to_dict().items() if key not in _NAMES}
    generation = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    classes = {type(part) for part in model.modules()}
    foreign = _foreign_code(classes)
    if foreign is None:
        return None
    names = sorted(f"{each.__module__}.{each.__qualname__}" for each in classes)
    return {
        "weights": fingerprint,
        "architecture": type(model).__name__,
        "code": _digest(*names, *foreign),
        "config": _digest(json.dumps(config, sort_keys=True, default=str), str(generation)),
        "tokenizer": _digest(words),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": device_of(model).type,
        "attention": str(getattr(model.config, "_attn_implementation", None)),  # public to set, not to read
        "engine": str(ENGINE_VERSION),
        **{name: version(name) for name in ("reasoning-probe", "torch", "transformers", "tokenizers")},
    }


def _tokenizer_text(tokenizer: Any) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        rest = [type(tokenizer).__qualname__, str(tokenizer.special_tokens_map), str(tokenizer.eos_token_id)]
        return "\n".join([backend.to_str(), *rest])
    if hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "init_kwargs"):
        kwargs = {key: value for key, value in tokenizer.init_kwargs.items() if key not in _NAMES}
        return json.dumps([type(tokenizer).__qualname__, sorted(tokenizer.get_vocab().items()), kwargs], default=str)
    return None


def _patched(model: Any) -> bool:
    """Tell whether code was put into *model*; accelerate's own hooks only move weights.

    torch registers hooks and lists them nowhere in public; a model without these attributes counts as patched.
    """
    from reasoning_probe.models.weights import placing_hooks

    for part in model.modules():
        hooks = [getattr(part, name, True) for name in ("_forward_hooks", "_forward_pre_hooks")]
        if any(hooks) or ("forward" in vars(part) and not placing_hooks(part)):
            return True
    return False


_VERSIONED = ("torch.", "transformers.")
"""Packages whose version stands for their code."""


def _foreign_code(classes: Iterable[type]) -> list[str] | None:
    """Return the source of the modules that *classes* outside of these packages come from, or ``None`` for lack of it.

    A model's own code imports its own helpers, so everything that lies beside it in its package counts.
    """
    found = {each.__module__ for each in classes if not f"{each.__module__}.".startswith(_VERSIONED)}
    packages = tuple(f"{name.rpartition('.')[0]}." for name in found if "." in name)
    every = found | {name for name in sys.modules if packages and name.startswith(packages)}
    sources = []
    for name in sorted(every):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None or not Path(file).is_file():
            if name in found:
                return None
            continue
        sources.append(f"{name} {hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()}")
    return sources


def _digest(*texts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


class Runner(Protocol):
    """What answers plans: an engine, or a cluster of them."""

    @property
    def references(self) -> Mapping[str, Sequence[str]]:
        """By dataset, the prompts that ``mean`` and ``resample`` take their values from."""

    @property
    def seed(self) -> int:
        """Of the donors that ``resample`` draws."""

    def run(self, plan: Sequence[Work], /) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *plan*, a query's in each list, as they are found."""


class Resumer:
    """Runs plans on *engine* with *cache*, whose context is *context*; *name* is for people who look at the store."""

    def __init__(self, engine: Runner, cache: OutcomeCache, context: dict[str, str], name: str = "") -> None:
        self.engine, self.cache = engine, cache
        self.recalled = 0
        self._answered: set[ItemKey] = set()  # items whose baseline was yielded before: it counts once
        self._context = _digest(json.dumps(context, sort_keys=True))
        self._references: dict[str, str] = {}
        cache.attach(bytes.fromhex(self._context), context | {"name": name})

    def run(self, plan: Sequence[Work]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *plan*: those that the store knows, then the others as the engine finds them.

        Each is in the store before it is yielded. As the engine does, it yields each query's baseline, too.
        """
        from reasoning_probe.engine.engine import Work

        missing: list[Work] = []
        known: set[ItemKey] = set()  # the items whose baseline the store knows
        for work in plan:
            keys = {key: case for case, key in self._keys(work.query, work.ablated)}
            answers = self.cache.get(list(keys))
            found = {keys[key]: answer for key, answer in answers.items()}
            left = tuple((target, ablation) for target, ablation in work.ablated if (target, ablation) not in found)
            item = work.query.dataset, work.query.item_id
            if found:
                self.recalled += len(found) - ((None, None) in found and item in self._answered)
                yield [self._recalled(work.query, *case, found[case]) for case in keys.values() if case in found]
            if (None, None) in found:
                known.add(item)
            self._answered.add(item)
            if left or (None, None) not in found:
                missing.append(Work(work.query, left))
        works = {(work.query.dataset, work.query.item_id): work for work in missing}
        for batch in self.engine.run(missing):
            new = [outcome for outcome in batch if not (_is_baseline(outcome) and outcome.item_key in known)]
            if new:
                self._keep(works[new[0].item_key], new)
            yield new

    def _keep(self, work: Work, batch: Sequence[Outcome]) -> None:
        """Store a batch, which the engine makes of one query's outcomes."""
        keys = {(target and target.name, ablation): key for (target, ablation), key in self._keys(*_of(work))}
        self.cache.put(
            {
                keys[None if _is_baseline(outcome) else outcome.target, outcome.ablation]: Answer(
                    outcome.response, outcome.truncated, outcome.answer_logprob
                )
                for outcome in batch
            }
        )

    @staticmethod
    def _recalled(query: Query, target: Target | None, ablation: str | None, answer: Answer) -> Outcome:
        return judged(
            query,
            BASELINE if target is None else target.name,
            ablation,
            response=answer.response,
            truncated=answer.truncated,
            logprob=answer.logprob,
        )

    def _keys(
        self, query: Query, ablated: Sequence[tuple[Target, str]]
    ) -> Iterator[tuple[tuple[Target | None, str | None], bytes]]:
        """Yield each case of *query*, its baseline first, with the key of its outcome."""
        settings = query.generation
        asked = [self._context, query.prompt, query.item.answer, settings.max_new_tokens, list(settings.stop)]
        if query.joint != " " or not query.special_tokens:  # keys of plain prompts stay what they were
            asked += [query.joint, query.special_tokens]
        base = hashlib.blake2b(json.dumps(asked).encode(), digest_size=16)
        yield (None, None), base.digest()
        for target, ablation in ablated:
            digest = base.copy()
            off = sorted(target.heads)
            digest.update(json.dumps([off, ablation, self._reference(ablation, query.dataset)]).encode())
            yield (target, ablation), digest.digest()

    def _reference(self, ablation: str, dataset: str) -> str:
        """Return a digest of what an ablation other than zero takes its values from."""
        if ablation == "zero":
            return ""
        if dataset not in self._references:
            self._references[dataset] = _digest(*self.engine.references.get(dataset, ()))
        seed = f" {self.engine.seed}" if ablation == "resample" else ""
        return self._references[dataset] + seed


def _of(work: Work) -> tuple[Query, tuple[tuple[Target, str], ...]]:
    return work.query, work.ablated


def _is_baseline(outcome: Outcome) -> bool:
    return outcome.ablation is None
