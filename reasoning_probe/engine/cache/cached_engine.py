"""Resuming: an engine's plan with the outcomes that are known already, so that only what is missing is computed.

An outcome is known under a hash of everything that determines it. What all outcomes of a model share is its *context*:
the content of the weights, the config, the code (classes and versions of engine and libraries), dtype, kind of device,
attention implementation and tokenizer. Added to it are the prompt as sent, the expected answer (its log-probability is
part of the outcome), the generation settings, the heads that are off, the ablation and its reference prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.cache.key import digest
from reasoning_probe.engine.cache.store import CachedAnswer, OutcomeCache
from reasoning_probe.engine.protocol import Referencing
from reasoning_probe.models.targets import Target
from reasoning_probe.results.outcome import BASELINE, ItemKey, Outcome, outcome_from_response

if TYPE_CHECKING:
    from reasoning_probe.engine.engine import SweepRequest


class CachedEngine:
    """Runs plans on *engine* with *cache*, whose context is *context*; *name* is for people who look at the store."""

    def __init__(self, engine: Referencing, cache: OutcomeCache, context: dict[str, str], name: str = "") -> None:
        self.engine, self.cache = engine, cache
        self.recalled = 0
        self._answered: set[ItemKey] = set()  # items whose baseline was yielded before: it counts once
        self._context = digest(json.dumps(context, sort_keys=True))
        self._references: dict[str, str] = {}
        cache.attach(bytes.fromhex(self._context), context | {"name": name})

    def run(self, plan: Sequence[SweepRequest]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *plan*: those that the store knows, then the others as the engine finds them.

        Each is in the store before it is yielded. As the engine does, it yields each query's baseline, too.
        """
        from reasoning_probe.engine.engine import SweepRequest

        missing: list[SweepRequest] = []
        known: set[ItemKey] = set()  # the items whose baseline the store knows
        for work in plan:
            keys = {key: case for case, key in self._keys(work.query, work.ablated)}
            answers = self.cache.get(list(keys))
            found = {keys[key]: answer for key, answer in answers.items()}
            left = tuple((target, ablation) for target, ablation in work.ablated if (target, ablation) not in found)
            item = work.query.dataset, work.query.item_id
            if found:
                self.recalled += len(found) - ((None, None) in found and item in self._answered)
                yield [self._from_cache(work.query, *case, found[case]) for case in keys.values() if case in found]
            if (None, None) in found:
                known.add(item)
            self._answered.add(item)
            if left or (None, None) not in found:
                missing.append(SweepRequest(work.query, left))
        works = {(work.query.dataset, work.query.item_id): work for work in missing}
        for batch in self.engine.run(missing):
            new = [outcome for outcome in batch if not (_is_baseline(outcome) and outcome.item_key in known)]
            if new:
                self._keep(works[new[0].item_key], new)
            yield new

    def _keep(self, work: SweepRequest, batch: Sequence[Outcome]) -> None:
        """Store a batch, which the engine makes of one query's outcomes."""
        keys = {(target and target.name, ablation): key for (target, ablation), key in self._keys(*_of(work))}
        self.cache.put(
            {
                keys[None if _is_baseline(outcome) else outcome.target, outcome.ablation]: CachedAnswer(
                    outcome.response, outcome.truncated, outcome.answer_logprob
                )
                for outcome in batch
            }
        )

    @staticmethod
    def _from_cache(query: Query, target: Target | None, ablation: str | None, answer: CachedAnswer) -> Outcome:
        return outcome_from_response(
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
        if query.answer_prefix != " " or not query.special_tokens:  # keys of plain prompts stay what they were
            asked += [query.answer_prefix, query.special_tokens]
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
            self._references[dataset] = digest(*self.engine.references.get(dataset, ()))
        seed = f" {self.engine.seed}" if ablation == "resample" else ""
        return self._references[dataset] + seed


def _of(work: SweepRequest) -> tuple[Query, tuple[tuple[Target, str], ...]]:
    return work.query, work.ablated


def _is_baseline(outcome: Outcome) -> bool:
    return outcome.ablation is None
