"""Two runs compared: against counts by hand, enumerated signs, and files of any kind."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import suppress
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.cli import main
from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.report.figures.run_figures import write_figures
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.terminal.show import print_run
from reasoning_probe.report.terminal.tables import console
from reasoning_probe.results import stats
from reasoning_probe.results.compare import Comparison, compare
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run, RunError, read_run, write_run
from reasoning_probe.utils.files import to_json_types
from tests.helpers.corrupt_json import damaged
from tests.helpers.fake_runs import as_run, fake_outcomes, full_run, outcome
from tests.helpers.terminal_lines import summary_lines

A, B = Path("a"), Path("b")
WRONG = {"correct": False, "answer": "7", "category": "off_by_one"}


def compared(first: Run, second: Run, *, common: bool = False) -> Comparison:
    return compare((A, first), (B, second), common=common)


# -- the tests ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(-2, 2), max_size=9))
def test_the_sign_test_of_verdicts_is_that_of_all_signs(changes: list[int]) -> None:
    (mean_change,) = stats.mean_changes(np.array([changes], dtype=float))
    if not changes:
        assert mean_change == stats.MeanChange(0, None, None, 0, 0, None)
        return
    falls, rises = sum(change < 0 for change in changes), sum(change > 0 for change in changes)
    signs = list(itertools.product((-1, 1), repeat=falls + rises))
    reached = sum(abs(sum(row)) >= abs(rises - falls) for row in signs)
    assert mean_change.p_value == pytest.approx(reached / len(signs))
    assert mean_change.mean == pytest.approx(sum(changes) / len(changes))


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_of_lost_and_won_answers_it_is_mcnemars_test(lost: int, won: int) -> None:
    changes = np.array([[-1.0] * lost + [1.0] * won + [0.0] * 5])
    (change,) = stats.mean_changes(changes)
    assert change.p_value == pytest.approx(float(stats.mcnemar(lost, won)), abs=1e-12)


def test_an_items_missing_change_counts_for_nothing() -> None:
    changes = np.array([[1.0, np.nan, 1.0, 1.0], [np.nan] * 4, [0.5, np.nan, 0.25, -1.0]])
    first, nothing, third = stats.mean_changes(changes)
    assert (first.items, first.mean) == (3, 1.0)
    assert nothing == stats.MeanChange(0, None, None, 0, 0, None)
    assert (third.items, third.mean) == (3, pytest.approx(-1 / 12))
    assert stats.mean_changes(np.zeros((2, 0)))[1].mean is None


# -- what is compared ---------------------------------------------------------------------------------------------


def asked(wrong: set[int], target: str = "baseline", items: int = 20, **values: Any) -> list[Outcome]:
    return [
        outcome(item=f"i{index}", target=target, question=f"Q{index}", **(WRONG if index in wrong else {}) | values)
        for index in range(items)
    ]


def test_accuracies_are_compared_item_by_item() -> None:
    comparison = compared(as_run(asked({0, 1, 2})), as_run(asked({2, 3, 4, 5, 6, 7, 8, 9})))
    (change,) = comparison.datasets
    assert (change.first_correct, change.effect.correct, change.effect.items) == (17, 12, 20)
    assert (change.effect.flips_to_wrong, change.effect.flips_to_right) == (7, 2)
    assert change.effect.delta == pytest.approx(-5 / 20)
    exact = 2 * sum(comb(9, k) for k in range(3)) / 2**9
    assert change.effect.p_value == change.effect.p_discrete == pytest.approx(exact)
    assert [(each.first.item, each.what) for each in comparison.changed] == [
        *((f"i{index}", "won") for index in (0, 1)),
        *((f"i{index}", "lost") for index in range(3, 10)),
    ]
    assert (comparison.changed[0].first.answer, comparison.changed[0].second.answer) == ("7", "8")
    assert comparison.settings == comparison.notes == comparison.targets == []


def test_another_wrong_answer_is_a_change_and_another_wording_is_none() -> None:
    other = asked({0, 1})
    other[0] = replace(other[0], answer="9")
    other[5] = replace(other[5], response=" It is 8.")
    comparison = compared(as_run(asked({0, 1})), as_run(other))
    assert [(each.first.item, each.what) for each in comparison.changed] == [("i0", "other")]


def test_p_values_are_adjusted_over_the_datasets() -> None:
    def both(wrong: set[int]) -> Run:
        return as_run([*asked(wrong), *(replace(one, dataset="logic") for one in asked(wrong))])

    comparison = compared(both(set()), both(set(range(6))))
    assert [change.effect.p_value for change in comparison.datasets] == [2 / 2**6] * 2
    assert [change.effect.p_discrete for change in comparison.datasets] == [4 / 2**6] * 2


def test_an_effect_that_changed_is_found_and_one_that_did_not_is_not() -> None:
    """L0H0 costs ten items in the second run only; L0H1 costs the same eight in both, whatever the baseline loses."""
    first = [*asked(set()), *asked(set(), "L0H0"), *asked(set(range(8)), "L0H1"), *asked(set(), "L1H0")]
    second = [*asked({19}), *asked({19, *range(10)}, "L0H0"), *asked({19, *range(8)}, "L0H1")]
    targets = compared(as_run(first), as_run(second)).targets
    assert [change.target for change in targets] == ["L0H0", "L0H1"]
    strong, same = targets
    assert (strong.first, strong.second, strong.change.mean) == (0.0, -0.5, -0.5)
    assert (strong.change.p_value, strong.p_adjusted) == pytest.approx((2 / 2**10, 2 / 2**10))  # L0H1 cannot reach it
    assert strong.significant
    assert (same.first, same.second, same.change.mean, same.change.p_value) == (-0.4, -0.4, 0.0, 1.0)
    assert not same.significant


def test_effects_on_the_log_probability_are_compared_too() -> None:
    rng = random.Random(0)
    noise = [rng.gauss(0, 0.1) for _ in range(80)]
    base = [replace(one, answer_logprob=-1 + noise[index]) for index, one in enumerate(asked(set()))]
    off = [replace(one, answer_logprob=-1.5 + noise[20 + index]) for index, one in enumerate(asked(set(), "L0H0"))]
    later = [replace(one, answer_logprob=-2.5 + noise[40 + index]) for index, one in enumerate(asked(set(), "L0H0"))]
    (change,) = compared(as_run(base + off), as_run(base + later)).targets
    assert change.first_logprob == pytest.approx(-0.5, abs=0.1)
    assert change.change_logprob.mean == pytest.approx(-1.0, abs=0.1)
    assert change.logprob_p_adjusted is not None
    assert change.logprob_p_adjusted < 0.001
    assert change.change.p_value == 1.0
    assert change.significant


def test_a_run_compared_with_itself_has_no_change() -> None:
    run = full_run(items=20)
    comparison = compared(run, run)
    assert comparison.changed == comparison.settings == comparison.notes == []
    assert len(comparison.targets) == 4 * 16
    assert not any(change.significant or change.change.mean for change in comparison.targets)
    assert {change.effect.p_value for change in comparison.datasets} == {1.0}


def test_heads_of_other_models_are_not_compared() -> None:
    outcomes = [*asked(set()), *asked({1}, "L0H0")]
    comparison = compared(as_run(outcomes), as_run(outcomes, layers=6, heads=12))
    assert comparison.targets == []
    assert comparison.notes == ["the models have different layers and heads, so their targets are not compared"]
    assert [name for name, *_ in comparison.settings] == ["model layers", "model heads", "model layer_indices"]


def test_settings_and_prompts_that_differ_are_told() -> None:
    second = as_run([replace(one, prompt="Q: 5 + 3?") for one in asked(set())], versions={"torch": "2.6.0"})
    comparison = compared(as_run(asked(set())), second)
    assert ("version of torch", "2.13.0", "2.6.0") in comparison.settings
    assert comparison.notes == ["20 of 20 prompts differ"]


# -- other items --------------------------------------------------------------------------------------------------


SEVEN, TWO, ONE = (asked(set(), items=items) for items in (7, 2, 1))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (SEVEN, TWO, "a alone asked arithmetic i2, arithmetic i3, arithmetic i4 and 2 more: --common compares"),
        (ONE, TWO, "b alone asked arithmetic i1: --common"),
        (TWO, [ONE[0], replace(TWO[1], expected="9")], "both have arithmetic i1, with another question or answer"),
        (ONE, [], "b has no answer with nothing switched off: nothing can be compared"),
        (
            [outcome("x\n\x1b")],
            [outcome("y")],
            r"a alone asked 'x\\n\\x1b' add-5-3; b alone asked y add-5-3: nothing can",
        ),
    ],
)
def test_other_items_are_named(first: list[Outcome], second: list[Outcome], message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        compared(as_run(first), as_run(second))
    assert "\n" not in str(caught.value)


def test_common_compares_what_both_asked() -> None:
    changed = replace(asked(set())[3], question="another")
    second = [*asked({0}, items=3), changed, outcome("logic", "yes")]
    comparison = compared(as_run(asked(set(), items=8)), as_run(second), common=True)
    assert [(change.dataset, change.effect.items) for change in comparison.datasets] == [("arithmetic", 3)]
    assert comparison.notes == ["6 items that only one of the runs asked are left out"]
    assert [each.first.item for each in comparison.changed] == ["i0"]
    with pytest.raises(RunError, match="nothing can be compared"):
        compared(as_run(asked(set())), as_run([outcome("logic", "yes")]), common=True)


# -- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # xdist sets it
    first = [*asked({0, 1, 2}), *asked({0, 1, 2}, "L0H0")]
    second = [*asked(set(range(3, 13))), *asked(set(range(3, 20)), "L0H0")]
    a, b = Path("a"), Path("b")
    write_run(a, as_run(first))
    write_run(b, as_run(second, versions={"torch": "2.6.0"}))
    assert main(["compare", str(a), str(b), "--most", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"A = {a}: tiny-reasoner answers 17 of 20 questions right (85 %)."
    assert "version of torch: 2.13.0 in A, 2.6.0 in B" in lines
    assert "- arithmetic: 10 lost and 3 won of 20 items, -35 points, which may be chance (p 0.092)." in lines
    assert "- 1 of 1 effect changed significantly: L0H0 on arithmetic." in lines
    assert "Answers that changed, 5 of 13" in lines
    rows = [line.split() for line in lines]
    assert ["lost", "arithmetic", "i3", "Q3", "8", "8", "7"] in rows
    assert not [row for row in rows if row[:1] == ["won"]]  # the lost ones come first
    assert ["arithmetic", "85", "%", "50", "%", "-35"] in [row[:6] for row in rows]
    assert ["L0H0", "*", "arithmetic,", "zero", "0", "-35", "-35"] in [row[:7] for row in rows]


def test_what_did_not_change_needs_no_chance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), as_run(asked({0, 1})))
    assert main(["compare", "a", "a"]) == 0
    assert "- arithmetic: 0 lost and 0 won of 20 items, no change (p 1)." in capsys.readouterr().out.splitlines()


def test_the_command_names_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", as_run(asked(set(), items=2)))
    write_run(tmp_path / "b", as_run(asked(set(), items=1)))
    a, b, none = (str(tmp_path / name) for name in ("a", "b", "none"))
    assert main(["compare", a, b]) == 2
    assert main(["compare", a, none]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"reasoning-probe: {a} alone asked arithmetic i1: --common compares what both asked",
        f"reasoning-probe: cannot read {none}/run.json: No such file or directory; a run's folder holds run.json",
    ]
    assert main(["compare", a, b, "--common"]) == 0
    assert "1 items that only one of the runs asked are left out." in capsys.readouterr().out


# -- files of any kind --------------------------------------------------------------------------------------------

SMALL = full_run(layers=1, heads=2, items=3)


@settings(deadline=None, max_examples=150)
@given(damaged(to_json_types(SMALL.summary)))
def test_what_can_be_read_can_be_shown(tmp_path_factory: pytest.TempPathFactory, summary: Any) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, SMALL)
    (folder / "run.json").write_text(json.dumps(summary), "utf-8")
    try:
        run = read_run(folder)
    except RunError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    print_run(run, console())
    summary_lines(run)
    markdown_summary(run)
    run.rows("targets")
    compared(run, SMALL)


@settings(deadline=None, max_examples=8)
@given(damaged(to_json_types(SMALL.summary)))
def test_what_can_be_read_has_a_page(tmp_path_factory: pytest.TempPathFactory, summary: Any) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, SMALL)
    (folder / "run.json").write_text(json.dumps(summary), "utf-8")
    with suppress(RunError):
        assert standalone_page(read_run(folder)).endswith("</html>\n")
        write_figures(folder / "figures", read_run(folder))


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_outcomes_can_be_compared(data: st.DataObject) -> None:
    logprobs = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    outcomes = [
        replace(one, answer_logprob=data.draw(logprobs)) for one in fake_outcomes({"logic": 3}, ["L0H0", "L0H1"])
    ]
    subset = [one for one in outcomes if one.target == "baseline" or data.draw(st.booleans())]
    comparison = compared(as_run(outcomes), as_run(subset))
    assert {change.target for change in comparison.targets} <= {"L0H0", "L0H1"}
    assert comparison.changed == []
