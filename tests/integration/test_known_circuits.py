"""Tests against ground truth: models whose circuit is known by construction, and sweeps without any effect."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from scipy import stats

from benchmarks.accuracy.false_positive_rate import SavedCounts, family_wise_errors, power
from benchmarks.accuracy.simulated_sweeps import Setting, shifted_criterion
from reasoning_probe.report.sentences import sentences
from reasoning_probe.results.naming import significant
from reasoning_probe.results.patching import shows_answer
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import ALPHA, PRIMARY_ALPHA, primary_tests
from reasoning_probe.session.api import sweep
from tests.helpers.fake_runs import as_run
from tests.helpers.known_circuits import (
    ALL,
    BACKUP,
    COPIERS,
    DECIDER,
    HEADS,
    LAYERS,
    NOISE,
    circuit,
    donated,
    sums,
)
from tests.helpers.project import ROOT, Project

BOTH = f"{DECIDER}+{BACKUP}"


def swept(targets: Any = None, ablation: str = "zero", **options: Any) -> Run:
    """Return a sweep of the circuit by the real engine, summarised by the real statistics."""
    model, tokenizer = circuit(**options)
    outcomes = sweep(model, tokenizer, sums(), targets, ablation, 4, dataset="arithmetic")
    return as_run(outcomes, layers=LAYERS, heads=HEADS, ablation=ablation)


def rows_of(run: Run) -> dict[str, dict[str, Any]]:
    return {row["target"]: row for row in run.summary["targets"]}


def named(run: Run) -> set[str]:
    """Return the targets that are significant."""
    return {target for target, row in rows_of(run).items() if significant(row)}


@pytest.fixture(scope="module")
def alone() -> Run:
    return swept()


@pytest.fixture(scope="module")
def backed_up() -> Run:
    return swept(
        [*ALL, BOTH, *(f"{DECIDER}+{other}" for other in NOISE), *(f"{BACKUP}+{other}" for other in NOISE)], backup=True
    )


def test_exactly_the_planted_heads_are_named(alone: Run) -> None:
    assert alone.summary["datasets"]["arithmetic"]["accuracy"] > 0.7
    assert named(alone) == {*COPIERS, DECIDER}
    assert ": 3 of 12 heads matter for arithmetic: " in sentences(alone)[0]


def test_the_noise_is_heard_but_not_called_a_finding(alone: Run) -> None:
    noise = [row for target, row in rows_of(alone).items() if target in (*NOISE, BACKUP)]
    assert len(noise) == 9
    assert sum(row["flips_to_wrong"] for row in noise) > 0 < sum(row["flips_to_right"] for row in noise)
    least = min(abs(rows_of(alone)[target]["delta_logprob"]) for target in (*COPIERS, DECIDER))
    assert all(abs(row["delta_logprob"]) < least / 20 for row in noise)


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_the_planted_heads_are_named_whatever_takes_their_place(ablation: str) -> None:
    assert named(swept(ablation=ablation)) == {*COPIERS, DECIDER}


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_planted_heads_are_named_in_any_noise(seed: int) -> None:
    assert named(swept(seed=seed)) == {*COPIERS, DECIDER}


def patched(seed: int = 0) -> Run:
    model, tokenizer = circuit(seed=seed)
    return sweep(model, tokenizer, donated(), None, "patch,patch-same", 4, dataset="arithmetic").run


@pytest.mark.parametrize("seed", range(3))
def test_patching_names_the_movers_and_the_decider(seed: int) -> None:
    run = patched(seed)
    rows = {row["target"]: row for row in run.summary["patching"]}
    assert {target for target, row in rows.items() if shows_answer(row)} == {*COPIERS, DECIDER}
    assert max(row["control_became"] / row["items"] for row in rows.values()) < 0.03
    decider, movers = rows[DECIDER], [rows[name] for name in COPIERS]
    assert decider["became"] > 0.9 * decider["items"]
    assert decider["control_changed"] < decider["changed"] / 3, "its sum is the same in the control"
    assert min(row["control_changed"] / row["items"] for row in movers) > 0.9, "its operand is not"
    # Each makes the other sum where its operand alone is another.
    assert sum(row["became"] for row in movers) > 0.9 * decider["items"]
    assert max(row["became"] for row in movers) < 0.75 * decider["items"]
    assert sentences(run)[0].startswith(f"Patching {DECIDER} on arithmetic makes the answer the other question's on")


def test_the_movers_are_sufficient_together_and_the_noise_is_not() -> None:
    model, tokenizer = circuit()
    movers, noise = "+".join(COPIERS), "+".join(NOISE)
    run = sweep(model, tokenizer, donated(60), [movers, DECIDER, noise], "restore", 4, dataset="arithmetic").run
    rows = {row["target"]: row for row in run.summary["patching"]}
    assert {row["ablation"] for row in rows.values()} == {"restore"}
    assert rows[DECIDER]["became"] > 0.8 * rows[DECIDER]["items"] > 0
    assert rows[DECIDER]["p_adjusted"] is None, "there is no control"
    shares = {
        target: mean(bool(one.became_counterfactual) for one in run.outcomes if one.target == target)
        for target in ("baseline", movers, DECIDER, noise)
    }
    assert shares["baseline"] < 0.1
    assert shares[noise] < 0.1
    assert min(shares[movers], shares[DECIDER]) > 0.8, shares


def test_each_planted_head_fails_in_its_own_way(alone: Run) -> None:
    """Without a copier its operand counts as 0, so the other is echoed; without the decider the sum is 0."""
    rows = rows_of(alone)
    for copier in COPIERS:
        assert rows[copier]["shift"]["wrong_operation"] > 50
    answers = {outcome.answer for outcome in alone.outcomes if outcome.target == DECIDER}
    assert answers <= {"0", "1"}


def test_the_backup_shows_only_in_the_joint_target(backed_up: Run) -> None:
    rows = rows_of(backed_up)
    singles = {target for target in named(backed_up) if "+" not in target}
    assert singles == set(COPIERS)
    assert rows[DECIDER]["flips_to_wrong"] == rows[BACKUP]["flips_to_wrong"] == 0
    assert {target for target in named(backed_up) if "+" in target} == {BOTH}
    assert rows[BOTH]["delta"] < -0.6


def test_a_user_reads_the_planted_heads(project: Project, tmp_path: Path) -> None:
    model, tokenizer = circuit()
    model.save_pretrained(tmp_path / "circuit")
    tokenizer.save_pretrained(tmp_path / "circuit")
    lines = [json.dumps({"id": item.id, "question": item.question, "answer": item.answer}) for item in sums(60)]
    project.write("sums.jsonl", "\n".join(lines))
    project.probe("arithmetic")
    where = f"--model={tmp_path / 'circuit'}"
    result = project.run(where, "--ablate-heads", "--probe-dataset=arithmetic=sums.jsonl", "--probe-max-new-tokens=4")
    rows = [row for row in project.summary()["targets"] if significant(row)]
    assert {row["target"] for row in rows} == {*COPIERS, DECIDER}
    output = " ".join(line.strip() for line in result.outlines)
    assert "3 of 12 heads matter for arithmetic: " in output
    assert all(head in output for head in (*COPIERS, DECIDER))


# -- sweeps without any effect ----------------------------------------------------------------------------------------


NULLS = (
    {"shape": "normal"},
    {"shape": "skewed"},
    {"correlation": 0.6},
    {"spread": 1.5},
    {"accuracy": 0.05, "flips": 0.02},
    {"accuracy": 0.95, "flips": 0.02},
    {"families": 4},
)


@pytest.mark.parametrize("items", [12, 60])
@pytest.mark.parametrize("values", NULLS, ids=str)
def test_null_sweeps_keep_the_family_wise_error_rate(items: int, values: dict[str, Any]) -> None:
    """The long form, 2,000 sweeps of 144 heads, is ``python -m benchmarks.accuracy.false_positive_rate``."""
    detections = family_wise_errors(150, items, heads=24, **values)
    for alarms, level in ((detections.accuracy, PRIMARY_ALPHA), (detections.logprob, PRIMARY_ALPHA)):
        assert alarms <= 150 * level + 3 * (150 * level * (1 - level)) ** 0.5
    assert detections.either <= 150 * ALPHA + 3 * (150 * ALPHA * (1 - ALPHA)) ** 0.5


@pytest.mark.parametrize(("kind", "level"), [("accuracy", 0.025), ("logprob", 0.025), ("either", 0.05)])
def test_the_false_alarms_of_the_long_form_are_within_their_level(kind: str, level: float) -> None:
    """By the binomial test of each row, of as many rows as there are (Bonferroni)."""
    rows = json.loads((ROOT / "docs/measurements/false-positive-rate.json").read_text())
    alarms = [row["detections"][kind] for row in rows if row["setting"]["loss"] == row["setting"]["shift"] == 0]
    assert len(alarms) == 30
    for count in alarms:
        assert stats.binom.sf(count - 1, 2000, level) > 0.05 / len(alarms)


def test_guessing_with_a_shifted_criterion_names_no_head() -> None:
    """Every head changes how often a guessing model says yes, so it flips many answers, to right as often as not."""
    sweeps = [shifted_criterion(Setting(100, heads=24), number) for number in range(100)]
    tests = [primary_tests(sweep.right, sweep.right_off, sweep.logprob, sweep.logprob_off) for sweep in sweeps]
    flips = [test.flips_to_wrong + test.flips_to_right for test in tests]
    assert min(float(of_sweep.mean()) for of_sweep in flips) > 5
    alarms = sum(bool((test.p_discrete <= PRIMARY_ALPHA).any()) for test in tests)
    assert alarms <= 100 * PRIMARY_ALPHA + 3 * (100 * PRIMARY_ALPHA) ** 0.5


def test_a_long_simulation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    setting = Setting(30, heads=4, loss=0.6, shift=0.5)
    whole = SavedCounts(None, None).count(60, setting)
    assert whole == power(60, 30, heads=4, loss=0.6, shift=0.5)
    assert 0 < whole.logprob < 60
    sliced = tmp_path / "counts.jsonl"
    assert SavedCounts(sliced, None).count(35, setting).sweeps == 35
    assert SavedCounts(sliced, None).count(60, setting) == whole
    assert SavedCounts(sliced, 0).count(100, setting) == whole
    assert SavedCounts(sliced, 0).count(100, Setting(30)).sweeps == 0


def test_power_grows_with_the_items_and_beats_plain_holm() -> None:
    few, many = (power(40, items, heads=24, loss=0.15, shift=0.4) for items in (50, 200))
    assert few.accuracy < many.accuracy >= 36
    assert few.logprob < many.logprob >= 36
    assert few.accuracy > 2 * few.plain_holm


def test_too_few_items_have_no_power_by_either_test() -> None:
    """6 items: the smallest p-value is 2 * 0.5**6, whatever the effect."""
    detections = power(20, 6, heads=24, loss=0.6, shift=9.0)
    assert (detections.accuracy, detections.logprob) == (0, 0)
