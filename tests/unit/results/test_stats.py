"""The numbers, against scipy, brute force and values worked out by hand."""

from __future__ import annotations

import inspect
import itertools
import math
import random
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from reasoning_probe.results import stats
from reasoning_probe.results.stats.intervals import bootstrap
from reasoning_probe.results.stats.power import POWER

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def sign_flip(changes: Sequence[float], seed: int = 0) -> float:
    """Return the p-value of one target's sign-flip test."""
    change = np.asarray([changes], dtype=np.float64)
    return float(stats.sign_flip(change, np.isfinite(change), seed)[0])


def bootstrap_mean(changes: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return one target's bootstrap interval."""
    change = np.asarray([changes], dtype=np.float64)
    low, high = bootstrap(change, np.isfinite(change), seed)
    return float(low[0]), float(high[0])


def seeded(seed: int) -> dict[str, int]:
    """Return scipy's argument for a seed, which 1.15 renamed."""
    names = inspect.signature(scipy_stats.bootstrap).parameters
    return {"rng" if "rng" in names else "random_state": seed}


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(pair: tuple[int, int]) -> None:
    correct, items = pair
    expected = scipy_stats.binomtest(correct, items).proportion_ci(0.95, method="wilson")
    assert stats.wilson(correct, items) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand() -> None:
    # 4 of 8: centre 1/2, half width z * sqrt(1/32 + z**2 / 256) / (1 + z**2 / 8) = 0.28479.
    assert stats.wilson(4, 8) == pytest.approx((0.21521, 0.78479), abs=1e-5)
    assert stats.wilson(0, 5) == (0.0, pytest.approx(0.43448, abs=1e-5))
    assert stats.wilson(0, 0) == (0.0, 1.0)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(wrong: int, right: int) -> None:
    expected = scipy_stats.binomtest(wrong, wrong + right, 0.5).pvalue if wrong + right else 1.0
    assert float(stats.mcnemar(wrong, right)) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: P(X <= 1) of Binomial(6, 1/2) is 7/64, two-sided 14/64.
    assert stats.mcnemar([1, 0, 3], [5, 10, 3]).tolist() == pytest.approx([14 / 64, 2 / 1024, 1.0])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 7), st.integers(0, 7))
def test_mcnemar_by_enumeration(wrong: int, right: int) -> None:
    """Of all ways in which the flipped items could have flipped, the share that is at least as one-sided."""
    flips = wrong + right
    ways = list(itertools.product((0, 1), repeat=flips))
    extreme = sum(abs(2 * sum(way) - flips) >= abs(wrong - right) for way in ways)
    assert float(stats.mcnemar(wrong, right)) == pytest.approx(extreme / len(ways))


@pytest.mark.parametrize("items", [6, 10, 13])
def test_the_sign_flip_test_needs_as_many_items_as_mcnemar_needs_flips(items: int) -> None:
    """The smallest p-value of both is 2 * 0.5**n, so that one sentence about too few items holds for both."""
    assert sign_flip([1.0] * items) == float(stats.mcnemar(items, 0)) == 2 * 0.5**items


@pytest.mark.parametrize("items", [1, 2, 5, 8, 11])
def test_sign_flip_is_exact_for_few_items(items: int) -> None:
    rng = random.Random(items)
    changes = [rng.gauss(0.3, 1) for _ in range(items)]
    sums = [
        abs(math.fsum(s * c for s, c in zip(signs, changes, strict=True)))
        for signs in itertools.product((1, -1), repeat=items)
    ]
    expected = sum(total >= abs(math.fsum(changes)) - 1e-9 for total in sums) / len(sums)
    assert sign_flip(changes) == pytest.approx(expected)


def test_sign_flip_of_many_items_is_near_the_t_test_and_never_zero() -> None:
    rng = random.Random(4)
    changes = [rng.gauss(0.12, 1) for _ in range(200)]
    assert sign_flip(changes) == pytest.approx(scipy_stats.ttest_1samp(changes, 0).pvalue, abs=0.02)
    assert 0 < sign_flip([1.0] * 200) < 0.0001
    assert sign_flip([0.0] * 200) == 1.0


@pytest.mark.parametrize("targets", [1, 144, 1024])
def test_sign_flip_stays_significant_after_correcting_for_many_targets(targets: int) -> None:
    rng = np.random.default_rng(0)
    change = np.vstack([np.ones(30), rng.normal(size=(min(targets, 40) - 1, 30))]) if targets > 1 else np.ones((1, 30))
    none = np.zeros(30)
    first, *_ = stats.paired_effects(none, 0 * change, none, change, unmeasured=targets - len(change))
    assert first.logprob_p_adjusted is not None
    assert first.logprob_p_adjusted <= stats.ALPHA / 2


def test_the_sign_flip_holds_its_level_whichever_vectors_are_drawn() -> None:
    """Changes of one size make the sum binomial, so the exact p-value is known; the luck of a draw may not go below."""
    items, up = 40, 31
    exact = 2 * scipy_stats.binom.sf(up - 1, items, 0.5)
    assert 0.05 / 144 < exact < 0.05 / 60
    p_values = [sign_flip([1.0] * up + [-1.0] * (items - up), seed) for seed in range(60)]
    assert sum(p < exact for p in p_values) <= 60 * 0.05 + 3 * (60 * 0.05 * 0.95) ** 0.5
    assert np.median(p_values) < 1.5 * exact


def test_what_was_not_measured_counts_in_the_corrections() -> None:
    """Two heads that were chosen out of five: Holm multiplies by 5 and 4, Benjamini and Hochberg by 5/1 and 5/2."""
    right = np.ones(12)
    off = np.array([[0.0] * 10 + [1.0] * 2, [0.0] * 8 + [1.0] * 4])
    none = np.zeros(12)
    few = stats.paired_effects(right, off, none, np.zeros((2, 12)))
    many = stats.paired_effects(right, off, none, np.zeros((2, 12)), unmeasured=3)
    p = [2 * 0.5**10, 2 * 0.5**8]
    assert [effect.p_adjusted for effect in few] == pytest.approx([2 * p[0], p[1]])
    assert [effect.p_adjusted for effect in many] == pytest.approx([5 * p[0], 4 * p[1]])
    assert [effect.q_value for effect in many] == pytest.approx([5 * p[0], 5 / 2 * p[1]])
    assert [effect.logprob_p_adjusted for effect in many] == [1.0, 1.0]


@pytest.mark.parametrize(("population", "sampled"), [(9, 4), (12, 12), (30, 10), (120, 20)])
def test_the_interval_of_a_sample_covers_by_enumeration(population: int, sampled: int) -> None:
    for there in range(population + 1):
        ways = {
            hits: math.comb(there, hits) * math.comb(population - there, sampled - hits)
            for hits in range(max(0, sampled - population + there), min(there, sampled) + 1)
        }
        covered = sum(
            count
            for hits, count in ways.items()
            if (span := stats.finite_interval(hits, sampled, population))[0] <= there / population <= span[1]
        )
        assert covered / math.comb(population, sampled) >= 0.95
    assert stats.finite_interval(0, 0, 0) == (0.0, 0.0)
    assert stats.finite_interval(0, sampled, population)[0] == 0.0


def test_bootstrap_is_near_the_normal_interval_and_seeded() -> None:
    rng = random.Random(5)
    changes = [rng.gauss(-1, 2) for _ in range(400)]
    mean, error = np.mean(changes), np.std(changes, ddof=1) / 20
    low, high = bootstrap_mean(changes)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.04)
    assert bootstrap_mean(changes) == (low, high) != bootstrap_mean(changes, seed=1)


def test_paired_interval_by_hand() -> None:
    # 6 lost, 1 won of 18: (2 - 7) / 20 = -0.25, variance (0.35 + 0.1 - 0.0625) / 20.
    half = 1.959964 * math.sqrt((0.35 + 0.1 - 0.0625) / 20)
    assert stats.paired_interval(6, 1, 18) == pytest.approx((-0.25 - half, -0.25 + half), abs=1e-6)
    assert stats.paired_interval(0, 0, 0) == (-1.0, 1.0)


def test_paired_interval_covers() -> None:
    rng = np.random.default_rng(0)
    draws = rng.multinomial(60, [0.2, 0.05, 0.75], size=2000)
    covered = [low <= -0.15 <= high for low, high in (stats.paired_interval(int(w), int(r), 60) for w, r, _ in draws)]
    assert 0.93 <= np.mean(covered) <= 0.98


def test_effects_use_only_pairs() -> None:
    nan = math.nan
    baseline = np.array([1.0, 1.0, 0.0, 1.0, nan])
    ablated = np.array([[0.0, 1.0, 1.0, nan, 0.0], [nan] * 5])
    logprob = np.array([[-2.0, -1.0, nan, nan, -1.0], [nan] * 5])
    first, second = stats.paired_effects(baseline, ablated, np.array([-1.0, -1.0, -1.0, -1.0, nan]), logprob)
    assert (first.items, first.correct, first.flips_to_wrong, first.flips_to_right) == (3, 2, 1, 1)
    assert first.delta == 0.0
    assert first.delta_logprob == pytest.approx(-0.5)
    assert first.logprob_p_value == pytest.approx(1.0)
    assert (second.items, second.delta, second.p_value) == (0, 0.0, 1.0)
    assert (second.delta_logprob, second.delta_logprob_ci95, second.logprob_p_adjusted) == (None, None, None)
    assert stats.paired_effects(baseline, np.empty((0, 5)), baseline, np.empty((0, 5))) == []


@pytest.mark.filterwarnings("error")
def test_impossible_answers_are_left_out_of_the_logprob() -> None:
    inf = math.inf
    right = np.zeros(3)
    (effect,) = stats.paired_effects(right, right[None], np.array([-inf, -1.0, -2.0]), np.array([[-inf, -inf, -2.5]]))
    assert (effect.items, effect.delta_logprob, effect.delta_logprob_ci95) == (3, -0.5, None)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 10_000))
def test_effects_agree_with_counting(items: int, targets: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    baseline = rng.integers(0, 2, items).astype(float)
    ablated = rng.choice([0.0, 1.0, math.nan], (targets, items))
    logprob = rng.normal(size=(targets, items))
    effects = stats.paired_effects(baseline, ablated, np.zeros(items), logprob, seed)
    for row, effect in enumerate(effects):
        pairs = [(b, a) for b, a in zip(baseline, ablated[row], strict=True) if not math.isnan(a)]
        assert effect.flips_to_wrong == pairs.count((1.0, 0.0))
        assert effect.flips_to_right == pairs.count((0.0, 1.0))
        assert effect.correct == sum(a for _, a in pairs)
        if pairs:
            assert effect.delta == pytest.approx(np.mean([a - b for b, a in pairs]))
        assert effect.delta_ci95[0] <= effect.delta_ci95[1]
        assert 0 < effect.p_value <= effect.p_adjusted <= 1
        assert effect.delta_logprob == pytest.approx(logprob[row].mean())


@pytest.mark.parametrize("seed", range(5))
def test_a_sampled_sign_flip_is_near_scipys_permutation_test(seed: int) -> None:
    rng = random.Random(seed)
    changes = [rng.gauss(0.1 * seed, 1) for _ in range(14 + 5 * seed)]
    expected = scipy_stats.permutation_test(
        (changes,), np.sum, permutation_type="samples", n_resamples=4000, vectorized=False, **seeded(seed)
    ).pvalue
    p_value = sign_flip(changes, seed)
    assert p_value == pytest.approx(expected, abs=5 * math.sqrt(0.25 / 4000))


def test_the_sign_flip_is_two_sided_and_does_not_depend_on_the_unit() -> None:
    rng = random.Random(6)
    changes = [rng.gauss(0.3, 1) for _ in range(60)]
    p = sign_flip(changes)
    assert sign_flip([-change for change in changes]) == sign_flip([7 * change for change in changes]) == p


def test_bootstrap_is_near_scipys() -> None:
    rng = random.Random(7)
    changes = [rng.expovariate(1) - 0.8 for _ in range(150)]
    expected = scipy_stats.bootstrap(
        (changes,), np.mean, method="percentile", n_resamples=9999, **seeded(0)
    ).confidence_interval
    assert bootstrap_mean(changes) == pytest.approx((expected.low, expected.high), abs=0.03)


# -- the log-probability ------------------------------------------------------------------------------------------


def effect_of(changes: Sequence[float]) -> stats.Effect:
    none = np.zeros(len(changes))
    (effect,) = stats.paired_effects(none, none[None], none, np.array([changes]))
    return effect


@pytest.mark.filterwarnings("error")
def test_huge_changes_that_cancel_out_are_no_effect() -> None:
    effect = effect_of([1e308, -1e308] * 10)
    assert (effect.logprob_sign_p_value, effect.logprob_p_discrete, effect.logprob_p_value) == (1.0, 1.0, 1.0)
    assert (effect.logprob_falls, effect.logprob_rises, effect.delta_logprob, effect.median_logprob) == (10, 10, 0, 0)


def test_the_log_probability_is_named_by_falls_against_rises() -> None:
    """One large rise moves the mean; the sign test counts nine falls of ten. Changes of noise count for neither."""
    effect = effect_of([-0.1] * 9 + [50.0] + [9e-6] * 30)
    assert (effect.logprob_falls, effect.logprob_rises) == (9, 1)
    assert effect.logprob_sign_p_value == pytest.approx(scipy_stats.binomtest(1, 10).pvalue)
    assert effect.delta_logprob is not None
    assert effect.delta_logprob > 0


def test_an_answer_that_became_impossible_fell() -> None:
    effect = effect_of([-math.inf] * 8)
    assert (effect.logprob_falls, effect.logprob_sign_p_value, effect.delta_logprob) == (8, 2 / 2**8, None)


@settings(deadline=None)
@given(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=60))
def test_the_medians_interval_is_what_the_sign_test_does_not_reject(values: list[float]) -> None:
    interval = stats.median_interval(np.array(values))
    if interval is None:
        assert 2 * 0.5 ** len(values) > 0.05
        return
    low, high = interval
    n = len(values)
    for limit, beyond in (
        (low - 0.5, sum(v < low - 0.5 for v in values)),
        (high + 0.5, sum(v > high + 0.5 for v in values)),
    ):
        assert scipy_stats.binomtest(beyond, n).pvalue <= 0.05, limit
    assert low <= float(np.median(values)) <= high


# -- what a run could have shown ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "flips"), [(50, 0.02), (200, 0.05)])
def test_the_smallest_effect_is_named_in_four_of_five_sweeps(items: int, flips: float) -> None:
    rng = np.random.default_rng(0)
    heads, sweeps, named = 60, 300, 0
    for _ in range(sweeps):
        wrong, right = rng.binomial(items, flips / 2, (2, heads))
        shown = stats.detectable(wrong.tolist(), right.tolist(), [False] * heads, items, 0.7)
        assert shown.smallest_effect is not None
        lost = shown.background / 2 + shown.smallest_effect
        wrong[0], right[0] = rng.multinomial(items, [lost, flips / 2, 1 - lost - flips / 2])[:2]
        named += stats.discrete_holm(stats.mcnemar(wrong, right), wrong + right)[0] <= stats.PRIMARY_ALPHA
    assert named / sweeps == pytest.approx(POWER, abs=0.08)


def test_no_effect_is_the_smallest_where_none_could_be_named() -> None:
    assert stats.detectable([0] * 4, [0] * 4, [False] * 4, items=4, accuracy=1.0).smallest_effect is None
    assert stats.detectable([0] * 4, [0] * 4, [False] * 4, items=200, accuracy=0.02).smallest_effect is None
    whole = stats.detectable([0] * 4, [0] * 4, [False] * 4, items=200, accuracy=0.9)
    assert (whole.flips_needed, whole.background) == (7, 0.0)
    assert whole.smallest_effect == pytest.approx(0.0449, abs=0.001)  # 7 of 200 or more are lost in 80 % of runs


def test_a_named_effect_is_shrunken_towards_what_it_is() -> None:
    """A head that costs 5 points at 200 items is named where it seems to cost 9: the estimate corrects most of that."""
    rng = np.random.default_rng(1)
    p_critical = 0.0005
    draws = rng.multinomial(200, [0.075, 0.025, 0.9], size=6000)
    named = [(w, r) for w, r, _ in draws.tolist() if w > r and stats.mcnemar(w, r) <= p_critical]
    assert len(named) > 100
    shown = np.mean([(r - w) / 200 for w, r in named])
    shrunken = np.mean([stats.shrunken(w, r, 200, p_critical) for w, r in named])
    assert shown < -0.085
    assert shrunken == pytest.approx(-0.05, abs=0.01)
    assert stats.shrunken(150, 2, 200, p_critical) == pytest.approx(-0.74, abs=0.01)  # a large effect stays as it is
    assert stats.shrunken(0, 0, 200, p_critical) == 0.0


def test_simultaneous_intervals_hold_together() -> None:
    rng = np.random.default_rng(2)
    z = stats.simultaneous_z(50)
    draws = rng.multinomial(200, [0.08, 0.03, 0.89], size=(400, 50))
    covered = [
        all(low <= -0.05 <= high for low, high in (stats.paired_interval(int(w), int(r), 200, z) for w, r, _ in heads))
        for heads in draws
    ]
    assert np.mean(covered) >= 0.94


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_a_mean_lies_within_its_values_however_large_they_are(values: list[float]) -> None:
    rounding = 1e-12 * max(map(abs, values)) + 1e-300
    for mean in (stats.mean(values), stats.weighted_mean(values, [1.0] * len(values))):
        assert math.isfinite(mean)
        assert min(values) - rounding <= mean <= max(values) + rounding


def test_a_mean_of_the_largest_floats_is_finite() -> None:
    for count in range(1, 60):
        assert stats.mean([sys.float_info.max] * count) == pytest.approx(sys.float_info.max)
