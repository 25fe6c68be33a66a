"""Statistics: intervals, exact paired tests, corrections for many targets, and what a run could have shown."""

from reasoning_probe.results.stats.corrections import benjamini_hochberg, discrete_holm, holm
from reasoning_probe.results.stats.effects import (
    Effect,
    MeanChange,
    PrimaryTests,
    mean_changes,
    paired_effects,
    primary_tests,
)
from reasoning_probe.results.stats.intervals import (
    finite_interval,
    mean_interval,
    median_interval,
    paired_interval,
    simultaneous_z,
    wilson,
)
from reasoning_probe.results.stats.levels import ALPHA, PRIMARY_ALPHA, is_significant
from reasoning_probe.results.stats.matching import Matches, chance_share, matches
from reasoning_probe.results.stats.means import mean, weighted_mean
from reasoning_probe.results.stats.paired_tests import falls_and_rises, mcnemar, sign_flip
from reasoning_probe.results.stats.power import (
    Detectable,
    conditional_power,
    critical_p,
    detectable,
    flips_needed,
    flips_needed_by_holm,
    items_to_try,
    loss_power,
    shrunken,
    smallest_effect,
)
from reasoning_probe.results.stats.stratified import Association, association, deciles, share_difference

__all__ = [
    "ALPHA",
    "PRIMARY_ALPHA",
    "Association",
    "Detectable",
    "Effect",
    "Matches",
    "MeanChange",
    "PrimaryTests",
    "association",
    "benjamini_hochberg",
    "chance_share",
    "conditional_power",
    "critical_p",
    "deciles",
    "detectable",
    "discrete_holm",
    "falls_and_rises",
    "finite_interval",
    "flips_needed",
    "flips_needed_by_holm",
    "holm",
    "is_significant",
    "items_to_try",
    "loss_power",
    "matches",
    "mcnemar",
    "mean",
    "mean_changes",
    "mean_interval",
    "median_interval",
    "paired_effects",
    "paired_interval",
    "primary_tests",
    "share_difference",
    "shrunken",
    "sign_flip",
    "simultaneous_z",
    "smallest_effect",
    "weighted_mean",
    "wilson",
]
