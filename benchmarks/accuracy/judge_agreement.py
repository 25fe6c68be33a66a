"""Measures how well ``judge`` agrees with labels that were assigned by hand.

    python -m benchmarks.accuracy.judge_agreement
    python -m benchmarks.accuracy.judge_agreement frozen --disagreements

The script prints, for each split of ``labelled/first.jsonl``, ``labelled/second.jsonl`` and ``labelled/fresh.jsonl``
(the latter two also hold responses that were written by hand in the manner of larger models), how often both read the
same answer, the confusion matrix of the categories (``right`` is one of them) and Cohen's kappa (Cohen 1960), with
percentile bootstrap intervals over questions (Efron 1979), because the responses to one question are not independent.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reasoning_probe.data.items import Item
from reasoning_probe.scoring.error_categories import CATEGORIES
from reasoning_probe.scoring.extraction.sentences import normalise_text
from reasoning_probe.scoring.judge import judge
from reasoning_probe.scoring.judgement import Judgement
from reasoning_probe.utils.numbers import parse_number

DATA = Path(__file__).parents[2] / "tests/data"
SPLITS = {
    "tune": "labelled/first.jsonl",
    "held-out": "labelled/first.jsonl",
    "learn": "labelled/second.jsonl",
    "frozen": "labelled/second.jsonl",
    "study": "labelled/fresh.jsonl",
    "unseen": "labelled/fresh.jsonl",
}
"""The file that holds each split."""

CLASSES = ("right", *CATEGORIES)


@dataclass(frozen=True)
class Pair:
    """A labelled response and its judgement; ``label`` and ``category`` are members of :data:`CLASSES`."""

    split: str
    source: str
    question: str
    expected: str
    response: str
    truncated: bool
    answer: str | None
    label: str
    judgement: Judgement

    @property
    def category(self) -> str:
        """The class that ``judge`` gave."""
        return self.judgement.category or "right"

    @cached_property
    def same_answer(self) -> bool:
        """Whether label and judgement hold the same answer, compared as exact numbers where they are numbers."""
        read = self.judgement.answer
        if self.answer is None or read is None:
            return self.answer is read
        value = parse_number(self.answer)
        if value is not None:
            return parse_number(read) == value
        return normalise_text(read) == normalise_text(self.answer)


def read(split: str) -> list[Pair]:
    """Return the labelled responses of *split*, judged."""
    rows = map(json.loads, (DATA / SPLITS[split]).read_text(encoding="utf-8").splitlines())
    return [_pair(row) for row in rows if row["split"] == split]


def parts(split: str) -> dict[str, list[Pair]]:
    """Return the responses of *split*, and where it has several sources, those of each source."""
    pairs = read(split)
    sources = sorted({pair.source for pair in pairs})
    return {split: pairs} | {
        f"{split}, {source}": [pair for pair in pairs if pair.source == source]
        for source in (sources if len(sources) > 1 else ())
    }


def _pair(row: dict[str, object]) -> Pair:
    question, expected, response = str(row["question"]), str(row["answer"]), str(row["response"])
    solution = None if row["solution"] is None else str(row["solution"])
    label = row["label"]
    assert isinstance(label, dict)
    judgement = judge(Item(question=question, answer=expected, solution=solution), response, bool(row["truncated"]))
    return Pair(
        str(row["split"]),
        "written by hand" if row["style"] == "written" else "SmolLM2",
        question,
        expected,
        response,
        bool(row["truncated"]),
        label["answer"],
        label["category"] or "right",
        judgement,
    )


def answers(pairs: Sequence[Pair]) -> float:
    """Return the share of *pairs* in which the same answer was read."""
    return sum(pair.same_answer for pair in pairs) / len(pairs)


def kappa(pairs: Sequence[Pair]) -> float:
    """Return Cohen's kappa of the two classes: agreement beyond what their frequencies give by chance."""
    observed = sum(pair.label == pair.category for pair in pairs) / len(pairs)
    by_label, by_rule = Counter(pair.label for pair in pairs), Counter(pair.category for pair in pairs)
    chance = sum(by_label[name] * by_rule[name] for name in CLASSES) / len(pairs) ** 2
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def intervals(pairs: Sequence[Pair], draws: int = 2000) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the 95 % intervals of :func:`answers` and :func:`kappa`, from *draws* samples of questions."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.question].append(pair)
    clusters, rng = list(groups.values()), random.Random(0)
    samples = [[pair for group in rng.choices(clusters, k=len(clusters)) for pair in group] for _ in range(draws)]
    return _middle([answers(sample) for sample in samples]), _middle([kappa(sample) for sample in samples])


def _middle(values: list[float]) -> tuple[float, float]:
    values = sorted(values)
    return values[int(0.025 * len(values))], values[int(0.975 * len(values))]


def table(pairs: Sequence[Pair]) -> str:
    """Return the confusion matrix as Markdown: a row a label, a column a category of the rules."""
    counts = Counter((pair.label, pair.category) for pair in pairs)
    lines = ["| label \\ rules | " + " | ".join(CLASSES) + " |", "| --- |" + " ---: |" * len(CLASSES)]
    lines += [f"| {label} | " + " | ".join(str(counts[label, name]) for name in CLASSES) + " |" for label in CLASSES]
    return "\n".join(lines)


def main() -> None:
    """Print the figures of the splits, and with ``--disagreements`` the responses judged otherwise than labelled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("splits", nargs="*", default=list(SPLITS), metavar="SPLIT", help=", ".join(SPLITS))
    parser.add_argument("--disagreements", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.splits) - set(SPLITS):
        parser.error(f"no split is called {min(unknown)}: choose of {', '.join(SPLITS)}")
    for split in options.splits:
        for name, part in parts(split).items():
            (low, high), (kappa_low, kappa_high) = intervals(part)
            print(f"{name}: {len(part)} responses to {len({pair.question for pair in part})} questions")
            print(f"same answer {answers(part):.1%} [{low:.1%}, {high:.1%}]")
            print(f"kappa {kappa(part):.3f} [{kappa_low:.3f}, {kappa_high:.3f}]\n")
        print(f"{table(read(split))}\n")
        for pair in read(split) if options.disagreements else ():
            if not (pair.same_answer and pair.label == pair.category):
                cut = " (cut)" if pair.truncated else ""
                print(f"{pair.question} => {pair.expected}{cut}\n  {pair.response!r}")
                print(f"  label {pair.answer} {pair.label} | rules {pair.judgement}")


if __name__ == "__main__":
    main()
