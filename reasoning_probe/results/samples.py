"""Samples of a case: what they say together, and how good they are by mean, pass@k and majority."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from reasoning_probe.results.outcome import Key, Outcome
from reasoning_probe.results.record import SampledAccuracyRecord, SampledFigureRecord
from reasoning_probe.results.stats import mean_interval, wilson

MAJORITY, ANY, EVERY, MEAN = "majority", "any", "all", "mean>="
VERDICTS = f"{MAJORITY}, {ANY}, {EVERY} or {MEAN}X"


class VerdictError(ValueError):
    """A verdict over samples that does not exist; the message is one line that names those that do."""


def parse_verdict(text: str) -> str:
    """Return *text* where it names a verdict. Raises :class:`VerdictError`."""
    name = "".join(text.split())
    if name in (MAJORITY, ANY, EVERY):
        return name
    if name.startswith(MEAN):
        try:
            share = float(name.removeprefix(MEAN))
        except ValueError:
            share = math.nan
        if 0 < share <= 1:
            return name
        raise VerdictError(f"{MEAN}X takes a share of the samples, above 0 and at most 1, such as {MEAN}0.5")
    raise VerdictError(f"write {VERDICTS}")


def case_of(samples: Sequence[Outcome], verdict: str) -> Outcome:
    """Return the outcome of the case that has these *samples*: right or wrong by *verdict*.

    Response, answer and mistake are those of a sample that speaks for it: with ``majority`` the first with the most
    frequent answer (of several, the one that came first; self-consistency, Wang et al. 2022), otherwise the first that
    is as right or wrong as the case.
    """
    right = [sample.correct for sample in samples]
    if verdict == MAJORITY:
        speaker = samples[voted([sample.answer for sample in samples])]
    else:
        if verdict == ANY:
            correct = any(right)
        elif verdict == EVERY:
            correct = all(right)
        else:
            correct = sum(right) / len(right) >= float(verdict.removeprefix(MEAN))
        speaker = next(sample for sample in samples if sample.correct == correct)  # no verdict is against all
    return replace(speaker, sample=None, samples=tuple(samples))


def voted(answers: Sequence[str | None]) -> int:
    """Return the index of the first of the most frequent of *answers*; no answer has no vote unless none has one."""
    votes = Counter(answer for answer in answers if answer is not None)
    return answers.index(votes.most_common(1)[0][0]) if votes else 0


def cases_of(outcomes: Iterable[Outcome], verdict: str) -> list[Outcome]:
    """Return the outcomes of cases from those of their samples, in the order of the first of each.

    Outcomes that are no samples stay as they are.
    """
    cases: dict[Key | int, list[Outcome]] = {}
    for place, outcome in enumerate(outcomes):
        cases.setdefault(place if outcome.sample is None else outcome.key, []).append(outcome)
    return [of_case[0] if of_case[0].sample is None else case_of(of_case, verdict) for of_case in cases.values()]


def judged_cases(batches: Iterable[Sequence[Outcome]], samples: int, verdict: str) -> Iterator[list[Outcome]]:
    """Yield the cases of *batches* of outcomes, each as soon as all its *samples* are there."""
    of_cases: dict[Key, list[Outcome]] = {}
    for batch in batches:
        cases = []
        for outcome in batch:
            of_case = of_cases.setdefault(outcome.key, [])
            of_case.append(outcome)
            if len(of_case) == samples:
                of_case.sort(key=lambda sample: sample.sample or 0)
                cases.append(case_of(of_cases.pop(outcome.key), verdict))
        yield cases


def sampled_accuracy(cases: Sequence[Outcome]) -> SampledAccuracyRecord | None:
    """Return how good the samples of *cases* are, each figure a mean over items; ``None`` where none has samples.

    ``pass_at`` is the chance that one of k samples is right, without bias from those that there are (Chen et al. 2021),
    ``majority_at`` how often the most frequent answer of k samples is, over disjoint groups of k. Intervals are of the
    mean over items, at 95 %: samples of one item are no items. They are t intervals, or, where every item is right or
    wrong or all are alike, Wilson intervals: a share of 12 of 12 has a width, too.
    """
    sampled = [case for case in cases if case.samples]
    if not sampled:
        return None
    most = min(len(case.samples) for case in sampled)
    sizes = sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most})
    return {
        "mean": _figure(1, [case.share_correct for case in sampled]),
        "pass_at": [_figure(k, [_pass_at(case.samples, k) for case in sampled]) for k in sizes],
        "majority_at": [_figure(k, [_majority_at(case.samples, k) for case in sampled]) for k in sizes],
    }


def _figure(samples: int, values: Sequence[float]) -> SampledFigureRecord:
    if len(set(values)) == 1 or {*values} <= {0.0, 1.0}:  # no item's share varies more than its being right or wrong
        low, high = wilson(math.fsum(values), len(values))
    else:
        low, high = mean_interval(values)
    return {"samples": samples, "value": sum(values) / len(values), "ci95": [max(0.0, low), min(1.0, high)]}


def _pass_at(samples: Sequence[Outcome], k: int) -> float:
    """Return the share of the sets of *k* samples that hold a right one."""
    wrong = sum(not sample.correct for sample in samples)
    return 1 - math.comb(wrong, k) / math.comb(len(samples), k)


def _majority_at(samples: Sequence[Outcome], k: int) -> float:
    """Return the share of disjoint groups of *k* samples whose most frequent answer is right."""
    groups = [samples[first : first + k] for first in range(0, len(samples) - k + 1, k)]
    return sum(group[voted([sample.answer for sample in group])].correct for group in groups) / len(groups)
