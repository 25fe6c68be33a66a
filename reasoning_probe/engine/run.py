"""The engine: runs a plan of queries and targets on one model, and judges every reply."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from reasoning_probe.ablation import ZERO, Replacement, donor_output, mean_output
from reasoning_probe.engine.fast import Fast, fast_path
from reasoning_probe.engine.memory import Memory
from reasoning_probe.engine.plain import Plain
from reasoning_probe.engine.replies import Baseline, Codec, ContextError, Encoded, Job, Reply
from reasoning_probe.errors import judge
from reasoning_probe.heads import HeadMap
from reasoning_probe.outcome import BASELINE, Outcome
from reasoning_probe.prompts import Query
from reasoning_probe.targets import Target

REFERENCE_PROMPTS = 64
"""Mean ablation averages over at most so many prompts of the dataset, its first."""


@dataclass(frozen=True)
class Work:
    """A query with the targets to switch off, each with its ablation."""

    query: Query
    ablated: tuple[tuple[Target, str], ...] = ()


@dataclass(frozen=True)
class _Asked:
    """A query with its unablated reply, and by ablation the job that is left."""

    work: Work
    encoded: Encoded
    baseline: Baseline
    jobs: dict[str, Job]


@dataclass
class Timing:
    """Seconds spent on the baseline answers and on the ablated ones."""

    baseline_s: float = 0.0
    sweep_s: float = 0.0


@dataclass
class Engine:
    """Answers a plan on one model.

    ``references`` holds, by dataset, the prompts that ``mean`` averages over and ``resample`` draws its donors from;
    an outcome must not depend on which of a dataset's items were selected, so they are all of its prompts.
    """

    model: Any
    tokenizer: Any
    head_map: HeadMap
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    memory_cap: int | None = None

    def __post_init__(self) -> None:
        self.codec = Codec(self.model, self.tokenizer)
        self.memory = Memory(self.model.device, self.memory_cap)
        self.plain = Plain(self.model, self.head_map, self.codec, self.memory)
        self.counts = self.plain.counts
        self.path, self.why = "", ""
        self._way: Fast | Plain | None = None
        self._means: dict[str, Replacement] = {}

    @property
    def way(self) -> Fast | Plain:
        """The path that answers ablated queries: the fast one where the model passes its self-check."""
        if self._way is None:
            fast, self.why = fast_path(self.model, self.head_map, self.codec, self.plain, self.memory)
            self._way, self.path = (self.plain, "plain") if fast is None else (fast, "fast")
        return self._way

    def facts(self) -> dict[str, Any]:
        """Return what the engine did, in plain values: rows, how they were settled, which path, the memory peak."""
        return asdict(self.counts) | {"path": self.path, "why": self.why, "peak_bytes": self.memory.peak()}

    def run(self, plan: Sequence[Work]) -> Iterator[list[Outcome]]:
        """Yield the outcomes of *plan*, each query's baseline and then its targets, for the queries that share passes.

        A query whose prompt does not fit the model's context yields an empty list; ``skipped`` says why.
        """
        together: list[_Asked] = []
        for work in plan:
            try:
                encoded = self.codec.encode(work.query)
            except ContextError as problem:
                self.skipped.append({"dataset": work.query.dataset, "item": work.query.item_id, "reason": str(problem)})
                yield []
                continue
            asked = self._asked(work, encoded)
            if together and not self._fit([*together, asked]):
                yield self._answered(together)
                together = []
            together.append(asked)
        if together:
            yield self._answered(together)

    def _asked(self, work: Work, encoded: Encoded) -> _Asked:
        """Answer the baseline, and make a job of the targets of each ablation."""
        started = time.perf_counter()
        stop = work.query.generation.stop
        baseline = self.plain.baseline(encoded, stop)
        self.timing.baseline_s += time.perf_counter() - started
        jobs = {}
        for ablation in dict.fromkeys(ablation for _, ablation in work.ablated):
            targets = tuple(target for target, using in work.ablated if using == ablation)
            jobs[ablation] = Job(encoded, stop, baseline, targets, self._replacement(ablation, work.query))
        return _Asked(work, encoded, baseline, jobs)

    def _fit(self, together: Sequence[_Asked]) -> bool:
        jobs = [job for asked in together for job in asked.jobs.values()]
        return bool(jobs) and self.way.fit(jobs)

    def _answered(self, together: Sequence[_Asked]) -> list[Outcome]:
        jobs = [job for asked in together for job in asked.jobs.values()]
        found: Iterator[list[Reply]] = iter(())
        if jobs:
            way = self.way  # its self-check is not part of the sweep
            started = time.perf_counter()
            found = iter(way.answer(jobs))
            self.timing.sweep_s += time.perf_counter() - started
        outcomes = []
        for asked in together:
            replies = {
                (target, ablation): reply
                for ablation, job in asked.jobs.items()
                for target, reply in zip(job.targets, next(found), strict=True)
            }
            query, encoded = asked.work.query, asked.encoded
            outcomes.append(self._outcome(query, encoded, BASELINE, None, asked.baseline.reply))
            outcomes += [
                self._outcome(query, encoded, target.name, ablation, replies[target, ablation])
                for target, ablation in asked.work.ablated
            ]
        return outcomes

    def _replacement(self, ablation: str, query: Query) -> Replacement:
        if ablation == "zero":
            return ZERO
        prompts = list(self.references.get(query.dataset, ())) or [query.prompt]
        if ablation == "mean":
            if query.dataset not in self._means:
                ids = [self._prompt_ids(prompt) for prompt in prompts[:REFERENCE_PROMPTS]]
                self._means[query.dataset] = mean_output(self.model, self.head_map, ids)
            return self._means[query.dataset]
        others = [prompt for prompt in prompts if prompt != query.prompt] or prompts
        donor = random.Random(query.prompt).choice(others)  # seeded by the prompt: the same donor in every run
        return donor_output(self.model, self.head_map, self._prompt_ids(donor))

    def _prompt_ids(self, prompt: str) -> Any:
        return self.tokenizer(prompt, return_tensors="pt")["input_ids"].to(self.model.device)

    def _outcome(self, query: Query, encoded: Encoded, target: str, ablation: str | None, reply: Reply) -> Outcome:
        stop = query.generation.stop
        response = self.codec.text(reply.tokens, stop)
        truncated = self.codec.truncated(reply.tokens, stop, encoded.limit)
        judgement = judge(query.item, response, truncated)
        return Outcome(
            dataset=query.dataset,
            item=query.item_id,
            target=target,
            ablation=ablation,
            question=query.item.question,
            prompt=query.prompt,
            response=response,
            expected=query.item.answer,
            answer=judgement.answer,
            correct=judgement.correct,
            category=judgement.category,
            kind=judgement.kind,
            reason=judgement.reason,
            answer_logprob=reply.logprob,
            truncated=truncated,
        )
