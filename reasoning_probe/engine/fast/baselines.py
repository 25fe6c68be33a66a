"""Baselines of several queries decoded together, where a row's bits do not depend on its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import KVOrigin
from reasoning_probe.engine.fast.pass_plan import PassPlan
from reasoning_probe.engine.fast.pooled_verification import padded_prompts, token_logprobs
from reasoning_probe.engine.fast.ragged_decoding import run_ragged
from reasoning_probe.engine.numerics import logit_digests
from reasoning_probe.engine.sampling import row_scores
from reasoning_probe.engine.tokenization import Baseline, Completion, EncodedQuery, TokenCodec
from reasoning_probe.engine.transfers import to_device, to_host


@dataclass
class _Row:
    """A baseline that is being decoded: its tokens, and the best logit and the digest of all logits at each."""

    encoded: EncodedQuery
    stop: tuple[str, ...]
    logprob: float
    origin: KVOrigin
    tokens: list[int] = field(default_factory=list)
    best_logits: list[float] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens whose keys and values are known: all but the last."""
        return int(self.encoded.prompt.shape[1]) + len(self.tokens) - 1

    def ended(self, codec: TokenCodec) -> bool:
        """Tell whether the answer is complete."""
        return len(self.tokens) >= self.encoded.limit or codec.ended(self.tokens, self.stop)


def decode_baselines(
    driver: ForwardDriver, codec: TokenCodec, queries: Sequence[tuple[EncodedQuery, tuple[str, ...]]]
) -> list[Baseline]:
    """Return the baseline of each of *queries*, which have stop strings, from one pass and one batch of steps."""
    epsilon = torch.finfo(driver.model.dtype).eps
    rows = _prefilled(driver, codec, queries)
    active = [row for row in rows if not row.ended(codec)]
    if active:
        device = active[0].encoded.prompt.device
        capacity = max(int(row.encoded.prompt.shape[1]) + row.encoded.limit for row in active) + driver.stride
        kv_cache = driver.gather([row.origin for row in active], capacity)
    while active:
        longest = max(row.length for row in active)
        positions = to_device([[row.length] for row in active], device)  # (rows, 1): of its token
        ids = to_device([[row.tokens[-1]] for row in active], device)  # (rows, 1)
        steps: list[Tensor] = []  # tokens, best logits and digests of each step in turn, (rows,)
        for step in range(driver.stride):
            kv_cache.length = longest + step
            logits = run_ragged(driver, ids, kv_cache, positions + step, PassPlan())  # (rows, 1, vocabulary)
            places = [len(row.tokens) + step for row in active]
            samplers = [row.encoded.sampler for row in active]
            scores = row_scores(logits, samplers, places, exact=driver.numerics.invariant)[:, -1]  # (rows, vocabulary)
            best = scores.max(-1)  # (rows,) values and indices
            steps += [best.indices, best.values.float(), logit_digests(scores)]
            ids = best.indices[:, None]  # (rows, 1)
        values = to_host(steps)
        for first in range(0, len(values), 3):
            _append(active, codec, *values[first : first + 3])
        kv_cache.length = longest + driver.stride
        remaining = [index for index, row in enumerate(active) if not row.ended(codec)]
        if len(remaining) < len(active):
            remaining_rows = to_device(remaining, device, torch.long)
            kv_cache.keep_rows({layer: remaining_rows for layer, _, _ in kv_cache.buffers()})
            active = [active[index] for index in remaining]
    return [
        Baseline(Completion(tuple(row.tokens), row.logprob), tuple(row.best_logits), epsilon, tuple(row.digests))
        for row in rows
    ]


def _prefilled(
    driver: ForwardDriver, codec: TokenCodec, queries: Sequence[tuple[EncodedQuery, tuple[str, ...]]]
) -> list[_Row]:
    """Run each prompt with its expected answer, padded on the right; return the rows with their first token."""
    ids = padded_prompts([(encoded.prompt, encoded.answer[:-1]) for encoded, _ in queries], codec.pad)  # (rows, tokens)
    longest, device = ids.shape[1], ids.device
    firsts = to_device([encoded.prompt.shape[1] - 1 for encoded, _ in queries], device)  # (rows,)
    steps = torch.arange(max(len(encoded.answer) for encoded, _ in queries), device=device)  # (answer,)
    positions = (firsts[:, None] + steps).clamp(max=longest - 1)  # (rows, answer)
    kv_cache = driver.new_cache(longest)
    logits = driver.run(ids, kv_cache, PassPlan(logits_at=positions))  # (rows, answer, vocabulary)
    kv_cache.length = longest
    answers = [[*encoded.answer, *[0] * (len(steps) - len(encoded.answer))] for encoded, _ in queries]
    logprobs = token_logprobs(logits, to_device(answers, device))  # (rows, answer)
    samplers = [encoded.sampler for encoded, _ in queries]
    scores = row_scores(logits[:, :1], samplers, [0] * len(queries), exact=driver.numerics.invariant)
    best = scores[:, 0].max(-1)  # (rows,) values and indices
    logprobs, *values = to_host([logprobs, best.indices, best.values.float(), logit_digests(scores[:, 0])])
    buffers = kv_cache.buffers()
    rows = [
        _Row(encoded, stop, sum(of_row[: len(encoded.answer)]), KVOrigin(0, buffers, index, [], 0))
        for index, ((encoded, stop), of_row) in enumerate(zip(queries, logprobs.tolist(), strict=True))
    ]
    _append(rows, codec, *values)
    return rows


def _append(rows: Sequence[_Row], codec: TokenCodec, tokens: Tensor, logits: Tensor, digests: Tensor) -> None:
    """Append each row's next token, unless the row has ended; the tensors are ``(rows,)``."""
    values = zip(tokens.tolist(), logits.tolist(), digests.tolist(), strict=True)
    for row, (token, logit, digest) in zip(rows, values, strict=True):
        if not row.tokens or not row.ended(codec):
            row.tokens.append(token)
            row.best_logits.append(logit)
            row.digests.append(digest)
