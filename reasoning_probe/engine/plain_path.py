"""The plain path: transformers' own ``generate`` over rows that differ only in what is switched off.

All rows of a batch hold the same prompt, so there is no padding whose handling could differ between families. Every
batch carries one row with nothing switched off, the canary. It must repeat the baseline, and how far its logits are
from those of the baseline, which ran alone, is the noise of batching. Where a row's two best logits are closer than a
multiple of that noise, the row is settled alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from reasoning_probe.engine.memory import Memory, run_in_halves
from reasoning_probe.engine.tokenization import AblationJob, Baseline, Encoded, Reply, TokenCodec
from reasoning_probe.models.ablation import ZERO, Replacement, ablate
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.targets import Target
from reasoning_probe.utils.logging import silence_transformers
from reasoning_probe.utils.target_names import BASELINE

Made = TypeVar("Made")

CANARY = Target(BASELINE, frozenset())
NOISE_MARGIN = 4.0
"""A row whose two best logits are within this multiple of the noise is settled alone.

In a batch a row's lead is half the noise away from what it is alone, and three times the noise at most in some
thousand steps of SmolLM2 (``python -m benchmarks.accuracy.batch_noise``).
"""


@dataclass
class Counts:
    """What the engine did: ablated rows, those verified against a known answer, those decoded, those settled alone."""

    rows: int = 0
    verified: int = 0
    decoded: int = 0
    settled_singly: int = 0

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """While open, count nothing: what is done meanwhile is no part of the sweep."""
        before = vars(self).copy()
        try:
            yield
        finally:
            vars(self).update(before)


class _Watch(LogitsProcessor):  # type: ignore[misc]
    """Keeps the two best logits of every row and step; changes nothing."""

    def __init__(self) -> None:
        self.best: list[Tensor] = []  # a (rows, 2) tensor a step

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.best.append(scores.topk(2, dim=-1).values.float())
        return scores


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends a row at a stop string; end-of-sequence tokens are ``generate``'s own business."""

    def __init__(self, codec: TokenCodec, stop: tuple[str, ...], prompt_length: int) -> None:
        self.codec, self.stop, self.prompt_length = codec, stop, prompt_length

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        start = max(self.prompt_length, input_ids.shape[1] - self.codec.window(self.stop))
        rows = input_ids[:, start:].tolist()
        return torch.tensor([self.codec.ended(row, self.stop) for row in rows], device=input_ids.device)


class PlainPath:
    """Answers queries with ``generate``: any model that transformers can run, at the price of decoding every row."""

    def __init__(self, model: Any, head_map: HeadMap, codec: TokenCodec, memory: Memory, rows: int = 32) -> None:
        self.model, self.head_map, self.codec, self.memory, self.rows = model, head_map, codec, memory, rows
        self.counts = Counts()
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def baseline(self, encoded: Encoded, stop: tuple[str, ...]) -> Baseline:
        """Return the model's own reply, from a batch of one row."""
        (tokens,), best = self._generate(encoded, stop, [CANARY])
        (logprob,) = self.logprobs(encoded, [CANARY], ZERO)
        step = torch.finfo(self.model.dtype).eps
        return Baseline(Reply(tokens, logprob), tuple(best[0, : len(tokens), 0].tolist()), step)

    def answer(self, jobs: Sequence[AblationJob]) -> Iterator[tuple[int, list[Reply]]]:
        """Yield the place of each job with the replies to its targets, in their order."""
        for at, job in enumerate(jobs):
            yield at, self._replies(job)

    def _replies(self, job: AblationJob) -> list[Reply]:
        replies = self._in_chunks(job, partial(self._chunk, job))
        self.counts.rows += len(job.targets)
        self.counts.decoded += len(job.targets)
        return replies

    def expected(self, jobs: Sequence[AblationJob]) -> list[list[float]]:
        """Return the log-probability of each job's expected answer under each of its targets; nothing is answered."""
        return [self._in_chunks(job, partial(self._logprobs, job)) for job in jobs]

    def _logprobs(self, job: AblationJob, targets: Sequence[Target]) -> list[float]:
        return self.logprobs(job.encoded, targets, job.replacement)

    def _in_chunks(self, job: AblationJob, run: Callable[[Sequence[Target]], list[Made]]) -> list[Made]:
        """Return what *run* makes of the job's targets, a batch at a time."""
        parts = [job.targets[start : start + self.rows] for start in range(0, len(job.targets), self.rows)]
        return [made for part in parts for made in run_in_halves(part, run, self.memory)]

    def alone(self, job: AblationJob, target: Target, limit: int | None = None) -> tuple[int, ...]:
        """Return the tokens of one target's reply, the first *limit* of them, from a batch of one row."""
        encoded = job.encoded if limit is None else replace(job.encoded, limit=limit)
        (tokens,), _ = self._generate(encoded, job.stop, [target], job.replacement)
        return tokens

    def resolve_near_tie(
        self, job: AblationJob, target: Target, tokens: tuple[int, ...], near_tie: int
    ) -> tuple[int, ...]:
        """Return *tokens* as the one-row path has them, given that only the first *near_tie* of them can differ."""
        self.counts.settled_singly += 1
        if near_tie < len(tokens) and self.alone(job, target, near_tie) == tokens[:near_tie]:
            return tokens
        return self.alone(job, target)

    def _chunk(self, job: AblationJob, targets: Sequence[Target]) -> list[Reply]:
        rows = [CANARY, *targets]
        tokens, best = self._generate(job.encoded, job.stop, rows, job.replacement)
        noise = noise_of(job.baseline, best[0, :, 0].tolist())
        logprobs = self.logprobs(job.encoded, rows, job.replacement)
        replies = []
        for row, target in enumerate(targets, start=1):
            margins = best[row, : len(tokens[row]), 0] - best[row, : len(tokens[row]), 1]
            near_tie = last_near_tie(margins.tolist(), noise)
            if tokens[0] != job.baseline.reply.tokens:
                near_tie = job.encoded.limit
            said = self.resolve_near_tie(job, target, tokens[row], near_tie) if near_tie else tokens[row]
            replies.append(Reply(said, logprobs[row]))
        return replies

    def _generate(
        self, encoded: Encoded, stop: tuple[str, ...], rows: Sequence[Target], replacement: Replacement = ZERO
    ) -> tuple[list[tuple[int, ...]], Tensor]:
        """Return every row's new tokens and its two best logits a step, ``(rows, steps, 2)``."""
        ids = encoded.prompt.expand(len(rows), -1)  # (rows, tokens)
        watch = _Watch()
        with torch.inference_mode(), self._off(rows, replacement), silence_transformers():
            out = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                logits_processor=[watch],
                **self.arguments(encoded, stop),
            )
        new = out[:, ids.shape[1] :].tolist()  # rows that have ended are padded
        return [self.codec.cut(row, stop) for row in new], torch.stack(watch.best, dim=1).cpu()

    def arguments(self, encoded: Encoded, stop: tuple[str, ...]) -> dict[str, Any]:
        """Return what ``generate`` is told: greedy, the token limit, where answers end."""
        config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=encoded.limit,
            eos_token_id=sorted(self.codec.eos) or None,
            pad_token_id=self.codec.pad,
        )
        stops = [_Stop(self.codec, stop, encoded.prompt.shape[1])] if stop else None
        return {"generation_config": config, "stopping_criteria": stops}

    def _off(self, rows: Sequence[Target], replacement: Replacement) -> Any:
        if all(not target.heads for target in rows):
            return nullcontext()
        return ablate(self.model, self.head_map, rows, replacement)

    def logprobs(self, encoded: Encoded, rows: Sequence[Target], replacement: Replacement) -> list[float]:
        """Return every row's log-probability of the expected answer, in nats."""
        answer = torch.tensor([encoded.answer], device=encoded.prompt.device)  # (1, answer)
        ids = torch.cat([encoded.prompt, answer[:, :-1]], dim=1).expand(len(rows), -1)  # (rows, tokens)
        keep = {"logits_to_keep": answer.shape[1]} if self._keeps_logits else {}
        with torch.inference_mode(), self._off(rows, replacement), silence_transformers():
            logits = self.model(input_ids=ids, use_cache=False, **keep).logits[:, -answer.shape[1] :]
        logs = logits.float().log_softmax(-1)  # (rows, answer, vocabulary)
        return [float(value) for value in logs.gather(-1, answer.expand(len(rows), -1)[..., None]).sum((1, 2))]


def last_near_tie(margins: Sequence[float], noise: float) -> int:
    """Return how many tokens there are up to the last whose two best logits are too close to call; 0 if none is."""
    return next((at for at in range(len(margins), 0, -1) if not abs(margins[at - 1]) > NOISE_MARGIN * noise), 0)


def noise_of(baseline: Baseline, bests: Sequence[float], first: int = 0) -> float:
    """Return how far a canary's *bests*, its best logits from step *first* on, are from those of the baseline alone.

    It is a step of the logits' numbers at least: where a canary of few tokens happens to show none, other rows may.
    """
    alone = baseline.best[first : first + len(bests)]
    least = max(abs(value) for value in alone) * baseline.step
    return max(least, *(abs(a - b) for a, b in zip(alone, bests, strict=False)))
