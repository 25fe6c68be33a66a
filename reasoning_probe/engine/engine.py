"""The local engine: answers requests, queries with the targets to switch off, on one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.fast.path import FastPath, fast_path
from reasoning_probe.engine.memory import Memory
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.protocol import Analysis, Result, SweepRequest, Timing
from reasoning_probe.engine.tokenization import (
    AblationJob,
    Baseline,
    Completion,
    ContextError,
    EncodedQuery,
    TokenCodec,
)
from reasoning_probe.models.ablation import REFERENCE_PROMPTS, ZERO, Replacement, donor_of, donor_output, mean_output
from reasoning_probe.models.generation import GenerationRules
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import BASELINE

TOGETHER = 32
"""So many queries are taken at a time: they may share passes and the beginning of their prompts."""


@dataclass
class LocalEngine:
    """Answers requests on one model.

    ``references`` holds, by dataset, the prompts that ``mean`` averages over and ``resample`` draws its donors from;
    an answer must not depend on which of a dataset's items were selected, so they are all of its prompts that fit
    the model's context.
    """

    model: Any
    tokenizer: Any
    head_map: HeadMap
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    memory_cap: int | None = None
    seed: int = 0  # of the donors that ``resample`` draws
    baselines: dict[Query, Baseline] | None = None  # a store of known ones, None for none
    chats: frozenset[str] = frozenset()  # datasets whose prompts hold the tokenizer's special tokens already
    guard: Callable[[], None] = lambda: None  # raises where answers since its last call cannot be trusted
    rules: GenerationRules | None = None  # how the model's settings change greedy answers; None: as they say

    def __post_init__(self) -> None:
        self.codec = TokenCodec(self.model, self.tokenizer)
        self.references = self.codec.within_context(self.references, self.chats)
        self.memory = Memory(self.codec.device, self.memory_cap)
        self.plain = PlainPath(self.model, self.head_map, self.codec, self.memory, rules=self.rules)
        self.counts = self.plain.counts
        self.path_name, self.why = "", ""
        self._path: FastPath | PlainPath | None = None
        self._means: dict[str, Replacement] = {}

    @property
    def path(self) -> FastPath | PlainPath:
        """The path that answers ablated queries: the fast one where the model passes its self-check."""
        if self._path is None:
            started = time.perf_counter()
            fast, self.why = None, ""
            if rules := self.plain.rules.rules:  # short prompts need not show what they do, so they are not tried
                self.why = f"the model's generation settings change its answers: {', '.join(sorted(rules))}"
            else:
                fast, self.why = fast_path(self.model, self.head_map, self.codec, self.plain, self.memory)
            self._path, self.path_name = (self.plain, "plain") if fast is None else (fast, "fast")
            self.timing.proof_s += time.perf_counter() - started
        return self._path

    def facts(self) -> dict[str, Any]:
        """Return what the engine did, in plain values: rows, how they were settled, which path, the memory peak."""
        return asdict(self.counts) | {"path": self.path_name, "why": self.why, "peak_bytes": self.memory.peak()}

    def run(self, requests: Sequence[SweepRequest]) -> Iterator[list[Answer]]:
        """Yield the answers to *requests* as they are found: each query's baseline, and later those of its targets.

        A query whose prompt does not fit the model's context yields an empty list; ``skipped`` says why.
        """
        for first in range(0, len(requests), TOGETHER):
            jobs: list[AblationJob] = []
            queries: list[tuple[Query, EncodedQuery, str]] = []  # of each job, with its tokens and its ablation
            for request in requests[first : first + TOGETHER]:
                query = request.query
                try:
                    encoded = self.codec.encode(query)
                except ContextError as error:
                    self.skipped.append({"dataset": query.dataset, "item": query.item_id, "reason": str(error)})
                    yield []
                    continue
                baseline, by_ablation = self._jobs(request, encoded)
                self.guard()
                yield [self._answer(query, encoded, BASELINE, None, baseline.completion)]
                jobs += by_ablation.values()
                queries += [(query, encoded, ablation) for ablation in by_ablation]
            for index, replies in self._timed(jobs):
                query, encoded, ablation = queries[index]
                self.guard()
                yield [
                    self._answer(query, encoded, target.name, ablation, reply)
                    for target, reply in zip(jobs[index].targets, replies, strict=True)
                ]

    def measure(self, analysis: Analysis[Result]) -> Result:
        """Return the result of *analysis* on this model."""
        self.guard()
        return analysis.measure(self)

    @contextmanager
    def aside(self, timing: str) -> Iterator[None]:
        """While open, count nothing but the seconds, and those under *timing*."""
        with self.timing.only(timing), self.counts.paused():
            yield

    def close(self) -> None:
        """Do nothing: the model is the caller's."""

    def _jobs(self, request: SweepRequest, encoded: EncodedQuery) -> tuple[Baseline, dict[str, AblationJob]]:
        """Answer the baseline, and make a job of the targets of each ablation."""
        started = time.perf_counter()
        stop = request.query.generation.stop
        baseline = (self.baselines or {}).get(request.query) or self.plain.baseline(encoded, stop)
        if self.baselines is not None:
            self.baselines[request.query] = baseline
        self.timing.baseline_s += time.perf_counter() - started
        jobs = {}
        for ablation in dict.fromkeys(ablation for _, ablation in request.ablated):
            targets = tuple(target for target, using in request.ablated if using == ablation)
            jobs[ablation] = AblationJob(
                encoded,
                stop,
                baseline,
                targets,
                self.replacement(ablation, request.query.dataset, request.query.prompt),
            )
        return baseline, jobs

    def _timed(self, jobs: Sequence[AblationJob]) -> Iterator[tuple[int, list[Completion]]]:
        """Yield the replies to each job with its index; storing and the path's self-check are not part of the sweep."""
        if not jobs:
            return
        replies = self.path.answer(jobs)
        while True:
            started = time.perf_counter()
            of_job = next(replies, None)
            self.timing.sweep_s += time.perf_counter() - started
            if of_job is None:
                return
            yield of_job

    def replacement(self, ablation: str, dataset: str, prompt: str) -> Replacement:
        """Return what stands in for heads that are off while *prompt*, of *dataset*, is answered."""
        if ablation == "zero":
            return ZERO
        prompts = list(self.references.get(dataset, ())) or [prompt]
        if ablation == "mean":
            if dataset not in self._means:
                ids = [self.prompt_ids(text, dataset not in self.chats) for text in prompts[:REFERENCE_PROMPTS]]
                self._means[dataset] = mean_output(self.model, self.head_map, ids)
            return self._means[dataset]
        donor = donor_of(prompt, prompts, self.seed)
        return donor_output(self.model, self.head_map, self.prompt_ids(donor, dataset not in self.chats))

    def prompt_ids(self, prompt: str, special_tokens: bool = True) -> Any:
        """Return *prompt* in tokens, ``(1, tokens)``, on the model's device."""
        return torch.tensor([self.codec.ids(prompt, special_tokens)], device=self.codec.device)

    def _answer(
        self, query: Query, encoded: EncodedQuery, target: str, ablation: str | None, reply: Completion
    ) -> Answer:
        stop = query.generation.stop
        return Answer(
            query=query,
            target=target,
            ablation=ablation,
            response=self.codec.text(reply.tokens, stop),
            truncated=self.codec.truncated(reply.tokens, stop, encoded.limit),
            answer_logprob=reply.logprob,
        )
