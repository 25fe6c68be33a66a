"""Corrections for many tests: compared with hand calculations, closed testing by brute force, and definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.results import stats

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04; never falling: 0.04, 0.06, 0.06, 0.06.
    assert stats.holm([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert stats.holm([]).tolist() == []


def test_benjamini_hochberg_by_hand() -> None:
    # 0.01 * 4/1, 0.02 * 4/2, 0.03 * 4/3 and 0.04 * 4/4 are all 0.04; a fifth p of 1 would make them 0.05.
    assert stats.benjamini_hochberg([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.04] * 4)
    assert stats.benjamini_hochberg([]).tolist() == []


@settings(deadline=None)
@given(P_VALUES)
def test_corrections_lie_between_the_raw_p_and_bonferroni(p: list[float]) -> None:
    holm, q = stats.holm(p), stats.benjamini_hochberg(p)
    for raw, adjusted, rate in zip(p, holm, q, strict=True):
        assert raw - 1e-12 <= rate <= adjusted + 1e-12
        assert adjusted <= min(1.0, raw * len(p)) + 1e-12 or adjusted <= max(holm) + 1e-12
    assert min(holm) == pytest.approx(min(1.0, min(p) * len(p)))
    order = np.argsort(p, kind="stable")
    assert (np.diff(holm[order]) >= 0).all()


def test_discrete_holm_counts_only_what_others_could_have_reached() -> None:
    """One of 16 heads loses 7 of 40 items and nothing else flips: plain Holm gives 0.25."""
    p = stats.mcnemar([7] + [0] * 15, [0] * 16)
    assert stats.discrete_holm(p, [7] + [0] * 15).tolist() == [2 / 2**7] + [1.0] * 15
    assert stats.holm(p)[0] == 16 * 2 / 2**7
    # Heads of six flips can reach 2/64 only, those of seven 2/128, and of eight 2/256 and 18/256.
    assert stats.discrete_holm(p, [7] + [6] * 15)[0] == 2 / 2**7
    assert stats.discrete_holm(p, [7] + [7] * 15)[0] == 16 * 2 / 2**7
    assert stats.discrete_holm(p, [7] + [8] * 15)[0] == pytest.approx(2 / 2**7 + 15 * 2 / 2**8)
    # A head that was not measured, or not to the end, could have had any p-value.
    assert stats.discrete_holm(p[:1], [7], unmeasured=15)[0] == pytest.approx(16 * 2 / 2**7)
    assert stats.discrete_holm([], []).tolist() == []


FLIPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6)


@settings(deadline=None)
@given(FLIPS, st.integers(0, 3))
def test_discrete_holm_is_the_closed_test_by_brute_force(flips: list[tuple[int, int]], unmeasured: int) -> None:
    """Of each subset with this head: the chance that its smallest p-value is this small, summed over its heads."""
    p = stats.mcnemar([wrong for wrong, _ in flips], [right for _, right in flips])
    counts = [wrong + right for wrong, right in flips]

    def chance(value: float, discordant: int) -> float:
        ways = range(discordant + 1)
        by_way = [float(stats.mcnemar(wrong, discordant - wrong)) for wrong in ways]
        return (
            sum(math.comb(discordant, wrong) for wrong in ways if by_way[wrong] <= value * (1 + 1e-9)) / 2**discordant
        )

    for index, adjusted in enumerate(stats.discrete_holm(p, counts, unmeasured)):
        others = [position for position in range(len(p)) if position != index]
        subsets = [(index, *rest) for size in range(len(p)) for rest in itertools.combinations(others, size)]
        smallest = [min(float(p[position]) for position in subset) for subset in subsets]
        expected = max(
            sum(chance(least, counts[position]) for position in subset) + unmeasured * least
            for subset, least in zip(subsets, smallest, strict=True)
        )
        assert adjusted == pytest.approx(min(1.0, expected))


@settings(deadline=None)
@given(FLIPS)
def test_discrete_holm_is_never_stricter_than_holm(flips: list[tuple[int, int]]) -> None:
    p = stats.mcnemar([wrong for wrong, _ in flips], [right for _, right in flips])
    discrete = stats.discrete_holm(p, [wrong + right for wrong, right in flips])
    assert (p <= discrete + 1e-12).all()
    assert (discrete <= stats.holm(p) + 1e-9).all()


SMALL_FAMILIES = st.lists(st.sampled_from([0.0, 0.001, 0.004, 0.01, 0.02, 0.04, 0.2, 0.6, 1.0]), min_size=1, max_size=7)


@settings(deadline=None)
@given(SMALL_FAMILIES)
def test_holm_is_the_closed_test_by_brute_force(p: list[float]) -> None:
    """Holm's p-value is the largest Bonferroni p-value of any subset of the hypotheses with this one in it."""
    for index, adjusted in enumerate(stats.holm(p)):
        subsets = (
            (index, *others)
            for size in range(len(p))
            for others in itertools.combinations([position for position in range(len(p)) if position != index], size)
        )
        expected = max(min(1.0, len(subset) * min(p[position] for position in subset)) for subset in subsets)
        assert adjusted == pytest.approx(expected)


@settings(deadline=None)
@given(SMALL_FAMILIES)
def test_benjamini_hochberg_by_its_definition(p: list[float]) -> None:
    """A q-value is the smallest rate at which Benjamini and Hochberg's step-up procedure rejects the hypothesis."""

    def rejected(rate: float, value: float) -> bool:
        ranked = sorted(p)
        passing = [ranked[k - 1] for k in range(1, len(p) + 1) if ranked[k - 1] <= rate * k / len(p) + 1e-12]
        return bool(passing) and value <= max(passing)

    for value, q in zip(p, stats.benjamini_hochberg(p), strict=True):
        assert rejected(q, value)
        assert q == 0 or not rejected(q * 0.999, value)


@settings(deadline=None)
@given(st.integers(1, 5000))
def test_flips_needed_by_holm_is_the_smallest_that_is_significant(targets: int) -> None:
    flips = stats.flips_needed_by_holm(targets)
    assert stats.mcnemar(flips, 0) * targets <= 0.05
    assert stats.mcnemar(flips - 1, 0) * targets > 0.05


def test_flips_needed_by_holm_for_common_models() -> None:
    assert [stats.flips_needed_by_holm(heads) for heads in (16, 144, 1024)] == [10, 13, 16]
    assert stats.items_to_try(13) == 200


@settings(deadline=None)
@given(st.lists(st.integers(0, 25), max_size=40), st.integers(0, 20))
def test_flips_needed_is_the_smallest_that_is_significant(others: list[int], unmeasured: int) -> None:
    """One more target flips k items one way; the others, with any number of flips, are not significant themselves."""
    flips = stats.flips_needed(others, unmeasured)

    def adjusted(k: int) -> float:
        p = [float(stats.mcnemar(k, 0)), *[1.0] * len(others)]
        return float(stats.discrete_holm(p, [k, *others], unmeasured)[0])

    assert adjusted(flips) <= stats.PRIMARY_ALPHA < adjusted(flips - 1)
