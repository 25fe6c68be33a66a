"""Sets of heads scored as circuits, CPR and CMD: closed forms, and models whose weights are written by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import reasoning_probe as rp
from reasoning_probe.analyses.circuit_scores import PARTS, RANDOM_SETS, Circuit, halves
from reasoning_probe.analyses.circuit_statistics import areas, lasso_set, recovered, share
from reasoning_probe.analyses.cumulative_curve import measured_items
from reasoning_probe.models.targets import Target
from reasoning_probe.results.circuits import is_circuit, largest_difference, merged_circuits
from reasoning_probe.results.run import Run
from reasoning_probe.session.arguments import ArgumentError
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.known_circuits import BACKUP, COPIERS, DECIDER, circuit, sums

# -- CPR and CMD ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "faithfulness", "cpr", "cmd"),
    [
        ([0, 1, 2, 3, 12], [0.0, 0.0, 0.0, 1.0, 1.0], 0.5 / 12 + 9 / 12, 1 - 0.5 / 12 - 9 / 12),  # a step
        ([0, 4], [0.0, 1.0], 0.5, 0.5),
        ([0, 1, 2], [0.0, 2.0, 1.0], 1.25, 0.5),  # the line crosses 1 halfway, so two triangles lie on either side
        ([0, 1, 2], [0.0, -1.0, 1.0], -0.25, 1.25),
    ],
)
def test_areas_of_broken_lines(sizes: list[int], faithfulness: list[float], cpr: float, cmd: float) -> None:
    measures = -5 + 2 * np.array(faithfulness)[:, None] + np.zeros((1, 6))  # whatever the measure's zero and unit
    area = areas(sizes, measures)
    assert area is not None
    assert (area["cpr"], area["cmd"]) == pytest.approx((cpr, cmd))
    assert area["cpr_ci95"] == pytest.approx([cpr, cpr])


def test_heads_that_do_not_raise_the_measure_have_no_share_and_no_area() -> None:
    worse, better = np.full(9, -3.0), np.full(9, -1.0)
    assert recovered(worse, better, worse) is None
    assert share(worse, better, worse) is None
    assert areas([0, 1, 2], np.array([better, worse, worse])) is None
    assert areas([0, 1], np.zeros((2, 0))) is None


def swept(**options: Any) -> Run:
    session = ProbeSession(Settings(ablate_heads=True, max_new_tokens=4, describe="0"))
    session.model_runner.use(circuit(**options))
    cases = session.cases(session.dataset("arithmetic", sums(40)))
    session.select(cases)
    session.outcome(cases[0])
    session.run_post_sweep()
    run = session.finish()
    assert run is not None
    return run


def closed_form(values: dict[int, float], order: list[str], size: int, item: str) -> float:
    """Return the log-probability of the sum with the first *size* heads of *order* on, where no noise is on.

    The decider adds what the copiers that are on bring; the number n has the logit 6ns - 3n^2 for the sum s.
    """
    a, b = map(int, item.removeprefix("add-").split("-"))
    kept = order[:size]
    brought = {COPIERS[0]: values[a], COPIERS[1]: values[b]}
    total = sum(value for copier, value in brought.items() if copier in kept) if DECIDER in kept else 0.0
    logits = [6 * n * total - 3 * n * n for n in range(19)]
    highest = max(logits)
    return logits[a + b] - highest - math.log(sum(math.exp(logit - highest) for logit in logits))


def test_the_areas_of_a_planted_circuit_are_those_of_its_formula() -> None:
    run = swept()
    (kept,) = [entry for entry in run.summary["curves"] or () if entry["kind"] == "kept"]
    order = kept["order"]
    assert set(order[:3]) == {*COPIERS, DECIDER}
    model, tokenizer = circuit()
    words = model.transformer.wte.weight
    values = {digit: float(words.detach()[tokenizer.convert_tokens_to_ids(str(digit)), 2]) for digit in range(10)}
    _, items = measured_items([str(item.id) for item in sums(40)], "arithmetic", 12)
    means = [np.mean([closed_form(values, order, size, item) for item in items]) for size in range(13)]
    f = (np.array(means) - means[0]) / (means[12] - means[0])
    cpr = float(((f[1:] + f[:-1]) / 2).sum() / 12)
    cmd = float((np.abs(f - 1)[1:] + np.abs(f - 1)[:-1]).sum() / 24)
    both = kept["areas"]
    assert both is not None
    assert both["signed"]["cpr"] == pytest.approx(cpr, abs=0.01)
    assert both["signed"]["cmd"] == pytest.approx(cmd, abs=0.01)
    assert both["signed"]["cpr_ci95"][0] <= both["signed"]["cpr"] <= both["signed"]["cpr_ci95"][1]
    assert both["by_size"] is not None
    assert both["by_size"]["cpr"] == pytest.approx(cpr, abs=0.1)  # the same three heads first, at fewer sizes


# -- sets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backup", [False, True])
def test_masks_find_the_heads_that_lose_together(backup: bool) -> None:
    """A decider and its backup cost nothing one by one, so single effects name neither."""
    model, tokenizer = circuit(backup=backup)
    run = rp.sweep(model, tokenizer, sums(60), masks=64, max_new_tokens=4, describe=0).run
    of_names, of_masks = run.summary["circuits"] or []
    assert (of_names["source"], of_masks["source"]) == ("named", "masks")
    assert set(of_names["heads"]) == {*COPIERS, *(() if backup else (DECIDER,))}
    assert set(of_masks["heads"]) == {*COPIERS, DECIDER, *((BACKUP,) if backup else ())}
    assert (of_masks["chosen_on"], of_masks["items"], of_masks["masks"]) == (30, 20, 64)
    for row in (of_names, of_masks):
        for measure in (row["logprob"], row["answers"]):
            assert measure is not None
            whole = backup is False or row is of_masks
            assert measure["faithfulness"] == pytest.approx(1 if whole else 0, abs=0.15)
            assert measure["completeness"] == pytest.approx(1, abs=0.1)
            assert len(measure["random_faithfulness"]) == RANDOM_SETS
            assert np.median(measure["random_faithfulness"]) == pytest.approx(0, abs=0.1)
            assert len(measure["parts"]) == min(PARTS, 2 ** len(row["heads"]) - 2)
            assert all(set(part["heads"]) < set(row["heads"]) for part in measure["parts"])
            if whole:  # without a part of it, the rest does what all other heads do
                assert largest_difference(measure) == pytest.approx(0, abs=0.15)
        # The copiers alone have no decider, which all other heads have: without one of them these still know the other.
        assert (largest_difference(row["logprob"] or measure) > 0.5) is (backup and row is of_names)
    assert (run.summary["timing"].get("circuits_s") or 0) > 0
    assert is_circuit(of_names) == (not backup)


def test_a_lasso_finds_the_columns_that_lower_and_no_others() -> None:
    rng = np.random.default_rng(0)
    masks = (rng.random((128, 30)) < 0.5).astype(float)
    changes = -3 * masks[:, 4] - 2 * masks[:, 9] * masks[:, 17] + 1.5 * masks[:, 20] + 0.1 * rng.standard_normal(128)
    assert lasso_set(masks, changes) == [4, 9, 17]
    assert lasso_set(masks, np.zeros(128)) == []


def test_each_half_has_other_items_whatever_their_order() -> None:
    ids = [f"i{n}" for n in range(31)]
    choosing, scoring = halves(ids, "arithmetic")
    assert not set(choosing) & set(scoring)
    assert (len(choosing), len(scoring)) == (16, 15)
    assert halves(reversed(ids), "arithmetic") == (choosing, scoring)
    assert halves(ids, "logic") != (choosing, scoring)


def test_random_sets_are_as_large_and_other_ones() -> None:
    every = [Target(f"L0H{n}", frozenset({(0, n)})) for n in range(4)]
    one = Circuit("d", "zero", "named", tuple(every[:2]), 9, ("i",))
    targets = one.targets(every, 0)
    assert targets == one.targets(every, 0) != one.targets(every, 1)
    assert targets["off"].heads == {(0, 0), (0, 1)}
    assert targets["kept"].heads == {(0, 2), (0, 3)}
    for number in range(RANDOM_SETS):
        off, kept = targets[f"off {number}"].heads, targets[f"kept {number}"].heads
        assert len(off) == 2
        assert off != {(0, 0), (0, 1)}
        assert off | kept == targets["empty"].heads
    assert len({target.name for target in targets.values()}) == len(targets)
    parts = one.parts(0)
    assert sorted(head.name for part in parts for head in part) == ["L0H0", "L0H1"]  # of two heads there are two parts
    for number, (part,) in enumerate(parts):
        assert targets[f"off less {number}"].heads == part.heads
        assert targets[f"kept less {number}"].heads == part.heads | {(0, 2), (0, 3)}


def test_parts_of_a_set_are_neither_nothing_nor_all_of_it_and_none_twice() -> None:
    every = [Target(f"L0H{n}", frozenset({(0, n)})) for n in range(9)]
    parts = Circuit("d", "zero", "named", tuple(every[:6]), 9, ("i",)).parts(0)
    assert len(set(parts)) == len(parts) == PARTS
    assert all(0 < len(part) < 6 and set(part) < set(every[:6]) for part in parts)
    assert Circuit("d", "zero", "named", (every[0],), 9, ("i",)).parts(0) == []


def test_of_several_processes_the_set_that_most_items_score_counts() -> None:
    row: Any = {"dataset": "d", "ablation": "zero", "source": "named", "items": 9}
    assert merged_circuits([[row], None, [row | {"items": 20}], [row | {"source": "masks"}]]) == [
        row | {"items": 20},
        row | {"source": "masks"},
    ]


def test_too_few_masks_are_refused_in_one_line() -> None:
    with pytest.raises(ArgumentError, match="masks=4 is not a whole number from 16 on"):
        rp.sweep(*circuit(), sums(4), masks=4)
