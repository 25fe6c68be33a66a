"""Sampled answers in words: how they were drawn, how good they are, and what those to one item say."""

from __future__ import annotations

from collections import Counter

from reasoning_probe.report.format import percent
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import DatasetRecord, SampledFigureRecord
from reasoning_probe.results.run import Run
from reasoning_probe.results.samples import ANY, EVERY, MAJORITY, MEAN, parse_verdict
from reasoning_probe.utils.text import pluralise, shorten

_MOST_ANSWERS = 4
"""Different answers to an item that are listed."""


def sampling_sentences(run: Run) -> list[str]:
    """Return how answers were sampled and what that changes in the figures; empty where they were not."""
    sampling = run.summary.get("sampling")
    if not sampling:
        return []
    tokens = [f"top-k {sampling['top_k']}"] if sampling["top_k"] else []
    tokens += [f"top-p {sampling['top_p']:g}"] if sampling["top_p"] < 1 else []
    drawn = ", ".join([f"temperature {sampling['temperature']:g}", *tokens, f"seed {sampling['seed']}"])
    sentences = [
        f"Each case has {pluralise(sampling['samples'], 'sampled answer')} ({drawn}) and is right if"
        f" {_condition(sampling['verdict'])}."
    ]
    prompting = run.summary.get("prompting") or {}
    if prompting.get("choices", "logprob") == "logprob" and not prompting.get("cot"):
        chosen = {line.item_key for case in run.outcomes for line in case.lines if line.choices is not None}
        if chosen:
            sentences.append(
                f"Multiple choice is not sampled: all samples of {pluralise(len(chosen), 'item')} have the likeliest"
                " choice (--probe-choices generation samples an answer)."
            )
    if run.summary["targets"]:
        sentences.append(
            "Effects are changes of the share of right samples, and tests count items: one is lost where this share"
            " falls and won where it rises."
        )
    return sentences


def _condition(verdict: str) -> str:
    verdict = parse_verdict(verdict)  # a file may write it with blanks
    words = {MAJORITY: "the most frequent answer is", ANY: "any of them is", EVERY: "all of them are"}
    return words.get(verdict) or f"at least {percent(float(verdict.removeprefix(MEAN)))} of them are"


def sampled_figures(entry: DatasetRecord) -> list[tuple[str, SampledFigureRecord]]:
    """Return the mean accuracy of a dataset's samples, pass@k and the majority of k, each with its name.

    Of several k only the largest; with one sample there is only the mean.
    """
    sampled = entry.get("sampled")
    if not sampled:
        return []
    figures = [("mean of samples", sampled["mean"])]
    for name, of_sizes in (("pass@", sampled["pass_at"]), ("majority@", sampled["majority_at"])):
        if of_sizes and of_sizes[-1]["samples"] > 1:
            figures.append((f"{name}{of_sizes[-1]['samples']}", of_sizes[-1]))
    return figures


def figure_words(name: str, figure: SampledFigureRecord) -> str:
    """Return a figure with its interval: ``pass@8 60 % (45 % to 74 %)``."""
    low, high = figure["ci95"]
    return f"{name} {percent(figure['value'])} ({percent(low)} to {percent(high)})"


def samples_phrase(outcome: Outcome) -> str:
    """Return how many samples of a case are right, and what they say: ``3 of 5 samples right: 8 (3), 7 (2)``.

    Empty where the case has no samples.
    """
    if not outcome.samples:
        return ""
    answers = Counter(sample.answer for sample in outcome.samples).most_common()
    listed = [f"{'nothing' if answer is None else shorten(answer, 20)} ({count})" for answer, count in answers]
    rest = [f"{len(listed) - _MOST_ANSWERS} more"] if len(listed) > _MOST_ANSWERS else []
    right = sum(sample.correct for sample in outcome.samples)
    counts = f"{right} of {pluralise(len(outcome.samples), 'sample')} right"
    return f"{counts}: {', '.join(listed[:_MOST_ANSWERS] + rest)}"
