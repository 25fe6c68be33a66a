"""Every sentence that page, terminal and docs can make about a head, with the condition under which it is said.

The list is complete: what any run of these tests says matches one claim of it. Each claim has a run that makes it, and
runs that are near to it and must not. The file has more than 400 lines because the claims are one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.report import sentences
from reasoning_probe.report.cards import card_lines, card_sentences
from reasoning_probe.report.circuits import circuit_sentences
from reasoning_probe.report.comparison import sentences as comparison_sentences
from reasoning_probe.report.effects import groups
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.paths import path_sentences
from reasoning_probe.report.races import race_sentences
from reasoning_probe.results import restored as restored_results
from reasoning_probe.results.compare import compare
from reasoning_probe.results.null_directions import ranked, unranked
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.paths import path_record, with_tests
from reasoning_probe.results.record import (
    CircuitRecord,
    PathItemRecord,
    PathRecord,
    RandomDirectionsRecord,
    RestoredRecord,
)
from reasoning_probe.results.restored import restored_record
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, every_head, fake_run, full_run, outcome
from tests.helpers.planted_losses import planted
from tests.helpers.terminal_lines import summary_lines


def swept(
    items: int = 40,
    right: int = 40,
    lost: Mapping[str, Sequence[int]] | None = None,
    change: Mapping[str, float | Sequence[float]] | None = None,
    *,
    dataset: str = "arithmetic",
    ablation: str = "zero",
    first: int = 0,
    forms: int = 0,
) -> list[Outcome]:
    """Return a sweep of 16 heads, of which the first *right* of *items* answers are right.

    The items are of so many *forms*, in turn, or of none.

    *lost* are by head the items whose answer it flips, *change* what it adds to their log-probabilities.
    """
    lost, change = lost or {}, change or {}
    alone = [
        outcome(
            *(dataset, f"i{first + n}"),
            correct=n < right,
            question=f"Q{first + n}",
            answer_logprob=-1.0,
            form=f"form{n % forms}" if forms else None,
        )
        for n in range(items)
    ]
    off = []
    for head in every_head():
        by = change.get(head, 0.0)
        for n, case in enumerate(alone):
            nats = by if isinstance(by, int | float) else by[n]
            flipped = case.correct != (n in lost.get(head, ()))
            off.append(
                replace(case, target=head, ablation=ablation, correct=flipped, answer_logprob=-1.0 + float(nats))
            )
    return [*alone, *off]


def run_of(*sweeps: list[Outcome], **parts: Any) -> Run:
    run = as_run(list({each.key: each for sweep in sweeps for each in sweep}.values()))
    return Run(run.summary | parts, run.outcomes)


STRONG = {"L1H3": range(12)}
CONTROL = {"sentences": 6, "tokens": 90, "logprob": -3.0, "uniform": -6.6}


def control(delta: float | None, **values: Any) -> dict[str, Any]:
    return CONTROL | {"targets": [{"target": "L1H3", "ablation": "zero", "logprob": -3.5, "delta": delta}]} | values


def background(*, share: int) -> dict[str, list[int]]:
    """Return items that every head flips, as many to wrong as to right where half of the answers are right."""
    return {head: [5 * n + place + 100 * (n % 2) for n in range(share)] for place, head in enumerate(every_head())}


def weak(losses: int) -> Run:
    """Return a run of 200 items, half of them right, where all heads flip 10 items and one loses so many."""
    half = background(share=10)
    return run_of(swept(200, 100, half | {"L1H3": range(losses)}))


def curves(*, held_out: bool = True, kind: str = "kept", **excess: Any) -> list[dict[str, Any]]:
    """Return a curve of eight heads; with *excess* the last six, off together, have one."""
    test = {"items": 20, "falls": 20, "rises": 0, "median": -9.0, "sum_of_single": -1.0, "p_value": 2e-6} | excess
    point = {"items": 20, "ci95": [0, 1], "mean_answer_logprob": -1.0, "logprobs": 20, "if_added": -1.0}
    points = [
        point | {"heads": heads, "correct": 18, "accuracy": 0.9, "excess": test if heads == 2 and excess else None}
        for heads in (0, 1, 2, 4, 8)
    ]
    entry = {"dataset": "arithmetic", "ablation": "zero", "kind": kind, "held_out": held_out, "ranked_on": 20}
    return [entry | {"order": every_head()[:8], "orders": 1, "points": points}]


def carried(range95: Sequence[int] | None) -> list[dict[str, Any]]:
    (entry,) = curves()
    return [entry | {"carried": {"heads": 2, "range95": range95} if range95 else None}]


def directions(as_large: int, *, dataset: str = "arithmetic") -> list[RandomDirectionsRecord]:
    """Return a head beside 20 random directions, of which so many lose as much."""
    return [ranked("L1H3", dataset, "zero", 40, -1.0, [-2.0] * as_large + [-0.5] * (20 - as_large))]


def paths(changes: Sequence[float], *, others: int = 0) -> list[PathRecord]:
    """Return a path that changes its items' log-probabilities so, and *others* that change as many items to and fro."""

    def record(receiver: str, nats: Sequence[float]) -> PathRecord:
        items: list[PathItemRecord] = [
            {"item": f"i{n}", "change": change, "answer": None, "correct": None, "changed": None}
            for n, change in enumerate(nats)
        ]
        return path_record(("arithmetic", "zero", "L1H3", receiver), items, "" if items else "layer 1 is a mamba")

    to_and_fro = [(-1.0) ** n for n in range(len(changes))]
    return with_tests([record("L2H0", changes), *(record(f"L3H{n}", to_and_fro) for n in range(others))])


def circuits(**values: Any) -> list[CircuitRecord]:
    """Return a set of heads that is a circuit, but for *values* of it or of how much it recovers."""
    recovered: Any = {
        "items": 20,
        "model": -0.5,
        "empty": -9.0,
        "faithfulness": 0.9,
        "faithfulness_ci95": [0.8, 1.0],
        "random_faithfulness": [0.1] * 19,
        "faithfulness_p": 0.05,
        "completeness": 0.9,
        "completeness_ci95": [0.8, 1.0],
        "random_completeness": [0.2] * 19,
        "completeness_p": 0.05,
    }
    recovered |= {key: value for key, value in values.items() if key in recovered}
    row: Any = {
        "dataset": "arithmetic",
        "ablation": "zero",
        "source": "named",
        "heads": ["L1H3", "L2H0"],
        "chosen_on": 20,
        "masks": None,
        "items": 20,
        "sum_of_single": -2.0,
        "logprob": recovered,
        "answers": recovered,
        "note": "",
    }
    return [row | {key: value for key, value in values.items() if key in row}]


def screened(**values: Any) -> list[dict[str, Any]]:
    entry = {"dataset": "arithmetic", "ablation": "zero", "candidates": 16, "ranked": 4, "sampled": 8, "rest": 12}
    counts = {"missed": 1, "miss_rate": 0.125, "ci95": [0.02, 0.4], "smallest_effect": 0.1}
    return [entry | counts | values]


def patched(
    became: int,
    control_became: int = 0,
    *,
    right: int = 40,
    heads: int = 1,
    control: bool = True,
    off: int = 0,
    others: Sequence[int] = (),
) -> Run:
    """Return a patched sweep of 16 heads, of which *heads* make the other question's answer on the first items.

    The control does so on *control_became* of the items behind the first *off*. *others* are added to the items' own
    answers to make those of the other questions, in turn; without any they are not known, as in earlier versions.
    """
    alone = [
        outcome(
            "arithmetic",
            f"i{n}",
            correct=n < right,
            became_counterfactual=False,
            expected="50",
            answer="50",
            counterfactual=str(50 + others[n % len(others)]) if others else None,
        )
        for n in range(40)
    ]
    arms = {"patch": range(became), "patch-same": range(off, off + control_became)}
    cases = [
        replace(
            case,
            target=head,
            ablation=arm,
            correct=case.correct and not other,
            became_counterfactual=other,
            answer=case.counterfactual if other else case.answer,
        )
        for arm, items in arms.items()
        if control or arm == "patch"
        for place, head in enumerate(every_head())
        for n, case in enumerate(alone)
        for other in [place < heads and n in items]
    ]
    return as_run([*alone, *cases])


def restored(more: int, fewer: int = 0, *, items: int = 40, sets: int = 1) -> list[RestoredRecord]:
    """Return *sets* alike that bring *more* answers back where random sets do not, and *fewer* where these alone do."""
    pairs = [(place < more, more <= place < more + fewer) for place in range(items)]
    return restored_results.with_tests([restored_record("arithmetic", "L1H3+L2H0", 2, pairs)] * sets)


def wrong_by_one(items: int) -> Run:
    """Return a patched sweep in which a head makes answers too large by one, which every third time is the other one.

    The control changes nothing, so that McNemar's test alone would name the head.
    """
    run = patched(0, others=(1, 2, 3))
    outcomes = [
        replace(case, answer="51", correct=False, became_counterfactual=case.counterfactual == "51")
        if (case.target, case.ablation) == ("L1H3", "patch") and int(case.item[1:]) < items
        else case
        for case in run.outcomes
    ]
    return as_run(outcomes)


def raced(**values: Any) -> list[dict[str, Any]]:
    stopped = [{"target": f"L2H{head}", "items": 50 + 50 * head, "lost": 1, "won": 0} for head in range(4)]
    entry = {"dataset": "arithmetic", "ablation": "zero", "items": 400, "targets": 16, "stopped": stopped}
    cost = {"largest_loss": 0.12, "smallest_effect": 0.06, "missed_share": 0.05, "ci95": [0.03, 0.08]}
    return [entry | cost | values]


def of_one_head(target: str, *, hard: bool = False) -> Run:
    """Return a run of planted losses with a card of one head; where all lost subtractions are *hard* ones, or not."""
    outcomes = planted()
    if hard:
        outcomes = [
            replace(each, answer_logprob=-9.0 if (each.tags or {})["operation"] == "-" else -0.1) for each in outcomes
        ]
    return as_run(outcomes, describe=target)


RANKS = [{"dataset": "arithmetic", "target": "L1H3", "ranks": {"zero": 1, "mean": 9}}]
NEVER = run_of(swept())


@dataclass(frozen=True)
class Claim:
    """A sentence's pattern, the condition under which it is said, a run that says it, and runs that must not."""

    pattern: str
    condition: str
    said_of: Callable[[], Run]
    not_of: Sequence[Callable[[], Run]]


CLAIMS = (
    Claim(
        r"\d+ items?: \d+ of \d+ (measured )?(heads?|layers?|targets?) matters? for .*: L",
        "McNemar's test after discrete Holm over all targets of the page is at most 2.5 %",
        lambda: run_of(swept(lost=STRONG)),
        [
            lambda: NEVER,
            lambda: run_of(swept(lost={"L1H3": range(6)})),  # p = 2 / 64
            lambda: run_of(swept(200, 100, background(share=10) | {"L1H3": [*range(18), *range(100, 105)]})),
            # Seven flips are significant on a map, and not of all tests of two maps whose other heads flip as many.
            lambda: run_of(
                swept(lost={"L1H3": range(7)}),
                swept(40, 20, {head: [*range(4), *range(20, 24)] for head in every_head()}, dataset="logic"),
            ),
        ],
    ),
    Claim(
        r"\d+ items?: \d+ of \d+ (heads?|layers?|targets?) matters? on this mixture of \d+ forms of .*: L[^;]*$",
        "some head that is named does not hold over the forms of the questions, by the sign test over forms",
        lambda: run_of(swept(lost={"L1H3": range(0, 40, 4)}, forms=4)),  # all of one form
        [
            lambda: run_of(swept(lost=STRONG)),  # no forms are known
            lambda: run_of(swept(lost={"L1H3": range(12)}, forms=20)),  # twelve forms lose an item each
        ],
    ),
    Claim(
        r"\d+ items?: .* matter on this mixture of .*; L.* holds? across the forms",
        "one that is named holds over the forms, and another does not",
        lambda: run_of(swept(lost={"L1H3": range(12), "L2H0": range(0, 40, 4)}, forms=20)),
        [
            lambda: run_of(swept(lost={"L1H3": range(0, 40, 4)}, forms=4)),
            lambda: run_of(swept(lost={"L1H3": range(12)}, forms=20)),
        ],
    ),
    Claim(
        r"None of \d+ (measured )?(heads|targets) is shown to matter for .*: with \d+ items, (8 of 10 such|no loss)",
        "no target is named, though as many items could flip as are needed",
        lambda: NEVER,
        [lambda: run_of(swept(lost=STRONG)), lambda: run_of(swept(6, 6)), lambda: run_of(swept(40, 0))],
    ),
    Claim(
        r"None of \d+ (heads?|targets?) can be significant on .* with .*items?: at least \d+ answers must flip",
        "there are fewer items than flips are needed beside the other targets' flips",
        lambda: run_of(swept(6, 6)),
        [lambda: NEVER, lambda: run_of(swept(7, 7))],
    ),
    Claim(
        r"No drop on .* can be significant: at least \d+ answers must become wrong, and only \d+ of",
        "fewer answers are right than flips are needed",
        lambda: run_of(swept(40, 4)),
        [lambda: NEVER, lambda: run_of(swept(40, 7)), lambda: run_of(swept(40, 0))],
    ),
    Claim(
        r"No (head|target) can be judged on .*: the baseline is 0 %",
        "no answer is right",
        lambda: run_of(swept(40, 0)),
        [lambda: run_of(swept(40, 1)), lambda: NEVER],
    ),
    Claim(
        r"L\d+H\d+ .* probably ha(s a|ve) smaller effects? on .* than measured: .* less than 80 % power\.",
        "a named target changes the accuracy by less than the smallest effect with 80 % power",
        lambda: weak(15),
        [lambda: weak(60), lambda: weak(5), lambda: NEVER],
    ),
    Claim(
        r"The log-probability of the expected answer on .* (falls|rises) on most items without \d+ of .* \(median nats"
        r"; (not compared with random directions of the same size|of \d+ compared with .* more than all of them)\)\.",
        "no target of the map is named by its accuracy; the sign test after discrete Holm over the page is at most"
        " 2.5 %, and the median change at least 0.01 nats",
        lambda: run_of(swept(change={"L1H3": -0.5})),
        [
            lambda: NEVER,
            lambda: run_of(swept(change={"L1H3": -0.009})),
            lambda: run_of(swept(change={"L1H3": [-1e308, 1e308] * 20})),
            lambda: run_of(swept(change={"L1H3": [-0.1, 0.1, 0.1, -50.0] * 10})),  # the mean falls by 12 nats
            lambda: run_of(swept(change={"L1H3": [-9.0] * 6 + [0.0] * 34})),
        ],
    ),
    Claim(
        r"L\d+H\d+ .* matters? no more for .* than random directions of (its|their) size in .* layer \(in brackets:",
        "the head is named and loses, and at least half of the random directions of its size lose as much",
        lambda: run_of(swept(lost=STRONG), null_directions=directions(10)),
        [
            lambda: run_of(swept(lost=STRONG), null_directions=directions(9)),
            lambda: run_of(swept(lost=STRONG)),
            lambda: run_of(swept(lost=STRONG), null_directions=[unranked("L1H3", "arithmetic", "zero", "one head")]),
            lambda: run_of(swept(), null_directions=directions(20)),  # not named
            lambda: run_of(swept(40, 10, {"L1H3": range(10, 30)}), null_directions=directions(20)),  # wins answers
            lambda: run_of(swept(lost=STRONG), null_directions=directions(20, dataset="logic")),
        ],
    ),
    Claim(
        r"L\d+H\d+ .* (is|are) not shown to matter more for .* than random directions of (its|their) size in",
        "the head is named and loses, and fewer than half of the directions lose as much, but at least one",
        lambda: run_of(swept(change={"L1H3": -0.5}), null_directions=directions(1)),
        [
            lambda: run_of(swept(lost=STRONG), null_directions=directions(0)),
            lambda: run_of(swept(lost=STRONG), null_directions=directions(10)),
            lambda: run_of(swept(change={"L1H3": 0.5}), null_directions=directions(1)),
            lambda: run_of(swept(), null_directions=directions(1)),
        ],
    ),
    Claim(
        r"Of \d+ paths? between the named heads on .*, \d+ changes? the log-probability of the expected answer: L.*→",
        "the sign test of the log-probability with the path cut is at most 2.5 % after discrete Holm over all paths of"
        " the run, and the median change at least 0.01 nats",
        lambda: run_of(swept(lost=STRONG), paths=paths([-1.0] * 12)),
        [
            lambda: run_of(swept(lost=STRONG)),
            lambda: run_of(swept(lost=STRONG), paths=paths([-1.0] * 6)),  # p = 2 / 64
            lambda: run_of(swept(lost=STRONG), paths=paths([-0.009] * 40)),
            lambda: run_of(swept(lost=STRONG), paths=paths([-50.0, 0.1, 0.1, -0.1] * 10)),  # the mean falls
            lambda: run_of(swept(lost=STRONG), paths=paths([-1.0] * 8, others=28)),  # significant alone
        ],
    ),
    Claim(
        r"None of \d+ paths? between the named heads on .* is shown to change the log-probability of the expected",
        "paths were measured, and none is named",
        lambda: run_of(swept(lost=STRONG), paths=paths([0.0] * 12)),
        [lambda: run_of(swept(lost=STRONG), paths=paths([-1.0] * 12)), lambda: run_of(swept(lost=STRONG))],
    ),
    Claim(
        r"Paths between heads on .* are not measured: ",
        "the model does not allow paths, or no item has a log-probability",
        lambda: run_of(swept(lost=STRONG), paths=paths([])),
        [lambda: run_of(swept(lost=STRONG), paths=paths([0.0] * 12))],
    ),
    Claim(
        r"A circuit for .*: L.* alone keep .* \(95 % interval .*\) of what all heads do .* other items?, more than",
        "on items that did not choose the set it recovers more of the log-probability than every random set of its size"
        " does, the interval of its share lies above a half, and its heads' single effects add up to a loss",
        lambda: run_of(swept(lost=STRONG), circuits=circuits()),
        [
            lambda: run_of(swept(lost=STRONG)),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(faithfulness_p=0.1)),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(faithfulness_ci95=[0.49, 1.0])),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(sum_of_single=0.5)),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(sum_of_single=None)),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(logprob=None)),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(heads=[])),
        ],
    ),
    Claim(
        r"Needed together for .*: without L.* \(95 % interval .*\) of what all heads do .* is lost on .* other items",
        "on such items more is lost without the set than without every random set of its size, the interval lies above"
        " a half, and it is no circuit",
        lambda: run_of(swept(lost=STRONG), circuits=circuits(faithfulness_p=0.1)),
        [
            lambda: run_of(swept(lost=STRONG), circuits=circuits()),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(faithfulness_p=0.1, completeness_p=0.1)),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(faithfulness_p=0.1, completeness_ci95=[0.4, 1.0])),
        ],
    ),
    Claim(
        r"Not shown to be a circuit for .*: L.* alone keep .*; \d+ of \d+ random sets of \d+ heads? keep as much\.",
        "a set was scored, and neither is true of it",
        lambda: run_of(swept(lost=STRONG), circuits=circuits(faithfulness_p=0.1, completeness_p=0.1)),
        [
            lambda: run_of(swept(lost=STRONG), circuits=circuits()),
            lambda: run_of(swept(lost=STRONG), circuits=circuits(logprob=None)),
        ],
    ),
    Claim(
        r"Ablating L.* also costs plain text 0\.5 nats a token or more\.",
        "a target that is named on the page costs neutral sentences so much, and the model knows such text",
        lambda: run_of(swept(lost=STRONG), control=control(-0.5)),
        [
            lambda: run_of(swept(lost=STRONG), control=control(-0.49)),
            lambda: run_of(swept(), control=control(-0.9)),
            lambda: run_of(swept(lost=STRONG), control=control(-0.9, logprob=-12.57)),
        ],
    ),
    Claim(
        r"Ablating L.* costs plain text less than 0\.5 nats a token\.",
        "a target that is named on the page costs neutral sentences less, and the model knows such text",
        lambda: run_of(swept(lost=STRONG), control=control(-0.1)),
        [
            lambda: run_of(swept(lost=STRONG), control=control(-0.5)),
            lambda: run_of(swept(lost=STRONG), control=control(None)),
            lambda: run_of(swept(lost=STRONG), control=control(-0.1, logprob=-6.64)),
            lambda: run_of(swept(), control=control(-0.1)),
        ],
    ),
    Claim(
        r"Plain text cannot serve as a control: the model predicts it no better than a guess\.",
        "a target is named, and the mean log-probability of a token is at most that of guessing among all tokens",
        lambda: run_of(swept(lost=STRONG), control=control(-0.9, logprob=-12.57)),
        [lambda: run_of(swept(lost=STRONG), control=control(-0.9)), lambda: run_of(swept(), control=control(-0.9))],
    ),
    Claim(
        r"L.* \(rank \d+ under .* ha(s|ve) an effect under one ablation and none under another\.",
        "rank_changes lists targets; tests/unit/models/test_ablation.py says when",
        lambda: run_of(swept(lost=STRONG), rank_changes=RANKS),
        [
            lambda: run_of(swept(lost=STRONG)),
            lambda: run_of(swept(lost=STRONG), swept(lost=STRONG, ablation="mean")),
            lambda: run_of(
                swept(lost=STRONG, change={"L1H3": -1.0, "L0H0": -2.0}),
                swept(lost=STRONG, change={"L1H3": -2.0, "L0H0": -1.0}, ablation="mean"),
            ),
        ],
    ),
    Claim(
        r"With only the strongest \d+ of \d+ heads on, at least 90 % of the accuracy on .* is left; no smaller measured"
        r" size leaves as much \(95 % range",
        "a number of kept heads below all keeps nine tenths of the accuracy; the range is said with it",
        lambda: run_of(swept(), curves=carried([1, 8])),
        [lambda: run_of(swept(), curves=carried(None)), lambda: run_of(swept(), curves=curves())],
    ),
    Claim(
        r"The (first|last) \d+ heads of the order back each other up on",
        "on held-out items the sign test of the joint log-odds beyond the sum of the single ones is at most 2.5 %, and"
        " their median at least 1 and twice the size of the sum",
        lambda: run_of(swept(), curves=curves(p_adjusted=1e-4)),
        [
            lambda: run_of(swept(), curves=curves(p_adjusted=0.03)),
            lambda: run_of(swept(), curves=curves(p_adjusted=1e-4, held_out=False)),
            lambda: run_of(swept(), curves=curves(p_adjusted=1e-4, median=-0.9, sum_of_single=0.0)),
            lambda: run_of(swept(), curves=curves(p_adjusted=1e-4, median=9.0)),
            lambda: run_of(swept(), curves=curves(p_adjusted=1e-4, median=-9.0, sum_of_single=-5.0)),
            # Together the heads cost 1.56, where their single effects add up to a rise of 14.88.
            lambda: run_of(swept(), curves=curves(p_adjusted=1e-4, median=-16.44, sum_of_single=14.88)),
        ],
    ),
    Claim(
        r"Screening of .*: a miss rate of [^,]*\)(; these items can show heads that cost .* or more)?\.",
        "a sample of the heads that a screening ranked low was measured, and the items can show an effect",
        lambda: run_of(swept(), screening=screened()),
        [
            lambda: run_of(swept(), screening=screened(smallest_effect=None)),
            lambda: run_of(swept(), screening=screened(sampled=12)),
            lambda: run_of(swept(), screening=screened(sampled=0, miss_rate=None)),
        ],
    ),
    Claim(
        r"Screening of .*; with these items, any effect would be missed in more than 2 of 10 runs\.",
        "the same, and they cannot",
        lambda: run_of(swept(), screening=screened(smallest_effect=None)),
        [lambda: run_of(swept(), screening=screened())],
    ),
    Claim(
        r"Screening of .*: all of them\.|Screening of .*, and (all \d+ others, of which|none of the other)",
        "a screening measured all heads, or none of those that it ranked low",
        lambda: run_of(swept(), screening=screened(sampled=12)),
        [lambda: run_of(swept(), screening=screened())],
    ),
    Claim(
        r"Racing on .*: of \d+ (heads?|targets?) \d+ (was|were) stopped after [\d,]+( to [\d,]+)? of [\d,]+ items,"
        r" which saved \d+ % of the answers\.( One that costs .* points, which .* of runs \(.*\)\.)?"
        r"( A stopped one may still cost up to .* points\.)?$",
        "a race stopped targets; what that may have cost is said where it is known",
        lambda: run_of(swept(), races=raced()),
        [lambda: run_of(swept(), races=raced(stopped=[]))],
    ),
    Claim(
        r"Racing on .* none was stopped\.$",
        "a race stopped none",
        lambda: run_of(swept(), races=raced(stopped=[])),
        [lambda: run_of(swept(), races=raced())],
    ),
    Claim(
        r"L\d+H\d+: no particular role shown( \(.*\))?\.$",
        "a head that is named on the page has a card on which nothing is significant, and no control task was run",
        lambda: run_of(swept(lost=STRONG)),
        [lambda: NEVER, lambda: of_one_head("L0H0"), lambda: as_run(swept(lost=STRONG), describe="0")],
    ),
    Claim(
        r"L\d+H\d+: no particular role shown; removing it barely affects plain text( \(.*\))?\.$",
        "the same, and the head costs neutral sentences less than 0.5 nats a token, which the model knows",
        lambda: as_run(swept(lost=STRONG), control=control(-0.1)),
        [
            lambda: as_run(swept(lost=STRONG), control=control(-0.5)),
            lambda: as_run(swept(lost=STRONG), control=control(-0.1, logprob=-12.57)),
        ],
    ),
    Claim(
        r"L\d+H\d+: no particular role shown; removing it also harms plain text( \(.*\))?\.$",
        "the same, and the head costs them so much or more",
        lambda: as_run(swept(lost=STRONG), control=control(-0.5)),
        [lambda: as_run(swept(lost=STRONG), control=control(-0.1))],
    ),
    Claim(
        r"L\d+H\d+: loses .* \(\d+ of \d+\) rather than the rest \(\d+ of \d+\)",
        "the exact Mantel-Haenszel test of a tag's value within deciles of the baseline's margin is at most 2.5 % after"
        " Holm over cards and contrasts, and the head loses more of the value",
        lambda: of_one_head("L0H0"),
        [lambda: of_one_head("L0H1"), lambda: of_one_head("L0H3"), lambda: of_one_head("L0H0", hard=True)],
    ),
    Claim(
        r"L\d+H\d+: \d+ of \d+ lost answers are .* \(\d+ % of other heads'\)",
        "the score test of a kind of mistake is at most 2.5 % after Holm over cards and kinds, and the head's losses"
        " hold more of the kind than other heads'",
        lambda: of_one_head("L0H1"),
        [lambda: of_one_head("L0H0"), lambda: run_of(swept(lost=STRONG))],
    ),
    Claim(
        r"Patching L\d+H\d+ on .* makes the answer the other question's on \d+ of \d+ items; the same-answer control"
        r" does so on \d+ and changes \d+(; with shuffled counterfactuals it would match on \d+\.\d)?\.",
        "McNemar's test of the patch and the control on the items answered right is at most 2.5 % after discrete Holm"
        " over all targets of the run, and so is the test against dealt counterfactuals, where these differ enough; and"
        " more answers became the other question's than in the control",
        lambda: patched(12, others=(1, 2, 3, 4, 5)),
        [
            lambda: wrong_by_one(36),
            lambda: patched(6),  # p = 2 / 64
            lambda: patched(20, 20, off=20),
            lambda: patched(20, 20),
            lambda: patched(0, 20),
            lambda: patched(20, control=False),
            lambda: patched(20, right=0),
            lambda: run_of(swept(lost=STRONG)),
        ],
    ),
    Claim(
        r"When patched, \d+ more targets? makes? the other question's answer more often than the control does\.",
        "the same of more targets than have a sentence",
        lambda: patched(20, heads=5),
        [lambda: patched(20, heads=4)],
    ),
    Claim(
        r"Restoring L1H3\+L2H0 on arithmetic brings the item's own answer back on \d+ of \d+ counterfactual questions?,"
        r" random sets of 2 heads do so on \d+ \([+-]?[\d.]+ points, 95 % interval [+-]?[\d.]+ to [+-]?[\d.]+\)\.",
        "McNemar's test of the set and of random sets of its size, one for each item, is at most 2.5 % after discrete"
        " Holm over all sets of the run, and the set brings more answers back",
        lambda: run_of(swept(), restored=restored(7)),
        [
            lambda: run_of(swept(), restored=restored(6)),  # p = 2 / 64
            lambda: run_of(swept(), restored=restored(0, 20)),
            lambda: run_of(swept(), restored=restored(20, 20)),
            lambda: run_of(swept(), restored=restored(7, sets=2)),
        ],
    ),
    Claim(
        r"Restoring L1H3\+L2H0 on arithmetic is not shown to bring answers back more often than random sets of 2 heads"
        r" do: \d+ against \d+ of \d+ counterfactual questions?\.",
        "items have a random set, and the above is not said",
        lambda: run_of(swept(), restored=restored(6)),
        [lambda: run_of(swept(), restored=restored(7)), lambda: run_of(swept(), restored=restored(0, items=0))],
    ),
    Claim(
        r"L\d+H\d+: no particular role shown; patched, it makes the other question's answer on \d+ of \d+ items"
        r" \(control \d+\)",
        "the head has a card, and the test of the patch and its control names it as above",
        lambda: patched(20),
        [lambda: patched(20, 20), lambda: patched(20, control=False)],
    ),
    Claim(
        r"The model answers \d+ % right without its chat template\. --probe-chat on uses it",
        "the tokenizer has a chat template that was not used, and fewer than half of the answers are right",
        lambda: run_of(swept(40, 19), prompting={"chat_template_unused": True}),
        [
            lambda: run_of(swept(40, 20), prompting={"chat_template_unused": True}),
            lambda: run_of(swept(40, 19), prompting={"chat_template_unused": False}),
            lambda: run_of(swept(40, 19)),
        ],
    ),
    Claim(
        r"No particular role shown: L",
        "a head has cards, and on none of them anything is significant",
        lambda: run_of(swept(lost=STRONG)),
        [lambda: NEVER, lambda: of_one_head("L0H0")],
    ),
    Claim(
        r"\d+ more heads? with a particular role: the page has the cards\.",
        "more heads have a particular role than a terminal lists",
        lambda: as_run([replace(each, dataset=f"d{n}") for n in range(9) for each in planted()], describe="L0H0"),
        [lambda: of_one_head("L0H0")],
    ),
)


def said_of(run: Run) -> list[str]:
    return [
        *card_sentences(run),
        *card_lines(run, 8),
        *sentences.sentences(run),
        *sentences.control_sentences(run),
        *sentences.curve_sentences(run),
        *sentences.screening_sentences(run),
        *path_sentences(run),
        *circuit_sentences(run),
        *race_sentences(run),
    ]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.pattern[:40])
def test_a_claim_is_made_on_its_condition_alone(claim: Claim) -> None:
    assert [sentence for sentence in said_of(claim.said_of()) if re.match(claim.pattern, sentence)], claim.condition
    for number, run in enumerate(claim.not_of):
        wrong = [sentence for sentence in said_of(run()) if re.match(claim.pattern, sentence)]
        assert not wrong, f"run {number} does not fulfil: {claim.condition}"


def test_nothing_else_is_said_of_a_head() -> None:
    runs = [fake_run(), full_run(), *(claim.said_of() for claim in CLAIMS)]
    runs += [run() for claim in CLAIMS for run in claim.not_of]
    for sentence in {sentence for run in runs for sentence in said_of(run)}:
        assert sum(bool(re.match(claim.pattern, sentence)) for claim in CLAIMS) == 1, sentence


def test_heads_that_lose_no_more_than_random_directions_share_a_sentence_with_their_counts() -> None:
    both = [*directions(12), *directions(15)]
    both[1] = both[1] | {"target": "L2H0"}
    run = run_of(swept(lost={"L1H3": range(12), "L2H0": range(10)}), null_directions=both)
    assert sentences.sentences(run)[-1] == (
        "L1H3 (12 of 20) and L2H0 (15 of 20) matter no more for arithmetic than random directions of their size in"
        " their layer (in brackets: how many of these lose as much)."
    )
    page = standalone_page(run)
    assert "random directions that lose as much" in page
    assert "12 of 20" in page
    assert "random directions that lose as much" not in standalone_page(run_of(swept(lost=STRONG)))


@pytest.mark.parametrize(
    ("null_directions", "rank"),
    [
        ([], "not compared with random directions of the same size"),
        (directions(0), "of 1 compared with random directions of the same size, 1 loses more than all of them"),
        (directions(1), "of 1 compared with random directions of the same size, 0 lose more than all of them"),
    ],
)
def test_heads_that_move_the_log_probability_are_ranked_among_random_directions(
    null_directions: list[RandomDirectionsRecord], rank: str
) -> None:
    run = run_of(swept(change={"L1H3": -0.5, "L2H0": 0.5}), null_directions=null_directions)
    assert sentences.sentences(run)[1] == (
        "The log-probability of the expected answer on arithmetic falls on most items without 1 of 16 heads: L1H3"
        f" (-0.50); it rises on most items without 1 of 16 heads: L2H0 (+0.50) (median nats; {rank})."
    )


def test_a_kept_size_of_the_items_that_chose_the_order_says_so() -> None:
    (held_out,) = carried([1, 8])
    endings = {True: "20 items).", False: "20 items, which also chose the order)."}
    for held, ending in endings.items():
        (sentence,) = sentences.curve_sentences(run_of(swept(), curves=[held_out | {"held_out": held}]))
        assert sentence.startswith("With only the strongest 2 of ")
        assert sentence.endswith(f"(95 % range 1 to 8; {ending}")


def test_a_map_may_mark_what_no_sentence_names() -> None:
    """Of the tests of the second map, many could have reached the p-value of seven flips."""
    other = {head: [*range(4), *range(20, 24)] for head in every_head()}
    run = run_of(swept(lost={"L1H3": range(7)}), swept(40, 20, other, dataset="logic"))
    arithmetic, _ = groups(run)
    assert [row["target"] for row in arithmetic.marked] == ["L1H3"]
    assert arithmetic.significant == []
    assert said_of(run)[0].startswith(
        "None of 16 heads is shown to matter for arithmetic (1 would be if this map were tested alone): "
    )


def test_a_change_of_many_points_that_no_test_could_have_named_is_not_called_significant() -> None:
    """A head that lost 18 and won 5 of 200 has changed the accuracy by 6.5 points with p = 0.01."""
    run = run_of(swept(200, 100, background(share=10) | {"L1H3": [*range(18), *range(100, 105)]}))
    (sentence,) = sentences.sentences(run)
    assert "would have been significant" not in sentence
    assert float(re.search(r"costs ([\d.]+) points", sentence)[1]) > 8  # type: ignore[index]


def test_unlike_datasets_have_no_common_accuracy() -> None:
    both = run_of(swept(), swept(20, 4, dataset="logic"))
    claims_made = sentences.accuracy_sentence(both)
    assert claims_made == "Right answers by tiny-reasoner: 40 of 40 on arithmetic and 4 of 20 on logic."
    assert sentences.accuracy_sentence(NEVER) == "tiny-reasoner answers 40 of 40 questions right (100 %)."


# -- two runs -----------------------------------------------------------------------------------------------------


def compared(first: Run, second: Run, **options: bool) -> list[str]:
    return comparison_sentences(compare((Path("a"), first), (Path("b"), second), **options))


def test_the_same_items_confirm_nothing() -> None:
    run = run_of(swept(lost=STRONG))
    claims_made = compared(run, run)
    assert claims_made[-1] == "B asked no new items, so it cannot confirm what A names."


def test_new_items_confirm_what_the_first_run_names() -> None:
    """L0H0 is named by the first run alone; L2H0 by the second alone, which nobody asked it."""
    first = run_of(swept(lost={"L1H3": range(12), "L0H0": range(10)}))
    second = run_of(swept(lost={"L1H3": range(9), "L0H0": [3], "L2H0": range(30)}, first=40))
    assert compared(first, second) == ["New items in B confirm 1 of 2 effects that A names: L1H3 on arithmetic."]


def test_an_effect_the_other_way_confirms_nothing() -> None:
    first = run_of(swept(lost={"L1H3": range(12)}))
    second = run_of(swept(40, 10, {"L1H3": range(10, 30)}, first=40))
    assert compared(first, second) == ["New items in B confirm 0 of 1 effect that A names."]


def test_items_that_both_runs_asked_are_not_new() -> None:
    first = run_of(swept(lost={"L1H3": range(12)}))
    second = run_of(swept(60, 60, {"L1H3": range(12)}))
    claims_made = compared(first, second, common=True)
    assert claims_made[-1] == "New items in B confirm 0 of 1 effect that A names."


# -- runs of earlier versions -------------------------------------------------------------------------------------

NEW_KEYS = {
    *("p_discrete", "p_page", "delta_ci_simultaneous", "delta_shrunken", "median_logprob", "median_logprob_ci95"),
    *("logprob_falls", "logprob_rises", "logprob_sign_p_value", "logprob_p_discrete", "logprob_p_page"),
}


def as_earlier(run: Run) -> Run:
    """Return *run* as a version wrote it that knew plain Holm and the sign-flip test alone."""
    rows = [{key: value for key, value in row.items() if key not in NEW_KEYS} for row in run.summary["targets"]]
    summary = {key: value for key, value in run.summary.items() if key not in ("families", "paths", "circuits")}
    return Run(summary | {"targets": rows}, run.outcomes)  # type: ignore[arg-type]


def test_a_run_of_an_earlier_version_is_read_and_judged_by_what_it_holds() -> None:
    run = as_earlier(full_run())
    assert sentences.sentences(run)[0].startswith("200 items: 2 of 16 measured heads matter for arithmetic: L1H3 (")
    page = standalone_page(run)
    assert "L1H3" in page
    assert summary_lines(run)
    assert not [sentence for sentence in said_of(run) if "power" in sentence or "log-probability" in sentence]
    (sentence,) = sentences.sentences(as_earlier(NEVER))
    assert sentence == (
        "None of 16 heads is shown to matter for arithmetic: 40 items can show no effect of fewer than 7 flips."
    )
