"""Who is asked about a dataset whose answers got worse, and the sentences that say what got worse."""

from __future__ import annotations

from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names, pluralise, shorten

_MOST_OWNERS = 5
_MOST_ITEMS = 3


def owner(run: Run, dataset: str) -> str:
    """Return the owners of *dataset* in a few words; empty where the run names none."""
    names = (run.summary.get("owners") or {}).get(dataset) or []
    return join_names([shorten(name, 60) for name in names], _MOST_OWNERS)


def worse_sentences(run: Run) -> list[str]:
    """Return for each dataset which of its items were right in the gate's reference and are wrong now, and its owner.

    ``2 answers to logic got worse: max-animal and max-color. Owner: @octo-org/logic.``
    """
    gate = run.summary.get("gate")
    by_dataset: dict[str, list[str]] = {}
    for item in (gate and gate.get("regressions")) or ():
        by_dataset.setdefault(item["dataset"], []).append(shorten(item["item"], 60))
    sentences = []
    for dataset, items in by_dataset.items():
        worse = f"{pluralise(len(items), 'answer')} to {shorten(dataset, 40)} got worse"
        names = owner(run, dataset)
        sentences.append(f"{worse}: {join_names(items, _MOST_ITEMS)}." + (f" Owner: {names}." if names else ""))
    return sentences
