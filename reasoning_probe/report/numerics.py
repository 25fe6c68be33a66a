"""The numerics of a run in words: why an answer does not depend on its batch, or how often it did."""

from __future__ import annotations

from reasoning_probe.report.format import percent
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import wilson
from reasoning_probe.utils.text import pluralise, shorten


def numerics_sentence(run: Run) -> str:
    """Return what the answers depend on beside model and prompt; empty for runs that do not say."""
    engine = run.summary["engine"]
    name, why = engine.get("numerics"), shorten(str(engine.get("numerics_why") or ""), 200)
    if name == "invariant":
        sampled, equal = engine.get("sampled") or 0, engine.get("sampled_equal") or 0
        sample = f" Of a sample of {pluralise(sampled, 'response')}, {equal} equal plain generate's." if sampled else ""
        unequal = engine.get("unequal_batches") or 0
        settled = f" Batches that failed the check and were settled: {unequal}." if unequal else ""
        return (
            "Numerics invariant: every kernel ran in one shape, so an answer is bit for bit the same in any batch; each"
            f" batch was checked.{settled}{sample}"
        )
    if name == "settle":
        singly = engine.get("settled_singly") or 0
        reason = f" ({why})" if why else ""
        return (
            f"Numerics settle{reason}: answers are those of plain generate for one row;"
            f" {pluralise(singly, 'row')} too close to call in a batch ran alone."
        )
    if name == "batch":
        canaries, changed = engine.get("canaries") or 0, engine.get("canaries_changed") or 0
        low, high = wilson(changed, canaries)
        share = f" ({percent(changed / canaries)}, 95 % interval {percent(low)} to {percent(high)})" if canaries else ""
        return (
            "Numerics batch: answers are what a batch gave. Noise alone changed"
            f" {changed} of {pluralise(canaries, 'row')} with nothing switched off{share}."
        )
    return ""
