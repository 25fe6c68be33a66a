"""The levels at which effects are judged."""

from __future__ import annotations

ALPHA = 0.05
"""The chance that a run without any effect names a target, over both of its tests; intervals are at 95 %."""

PRIMARY_ALPHA = ALPHA / 2
"""The level of each of the two tests, that of the accuracy and that of the log-probability, over all targets."""


def is_significant(p_adjusted: float | None, alpha: float = PRIMARY_ALPHA) -> bool:
    """Tell whether an adjusted p-value is significant at *alpha*; one that is not known is not."""
    return p_adjusted is not None and bool(p_adjusted <= alpha)
