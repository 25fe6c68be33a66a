"""The tests within strata: against scipy's, against every permutation, and by their error rates."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from reasoning_probe.results.stats import association, deciles, share_difference


def test_deciles_are_as_many_items_each() -> None:
    values = np.random.default_rng(0).permutation(200) / 7
    assert np.bincount(deciles(values.tolist())).tolist() == [20] * 10


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5).map(float)), max_size=60))
def test_equal_values_share_a_decile_and_larger_ones_have_no_lower_one(values: list[float | None]) -> None:
    strata = deciles(values).tolist()
    for one, first in zip(values, strata, strict=True):
        for other, second in zip(values, strata, strict=True):
            if one is None or other is None:
                assert (first == second) is (one is other)
            else:
                assert (one <= other) <= (first <= second)
                assert (one != other) or first == second


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_in_one_stratum_it_is_the_exact_test_of_a_table(items: list[tuple[bool, bool]]) -> None:
    group, event = map(np.array, zip(*items, strict=True))
    result = association(group, event, np.zeros(len(items)))
    both = int((group & event).sum())
    table = scipy_stats.hypergeom(len(items), int(event.sum()), int(group.sum()))
    assert result.count == both
    assert result.expected == pytest.approx(group.sum() * event.sum() / len(items))
    assert result.p == pytest.approx(min(1.0, 2 * min(table.cdf(both), table.sf(both - 1))), abs=1e-9)


def test_over_strata_it_counts_every_way_to_place_the_events() -> None:
    group = np.array([1, 1, 0, 0, 0, 1, 1, 1, 0, 0], dtype=bool)
    event = np.array([1, 1, 0, 0, 0, 1, 1, 0, 1, 0], dtype=bool)
    strata = np.array([0] * 5 + [1] * 5)
    placed = [
        sum(group[list(first)]) + sum(group[list(second)])
        for first in combinations(range(5), 2)
        for second in combinations(range(5, 10), 3)
    ]
    as_many = np.mean(np.array(placed) >= 4)
    result = association(group, event, strata)
    assert result.p == pytest.approx(2 * as_many)
    assert result.expected == pytest.approx(np.mean(placed))


def test_items_that_are_lost_because_they_are_hard_show_nothing() -> None:
    """All subtractions are hard and all additions easy: no two of a stratum differ."""
    hard = np.arange(100) < 50
    assert association(hard, hard, np.zeros(100)).p < 1e-20
    assert association(hard, hard, hard.astype(int)).p == 1.0


def test_a_share_that_differs_is_seen_and_others_are_not() -> None:
    """Of 400 draws without a difference 5 % have a p-value of 5 %; the others' cases of an item are alike."""
    rng = np.random.default_rng(1)
    p_values = {0.4: [], 0.8: []}
    for share, shown in p_values.items():
        for _ in range(400):
            mine = rng.random(60) < share
            others = 5.0 * (rng.random(60) < 0.4)
            lost, lost_elsewhere = (rng.random(60) < 0.7).astype(float), 5.0 * (rng.random(60) < 0.7)
            strata = rng.integers(0, 10, 60)
            excess, p = share_difference(mine * lost, lost, np.minimum(others, lost_elsewhere), lost_elsewhere, strata)
            shown.append(p if excess > 0 or share == 0.4 else 1.0)
    assert np.mean(np.array(p_values[0.4]) <= 0.05) <= 0.08
    assert np.mean(np.array(p_values[0.8]) <= 0.05) >= 0.8


def test_a_share_of_nothing_is_no_difference() -> None:
    none, one, strata = np.zeros(3), np.ones(3), np.zeros(3, dtype=int)
    assert share_difference(none, none, one, one, strata) == (0.0, 1.0)
    assert share_difference(one, one, one, one, strata)[1] == 1.0
