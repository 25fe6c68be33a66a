"""The measures that a map of heads can show: the change of accuracy, of log-probability, or of one error category."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reasoning_probe.report.format import nats, points
from reasoning_probe.results.naming import moves_logprob, significant
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.scoring.error_categories import CATEGORIES


@dataclass(frozen=True)
class Measure:
    """A number for each target.

    ``value`` is in ``unit`` and ``None`` where it is not known; ``good`` is +1 where more is better and -1 where more
    is worse; ``narrowest`` is the smallest range of the colours to either side; ``marked`` tells significant targets.
    """

    name: str
    unit: str
    value: Callable[[EffectRecord], float | None]
    marked: Callable[[EffectRecord], bool]
    text: Callable[[EffectRecord], str]
    narrowest: float
    good: int = 1


ACCURACY = Measure(
    "Accuracy change",
    "points",
    lambda row: 100 * row["delta"],
    significant,
    lambda row: points(row["delta"]),
    narrowest=5.0,
)
LOGPROB = Measure(
    "Log-probability change of the expected answer",
    "nats",
    lambda row: row["delta_logprob"],
    moves_logprob,
    lambda row: nats(row["delta_logprob"]),
    narrowest=0.1,
)


def category_shift(category: str) -> Measure:
    """Return the change in the number of wrong answers of *category*; it is not tested, so no target is marked."""

    def value(row: EffectRecord) -> float | None:
        shift = row.get("shift")
        return None if shift is None else float(shift.get(category, 0))

    def text(row: EffectRecord) -> str:
        change = value(row)
        return "-" if change is None else f"{change:+.0f}" if change else "0"

    return Measure(f"Change of {category} answers", "items", value, lambda row: False, text, narrowest=2.0, good=-1)


def shifted(rows: tuple[EffectRecord, ...]) -> list[str]:
    """Return the categories whose number any of *rows* changes, the known ones first and in their order."""
    categories = {category for row in rows for category, change in (row.get("shift") or {}).items() if change}
    categories.discard("correct")
    return [*(known for known in CATEGORIES if known in categories), *sorted(categories.difference(CATEGORIES))]
