"""The families of tests: the targets of one dataset and ablation, and those of the whole page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reasoning_probe.results import stats
from reasoning_probe.results.left_out import LeftOut, MapKey
from reasoning_probe.results.naming import significant
from reasoning_probe.results.record import EffectRecord, FamilyRecord


def families_of(rows: Iterable[EffectRecord], accuracies: Mapping[str, float], left_out: LeftOut) -> list[FamilyRecord]:
    """Return what the *rows* of each dataset and ablation could have shown; *accuracies* are the baseline's."""
    by_family: dict[tuple[str, str | None], list[EffectRecord]] = {}
    for row in rows:
        by_family.setdefault((row["dataset"], row["ablation"]), []).append(row)
    families: list[FamilyRecord] = []
    for (dataset, ablation), members in by_family.items():
        rest = left_out.count(dataset, ablation, (row["target"] for row in members))
        items = max(row["items"] for row in members)
        limits = stats.detectable(
            [row["flips_to_wrong"] for row in members],
            [row["flips_to_right"] for row in members],
            [significant(row) for row in members],
            items,
            accuracies[dataset],
            rest,
        )
        families.append(
            {
                "dataset": dataset,
                "ablation": ablation,
                "items": items,
                "targets": len(members),
                "unmeasured": rest,
                "p_critical": limits.p_critical,
                "flips_needed": limits.flips_needed,
                "background_flips": limits.background,
                "smallest_effect": limits.smallest_effect,
            }
        )
    return families


def with_page_tests(rows: Sequence[EffectRecord], left_out: LeftOut) -> list[EffectRecord]:
    """Return *rows* with the p-values over all targets of the page, those *left_out* among them."""
    measured: dict[MapKey, list[str]] = {}
    for row in rows:
        measured.setdefault((row["dataset"], row["ablation"]), []).append(row["target"])
    unmeasured = left_out.total(measured)
    p_page = stats.discrete_holm(
        [row["p_value"] for row in rows], [row["flips_to_wrong"] + row["flips_to_right"] for row in rows], unmeasured
    )
    tested = [row for row in rows if row.get("logprob_sign_p_value") is not None]
    logprob_p_page = stats.discrete_holm(
        [row.get("logprob_sign_p_value") or 0.0 for row in tested],
        [row.get("logprob_falls", 0) + row.get("logprob_rises", 0) for row in tested],
        unmeasured,
    )
    by_row = {id(row): float(p) for row, p in zip(tested, logprob_p_page, strict=True)}
    return [
        row | {"p_page": float(p), "logprob_p_page": by_row.get(id(row))} for row, p in zip(rows, p_page, strict=True)
    ]


def with_families(
    rows: Sequence[EffectRecord], families: Sequence[FamilyRecord], left_out: LeftOut
) -> list[EffectRecord]:
    """Return *rows* with what depends on other targets: the p-values over the page, and the shrunken changes."""
    critical = {(family["dataset"], family["ablation"]): family["p_critical"] for family in families}
    return [
        row
        | {
            "delta_shrunken": stats.shrunken(
                row["flips_to_wrong"], row["flips_to_right"], row["items"], critical[row["dataset"], row["ablation"]]
            )
            if significant(row)
            else None,
        }
        for row in with_page_tests(rows, left_out)
    ]
