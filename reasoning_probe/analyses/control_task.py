"""The control task: how well the model still continues neutral sentences while heads are off.

A head whose loss spoils plain text as well is no reasoning head: without it the model is broken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from reasoning_probe.data.places import ALL
from reasoning_probe.engine.plain_path import CANARY
from reasoning_probe.engine.protocol import Engine
from reasoning_probe.engine.tokenization import EncodedQuery
from reasoning_probe.models.ablation import ZERO, Replacement
from reasoning_probe.models.hooks import text_config
from reasoning_probe.models.targets import PATCHES, Target
from reasoning_probe.results.record import ControlRecord, ControlTargetRecord
from reasoning_probe.results.summary import merged_control

if TYPE_CHECKING:
    from reasoning_probe.engine.engine import LocalEngine

NAME = "control"
"""What the sentences are called among the engine's references: replacements are made from them, too."""

MOST_TOKENS = 32
"""A sentence counts up to so many tokens, so that the task fits every context and stays cheap."""


def neutral_sentences() -> list[str]:
    """Return the sentences that come with the package: no numbers, no questions, nothing to reason about."""
    text = resources.files("reasoning_probe.data").joinpath("builtin", "neutral.txt").read_text(encoding="utf-8")
    return text.splitlines()


def control_task(engine: Engine, variants: Iterable[tuple[Target, str]]) -> ControlRecord | None:
    """Return the control task's results with nothing switched off and under each target and ablation of *variants*.

    ``logprob`` is the mean natural logarithm of the probability of a token given those before it, over all tokens
    but each sentence's first; ``delta`` its change under the target, in nats per token. ``None`` where there are no
    variants, where heads are off at one place of a question, which sentences do not have, where the tokenizer makes
    fewer than two tokens of every sentence, or where a cluster lost every process that measured a part: outcomes are
    worth more than the control task. Patches have no donor of a sentence and are left out. Adds to ``engine.timing``.
    """
    without_donor = tuple(variant for variant in variants if variant[1] not in PATCHES)
    return engine.measure(ControlTask(without_donor)) if engine.where == ALL else None


@dataclass(frozen=True)
class ControlTask:
    """The control task as an :class:`~reasoning_probe.engine.protocol.Analysis`, split by variants."""

    variants: tuple[tuple[Target, str], ...]
    timing: str = "control_s"
    failure: str = ""

    def measure(self, engine: LocalEngine) -> ControlRecord | None:
        """Return the results on *engine*."""
        path = engine.path  # its self-check has a time of its own
        started = time.perf_counter()
        by_ablation: dict[str, list[Target]] = {}
        for target, ablation in self.variants:
            by_ablation.setdefault(ablation, []).append(target)
        engine.references = {**engine.references, NAME: neutral_sentences()}
        texts = [(sentence, _encoded(engine, sentence)) for sentence in neutral_sentences()]
        texts = [(sentence, encoded) for sentence, encoded in texts if encoded.answer]
        tokens = sum(len(encoded.answer) for _, encoded in texts)
        if not by_ablation or not tokens:
            return None
        baseline = math.fsum(engine.plain.logprobs(encoded, [CANARY], ZERO)[0] for _, encoded in texts) / tokens
        rows: list[ControlTargetRecord] = []
        for ablation, targets in by_ablation.items():
            by_sentence = [
                path.answer_logprobs(encoded, targets, Replacement(engine.values(ablation, NAME, sentence)))
                for sentence, encoded in texts
            ]
            means = [math.fsum(logprobs) / tokens for logprobs in zip(*by_sentence, strict=True)]
            rows += [
                {"target": target.name, "ablation": ablation, "logprob": mean, "delta": mean - baseline}
                for target, mean in zip(targets, means, strict=True)
            ]
        engine.timing.control_s += time.perf_counter() - started
        uniform = -math.log(text_config(engine.model.config).vocab_size)
        return {"sentences": len(texts), "tokens": tokens, "logprob": baseline, "uniform": uniform, "targets": rows}

    def split(self, parts: int) -> list[ControlTask]:
        """Return the task in at most *parts* parts of as many variants each."""
        size = max(1, -(-len(self.variants) // parts))
        return [ControlTask(self.variants[first : first + size]) for first in range(0, len(self.variants), size)]

    def merge(self, results: Sequence[ControlRecord | None]) -> ControlRecord | None:
        """Return one result, its rows in the order of the variants."""
        merged = merged_control([result for result in results if result is not None])
        if merged is None:
            return None
        rows = {(row["target"], row["ablation"]): row for row in merged["targets"]}
        merged["targets"] = [rows[target.name, ablation] for target, ablation in self.variants]
        return merged


def _encoded(engine: LocalEngine, sentence: str) -> EncodedQuery:
    """Return the sentence with its first token as the prompt and all others as the expected answer."""
    ids = engine.prompt_ids(sentence)[:, :MOST_TOKENS]  # (1, tokens)
    return EncodedQuery(ids[:, :1], tuple(ids[0, 1:].tolist()), 1)
