"""The local engine: answers requests, queries with the targets to switch off, on one model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from reasoning_probe.data.items import Arm
from reasoning_probe.data.places import ALL, PlaceError
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine import BATCH
from reasoning_probe.engine.fast.choice import fast_path
from reasoning_probe.engine.fast.edited_heads import edited_changes
from reasoning_probe.engine.fast.forward import Unsupported
from reasoning_probe.engine.fast.path import PACKED_SHARE, FastPath
from reasoning_probe.engine.memory import Memory, enough_for
from reasoning_probe.engine.numerics import choose_numerics
from reasoning_probe.engine.plain_path import CANARY, PlainPath
from reasoning_probe.engine.protocol import Analysis, Result, SweepRequest, Timing
from reasoning_probe.engine.tokenization import (
    AblationJob,
    Baseline,
    Completion,
    ContextError,
    EncodedQuery,
    TokenCodec,
)
from reasoning_probe.models.ablation import (
    REFERENCE_PROMPTS,
    ZERO,
    Replacement,
    Values,
    clean_output,
    donor_of,
    donor_output,
    mean_output,
)
from reasoning_probe.models.generation import GenerationRules
from reasoning_probe.models.head_edits import HeadEdit
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.places import AblatedPositions, positions_of
from reasoning_probe.models.targets import PATCHES, Target
from reasoning_probe.results.answer import Answer
from reasoning_probe.results.outcome import BASELINE

SAMPLE, SAMPLED_OF = 8, 32
"""At most so many responses of invariant numerics, one of so many, are compared with those of plain ``generate``."""

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
    wanted_numerics: str = "auto"  # one of ``NUMERICS``
    where: str = ALL  # the positions at which heads are off

    def __post_init__(self) -> None:
        self.codec = TokenCodec(self.model, self.tokenizer)
        self.references = self.codec.within_context(self.references, self.chats)
        self.memory = Memory(self.codec.device, self.memory_cap, enough_for(self.model))
        started = time.perf_counter()
        packing_bytes = int(PACKED_SHARE * self.memory.budget)
        self.numerics = choose_numerics(self.model, self.wanted_numerics, packing_bytes)
        self.timing.proof_s += time.perf_counter() - started
        self.plain = PlainPath(
            self.model, self.head_map, self.codec, self.memory, rules=self.rules, numerics=self.numerics
        )
        self.counts, self.pace = self.plain.counts, self.plain.pace
        self.path_name, self.why = "", ""
        self._path: FastPath | PlainPath | None = None
        # The path of the model as the user loaded it.
        self._usual = PlainPath(
            self.model, self.head_map, self.codec, self.memory, rules=self.rules
        )  # as the user loaded the model
        self._cases = 0
        self._samples = self.numerics.invariant
        self._means: dict[str, Values] = {}

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
        return asdict(self.counts) | {
            "path": self.path_name,
            "why": self.why,
            "numerics": self.numerics.name,
            "numerics_why": self.numerics.why,
            "peak_bytes": self.memory.peak(),
        }

    def run(self, requests: Sequence[SweepRequest]) -> Iterator[list[Answer]]:
        """Yield the answers to *requests* as they are found: each query's baseline, and later those of its targets.

        A query whose prompt does not fit the model's context, or which does not have the place where heads are off,
        yields an empty list; ``skipped`` says why.
        """
        for first in range(0, len(requests), TOGETHER):
            jobs: list[AblationJob] = []
            queries: list[tuple[Query, EncodedQuery, str]] = []  # of each job, with its tokens and its ablation
            asking: list[tuple[SweepRequest, EncodedQuery]] = []
            for request in requests[first : first + TOGETHER]:
                query = request.query
                try:
                    encoded = self.codec.encode(query)
                    if request.ablated:
                        self.positions(query, encoded)
                    asking.append((request, encoded))
                except (ContextError, PlaceError) as error:
                    self.skipped.append({"dataset": query.dataset, "item": query.item_id, "reason": str(error)})
                    yield []
            for (request, encoded), baseline in zip(asking, self._baselines(asking), strict=True):
                by_ablation = self._jobs(request, encoded, baseline)
                self._sample(
                    AblationJob(encoded, request.query.generation.stop, baseline, (), ZERO), CANARY, baseline.completion
                )
                self.guard()
                yield [self._answer(request.query, encoded, BASELINE, None, baseline.completion)]
                jobs += by_ablation.values()
                queries += [(request.query, encoded, ablation) for ablation in by_ablation]
            for index, replies in self._timed(jobs):
                query, encoded, ablation = queries[index]
                self.guard()
                for target, reply in zip(jobs[index].targets, replies, strict=True):
                    self._sample(jobs[index], target, reply)
                yield [
                    self._answer(query, encoded, target.name, ablation, reply)
                    for target, reply in zip(jobs[index].targets, replies, strict=True)
                ]

    def measure(self, analysis: Analysis[Result]) -> Result:
        """Return the result of *analysis* on this model."""
        self.guard()
        return analysis.measure(self)

    def baseline(self, query: Query) -> tuple[EncodedQuery, Baseline]:
        """Return *query* in tokens with the model's own answer, the one that is known where there is one.

        Raises :class:`~reasoning_probe.engine.tokenization.ContextError` where it does not fit the model.
        """
        encoded = self.codec.encode(query)
        (baseline,) = self._baselines([(SweepRequest(query), encoded)])
        return encoded, baseline

    def changes_of_edits(
        self, queries: Sequence[EncodedQuery], edits: Sequence[tuple[int, HeadEdit]]
    ) -> list[list[float]]:
        """Return how the expected answer's log-probability changes in each row of *edits*, in nats.

        Each edit comes with the index of the query that its rows ask.
        """
        if isinstance(self.path, FastPath):
            try:
                return edited_changes(self.path, queries, edits)
            except Unsupported:
                pass  # its rows cannot join so late: whole passes do
        return [self.plain.edited_changes(queries[query], edit) for query, edit in edits]

    @contextmanager
    def aside(self, timing: str) -> Iterator[None]:
        """While open, count nothing but the seconds, and those under *timing*."""
        samples, self._samples = self._samples, False
        try:
            with self.timing.only(timing), self.counts.paused(), self.pace.paused():
                yield
        finally:
            self._samples = samples

    def close(self) -> None:
        """Do nothing: the model is the caller's."""

    def _baselines(self, asking: Sequence[tuple[SweepRequest, EncodedQuery]]) -> Iterator[Baseline]:
        """Yield the baseline of each query: all at once where a row does not depend on its batch, else one by one."""
        store = {} if self.baselines is None else self.baselines
        together: dict[Query, tuple[EncodedQuery, tuple[str, ...]]] = {}
        if self.numerics.invariant:
            new = [(request.query, encoded) for request, encoded in asking if request.query not in store]
            together = {query: (encoded, query.generation.stop) for query, encoded in new}
        path = self.path if len(together) > 1 else self.plain
        started = time.perf_counter()
        batch = dict(zip(together, path.baselines(list(together.values())), strict=True))
        self.timing.baseline_s += time.perf_counter() - started
        for request, encoded in asking:
            query = request.query
            started = time.perf_counter()
            known = store.get(query)
            baseline = known or batch.get(query) or self.plain.baseline(encoded, query.generation.stop)
            if self.baselines is not None:
                self.baselines[query] = baseline
            self.timing.baseline_s += time.perf_counter() - started
            self.pace.baseline_tokens += 0 if known else len(baseline.completion.tokens)
            yield baseline

    def _jobs(self, request: SweepRequest, encoded: EncodedQuery, baseline: Baseline) -> dict[str, AblationJob]:
        """Make a job of the targets of each ablation."""
        started = time.perf_counter()
        jobs = {}
        for ablation in dict.fromkeys(ablation for _, ablation in request.ablated):
            targets = tuple(target for target, using in request.ablated if using == ablation)
            replacement = self.replacement(ablation, request.query, encoded)
            jobs[ablation] = AblationJob(
                encoded,
                request.query.generation.stop,
                baseline,
                targets,
                replacement.only(targets) if ablation in PATCHES else replacement,
                resolves_near_ties=self.numerics.name != BATCH,
            )
        self.timing.baseline_s += time.perf_counter() - started
        return jobs

    def _sample(self, job: AblationJob, target: Target, reply: Completion) -> None:
        """Compare one of many responses with that of plain ``generate``, whose kernels choose their shapes."""
        if not self._samples or self.counts.sampled >= SAMPLE:
            return
        self._cases += 1
        if self._cases % SAMPLED_OF == 1:
            started = time.perf_counter()
            self.counts.sampled += 1
            self.counts.sampled_equal += self._usual.generate_alone(job, target) == reply.tokens
            self.timing.proof_s += time.perf_counter() - started

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

    def replacement(self, ablation: str, query: Query, encoded: EncodedQuery) -> Replacement:
        """Return what stands in for heads that are off while *query*, in tokens *encoded*, is answered, and where.

        Raises :class:`~reasoning_probe.data.places.PlaceError` where the query does not have the place.
        """
        positions = self.positions(query, encoded)
        if ablation in PATCHES:
            return Replacement(
                self._donor_values(query, PATCHES[ablation], positions.prompt_length), positions.within_prompt
            )
        return Replacement(self.values(ablation, query.dataset, query.prompt), positions)

    def _donor_values(self, query: Query, arm: Arm, tokens: int) -> Values:
        """Return what heads give on the prompt of a donor of *query*, which has so many *tokens* as well."""
        prompt = dict(query.donors).get(arm)
        if prompt is None:
            raise PlaceError(f"it has no donor to patch from ({arm})")
        ids = self.prompt_ids(prompt, query.special_tokens)  # (1, tokens)
        if ids.shape[1] != tokens:
            raise PlaceError(f"its donor has {ids.shape[1]} tokens in place of {tokens}")
        with self.numerics.running():
            return clean_output(self.model, self.head_map, ids)

    def positions(self, query: Query, encoded: EncodedQuery) -> AblatedPositions:
        """Return the positions of *query*, in tokens *encoded*, at which heads are off.

        Raises :class:`~reasoning_probe.data.places.PlaceError` where it does not have the place.
        """
        length = int(encoded.prompt.shape[1])
        return positions_of(self.where, query, length, self.tokenizer, self.codec.added)

    def values(self, ablation: str, dataset: str, prompt: str) -> Values:
        """Return what stands in for heads that are off while *prompt*, of *dataset*, is answered."""
        if ablation == "zero":
            return ZERO.values
        prompts = list(self.references.get(dataset, ())) or [prompt]
        if ablation == "mean":
            if dataset not in self._means:
                ids = [self.prompt_ids(text, dataset not in self.chats) for text in prompts[:REFERENCE_PROMPTS]]
                with self.numerics.running():
                    self._means[dataset] = mean_output(self.model, self.head_map, ids)
            return self._means[dataset]
        donor = donor_of(prompt, prompts, self.seed)
        with self.numerics.running():
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
