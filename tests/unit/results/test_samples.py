"""Samples of a case: the verdict over them, pass@k, majorities, and the files that hold them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, sem, t

from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.sampling import sampling_sentences
from reasoning_probe.results.compare import differing_settings
from reasoning_probe.results.gate_reference import read_reference
from reasoning_probe.results.merge import PartialRun, merge_runs
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import OUTCOMES_FILE, RUN_FILE, Run, RunError, read_run, write_run
from reasoning_probe.results.samples import (
    VerdictError,
    case_of,
    cases_of,
    judged_cases,
    parse_verdict,
    sampled_accuracy,
    voted,
)
from tests.helpers.fake_runs import as_run, outcome

SAMPLING = {"samples": 4, "temperature": 0.7, "top_p": 1.0, "top_k": 0, "verdict": "majority", "seed": 0}
ANSWERS = st.lists(st.sampled_from(["8", "7", "6", None]), min_size=1, max_size=9)


def samples(answers: list[str | None], item: str = "add-5-3", target: str = "baseline") -> list[Outcome]:
    """Return a case's samples with these *answers*; 8 is right."""
    return [
        outcome(
            item=item, target=target, response=f" {answer}", answer=answer, correct=answer == "8", sample=number,
            category=None if answer == "8" else "off_by_one",
        )
        for number, answer in enumerate(answers)
    ]  # fmt: skip


@given(ANSWERS)
def test_the_majority_is_the_most_frequent_answer(answers: list[str | None]) -> None:
    counts = Counter(answer for answer in answers if answer is not None)
    case = case_of(samples(answers), "majority")
    if counts:
        assert counts[case.answer] == max(counts.values())
        assert answers.index(case.answer) == voted(answers)
    assert case.correct == (case.answer == "8")


@given(ANSWERS, st.sampled_from(["any", "all", "mean>=0.5", "mean>=1", "mean>=0.01"]))
def test_other_verdicts_count_the_right_samples(answers: list[str | None], verdict: str) -> None:
    right = sum(answer == "8" for answer in answers)
    least = {"any": 1, "all": len(answers), "mean>=0.5": len(answers) / 2, "mean>=1": len(answers)}
    case = case_of(samples(answers), verdict)
    assert case.correct == (right >= least.get(verdict, 0.01 * len(answers)))
    assert case.correct == (case.answer == "8"), "the response does not speak for the case"
    assert (case.category is None) == case.correct
    assert case.share_correct == right / len(answers)


@pytest.mark.parametrize(
    "text", ["", "most", "mean", "mean>=", "mean>=0", "mean>=1.1", "mean>=nan", "mean>0.5", "mean>=x"]
)
def test_a_verdict_that_does_not_exist_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(VerdictError) as error:
        parse_verdict(text)
    assert "\n" not in str(error.value)


def test_cases_come_when_all_their_samples_are_there() -> None:
    first, second = samples(["8", "7", "8"], "a"), samples(["7", "7", "8"], "b")
    batches = [[first[2], second[0]], [first[0]], [first[1], second[1]], [second[2]]]
    cases = [[case.item for case in batch] for batch in judged_cases(batches, 3, "majority")]
    assert cases == [[], [], ["a"], ["b"]]
    (case,) = next(batch for batch in judged_cases(batches, 3, "majority") if batch)
    assert case.samples == tuple(first)


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=2, max_size=5))
def test_pass_at_k_is_the_share_of_sets_with_a_right_sample(items: list[list[bool]]) -> None:
    cases = [
        case_of(samples(["8" if right else "7" for right in item], f"i{n}"), "majority") for n, item in enumerate(items)
    ]
    record = sampled_accuracy(cases)
    assert record is not None
    assert [figure["samples"] for figure in record["pass_at"]] == [1, 2, 4, 6]
    for figure in record["pass_at"]:
        sets = [[any(chosen) for chosen in combinations(item, figure["samples"])] for item in items]
        assert figure["value"] == pytest.approx(np.mean([np.mean(of_item) for of_item in sets]))
        assert figure["ci95"][0] <= figure["value"] <= figure["ci95"][1]
    assert record["mean"]["value"] == pytest.approx(np.mean(items))
    assert record["pass_at"][0]["value"] == pytest.approx(record["mean"]["value"])


def test_the_majority_of_k_is_over_disjoint_groups() -> None:
    case = case_of(samples(["8", "7", "8", "8", "7", "7"]), "majority")
    record = sampled_accuracy([case])
    assert record is not None
    # Groups of one: 3 of 6; of two, the first of two that differ: 8, 8, 7; of four: 8; of six: 8, which came first.
    assert [(one["samples"], one["value"]) for one in record["majority_at"]] == [(1, 0.5), (2, 2 / 3), (4, 1), (6, 1)]


def test_intervals_are_over_items_and_not_over_samples() -> None:
    """Two items that are always right and two that never are say no more with a hundred samples than with four."""
    few, many = (
        sampled_accuracy([case_of(samples([answer] * size, f"i{n}"), "any") for n, answer in enumerate("8877")])
        for size in (4, 100)
    )
    assert few is not None
    assert many is not None
    wilson = binomtest(2, 4).proportion_ci(method="wilson")
    assert few["mean"]["ci95"] == many["mean"]["ci95"] == pytest.approx([wilson.low, wilson.high])


def test_a_figure_that_all_items_share_has_an_interval_with_a_width() -> None:
    record = sampled_accuracy([case_of(samples(["8", "8"], f"i{n}"), "any") for n in range(12)])
    assert record is not None
    wilson = binomtest(12, 12).proportion_ci(method="wilson")
    for figure in (record["mean"], record["pass_at"][-1], record["majority_at"][-1]):
        assert (figure["value"], figure["ci95"]) == (1.0, pytest.approx([wilson.low, 1.0]))
    half = sampled_accuracy([case_of(samples(["8", "7"], f"i{n}"), "any") for n in range(3)])
    assert half is not None
    low, high = half["mean"]["ci95"]
    assert low < half["mean"]["value"] == 0.5 < high


def test_figures_of_items_that_are_right_in_part_have_t_intervals() -> None:
    shares = [["8", "7"], ["8", "8"], ["7", "7"], ["8", "8"]]
    record = sampled_accuracy([case_of(samples(answers, f"i{n}"), "any") for n, answers in enumerate(shares)])
    assert record is not None
    values = [0.5, 1.0, 0.0, 1.0]
    low, high = t.interval(0.95, 3, mean(values), sem(values))
    assert record["mean"]["ci95"] == pytest.approx([max(0, low), min(1, high)])


def sampled_run() -> Run:
    cases = [
        case_of(samples(answers, item, target), "majority")
        for item in ("a", "b", "c")
        for target, answers in (("baseline", ["8", "8", "7", "8"]), ("L0H1", ["7", "8", "7", "7"]))
    ]
    return as_run(cases, sampling=SAMPLING)


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = sampled_run()
    write_run(tmp_path, run)
    lines = [json.loads(line) for line in (tmp_path / OUTCOMES_FILE).read_text().splitlines()]
    assert [line["sample"] for line in lines] == [0, 1, 2, 3] * 6
    assert read_run(tmp_path) == run
    assert len(run.rows("outcomes")) == 24
    (row,) = run.summary["targets"]
    assert (row["items"], row["correct"], row["flips_to_wrong"], row["flips_to_right"]) == (3, 0, 3, 0)
    assert row["delta"] == pytest.approx(-0.5)
    assert run.summary["datasets"]["arithmetic"]["sampled"]["mean"]["value"] == 0.75


def test_parts_of_a_run_and_merged_runs_keep_the_samples() -> None:
    run = sampled_run()
    facts = {"sampling": SAMPLING}
    part = PartialRun("", run.outcomes, list(range(6)), 6, [], facts)  # type: ignore[arg-type]
    assert PartialRun.from_dict(json.loads(json.dumps(part.as_dict()))).outcomes == run.outcomes
    assert merge_runs({Path("a"): run, Path("b"): run}).outcomes == run.outcomes
    other = replace(run, summary=run.summary | {"sampling": SAMPLING | {"temperature": 1.0}})
    with pytest.raises(RunError, match="b has another way of sampling than a"):
        merge_runs({Path("a"): run, Path("b"): other})


@pytest.mark.parametrize("damage", ["missing", "double", "unsaid", "verdict"])
def test_samples_that_are_missing_or_double_are_one_line(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path, sampled_run())
    lines = (tmp_path / OUTCOMES_FILE).read_text().splitlines(keepends=True)
    summary = json.loads((tmp_path / RUN_FILE).read_text())
    summary["engine"]["outcomes_sha256"] = None
    if damage == "missing":
        lines.pop(2)
    elif damage == "double":
        lines[2] = lines[1]
    elif damage == "unsaid":
        del summary["sampling"]
    else:
        summary["sampling"]["verdict"] = "best"
    (tmp_path / OUTCOMES_FILE).write_text("".join(lines))
    (tmp_path / RUN_FILE).write_text(json.dumps(summary))
    with pytest.raises(RunError) as error:
        read_run(tmp_path)
    assert "\n" not in str(error.value)


def test_outcomes_that_are_no_samples_stay_as_they_are() -> None:
    outcomes = [outcome(item="a"), outcome(item="a"), outcome(item="b")]
    assert cases_of(outcomes, "majority") == outcomes


@pytest.mark.parametrize("verdict", ["m e a n>=0.5", "mean>=\n0.5"])
def test_a_verdict_with_blanks_in_a_file_is_put_into_words(verdict: str) -> None:
    run = as_run(sampled_run().outcomes, sampling=SAMPLING | {"verdict": verdict})
    assert "is right if at least 50 % of them are." in sampling_sentences(run)[0]


def test_a_file_without_figures_of_several_samples_has_a_page() -> None:
    run = sampled_run()
    run.summary["datasets"]["arithmetic"]["sampled"]["pass_at"] = []
    assert "arithmetic" in standalone_page(run)


def test_a_comparison_names_the_settings_of_samples_and_thoughts_that_differ() -> None:
    run = sampled_run()
    hotter = as_run(run.outcomes, sampling=SAMPLING | {"temperature": 1.5}, think_tokens=64)
    greedy = as_run([outcome(item=item) for item in ("a", "b", "c")])
    assert differing_settings(run.summary, hotter.summary) == [
        ("sampling temperature", "0.7", "1.5"),
        ("tokens of a thought", "none", "64"),
    ]
    assert differing_settings(greedy.summary, run.summary) == [("decoding", "greedy", "4 sampled answers")]
    assert differing_settings(run.summary, run.summary) == []


@pytest.mark.parametrize("path", ["reference", "reference/outcomes.jsonl"])
def test_the_folder_of_a_sampled_run_is_a_reference_of_cases(path: str, tmp_path: Path) -> None:
    write_run(tmp_path / "reference", sampled_run())
    answers = read_reference(tmp_path / path)["arithmetic"]
    assert {item: (answer.answer, answer.correct) for item, answer in answers.items()} == dict.fromkeys(
        "abc", ("8", True)
    )
