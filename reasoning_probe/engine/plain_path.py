"""The plain path: transformers' own ``generate`` over rows that differ only in what is switched off.

All rows of a batch have the same prompt, so there is no padding whose handling could differ between families. Every
batch includes one row with nothing switched off, the canary. It must repeat the baseline, and the distance of its
logits from those of the baseline, which ran alone, is the noise of batching. Where the two best logits of a row are
closer than a multiple of that noise, the row runs alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, StoppingCriteria

from reasoning_probe.engine.memory import Memory, run_in_halves
from reasoning_probe.engine.numerics import NO_NOISE, Numerics, logit_digests
from reasoning_probe.engine.pace import Pace, Pausable
from reasoning_probe.engine.sampling import Sampler
from reasoning_probe.engine.stop_checks import SUPPORTED, checked_every
from reasoning_probe.engine.tokenization import AblationJob, Baseline, Completion, EncodedQuery, TokenCodec
from reasoning_probe.engine.transfers import STRIDE, to_device, to_host
from reasoning_probe.models.ablation import ZERO, Replacement, ablate
from reasoning_probe.models.generation import GenerationRules, rules_of, settings_aside
from reasoning_probe.models.head_edits import HeadEdit, edited_heads
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.hooks import cache_argument
from reasoning_probe.models.targets import Target
from reasoning_probe.utils.logging import silence_transformers
from reasoning_probe.utils.target_names import BASELINE

Result = TypeVar("Result")

CANARY = Target(BASELINE, frozenset())
SETTLING = Numerics()
NOISE_MARGIN = 4.0
"""A row whose two best logits are within this multiple of the noise runs alone.

In a batch, a row's lead differs from its lead alone by about half the noise, and by three times the noise at most
in some thousand steps of SmolLM2 (``python -m benchmarks.accuracy.batch_noise``).
"""


@dataclass
class Counts(Pausable):
    """What the engine did: ablated rows, and how many were verified, decoded, and settled by running alone."""

    rows: int = 0
    verified: int = 0
    decoded: int = 0
    settled_singly: int = 0
    canaries: int = 0  # rows with nothing switched off that ran in a batch
    canaries_changed: int = 0  # those whose answer was not the baseline's
    unequal_batches: int = 0  # batches of invariant numerics whose canary's logits were not the baseline's
    sampled: int = 0  # responses that were compared with those of plain ``generate``
    sampled_equal: int = 0  # those that were the same

    def add_canary(self, *, changed: bool, noise: float) -> None:
        """Count a canary, whether noise *changed* its answer, and whether the *noise* of its batch must not be."""
        self.canaries += 1
        self.canaries_changed += changed
        self.unequal_batches += math.isinf(noise)


class _TopLogits(LogitsProcessor):  # type: ignore[misc]
    """Records the two best logits of every row and step, and the digests of the first row's; changes nothing."""

    def __init__(self) -> None:
        self.best: list[Tensor] = []  # a (rows, 2) tensor for each step
        self.digests: list[Tensor] = []  # of the first row

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.best.append(scores.topk(2, dim=-1).values.float())  # (rows, 2)
        self.digests.append(logit_digests(scores[0]))
        return scores


class _Sampled(LogitsProcessor):  # type: ignore[misc]
    """Adds the noise of a sample to the logits, whose arg-max is then drawn."""

    def __init__(self, sampler: Sampler, prompt_length: int, *, exact: bool) -> None:
        self.sampler, self.prompt_length, self.exact = sampler, prompt_length, exact

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        first = input_ids.shape[1] - self.prompt_length
        return self.sampler.scores(scores[:, None], first, exact=self.exact)[:, 0]  # (rows, vocabulary)


class _Leaders(LogitsProcessor):  # type: ignore[misc]
    """Lets every row say what another one, its leader, would say."""

    def __init__(self, leaders: Sequence[int]) -> None:
        self.leaders = list(leaders)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        return scores[self.leaders]


class _StopStrings(StoppingCriteria):  # type: ignore[misc]
    """Ends a row at a stop string; ``generate`` itself handles end-of-sequence tokens."""

    def __init__(self, codec: TokenCodec, stop: tuple[str, ...], prompt_length: int) -> None:
        self.codec, self.stop, self.prompt_length = codec, stop, prompt_length

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        start = max(self.prompt_length, input_ids.shape[1] - self.codec.stop_window(self.stop))
        rows = input_ids[:, start:].tolist()
        return torch.tensor([self.codec.ended(row, self.stop) for row in rows], device=input_ids.device)  # (rows,)


class PlainPath:
    """Answers queries with ``generate``: any model that transformers can run, at the price of decoding every row."""

    def __init__(
        self,
        model: Any,
        head_map: HeadMap,
        codec: TokenCodec,
        memory: Memory,
        rows: int = 32,
        rules: GenerationRules | None = None,
        numerics: Numerics = SETTLING,
    ) -> None:
        self.model, self.head_map, self.codec, self.memory, self.rows = model, head_map, codec, memory, rows
        self.rules = rules_of(model) if rules is None else rules
        self.numerics = numerics
        self.counts = Counts()
        self.pace = Pace()
        self._checks_rarely = SUPPORTED and codec.device.type == "cuda"
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    def baseline(self, encoded: EncodedQuery, stop: tuple[str, ...]) -> Baseline:
        """Return the model's own completion, from a batch of one row."""
        (tokens,), best, digests = self._generate(encoded, stop, [CANARY])
        (logprob,) = self.logprobs(encoded, [CANARY], ZERO)
        epsilon = torch.finfo(self.model.dtype).eps
        best_logits = tuple(best[0, : len(tokens), 0].tolist())
        exact = tuple(digests[: len(tokens)]) if self.numerics.invariant else ()
        tolerance = math.inf if encoded.sampler is None else encoded.sampler.tolerance
        return Baseline(Completion(tokens, logprob), best_logits, epsilon, exact, tolerance)

    def baselines(self, queries: Sequence[tuple[EncodedQuery, tuple[str, ...]]]) -> list[Baseline]:
        """Return the baseline of each of *queries*, which have stop strings, one after another."""
        return [self.baseline(encoded, stop) for encoded, stop in queries]

    def answer(self, jobs: Sequence[AblationJob]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield the index of each job with the completions of its targets, in their order."""
        for index, job in enumerate(jobs):
            yield index, self._completions(job)

    def _completions(self, job: AblationJob) -> list[Completion]:
        completions = self._in_batches(job.targets, partial(self._complete_batch, job))
        self.counts.rows += len(job.targets)
        self.counts.decoded += len(job.targets)
        return completions

    def answer_logprobs(
        self, encoded: EncodedQuery, targets: Sequence[Target], replacement: Replacement
    ) -> list[float]:
        """Return the log-probability of the expected answer under each of *targets*; decodes nothing."""
        return self._in_batches(targets, lambda batch: self.logprobs(encoded, batch, replacement))

    def _in_batches(self, targets: Sequence[Target], run: Callable[[Sequence[Target]], list[Result]]) -> list[Result]:
        """Return the results of *run* for *targets*, one batch at a time."""
        batches = [targets[start : start + self.rows] for start in range(0, len(targets), self.rows)]
        return [result for batch in batches for result in run_in_halves(batch, run, self.memory)]

    def generate_alone(self, job: AblationJob, target: Target, limit: int | None = None) -> tuple[int, ...]:
        """Return the tokens of one target's completion, at most *limit* of them, from a batch of one row."""
        encoded = job.encoded if limit is None else replace(job.encoded, limit=limit)
        (tokens,), _, _ = self._generate(encoded, job.stop, [target], job.replacement)
        return tokens

    def resolve_near_tie(
        self, job: AblationJob, target: Target, tokens: tuple[int, ...], near_tie: int
    ) -> tuple[int, ...]:
        """Return *tokens* as a batch of one row has them, given that only the first *near_tie* of them can differ."""
        self.counts.settled_singly += 1
        if near_tie < len(tokens) and self.generate_alone(job, target, near_tie) == tokens[:near_tie]:
            return tokens
        return self.generate_alone(job, target)

    def _complete_batch(self, job: AblationJob, targets: Sequence[Target]) -> list[Completion]:
        rows = [CANARY, *targets]
        tokens, best, digests = self._generate(job.encoded, job.stop, rows, job.replacement)  # best: (rows, steps, 2)
        noise = batch_noise(job.baseline, best[0, :, 0].tolist(), digests)
        changed = tokens[0] != job.baseline.completion.tokens
        self.counts.add_canary(changed=changed, noise=noise)
        logprobs = self.logprobs(job.encoded, rows, job.replacement)
        completions = []
        for row, target in enumerate(targets, start=1):
            margins = best[row, : len(tokens[row]), 0] - best[row, : len(tokens[row]), 1]  # (tokens,)
            near_tie = last_near_tie(margins.tolist(), noise)
            if changed:
                near_tie = job.encoded.limit
            settles = near_tie and job.resolves_near_ties
            resolved = self.resolve_near_tie(job, target, tokens[row], near_tie) if settles else tokens[row]
            completions.append(Completion(resolved, logprobs[row]))
        return completions

    def _generate(
        self, encoded: EncodedQuery, stop: tuple[str, ...], rows: Sequence[Target], replacement: Replacement = ZERO
    ) -> tuple[list[tuple[int, ...]], Tensor, list[int]]:
        """Return every row's tokens, its two best logits at each step, ``(rows, steps, 2)``, and row 0's digests."""
        with self._ablated(rows, replacement):
            return self._hooked_generate(encoded, stop, len(rows), [])

    def generate_in_step(
        self, encoded: EncodedQuery, stop: tuple[str, ...], leaders: Sequence[int]
    ) -> list[tuple[int, ...]]:
        """Return every row's tokens under the hooks that are set; row *i* says what row ``leaders[i]`` would say.

        The rows may have prompts of their own, of one length.
        """
        return self._hooked_generate(encoded, stop, len(leaders), [_Leaders(leaders)])[0]

    def _hooked_generate(
        self, encoded: EncodedQuery, stop: tuple[str, ...], rows: int, processors: Sequence[LogitsProcessor]
    ) -> tuple[list[tuple[int, ...]], Tensor, list[int]]:
        ids = encoded.prompt.expand(rows, -1)  # (rows, tokens)
        top_logits = _TopLogits()
        if encoded.sampler is not None:
            exact = rows == 1 or self.numerics.invariant
            processors = [_Sampled(encoded.sampler, ids.shape[1], exact=exact), *processors]
        arguments = self.generate_arguments(encoded, stop)
        if self.numerics.invariant:  # the cache of a sliding window drops keys, which moves the others in their tiles
            arguments[cache_argument(self.model)] = DynamicCache()
        alone = settings_aside(self.model, arguments["generation_config"])
        with (
            torch.inference_mode(),
            silence_transformers(),
            alone,
            self.numerics.running(),
            self._rare_checks(encoded, stop),
        ):
            output = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                logits_processor=[*processors, top_logits],
                **arguments,
            )
        best = torch.stack(top_logits.best, dim=1)  # (rows, steps, 2)
        new, best, digests = to_host([output[:, ids.shape[1] :], best, torch.stack(top_logits.digests)])
        # rows that have ended are padded, or decoded past their end
        return [self.codec.cut(row, stop) for row in new.tolist()], best, digests.tolist()

    def _rare_checks(self, encoded: EncodedQuery, stop: tuple[str, ...]) -> AbstractContextManager[None]:
        """Return a context in which ``generate`` reads its tokens once in :data:`STRIDE` steps, on a GPU."""
        if not self._checks_rarely:
            return nullcontext()

        def ended(row: Sequence[int]) -> bool:
            return len(self.codec.cut(row, stop)) < len(row) or self.codec.ended(row, stop)

        return checked_every(STRIDE, encoded.limit, ended)

    def generate_arguments(self, encoded: EncodedQuery, stop: tuple[str, ...]) -> dict[str, Any]:
        """Return the arguments of ``generate``: greedy decoding, the token limit, where answers end, the rules."""
        config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=encoded.limit,
            eos_token_id=sorted(self.codec.eos) or None,
            pad_token_id=self.codec.pad,
            **self.rules.arguments,
        )
        rare = self._checks_rarely
        criteria = [_StopStrings(self.codec, stop, encoded.prompt.shape[1])] if stop and not rare else None
        return {"generation_config": config, "stopping_criteria": criteria}

    def _ablated(self, rows: Sequence[Target], replacement: Replacement) -> Any:
        if all(not target.heads for target in rows):
            return nullcontext()
        return ablate(self.model, self.head_map, rows, replacement)

    def logprobs(self, encoded: EncodedQuery, rows: Sequence[Target], replacement: Replacement) -> list[float]:
        """Return every row's log-probability of the expected answer, in nats."""
        with self._ablated(rows, replacement):
            return self.hooked_logprobs(encoded, len(rows))

    def edited_changes(self, encoded: EncodedQuery, edit: HeadEdit) -> list[float]:
        """Return how the log-probability of the expected answer changes in each row of *edit*, in nats."""

        def run(rows: Sequence[int]) -> list[float]:
            part = edit.part(slice(rows[0], rows[-1] + 1))
            with edited_heads(self.model, part):
                return self.hooked_logprobs(encoded, len(part))

        baseline = self.hooked_logprobs(encoded, 1)[0]
        return [logprob - baseline for logprob in run_in_halves(range(len(edit)), run, self.memory)]

    def hooked_logprobs(self, encoded: EncodedQuery, rows: int) -> list[float]:
        """Return the log-probability of the expected answer in each of so many *rows*, under the hooks that are set."""
        answer = to_device([encoded.answer], encoded.prompt.device)  # (1, answer)
        ids = torch.cat([encoded.prompt, answer[:, :-1]], dim=1).expand(rows, -1)  # (rows, tokens)
        logprobs = self.hooked_logits(ids, answer.shape[1]).log_softmax(-1)  # (rows, answer, vocabulary)
        wanted = answer.expand(rows, -1)[..., None]  # (rows, answer, 1)
        values: list[float] = logprobs.gather(-1, wanted).sum((1, 2)).tolist()  # (rows,)
        return values

    def hooked_logits(self, ids: Tensor, last: int) -> Tensor:
        """Return the logits at the *last* positions of *ids*, ``(rows, tokens)``, under the hooks that are set.

        ``(rows, last, vocabulary)``, as float32.
        """
        keep = {"logits_to_keep": last} if self._keeps_logits else {}
        with torch.inference_mode(), silence_transformers(), self.numerics.running():
            logits: Tensor = self.model(input_ids=ids, use_cache=False, **keep).logits[:, -last:]
        return logits.float()


def last_near_tie(margins: Sequence[float], noise: float) -> int:
    """Return how many tokens there are up to the last whose two best logits are too close to call; 0 if none is."""
    return next((end for end in range(len(margins), 0, -1) if not abs(margins[end - 1]) > NOISE_MARGIN * noise), 0)


def batch_noise(baseline: Baseline, best_logits: Sequence[float], digests: Sequence[int] = (), first: int = 0) -> float:
    """Return the largest distance of a canary's *best_logits*, from token *first* on, from the baseline's.

    It is at least the spacing of floating-point numbers at the logits' size: a canary of few tokens may happen to show
    no noise where other rows have some. Where the baseline has digests, the canary's must be equal: then there is no
    noise, and otherwise it is infinite.
    """
    if baseline.digests:
        alone = baseline.digests[first : first + len(digests)]
        return NO_NOISE if list(alone) == list(digests[: len(alone)]) else math.inf
    logits_alone = baseline.best_logits[first : first + len(best_logits)]
    least = max(abs(logit) for logit in logits_alone) * baseline.epsilon
    noise = max(least, *(abs(a - b) for a, b in zip(logits_alone, best_logits, strict=False)))
    return noise if NOISE_MARGIN * noise <= baseline.tolerance else math.inf
