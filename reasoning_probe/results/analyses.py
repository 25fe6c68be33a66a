"""What the analyses of a run measured beside its sweep, and the merging of several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from reasoning_probe.results.cards.measured import merged_measured
from reasoning_probe.results.circuits import merged_circuits
from reasoning_probe.results.curves import merged_curves
from reasoning_probe.results.null_directions import merged_directions
from reasoning_probe.results.paths import merged_paths
from reasoning_probe.results.record import AnalysisRecords
from reasoning_probe.results.restored import merged_restored
from reasoning_probe.results.thoughts import merged_anchors

AnalysisName = Literal["null_directions", "curves", "heads", "paths", "circuits", "restored", "thought_anchors"]


def merged_analyses(parts: Callable[[AnalysisName], Sequence[Sequence[Any] | None]]) -> AnalysisRecords:
    """Return the results of several processes as one; *parts* gives those of one analysis, a list for each process."""
    return {
        "null_directions": merged_directions(parts("null_directions")),
        "curves": merged_curves(parts("curves")),
        "heads": merged_measured(parts("heads")),
        "paths": merged_paths(parts("paths")),
        "circuits": merged_circuits(parts("circuits")),
        "restored": merged_restored(parts("restored")),
        "thought_anchors": merged_anchors(parts("thought_anchors")),
    }
