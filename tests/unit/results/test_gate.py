"""The gate's limits, its verdicts and its references, without a session."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data.items import Item
from reasoning_probe.pytest_plugin.gate import SessionGate
from reasoning_probe.results.gate import evaluate_gate
from reasoning_probe.results.gate_reference import (
    ReferenceAnswer,
    file_of,
    other_items,
    read_reference,
    write_reference,
)
from reasoning_probe.results.gate_rules import GateRules, parse_limits, parse_share
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run, RunError, read_run, write_run
from tests.helpers.fake_runs import as_run, outcome


def answers(dataset: str, right: int, wrong: int) -> list[Outcome]:
    """Baseline answers, the right ones first."""
    return [
        outcome(dataset, f"{dataset}-{index}", correct=index < right, category=None if index < right else "off_by_one")
        for index in range(right + wrong)
    ]


def known(outcomes: list[Outcome]) -> dict[str, dict[str, ReferenceAnswer]]:
    """The answers as a reference holds them."""
    by_dataset: dict[str, dict[str, ReferenceAnswer]] = {}
    for one in outcomes:
        answered = ReferenceAnswer(one.question, one.expected, one.answer, one.correct)
        by_dataset.setdefault(one.dataset, {})[one.item] = answered
    return by_dataset


# -- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("0.9", {"": 0.9}),
        ("1", {"": 1.0}),
        (".5", {"": 0.5}),
        ("arithmetic=0.9,logic=0.5", {"arithmetic": 0.9, "logic": 0.5}),
        (" arithmetic = 0.9 , 0.5 ", {"arithmetic": 0.9, "": 0.5}),
        ("a=b=0.25", {"a=b": 0.25}),
    ],
)
def test_limits_are_one_for_all_or_one_a_dataset(text: str, limits: dict[str, float]) -> None:
    assert parse_limits(text) == limits


@pytest.mark.parametrize(
    "text", ["", "90", "90%", "1.1", "-0.1", "nan", "inf", "1e-1", "٠", "=0.9", "a=", "a", "0.9,", "a=1,a=1", "1,1"]
)
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot read|is given twice"):
        parse_limits(text)


@given(st.integers(0, 1000))
def test_a_share_is_read_as_it_is_written(thousandths: int) -> None:
    assert parse_share(f"{thousandths / 1000:.3f}") == thousandths / 1000


# -- judging ------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 60), st.data())
def test_an_accuracy_passes_from_its_limit_on(items: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, items))
    hundredths = data.draw(st.integers(0, 100))
    run = as_run(answers("logic", correct, items - correct))
    (check,) = evaluate_gate(run, GateRules(min_accuracy={"": hundredths / 100}), None)["checks"]
    assert check["passed"] == (Fraction(correct, items) >= Fraction(hundredths, 100))
    assert check["line"].startswith(f"logic: {correct} of {items} right (")


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(0, 100))
def test_a_drop_is_paired_and_fails_beyond_its_limit(pairs: list[tuple[bool, bool]], hundredths: int) -> None:
    before = [replace(outcome(item=str(index)), correct=old) for index, (old, _) in enumerate(pairs)]
    after = [
        replace(outcome(item=str(index)), correct=new, category=None if new else "off_by_one")
        for index, (_, new) in enumerate(pairs)
    ]
    rules = GateRules(reference=Path("before"), max_drop=hundredths / 100)
    gate = evaluate_gate(as_run(after[::-1]), rules, known(before))  # the order of the items does not matter
    (check,) = gate["checks"]
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    assert check["value"] == pytest.approx((lost - won) / len(pairs))
    assert check["passed"] == (Fraction(lost - won, len(pairs)) <= Fraction(hundredths, 100)) == gate["passed"]
    changed = lost + won  # exact McNemar, counted: how likely a split as uneven is if both ways are alike
    tail = sum(comb(changed, k) for k in range(min(lost, won) + 1)) / 2**changed
    assert check["p_value"] == pytest.approx(min(1.0, 2 * tail))
    worse = {str(index) for index, pair in enumerate(pairs) if pair == (True, False)}
    assert {regression["item"] for regression in gate["regressions"]} == worse


def test_a_check_is_one_readable_line() -> None:
    run = as_run(answers("arithmetic", 898, 102) + answers("logic", 3, 1))
    rules = GateRules(min_accuracy={"": 0.9, "logic": 0.5}, reference=Path("before"))
    gate = evaluate_gate(run, rules, known(answers("arithmetic", 950, 50)))
    assert [check["line"] for check in gate["checks"]] == [
        "arithmetic: 898 of 1,000 right (89.8 %), at least 90 % required",
        "arithmetic: accuracy dropped by 5.2 points (52 lost, 0 won of 1,000 items), at most 5 points allowed",
        "logic: 3 of 4 right (75 %), at least 50 % required",
    ]
    assert [check["passed"] for check in gate["checks"]] == [False, False, True]
    assert gate["passed"] is False


def test_what_has_no_limit_and_what_was_not_asked_is_told() -> None:
    run = as_run(answers("logic", 4, 0) + answers("gsm8k", 0, 4))
    gate = evaluate_gate(run, GateRules(min_accuracy={"logic": 1.0, "arithmetic": 0.9}), None)
    assert gate["passed"] is True
    assert gate["notes"] == ["No limit for gsm8k.", "No item of arithmetic was asked."]


def test_an_accuracy_that_was_never_shown_is_not_reached() -> None:
    skipped = [{"dataset": "gsm8k", "item": "long", "reason": "too long"}]
    run = as_run(answers("logic", 4, 0), skipped=skipped)
    gate = evaluate_gate(run, GateRules(min_accuracy={"": 0.5}), None)
    assert [check["passed"] for check in gate["checks"]] == [True, False]
    assert gate["checks"][1]["line"] == "gsm8k: no item was answered, 1 skipped; at least 50 % required"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"partial": {"planned": 8, "done": 4}}, "the run ended early, with 4 of 8 outcomes"),
        ({"shard": "2/8"}, "this is shard 2/8 of the items, and the gate judges the merged run: reasoning-probe gate"),
    ],
)
def test_a_part_of_a_run_neither_passes_nor_fails(given: dict[str, Any], why: str) -> None:
    run = as_run(answers("logic", 1, 3))
    rules = GateRules(min_accuracy={"": 0.9}, reference=Path("before"))
    gate = evaluate_gate(Run(run.summary | given, run.outcomes), rules, known(answers("logic", 4, 0)))
    assert gate["passed"] is None
    assert [check["passed"] for check in gate["checks"]] == [None, None]
    assert all(why in check["line"] for check in gate["checks"])


def test_a_part_of_a_dataset_neither_passes_nor_fails() -> None:
    run = as_run(answers("logic", 1, 0) + answers("gsm8k", 0, 1))
    run.summary["datasets"]["logic"]["size"] = 4
    gate = evaluate_gate(run, GateRules(min_accuracy={"logic": 0.5}), None)
    assert (gate["passed"], gate["checks"][0]["passed"]) == (None, None)
    assert gate["checks"][0]["line"] == "logic: not judged, 1 of 4 items selected; at least 50 % required"
    assert evaluate_gate(run, GateRules(min_accuracy={"": 0.5}), None)["passed"] is False  # gsm8k is whole and fails


# -- the reference ------------------------------------------------------------------------------------------------


def test_a_reference_is_a_runs_folder_or_its_file(tmp_path: Path) -> None:
    run = as_run([*answers("logic", 3, 1), outcome("logic", "logic-0", "L0H0", correct=False)])
    write_run(tmp_path, run)
    assert read_reference(tmp_path) == read_reference(tmp_path / "outcomes.jsonl") == known(answers("logic", 3, 1))


def test_a_written_reference_is_short_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "reference.jsonl"
    write_reference(file, as_run([*answers("logic", 3, 1), outcome("logic", "logic-0", "L0H0")]))
    assert read_reference(file) == known(answers("logic", 3, 1))
    first, *_ = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == {
        "dataset": "logic",
        "item": "logic-0",
        "target": "baseline",
        "question": "What is 5 + 3?",
        "expected": "8",
        "answer": "8",
        "correct": True,
    }


def test_a_file_keeps_the_datasets_that_a_run_did_not_ask(tmp_path: Path) -> None:
    file = tmp_path / "reference.jsonl"
    write_reference(file, as_run(answers("logic", 3, 1) + answers("gsm8k", 1, 3)))
    write_reference(file, as_run(answers("logic", 4, 0)))
    assert read_reference(file) == known(answers("logic", 4, 0) + answers("gsm8k", 1, 3))


def test_a_folder_is_a_run_and_is_not_mixed(tmp_path: Path) -> None:
    write_reference(tmp_path / "ref", as_run(answers("logic", 3, 1) + answers("gsm8k", 1, 3)))
    assert set(read_run(tmp_path / "ref").summary["datasets"]) == {"logic", "gsm8k"}
    with pytest.raises(RunError, match="also holds gsm8k, which this run did not ask"):
        write_reference(tmp_path / "ref", as_run(answers("logic", 4, 0)))
    assert set(read_reference(tmp_path / "ref")) == {"logic", "gsm8k"}


def test_a_path_is_a_file_by_its_name_or_if_it_is_one(tmp_path: Path) -> None:
    assert file_of(tmp_path / "a.jsonl") == tmp_path / "a.jsonl"
    assert file_of(tmp_path / "main") == tmp_path / "main" / "outcomes.jsonl"
    (tmp_path / "main").write_text("")
    assert file_of(tmp_path / "main") == tmp_path / "main"


def test_other_items_are_told_apart() -> None:
    items = [Item(question=f"What is {index}?", answer=str(index), id=str(index)) for index in range(4)]
    reference = {"logic": {item.id or "": ReferenceAnswer(item.question, item.answer, "1", True) for item in items}}
    assert other_items(reference, "logic", items[::-1]) is None
    assert other_items(reference, "gsm8k", items) == "it holds no items of gsm8k"
    assert other_items(reference, "logic", items[1:]) == "of logic it holds 1 item more (such as 0)"
    more = [*items, Item(question="?", answer="1", id="new"), Item(question="?", answer="1", id="newer")]
    assert other_items(reference, "logic", more) == "of logic it lacks 2 items (such as new)"
    for changed in (Item(question="What?", answer="3", id="3"), Item(question="What is 3?", answer="4", id="3")):
        difference = other_items(reference, "logic", [*items[:3], changed])
        assert difference == "of logic it has 1 item with another text (such as 3)"


# -- what is missing ----------------------------------------------------------------------------------------------


def test_a_dataset_of_which_nothing_was_answered_has_not_kept_up_with_the_reference() -> None:
    run = as_run(answers("logic", 2, 0))
    run.summary["skipped"] = [{"dataset": "sums", "item": "sums-0", "reason": "it does not fit"}]
    before = known([*answers("logic", 2, 0), *answers("sums", 1, 0), *answers("other", 1, 0)])
    gate = evaluate_gate(run, GateRules(min_accuracy={"gone": 0.5}, reference=Path("x")), before)
    assert gate["passed"] is False
    assert [(check["dataset"], check["passed"]) for check in gate["checks"]] == [("logic", True), ("sums", False)]
    assert gate["checks"][1]["line"].startswith("sums: no item was answered, so nothing compares with the reference")
    assert gate["notes"] == ["No item of gone was asked.", "The reference also holds other."]


def test_a_reference_that_is_gone_at_the_end_fails_the_session(tmp_path: Path) -> None:
    keeper = SessionGate(GateRules(min_accuracy={"": 0.5}, reference=tmp_path / "gone.jsonl"))
    run = keeper.evaluate(as_run(answers("logic", 2, 0)))
    assert run.summary["gate"]["passed"] is True  # the limit is kept all the same
    assert keeper.error is not None
    assert keeper.error.startswith(f"--probe-reference: there is no reference {tmp_path / 'gone.jsonl'}")
    assert keeper.failed(run)


def test_a_reference_that_cannot_be_replaced_fails_the_session(tmp_path: Path) -> None:
    run = as_run(answers("logic", 2, 0))
    (tmp_path / "file").touch()
    keeper = SessionGate(GateRules(reference=tmp_path / "file" / "below.jsonl", update=True))
    keeper.update_reference(keeper.evaluate(run))
    assert keeper.message is None
    assert keeper.error is not None
    assert keeper.error.startswith("cannot write ")
    assert keeper.error.endswith(": name another reference")
    assert keeper.failed(run)

    write_run(tmp_path / "more", as_run(answers("sums", 1, 0)))
    keeper = SessionGate(GateRules(reference=tmp_path / "more", update=True))
    keeper.update_reference(run)
    assert "also holds sums, which this run did not ask" in (keeper.error or "")
    assert read_run(tmp_path / "more").outcomes[0].dataset == "sums"
