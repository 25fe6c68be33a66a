"""Sets of heads that bring answers back, beside random sets: on a model whose circuit is known, and by hand."""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats

from reasoning_probe.analyses.restored_sets import MOST_SETS, compared_targets, random_set
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head, every_mlp, parse_targets
from reasoning_probe.results.restored import Pair, brings_back, merged_restored, restored_record, with_tests
from reasoning_probe.session.api import sweep
from tests.helpers.known_circuits import COPIERS, DECIDER, NOISE, circuit, donated

MOVERS, NO_CIRCUIT = "+".join(COPIERS), "+".join(NOISE[:3])


@pytest.fixture(scope="module")
def every() -> list[Target]:
    return every_head(find_heads(circuit()[0]))


def test_the_heads_of_the_circuit_bring_the_sums_back_and_others_do_not() -> None:
    model, tokenizer = circuit()
    run = sweep(model, tokenizer, donated(60), [MOVERS, DECIDER, NO_CIRCUIT], "restore", 4, dataset="arithmetic").run
    rows = {row["target"]: row for row in run.summary["restored"] or ()}
    assert [row["heads"] for row in rows.values()] == [2, 1, 3]
    assert {target for target, row in rows.items() if brings_back(row)} == {MOVERS, DECIDER}
    patching = {row["target"]: row for row in run.summary["patching"] or ()}
    for target, row in rows.items():
        assert (row["became"], row["items"]) == (patching[target]["became"], patching[target]["items"])
        assert row["effect"] == pytest.approx((row["became"] - row["random_became"]) / row["items"])
        low, high = row["effect_ci95"]
        assert low < row["effect"] < high


def test_each_item_has_the_random_set_that_its_name_draws(every: list[Target]) -> None:
    """The counts are those of a sweep that names these sets one by one."""
    model, tokenizer = circuit()
    items = donated(24)
    run = sweep(model, tokenizer, items, [MOVERS], "restore", 4, dataset="arithmetic", seed=5).run
    (target,) = parse_targets(MOVERS, find_heads(model))
    right = {outcome.item for outcome in run.outcomes if outcome.target == "baseline" and outcome.correct}
    became = []
    for item in (one for one in items if one.id in right):
        drawn = random_set(target, every, f"5 arithmetic {item.id} {MOVERS}").heads
        assert len(drawn) == 2
        assert not drawn & target.heads
        name = "+".join(f"L{layer}H{head}" for layer, head in sorted(drawn))
        alone = sweep(model, tokenizer, [item], [name], "restore", 4, dataset="arithmetic").run
        became += [outcome.became_counterfactual for outcome in alone.outcomes if outcome.target == name]
    (row,) = run.summary["restored"] or ()
    assert (row["items"], row["random_became"]) == (len(became), sum(map(bool, became)))
    assert 0 < row["random_became"] < row["items"]


def test_other_ablations_compare_nothing() -> None:
    model, tokenizer = circuit()
    run = sweep(model, tokenizer, donated(12), [MOVERS], "patch", 4, dataset="arithmetic").run
    assert run.summary["restored"] == []


def test_sets_of_several_heads_are_compared_and_those_that_leave_room_for_others(every: list[Target]) -> None:
    pairs = [Target(f"pair {n}", every[n].heads | every[n + 1].heads) for n in range(MOST_SETS + 1)]
    half, more = (
        Target(name, frozenset().union(*(head.heads for head in every[:size]))) for name, size in (("h", 6), ("m", 7))
    )
    mlps = every_mlp(find_heads(circuit()[0]))
    assert compared_targets([every[0], pairs[0], half, more, *mlps], every) == [every[0], pairs[0], half]
    assert compared_targets([*every, *pairs], every) == pairs[:MOST_SETS]
    assert compared_targets(every, every) == []


PAIRS: list[Pair] = [(True, False)] * 9 + [(False, True)] * 1 + [(True, True)] * 3 + [(False, False)] * 7


def test_the_test_is_that_of_paired_shares() -> None:
    row = restored_record("logic", "L0H1+L0H3", 2, PAIRS)
    assert (row["became"], row["random_became"], row["more"], row["fewer"], row["items"]) == (12, 4, 9, 1, 20)
    assert row["p_value"] == pytest.approx(scipy_stats.binomtest(1, 10).pvalue)
    assert row["effect"] == pytest.approx(8 / 20)
    first, second = with_tests([row, restored_record("logic", "L1H2", 1, PAIRS)])
    assert first["p_adjusted"] == second["p_adjusted"] == pytest.approx(2 * row["p_value"])


def test_processes_that_asked_other_items_are_one() -> None:
    whole = [restored_record("logic", "L0H1+L0H3", 2, PAIRS), restored_record("logic", "L1H2", 1, PAIRS[::-1])]
    parts = [
        [restored_record("logic", "L0H1+L0H3", 2, part), restored_record("logic", "L1H2", 1, part)]
        for part in (PAIRS[:7], PAIRS[7:])
    ]
    assert merged_restored([*parts, None]) == with_tests(whole)
