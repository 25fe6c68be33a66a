"""Racing: the order of the items, the looks, the rule, what a raced run measures, and that all processes agree."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import reasoning_probe as rp
from benchmarks.accuracy.racing import simulate
from reasoning_probe.analyses import screening
from reasoning_probe.analyses.racing import (
    BLOCK,
    LEAST_CHANCE,
    LEAST_ITEMS,
    RaceRule,
    background,
    blocks,
    race_order,
    with_cost,
)
from reasoning_probe.results import stats
from reasoning_probe.results.merge import merge_runs
from reasoning_probe.results.racing import Race, Stop
from reasoning_probe.results.run import read_run
from tests.helpers.known_circuits import ALL, COPIERS, DECIDER, circuit, save_circuit, sums
from tests.helpers.project import Project

FLIPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), min_size=1, max_size=30)


def test_the_order_of_a_race_depends_on_the_ids_alone() -> None:
    ids = [f"q{number}" for number in range(300)]
    order = race_order("logic", ids)
    assert sorted(order) == sorted(ids)
    assert race_order("logic", random.Random(1).sample(ids, len(ids))) == order
    assert race_order("arithmetic", ids) != order
    first = [int(id[1:]) for id in order[:LEAST_ITEMS]]
    assert 100 < np.mean(first) < 200  # a block is a sample of the whole, whose mean is 149.5


def test_a_race_looks_after_the_least_items_and_every_block_but_the_last() -> None:
    assert blocks(1000)[0] == LEAST_ITEMS
    assert blocks(1000)[-1] < 1000
    assert set(np.diff(blocks(1000))) == {BLOCK}
    assert blocks(49) == blocks(50) == []


@pytest.mark.parametrize(("lost", "won", "left"), [(0, 0, 7), (3, 1, 6), (5, 0, 5), (1, 4, 8)])
def test_conditional_power_is_the_sum_over_all_futures(lost: int, won: int, left: int) -> None:
    to_wrong, to_right, p_critical = 0.4, 0.1, 0.1
    expected = 0.0
    for future in itertools.product((1, -1, 0), repeat=left):
        worse, better = lost + future.count(1), won + future.count(-1)
        if worse > better and stats.mcnemar(worse, better) <= p_critical:
            expected += math.prod({1: to_wrong, -1: to_right, 0: 0.5}[step] for step in future)
    power = stats.conditional_power(lost, won, left, to_wrong, to_right, p_critical)
    assert power == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 400), st.integers(1, 300), st.floats(0, 0.2), st.data())
@settings(deadline=None)
def test_a_target_that_can_no_longer_be_named_is_stopped(
    items: int, targets: int, won_share: float, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, items - 1))
    lost = data.draw(st.integers(0, count))
    won = data.draw(st.integers(0, count - lost))
    rule, left = RaceRule(items, targets, won_share), items - count
    best = min(float(stats.mcnemar(lost + left, won)), float(stats.mcnemar(lost, won + left)))
    if best > rule.p_critical:
        assert rule.stops(count, lost, won)


def test_what_clearly_loses_or_wins_goes_on_and_what_does_neither_is_stopped_early() -> None:
    rule = RaceRule(items=1000, targets=144, background=0.018)
    assert not rule.stops(items=50, lost=0, won=0)  # it may still cost six points
    assert rule.stops(items=300, lost=0, won=0)
    assert rule.stops(items=300, lost=6, won=6)
    assert not rule.stops(items=300, lost=20, won=4)
    assert not rule.stops(items=300, lost=4, won=20)
    assert rule.stops(items=950, lost=20, won=10)  # even if all that is left were lost at this rate


def test_a_gain_of_one_head_in_a_short_race_is_not_taken_for_the_background_of_all() -> None:
    """The flips are those of SmolLM2's L12H0, which wins 28 of 200 questions and loses 3."""
    rule = RaceRule(items=200, targets=80, background=0.022)
    assert not rule.stops(items=50, lost=1, won=7)
    assert not rule.stops(items=60, lost=1, won=10)
    assert rule.stops(items=50, lost=1, won=3)
    assert rule.stops(items=100, lost=6, won=8)


@pytest.mark.parametrize(("count", "won"), [(200, 0), (300, 1), (300, 5), (700, 12)])
def test_a_target_goes_on_where_its_predictive_power_is_worth_the_items_that_are_left(count: int, won: int) -> None:
    """The average over all losses is an integral here; the rule takes eight, so the border is within a fifth."""
    rule = RaceRule(items=1000, targets=144, background=0.018)
    verdicts = [rule.stops(count, lost, won) for lost in range(won, 60)]  # fewer losses than gains may be a gain
    border = won + verdicts.index(False)
    assert border > won
    assert verdicts == [lost < border for lost in range(won, 60)]
    won_share = (won + 400 * 0.018) / (count + 400)

    def predictive_power(lost: int) -> float:
        shares = np.linspace(0, 0.3, 1501)[1:]
        weights = scipy.stats.beta.pdf(shares, lost + 1, count - lost + 1)
        p_critical = stats.PRIMARY_ALPHA / 144
        powers = [stats.conditional_power(lost, won, 1000 - count, share, won_share, p_critical) for share in shares]
        return float(np.average(powers, weights=weights))

    worth = LEAST_CHANCE * (1000 - count) / 1000
    assert predictive_power(border - 1) < 1.2 * worth
    assert predictive_power(border) > worth / 1.2


def test_the_background_is_the_share_of_gains_without_the_few_heads_that_help() -> None:
    quiet = [0.01, 0.02, 0.03, 0.02, 0.01, 0.03]
    assert background(quiet) == pytest.approx(0.02)
    assert background([*quiet, 0.5, 0.02]) == pytest.approx(0.02, abs=0.003)
    assert background([0.04]) == 0.04


def test_more_background_stops_a_head_that_a_quiet_model_would_keep() -> None:
    """Two losses of 200 items may be an effect where heads flip nothing else, and are luck where they flip 6 %."""
    assert not RaceRule(1000, 144, background=0.0).stops(200, lost=2, won=0)
    assert RaceRule(1000, 144, background=0.03).stops(200, lost=2, won=0)


@given(FLIPS)
@settings(deadline=None)
def test_whatever_is_stopped_a_race_names_a_subset_of_the_full_sweep(heads: list[tuple[int, int, bool]]) -> None:
    lost, won, runs = (np.array(column) for column in zip(*heads, strict=True))
    p, counts, runs = stats.mcnemar(lost, won), lost + won, runs.astype(bool)
    plain = stats.holm(np.where(runs, p, 1.0)) <= stats.PRIMARY_ALPHA
    assert not (plain & ~(stats.holm(p) <= stats.PRIMARY_ALPHA)).any()
    discrete = stats.discrete_holm(p[runs], counts[runs], int((~runs).sum())) <= stats.PRIMARY_ALPHA
    assert not (discrete & ~(stats.discrete_holm(p, counts) <= stats.PRIMARY_ALPHA)[runs]).any()


def test_the_cost_of_a_race_is_what_the_rule_does_to_simulated_targets() -> None:
    race = Race("d", "zero", 400, 16, {"L0H0": Stop(50, 1, 1), "L0H1": Stop(150, 3, 2)})
    record = with_cost(race, accuracy=0.8)
    looks = len(blocks(400))
    z = stats.simultaneous_z(16 * looks)
    limits = [-stats.paired_interval(1, 1, 50, z)[0], -stats.paired_interval(3, 2, 150, z)[0]]
    assert record["largest_loss"] == max(limits)
    assert record["smallest_effect"] is not None
    assert 0.02 < record["smallest_effect"] < 0.12
    share, (low, high) = record["missed_share"], record["ci95"]
    assert share is not None
    assert low <= share <= high <= 0.1
    assert with_cost(Race("d", "zero", 400, 16), accuracy=0.8).keys() == race.entry().keys()  # nothing was stopped


def test_a_simulated_race_saves_rows_and_raises_no_alarm() -> None:
    """The long form, 2,000 sweeps of 144 and 270 heads, is ``python -m benchmarks.accuracy.racing``."""
    result = simulate(heads=60, items=1000, sweeps=40)
    assert result.fewer_rows > 2.5
    assert all(raced <= full for raced, full in zip(result.race_plain, result.full_plain, strict=True))
    assert all(share >= 0.95 for share in result.race[2:])
    assert result.race_false_alarms <= result.full_false_alarms <= 0.1


# -- a run --------------------------------------------------------------------------------------------------------

NAMED = {*COPIERS, DECIDER}
"""The heads of the circuit that matter; without any of the other nine hardly an answer changes."""

QUIET = "L2H0"
RACED = ("--probe-granularity=head", "--probe-describe=0", "--probe-race")


@pytest.fixture
def options(project: Project) -> tuple[str, ...]:
    return (*save_circuit(project, items=60), *RACED)


def stopped_of(summary: dict[str, Any]) -> dict[str, int]:
    (race,) = summary["races"]
    return {row["target"]: row["items"] for row in race["stopped"]}


def test_heads_that_hardly_flip_an_answer_are_stopped_early(project: Project, options: tuple[str, ...]) -> None:
    result = project.run(*options, "-rs", page=True)
    summary = project.summary()
    assert stopped_of(summary) == dict.fromkeys(set(ALL) - NAMED, 50)
    (race,) = summary["races"]
    assert (race["items"], race["targets"]) == (60, 12)
    assert summary["engine"]["rows"] == 60 * 3 + 50 * 9
    assert {row["target"]: row["items"] for row in summary["targets"]} == dict.fromkeys(NAMED, 60)
    assert {outcome["target"] for outcome in project.outcomes()} == {"baseline", *NAMED}
    assert result.parseoutcomes()["skipped"] == 9
    reasons = {f"stopped after 50 of 60 items: {row['lost']} lost, {row['won']} won" for row in race["stopped"]}
    assert len(reasons) > 1
    for reason in reasons:
        result.stdout.fnmatch_lines([f"SKIPPED * {reason}"])
    assert "partial" not in summary
    assert summary["curves"] == []  # an order of all heads needs a measure of each
    output = " ".join(line.strip() for line in result.outlines)
    assert "of 12 heads 9 were stopped after 50 of 60 items, which saved 12 % of the answers." in output
    assert "A stopped one may still cost up to" in output
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "Hatched: stopped by the race, or not measured." in page
    assert "Racing on arithmetic (zero ablation): of 12 heads 9 were stopped" in page
    assert f"[{QUIET}]" not in page  # no row for a head that was stopped


def test_a_race_names_what_the_full_sweep_names_by_the_same_numbers(project: Project, options: tuple[str, ...]) -> None:
    """The full sweep's answers are in the outcome store, so the races compute nothing and stop the same heads."""
    project.run(*options[:-1], "--probe-dir=full")
    project.run(*options)
    project.run(*options, "--probe-dir=again")
    full, raced, again = map(project.summary, ("full", "reports", "again"))
    assert raced["engine"]["rows"] == again["engine"]["rows"] == 0
    assert stopped_of(raced) == dict.fromkeys(set(ALL) - NAMED, 50)
    assert (again["races"], again["targets"]) == (raced["races"], raced["targets"])
    whole = {row["target"]: row for row in full["targets"]}
    alike = ("items", "delta", "flips_to_wrong", "flips_to_right", "p_value", "p_adjusted", "delta_logprob")
    for row in raced["targets"]:
        assert [row[key] for key in alike] == [whole[row["target"]][key] for key in alike]
    assert {name for name, row in whole.items() if row["p_discrete"] <= 0.025} == NAMED
    p = [row["p_value"] for row in raced["targets"]]
    flips = [row["flips_to_wrong"] + row["flips_to_right"] for row in raced["targets"]]
    adjusted = stats.discrete_holm(p, flips, unmeasured=9)  # a stopped head could have had any p-value
    assert [row["p_discrete"] for row in raced["targets"]] == pytest.approx(adjusted.tolist())
    assert {row["target"] for row in raced["targets"] if row["p_page"] <= 0.025} == NAMED
    (family,) = raced["families"]
    assert (family["targets"], family["unmeasured"]) == (3, 9)

    merged = merge_runs({folder: read_run(folder) for folder in (project.path / "full", project.path / "reports")})
    assert {row["target"] for row in merged.summary["targets"]} == NAMED  # what one of the runs stopped is stopped
    assert stopped_of(dict(merged.summary)) == stopped_of(raced)


def test_a_race_in_python_stops_the_heads_that_a_session_stops(project: Project, options: tuple[str, ...]) -> None:
    project.run(*options)
    sweep = rp.sweep(*circuit(), sums(60), None, "zero", 4, dataset="arithmetic", describe=0, race=True)
    summary, session = sweep.run.summary, project.summary()
    assert stopped_of(dict(summary)) == dict.fromkeys(set(ALL) - NAMED, 50)
    assert summary["races"] == session["races"]
    assert {outcome.target for outcome in sweep} == {"baseline", *NAMED}
    flips = ("target", "items", "flips_to_wrong", "flips_to_right", "p_discrete", "p_page")
    rows = [[{key: row[key] for key in flips} for row in run["targets"]] for run in (summary, session)]
    assert rows[0] == rows[1]


def test_a_race_in_python_of_few_items_warns_and_asks_all() -> None:
    with pytest.warns(UserWarning, match="arithmetic has 8 of the 50 items that a race needs: none is stopped"):
        sweep = rp.sweep(*circuit(), sums(8), QUIET, "zero", 4, dataset="arithmetic", describe=0, race=True)
    assert len(sweep) == 8 * 2
    assert "races" not in sweep.run.summary


def test_an_interrupted_race_goes_on_to_the_same_end(project: Project, options: tuple[str, ...]) -> None:
    project.write(
        "conftest.py",
        """
        from reasoning_probe.session.session import ProbeSession

        run = ProbeSession._run
        def interrupted(self, cases):
            for number, batch in enumerate(run(self, cases)):
                yield batch
                if number == 30:
                    raise KeyboardInterrupt
        ProbeSession._run = interrupted
        """.replace("\n        ", "\n"),
    )
    project.run_apart(*options)
    assert project.summary()["partial"]["done"] > 0
    (project.path / "conftest.py").unlink()
    project.run(*options)
    assert stopped_of(project.summary()) == dict.fromkeys(set(ALL) - NAMED, 50)
    assert "partial" not in project.summary()


def test_several_processes_stop_the_same_heads(project: Project, options: tuple[str, ...]) -> None:
    result = project.run_apart(*options, "-n2")
    summary = project.summary()
    assert stopped_of(summary) == dict.fromkeys(set(ALL) - NAMED, 50)
    assert result.parseoutcomes()["skipped"] == 9
    assert {row["target"]: row["items"] for row in summary["targets"]} == dict.fromkeys(NAMED, 60)
    assert "partial" not in summary


def test_every_case_of_a_stopped_head_is_skipped(project: Project, options: tuple[str, ...]) -> None:
    """Also those that were answered before it was stopped. What -k leaves over races, with -x, too, in whole blocks."""
    result = project.run(*options, "--probe-granularity=case", "-k", f"{QUIET} or {DECIDER}", "-x")
    assert stopped_of(project.summary()) == {QUIET: 50}
    assert result.parseoutcomes()["skipped"] == 60
    assert project.summary()["races"][0]["targets"] == 2


def test_a_screening_chooses_the_heads_that_race(
    project: Project, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "SAMPLE", 2)
    project.run(*options, "--probe-screen=4")
    summary = project.summary()
    (entry,) = summary["screening"]
    measured = {score["target"] for score in entry["scores"] if score["measured"]}
    assert stopped_of(summary) == dict.fromkeys(measured - NAMED, 50)
    assert summary["races"][0]["targets"] == 12  # those that were not chosen are tested together with the others
    assert summary["families"][0]["unmeasured"] == 9
    assert (entry["ranked"], entry["sampled"], entry["missed"]) == (4, 2, 0)  # a stopped head was measured
    assert summary["curves"] == []


def test_a_dataset_of_few_items_is_not_raced(project: Project) -> None:
    result = project.run(*save_circuit(project, items=8), *RACED)
    line = "reasoning-probe: arithmetic has 8 of the 50 items that a race needs: none is stopped"
    result.stdout.fnmatch_lines([line])
    assert "races" not in project.summary()
    assert len(project.outcomes()) == 8 * 13


def test_a_run_may_lose_every_head_to_the_race(project: Project, options: tuple[str, ...]) -> None:
    result = project.run(*(option for option in options if option != "--ablate-heads"), f"--probe-heads={QUIET}")
    summary = project.summary()
    assert stopped_of(summary) == {QUIET: 50}
    assert summary["targets"] == []
    assert result.ret == pytest.ExitCode.TESTS_FAILED  # some baselines are wrong


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--probe-race"], "--probe-race stops heads, and nothing is switched off: add --ablate-heads"),
        (["--ablate-heads", "--probe-race", "--probe-shard=1/2"], "--probe-race looks at all items, of which a shard"),
    ],
)
def test_a_race_that_cannot_be_held_is_refused(project: Project, args: list[str], line: str) -> None:
    project.probe("arithmetic")
    result = project.run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {line}*"])
