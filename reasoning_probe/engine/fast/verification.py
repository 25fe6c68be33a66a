"""Verification: one growing pass shows which targets diverge from the baseline's answer, and where.

Greedy decoding is deterministic. If the arg-max at every position of the baseline's answer is the baseline's token, the
ablated answer *is* the baseline's; if not, it is right up to the first difference. (The idea is that of speculative
decoding: Leviathan et al. 2023, "Fast inference from transformers via speculative decoding".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import NO_ORIGIN, Buffers, KVCache, KVOrigin
from reasoning_probe.engine.fast.pass_plan import LayerInput, PassPlan, joining_plan
from reasoning_probe.engine.numerics import NO_NOISE, logit_digests
from reasoning_probe.engine.plain_path import CANARY, batch_noise, last_near_tie
from reasoning_probe.engine.sampling import row_scores
from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.engine.transfers import to_device, to_host
from reasoning_probe.models.ablation import ZERO, Replacement
from reasoning_probe.models.places import Span
from reasoning_probe.models.targets import Target

WINDOW = 8
"""Answer tokens that are verified at a time; rows are dropped after the window in which they diverge."""

CANARY_INDEX = -1
"""The target index of a canary, which belongs to no target."""


@dataclass
class SharedPrefix:
    """The unablated pass over the tokens that several prompts begin with; empty if they share none."""

    length: int = 0
    kv_cache: KVCache | None = None
    layer_inputs: dict[int, LayerInput] = field(default_factory=dict)


@dataclass
class BaselinePass:
    """The unablated pass over prompt and answer, after their shared prefix; every chunk of the query starts from it.

    ``branch_start`` is the number of the expected answer's tokens up to which the first window predicts them;
    ``branch_inputs`` are the layer inputs of those after it, which continue the prompt in a branch of their own.
    """

    job: AblationJob
    prefix: SharedPrefix
    kv_cache: KVCache
    layer_inputs: dict[int, LayerInput] = field(default_factory=dict)  # of the tokens after the prefix
    branch_inputs: dict[int, LayerInput] = field(default_factory=dict)
    branch_start: int = 0

    @cached_property
    def buffers(self) -> Buffers:
        """The baseline's keys and values, of one row."""
        return self.kv_cache.buffers()


@dataclass
class Row:
    """One target in a pass: its tokens so far, its keys and values, and its last near tie."""

    target: Target
    target_index: int  # in the job's targets; CANARY_INDEX for the canary
    lowest_layer: int  # with a disabled head: below it, keys and values are the baseline's
    entry_layer: int = 0  # in which it joins the pass: its lowest layer, or the lowest of its chunk
    computed_from: int = 0  # the lowest layer in which the pass computes its keys and values
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    near_tie: int = 0  # tokens up to the last that was too close to call; 0 if none was
    replacement: Replacement = field(default=ZERO, repr=False)
    origin: KVOrigin = field(default=NO_ORIGIN, repr=False)  # of its keys and values, once it has diverged

    @property
    def is_canary(self) -> bool:
        """Tell whether nothing is switched off, so that the row shows the noise of batching."""
        return self.target_index == CANARY_INDEX

    @property
    def kv_start(self) -> int:
        """The lowest layer whose keys and values are not the baseline's."""
        return max(self.lowest_layer, self.computed_from)


def run_prefix(driver: ForwardDriver, ids: Tensor) -> SharedPrefix:
    """Run the tokens *ids*, ``(1, tokens)``, that several prompts begin with."""
    if not ids.shape[1]:
        return SharedPrefix()
    kv_cache = driver.new_cache(ids.shape[1], rows=1)
    prefix = SharedPrefix(ids.shape[1], kv_cache)
    driver.run(ids, kv_cache, PassPlan(record=prefix.layer_inputs, logits_at=slice(-1, None)))
    kv_cache.length = prefix.length
    return prefix


def run_baseline(driver: ForwardDriver, job: AblationJob, prefix: SharedPrefix) -> BaselinePass:
    """Run prompt and baseline answer once and record every layer's input."""
    draft, answer = job.draft, job.encoded.answer
    kv_cache = (
        driver.new_cache(job.length, rows=1) if prefix.kv_cache is None else prefix.kv_cache.with_capacity(job.length)
    )
    baseline_pass = BaselinePass(job, prefix, kv_cache)
    device = job.encoded.prompt.device
    draft_ids = to_device([draft[:-1]], device, torch.long)
    ids = torch.cat([job.encoded.prompt, draft_ids], dim=1)  # (1, prompt + answer - 1)
    plan = PassPlan(record=baseline_pass.layer_inputs, logits_at=slice(-1, None))
    driver.run(ids[:, prefix.length :], kv_cache, plan)
    kv_cache.length = ids.shape[1]
    longest = min(len(answer), len(draft))
    common = next((index for index in range(longest) if answer[index] != draft[index]), len(answer))
    baseline_pass.branch_start = min(common, min(WINDOW, len(draft)) - 1, len(answer) - 1)
    if baseline_pass.branch_start < len(answer) - 1:
        kv_cache.branch_length = job.prompt_length + baseline_pass.branch_start
        plan = PassPlan(record=baseline_pass.branch_inputs, logits_at=slice(-1, None))
        driver.run(_branch_ids(baseline_pass), kv_cache, plan)
        kv_cache.branch_length = None
    return baseline_pass


def _branch_ids(baseline_pass: BaselinePass) -> Tensor:
    tokens = baseline_pass.job.encoded.answer[baseline_pass.branch_start : -1]
    return to_device([tokens], baseline_pass.job.encoded.prompt.device)  # (1, tokens)


def in_joining_order(driver: ForwardDriver, rows: Sequence[Row], layer_inputs: dict[int, LayerInput]) -> list[Row]:
    """Return *rows* in the order in which they join a pass; sets their ``entry_layer`` and ``computed_from``."""
    ordered = sorted(rows, key=lambda row: row.lowest_layer)
    for row in ordered:
        # A family that takes no growing batch has all rows from the lowest layer on.
        row.entry_layer = row.lowest_layer if driver.grows_batch else ordered[0].lowest_layer
        row.computed_from = row.entry_layer + (layer_inputs[row.entry_layer].heads is not None)
    return ordered


def canary_row(rows: Sequence[Row]) -> Row:
    """Return the row with nothing switched off that accompanies *rows*."""
    return Row(CANARY, CANARY_INDEX, max(row.lowest_layer for row in rows))


def run_ablated_prefix(driver: ForwardDriver, prefix: SharedPrefix, rows: Sequence[Row]) -> KVCache | None:
    """Run the prefix under the targets of *rows*; return the keys and values from which all its queries continue.

    ``None`` where there is none, or where nothing is off in it: then they continue from the clean keys and values.
    """
    if prefix.kv_cache is None or not rows[0].replacement.positions.covers(prefix.length):
        return None
    ordered = in_joining_order(driver, [*rows, canary_row(rows)], prefix.layer_inputs)
    kv_cache = driver.new_cache(prefix.length)
    device = prefix.layer_inputs[ordered[0].entry_layer].hidden.device
    dummy_rows = 1 if driver.grows_batch else len(ordered)
    ids = torch.zeros(dummy_rows, prefix.length, dtype=torch.long, device=device)
    driver.run(ids, kv_cache, _plan(ordered, prefix.layer_inputs, slice(-1, None), (0, prefix.length)))
    kv_cache.length = prefix.length
    return kv_cache


def _plan(
    rows: Sequence[Row], layer_inputs: dict[int, LayerInput], logits_at: slice, span: Span | None = None
) -> PassPlan:
    ablated = [(row.target, row.replacement) for row in rows]
    device = layer_inputs[rows[0].entry_layer].hidden.device
    return joining_plan(ablated, [row.entry_layer for row in rows], layer_inputs, device, logits_at, span)


def clean_cache(
    driver: ForwardDriver, rows: Sequence[Row], origins: Sequence[int], baseline: Buffers, length: int, capacity: int
) -> KVCache:
    """Return the cache with which *rows*, in joining order, start from the first *length* tokens of the clean pass.

    Row *i* takes its keys and values from row ``origins[i]`` of the *baseline*.
    """
    kv_cache = driver.new_cache(capacity)
    for layer, *pair in baseline if length else ():
        joined = [origin for row, origin in zip(rows, origins, strict=True) if row.computed_from <= layer]
        if joined:
            index = to_device(joined, pair[0].device, torch.long)  # (joined,)
            kv_cache.layers[layer].set_buffers(*(kv_cache.filled(buffer, index, length) for buffer in pair))
    kv_cache.length = length
    return kv_cache


class RowChunk:
    """A few targets of neighbouring layers, verified together from the baseline's input of the lowest layer."""

    def __init__(
        self,
        driver: ForwardDriver,
        baseline_pass: BaselinePass,
        rows: Sequence[Row],
        prefix_cache: KVCache | None = None,
    ) -> None:
        self.driver, self.baseline_pass = driver, baseline_pass
        self.rows = in_joining_order(driver, [*rows, canary_row(rows)], baseline_pass.layer_inputs)
        length = baseline_pass.job.length
        if prefix_cache is not None:
            self.kv_cache, self.start = prefix_cache.with_capacity(length), baseline_pass.prefix.length
        else:
            origins, self.start = [0] * len(self.rows), baseline_pass.job.start
            self.kv_cache = clean_cache(driver, self.rows, origins, baseline_pass.buffers, self.start, length)
        self.noise = NO_NOISE
        self.canary_diverged = False

    def verify(self) -> list[Row]:
        """Return the rows that diverge from the baseline's answer, each up to its difference; the others equal it."""
        diverged: list[Row] = []
        draft, prompt = self.baseline_pass.job.draft, self.baseline_pass.job.prompt_length
        first = 0
        while first < len(draft):
            window = draft[first : first + WINDOW]
            # The token before the window is fed with it: its logits predict the window's first token.
            start = prompt + first - 1 if first else self.start
            end = prompt + first + len(window) - 1
            logits = self._run(start, end, len(window))  # (rows, window, vocabulary)
            logprobs = self._answer_logprobs(logits) if first == 0 else None
            diverging = self._compare(logits, window, first, logprobs)
            self.kv_cache.length = end
            first += len(window)
            if diverging:
                diverged += diverging
                self._drop(diverging)
                if all(row.is_canary for row in self.rows):
                    break
        if self.canary_diverged:
            for row in [*self.rows, *diverged]:
                row.near_tie = self.baseline_pass.job.encoded.limit
        return [row for row in diverged if not row.is_canary]

    def _run(self, start: int, end: int, predicted: int) -> Tensor:
        """Run positions *start* to *end* and return the last *predicted* logits, ``(rows, predicted, vocabulary)``."""
        prefix_length = self.baseline_pass.prefix.length
        index = slice(None), slice(start - prefix_length, end - prefix_length)
        inputs = self.baseline_pass.layer_inputs
        window_inputs = {row.entry_layer: inputs[row.entry_layer].select(index) for row in self.rows}
        plan = _plan(self.rows, window_inputs, slice(-predicted, None), (start, end))
        return self.driver.run(self._dummy_ids(end - start), self.kv_cache, plan)

    def _dummy_ids(self, tokens: int) -> Tensor:
        """Return token ids whose embeddings no layer uses, ``(rows or 1, tokens)``: one row if masks broadcast."""
        rows = 1 if self.driver.grows_batch else len(self.rows)
        return self.baseline_pass.job.encoded.prompt.new_zeros(rows, tokens)

    def _compare(self, logits: Tensor, window: Sequence[int], first: int, logprobs: Tensor | None) -> list[Row]:
        """Return the rows whose arg-max differs from *window* somewhere, and set every row's tokens up to there.

        *logprobs* of the expected answer, ``(rows,)``, are set too. This is a window's only wait for the device.
        """
        samplers = [self.baseline_pass.job.encoded.sampler] * len(self.rows)
        logits = row_scores(logits, samplers, [first] * len(self.rows), exact=self.driver.numerics.invariant)
        canaries = [index for index, row in enumerate(self.rows) if row.is_canary]
        extra = [logit_digests(logits[index]) for index in canaries]  # (window,) each
        extra += [] if logprobs is None else [logprobs]
        wanted = to_device(window, logits.device).expand(logits.shape[0], -1)  # (rows, window)
        on_host = to_host([*compared_with(wanted, logits), *extra])
        margins, rivals, best_logits, leads_of_others, *others = (tensor.tolist() for tensor in on_host)
        if logprobs is not None:
            for row, value in zip(self.rows, others.pop(), strict=True):
                row.logprob = value
        for canary, digests in zip(canaries, others, strict=True):
            baseline = self.baseline_pass.job.baseline
            self.noise = max(self.noise, batch_noise(baseline, best_logits[canary], digests, first))
        diverging = []
        buffers, baseline_buffers = self.kv_cache.buffers(), self.baseline_pass.buffers
        for index, row in enumerate(self.rows):
            tokens, leads, diverges = read_tokens(window, margins[index], rivals[index], leads_of_others[index])
            row.tokens = [*self.baseline_pass.job.draft[:first], *tokens]
            if diverges:
                diverging.append(row)
                row.origin = KVOrigin(row.kv_start, buffers, index, baseline_buffers, 0)
                self.canary_diverged |= row.is_canary
            near_tie = last_near_tie(leads, self.noise)
            row.near_tie = first + near_tie if near_tie else row.near_tie
        return diverging

    def _drop(self, dropped: list[Row]) -> None:
        """Remove the rows *dropped* from the chunk and from its cache."""
        ids = {id(row) for row in dropped}
        remaining = [index for index, row in enumerate(self.rows) if id(row) not in ids]
        computed_from = [row.computed_from for row in self.rows]
        device = self.baseline_pass.job.encoded.prompt.device
        rows_by_layer = {
            layer: to_device([i for i in remaining if computed_from[i] <= layer], device, torch.long)
            for layer, _, _ in self.kv_cache.buffers()
        }
        self.kv_cache.keep_rows(rows_by_layer)
        self.rows = [self.rows[index] for index in remaining]

    def _answer_logprobs(self, logits: Tensor) -> Tensor:
        """Return every row's log-probability of the expected answer, ``(rows,)``.

        The answer may share only its beginning with the draft.
        """
        baseline_pass = self.baseline_pass
        parts = [logits[:, : baseline_pass.branch_start + 1]]  # (rows, branch_start + 1, vocabulary)
        if baseline_pass.branch_inputs:
            self.kv_cache.branch_length = baseline_pass.job.prompt_length + baseline_pass.branch_start
            inputs = {row.entry_layer: baseline_pass.branch_inputs[row.entry_layer] for row in self.rows}
            dummy_ids = self._dummy_ids(_branch_ids(baseline_pass).shape[1])
            plan = _plan(self.rows, inputs, slice(None))
            parts.append(self.driver.run(dummy_ids, self.kv_cache, plan))  # (rows, branch, vocabulary)
            self.kv_cache.branch_length = None
        total = torch.zeros((), device=logits.device)
        first = 0
        for part in parts:
            answer = to_device(baseline_pass.job.encoded.answer[first : first + part.shape[1]], part.device)
            wanted = answer.expand(part.shape[0], -1)[..., None]  # (rows, tokens, 1)
            answer_logits = part.float().gather(-1, wanted)[..., 0]  # (rows, tokens)
            total = total + (answer_logits - part.float().logsumexp(-1)).sum(-1)  # (rows,)
            first += part.shape[1]
        return total


def token_margins(wanted_logits: Tensor, wanted: Tensor, rival: Any) -> Tensor:
    """Return the lead of each *wanted* token over the best other one, ``(rows, tokens)``; negative where it lost.

    Of equal logits, greedy decoding takes the token with the lower id. *rival* holds values and indices, ``(rows,
    tokens)`` each, of the best other tokens.
    """
    margin: Tensor = (wanted_logits - rival.values).float()  # (rows, tokens)
    loses = (margin == 0) & (rival.indices < wanted)  # (rows, tokens)
    return margin.masked_fill(loses, -torch.finfo(margin.dtype).tiny)


def compared_with(wanted: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return how *logits* compare with the *wanted* tokens, on the device; overwrites *logits*.

    *wanted* is ``(rows, tokens)``, *logits* ``(rows, tokens, vocabulary)``. The result: the lead of each wanted token
    over the best other one, that token, and the best logit of all, ``(rows, tokens)`` each; and the lead of the best
    other token over the second other one where a row first loses a wanted token, ``(rows,)``.
    """
    wanted_logits = logits.gather(-1, wanted[..., None])[..., 0]  # (rows, tokens)
    row, token = (torch.arange(size, device=logits.device) for size in wanted.shape)  # (rows,), (tokens,)
    logits[row[:, None], token, wanted] = float("-inf")  # scatter_ would copy all of it
    rival = logits.max(-1)  # (rows, tokens) values and indices, of the other tokens
    margins = token_margins(wanted_logits, wanted, rival)  # (rows, tokens); negative where the wanted token lost
    lost = (margins < 0).int().argmax(-1)  # (rows,): the first position
    second = logits[row, lost].scatter_(-1, rival.indices[row, lost][:, None], float("-inf")).amax(-1)  # (rows,)
    lead = rival.values[row, lost].float() - second.float()  # (rows,)
    return margins, rival.indices, torch.maximum(wanted_logits, rival.values).float(), lead


def read_tokens(
    wanted: Sequence[int], margins: Sequence[float], rivals: Sequence[int], lead_of_other: float
) -> tuple[list[int], list[float], bool]:
    """Return a row's tokens up to the first that is not *wanted*, the lead of each, and whether there is one.

    *margins* are the leads of the wanted tokens over the best other ones, the *rivals*; *lead_of_other* is the lead
    of the rival over the second other token where the first wanted token lost.
    """
    lost = next((index for index in range(len(wanted)) if margins[index] < 0), None)
    if lost is None:
        return list(wanted), list(margins[: len(wanted)]), False
    return [*wanted[:lost], rivals[lost]], [*margins[:lost], min(-margins[lost], lead_of_other)], True
