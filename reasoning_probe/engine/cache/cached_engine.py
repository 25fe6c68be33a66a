"""The cached engine: takes the answers that the outcome store knows from there, and has only the others computed.

An answer is known under a hash of everything that determines it. What all answers of a model share is its *context*:
the content of the weights, the config, the code (classes and versions of engine and libraries), dtype, kind of device,
attention implementation and tokenizer. Added to it are the prompt as sent, the expected answer (its log-probability is
part of the answer), the generation settings, the heads that are off, their place, the ablation and its reference
prompts; of a sampled answer its item, seed, number and distribution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from reasoning_probe.data.places import ALL
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.sampling import item_of
from reasoning_probe.engine.cache.key import digest
from reasoning_probe.engine.cache.store import CachedAnswer, OutcomeCache
from reasoning_probe.engine.pace import Pace
from reasoning_probe.engine.plain_path import Counts
from reasoning_probe.engine.protocol import Analysis, Engine, Result, SweepRequest, Timing
from reasoning_probe.models.targets import PATCHES, Target
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import BASELINE, ItemKey

_BASELINE_CASE: tuple[Target | None, str | None] = (None, None)


class CachedEngine:
    """An :class:`~reasoning_probe.engine.protocol.Engine` that takes from the outcome store what it knows.

    *cache* is the store, *context* the part of the key that all outcomes of the model share; *name* is for people who
    look at the store.
    """

    def __init__(self, engine: Engine, cache: OutcomeCache, context: dict[str, str], name: str = "") -> None:
        self.engine, self.cache = engine, cache
        self.recalled = 0
        self._answered: set[ItemKey] = set()  # items whose baseline was yielded before: it counts once
        self._context = digest(json.dumps(context, sort_keys=True))
        self._references: dict[str, str] = {}
        cache.attach(bytes.fromhex(self._context), context | {"name": name})

    @property
    def references(self) -> Mapping[str, Sequence[str]]:
        """By dataset, the prompts that ``mean`` and ``resample`` take their values from."""
        return self.engine.references

    @property
    def seed(self) -> int:
        """The seed of the donors that ``resample`` draws."""
        return self.engine.seed

    @property
    def where(self) -> str:
        """The place at which heads are off."""
        return self.engine.where

    @property
    def skipped(self) -> list[dict[str, str]]:
        """The items that the engine left out, with the reasons."""
        return self.engine.skipped

    @property
    def timing(self) -> Timing:
        """The seconds that the engine spent."""
        return self.engine.timing

    @property
    def counts(self) -> Counts:
        """The rows that the engine answered."""
        return self.engine.counts

    @property
    def pace(self) -> Pace:
        """How far the engine's sweep is and how fast."""
        return self.engine.pace

    def measure(self, analysis: Analysis[Result]) -> Result | None:
        """Return the result of *analysis*, which is measured anew: the store holds answers alone."""
        return self.engine.measure(analysis)

    @contextmanager
    def aside(self, timing: str) -> Iterator[None]:
        """While open, count nothing but the seconds, and those under *timing*."""
        recalled = self.recalled
        with self.engine.aside(timing):
            try:
                yield
            finally:
                self.recalled = recalled

    def facts(self) -> dict[str, Any]:
        """Return what the engine did, how many answers the store knew, and in a line what went wrong with the store."""
        return self.engine.facts() | {"recalled": self.recalled, "store": "; ".join(self.cache.notes)}

    def close(self) -> None:
        """Close the engine; the store is closed by its owner."""
        self.engine.close()

    def run(self, requests: Sequence[SweepRequest]) -> Iterator[list[Answer]]:
        """Yield the answers to *requests*: those that the store knows, then the others as the engine finds them.

        Each is in the store before it is yielded. As the engine does, it yields each query's baseline, too.
        """
        missing: list[SweepRequest] = []
        known: set[ItemKey] = set()  # the items whose baseline the store knows
        for request in requests:
            cases = {key: case for case, key in self._keys(request.query, request.ablated)}
            stored = {cases[key]: answer for key, answer in self.cache.get(list(cases)).items()}
            left = tuple(variant for variant in request.ablated if variant not in stored)
            item = request.query.dataset, request.query.item_id
            if stored:
                self.recalled += len(stored) - (_BASELINE_CASE in stored and item in self._answered)
                yield [_from_cache(request.query, *case, stored[case]) for case in cases.values() if case in stored]
            if _BASELINE_CASE in stored:
                known.add(item)
            self._answered.add(item)
            if left or _BASELINE_CASE not in stored:
                missing.append(SweepRequest(request.query, left))
        by_item = {(request.query.dataset, request.query.item_id): request for request in missing}
        for batch in self.engine.run(missing):
            new = [answer for answer in batch if answer.ablation is not None or answer.item_key not in known]
            if new:
                self._store(by_item[new[0].item_key], new)
            yield new

    def _store(self, request: SweepRequest, batch: Sequence[Answer]) -> None:
        """Store a batch, which the engine makes of the answers to one query."""
        keys = {
            (BASELINE if target is None else target.name, ablation): key
            for (target, ablation), key in self._keys(request.query, request.ablated)
        }
        self.cache.put(
            {
                keys[answer.target, answer.ablation]: CachedAnswer(
                    answer.response, answer.truncated, answer.answer_logprob
                )
                for answer in batch
            }
        )

    def _keys(
        self, query: Query, ablated: Sequence[tuple[Target, str]]
    ) -> Iterator[tuple[tuple[Target | None, str | None], bytes]]:
        """Yield each case of *query*, its baseline first, with the key of its outcome."""
        settings = query.generation
        parts = [self._context, query.prompt, query.item.answer, settings.max_new_tokens, list(settings.stop)]
        if query.answer_prefix != " " or not query.special_tokens:  # keys of plain prompts stay what they were
            parts += [query.answer_prefix, query.special_tokens]
        if query.draw is not None:  # whose noise is the item's, and another one for a thought
            parts += ["sample", query.dataset, item_of(query.item_id), *vars(query.draw).values()]
            parts += ["thought"] if settings.thinks else []
        base = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16)
        yield (None, None), base.digest()
        for target, ablation in ablated:
            digest = base.copy()
            off = sorted(target.heads)
            values: list[Any] = [off, ablation, self._source(ablation, query)]
            if self.where != ALL:  # keys of heads that are off everywhere stay what they were
                values += [self.where, query.item.parts.get(self.where), query.question_start]
                values += ["thought", query.thought_start] if query.thought or query.generation.thinks else []
            digest.update(json.dumps(values).encode())
            yield (target, ablation), digest.digest()

    def _source(self, ablation: str, query: Query) -> str:
        """Return a digest of what an ablation other than zero takes its values from."""
        if ablation == "zero":
            return ""
        if ablation in PATCHES:
            return digest(dict(query.donors)[PATCHES[ablation]])
        dataset = query.dataset
        if dataset not in self._references:
            self._references[dataset] = digest(*self.engine.references.get(dataset, ()))
        seed = f" {self.engine.seed}" if ablation == "resample" else ""
        return self._references[dataset] + seed


def _from_cache(query: Query, target: Target | None, ablation: str | None, stored: CachedAnswer) -> Answer:
    return Answer(
        query=query,
        target=BASELINE if target is None else target.name,
        ablation=ablation,
        response=stored.response,
        truncated=stored.truncated,
        answer_logprob=stored.logprob,
    )
