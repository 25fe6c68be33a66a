"""Which targets are named: over a map, over a page, and in the files of earlier versions."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from reasoning_probe.results import stats
from reasoning_probe.results.families import families_of, with_families
from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.naming import (
    moves_logprob,
    moves_logprob_on_page,
    significant,
    significant_on_page,
)
from reasoning_probe.results.record import EffectRecord, FamilyRecord, RaceRecord, StoppedTargetRecord


def rows_of(dataset: str, flips: list[tuple[int, int]], items: int = 200) -> list[EffectRecord]:
    """Return the rows of a map: of each target how many answers became wrong, and right."""
    wrong, right = [w for w, _ in flips], [r for _, r in flips]
    p = stats.mcnemar(wrong, right)
    discrete = stats.discrete_holm(p, [w + r for w, r in flips])
    return [
        {
            "target": f"L0H{head}",
            "dataset": dataset,
            "ablation": "zero",
            "items": items,
            "correct": items - w + r,
            "delta": (r - w) / items,
            "delta_ci95": [-1.0, 1.0],
            "flips_to_wrong": w,
            "flips_to_right": r,
            "p_value": float(p[head]),
            "p_discrete": float(discrete[head]),
            "p_adjusted": 1.0,
            "delta_logprob": None,
            "logprob_falls": w,
            "logprob_rises": r,
            "logprob_sign_p_value": float(p[head]),
            "logprob_p_discrete": float(discrete[head]),
        }
        for head, (w, r) in enumerate(flips)
    ]


@pytest.mark.parametrize(("maps", "flips"), [(1, 13), (8, 16)])
def test_a_page_of_eight_maps_needs_more_flips(maps: int, flips: int) -> None:
    """Where every other head flips so many items that it could have any p-value, discrete Holm is Holm."""
    background = [(40, 40)] * 143

    def p_page(k: int) -> float:
        rows = [*rows_of("a", [(k, 0), *background]), *_others(maps - 1, background)]
        return with_families(rows, _families(rows), LeftOut())[0]["p_page"]

    least = next(k for k in range(1, 30) if p_page(k) <= stats.ALPHA)
    assert abs(least - flips) <= 1
    assert stats.flips_needed_by_holm(144 * maps) == flips


def _others(maps: int, background: list[tuple[int, int]]) -> list[EffectRecord]:
    return [row for number in range(maps) for row in rows_of(f"d{number}", [(40, 40), *background])]


def _families(rows: list[EffectRecord]) -> list[FamilyRecord]:
    return families_of(rows, dict.fromkeys((row["dataset"] for row in rows), 0.7), LeftOut())


def test_on_one_map_page_and_map_agree() -> None:
    rows = rows_of("a", [(9, 0), (3, 2), (0, 0)])
    adjusted = with_families(rows, _families(rows), LeftOut())
    assert [row["p_page"] for row in adjusted] == [row["p_discrete"] for row in rows]
    assert [row["logprob_p_page"] for row in adjusted] == [row["logprob_p_discrete"] for row in rows]
    shrunken = [row["delta_shrunken"] for row in adjusted]
    assert shrunken[1:] == [None, None]  # not named
    assert shrunken[0] is not None
    assert -9 / 200 < shrunken[0] < 0


def test_heads_that_were_not_measured_count_on_the_page_too() -> None:
    rows = rows_of("a", [(9, 0)])
    scores = [{"target": f"L0H{head}", "score": 1.0, "measured": None} for head in range(1, 20)]
    entry = {"dataset": "a", "ablation": "zero", "items": 200, "seed": 0, "scores": scores}
    left_out = LeftOut([entry])  # type: ignore[list-item]
    families = families_of(rows, {"a": 0.7}, left_out)
    assert families[0]["unmeasured"] == 19
    (row,) = with_families(rows, families, left_out)
    assert row["p_page"] == pytest.approx(20 * 2 / 2**9)


def race(dataset: str, stopped: Iterable[int]) -> RaceRecord:
    stops: list[StoppedTargetRecord] = [{"target": f"L0H{head}", "items": 50, "lost": 1, "won": 0} for head in stopped]
    return {"dataset": dataset, "ablation": "zero", "items": 200, "targets": 20, "stopped": stops}


def test_heads_that_a_race_stopped_count_like_those_that_were_not_measured() -> None:
    """Also on the page, where a race stopped every head of another dataset, and once where a screening ranked them."""
    rows = rows_of("a", [(9, 0)])
    scores = [{"target": f"L0H{head}", "score": 1.0, "measured": "ranked"} for head in range(20)]
    screened = {"dataset": "a", "ablation": "zero", "items": 200, "seed": 0, "scores": scores}
    for screening in ([], [screened]):
        left_out = LeftOut(screening, [race("a", range(1, 20)), race("b", range(10))])  # type: ignore[arg-type]
        families = families_of(rows, {"a": 0.7}, left_out)
        assert [family["unmeasured"] for family in families] == [19]
        (row,) = with_families(rows, families, left_out)
        assert row["p_page"] == pytest.approx(30 * 2 / 2**9)


def test_a_row_of_an_earlier_version_is_judged_by_what_it_holds() -> None:
    (row,) = rows_of("a", [(9, 0)])
    old: EffectRecord = {key: value for key, value in row.items() if key not in ("p_discrete", "logprob_p_discrete")}  # type: ignore[assignment]
    assert not significant(old)  # plain Holm's p is 1
    assert significant(old | {"p_adjusted": 0.02})
    assert significant_on_page(old | {"p_adjusted": 0.02})
    assert not moves_logprob(old | {"logprob_p_adjusted": 0.001})  # a test of symmetry says less
    assert significant(row)
    assert moves_logprob(row)
    assert not significant_on_page(row | {"p_page": 0.03})
    assert not moves_logprob_on_page(row | {"logprob_p_page": 0.03})
