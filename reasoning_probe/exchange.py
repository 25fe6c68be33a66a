"""What the processes of one run tell each other, in plain values, and one run made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reasoning_probe.results.outcome import Outcome

if TYPE_CHECKING:
    from reasoning_probe.results.run import Run

Part = dict[str, Any]
"""``outcomes`` (as dicts), ``places`` (of each in the whole plan), ``facts`` (what else is known) and ``process``."""


def merge(parts: Sequence[Part]) -> Run:
    """Return one run from *parts*, in the plan's order; an outcome that two of them have counts once.

    A later part of the same process replaces the facts of an earlier one: they count what the process did.
    """
    from reasoning_probe.analyses.cumulative_curve import merged_curves
    from reasoning_probe.analyses.screening import merged_screening
    from reasoning_probe.results import run, summary

    placed: dict[int, Outcome] = {}
    for part in parts:
        for place, values in zip(part["places"], part["outcomes"], strict=True):
            placed.setdefault(place, Outcome(**values))
    outcomes = [placed[place] for place in sorted(placed)]
    every: list[dict[str, Any]] = list({part["process"]: part["facts"] for part in parts}.values())
    skipped = {(skip["dataset"], skip["item"]): skip for facts in every for skip in facts["skipped"]}
    summed = summary.summarise(
        outcomes,
        model=every[0]["model"],
        generation={name: given for facts in every for name, given in facts["generation"].items()},
        ablation=every[0]["ablation"],
        formats={name: given for facts in every for name, given in facts["formats"].items()},
        timing={key: max(facts["timing"].get(key, 0.0) for facts in every) for key in every[0]["timing"]},
        engine={key: _together([facts["engine"][key] for facts in every]) for key in every[0]["engine"]},
        versions=every[0]["versions"],
        skipped=list(skipped.values()),
        reference=every[0]["reference"],
        control=summary.merged_control([facts["control"] for facts in every]),
        prompting=every[0]["prompting"],
        screening=merged_screening([facts["screening"] for facts in every]),
        curves=merged_curves([facts["curves"] for facts in every]),
    )
    sizes = {name: size for facts in every for name, size in facts["sizes"].items()}
    for name, entry in summed["datasets"].items():
        entry["size"] = sizes.get(name)
    planned = every[0]["planned"]
    unasked = {place for facts in every for place in facts["unasked"]}
    if len(outcomes) + len(unasked) < planned:
        summed["partial"] = {"planned": planned, "done": len(outcomes)}
    if every[0]["shard"]:
        summed |= {"shard": every[0]["shard"], "places": every[0]["places"]}
    return run.Run(summed, outcomes)


def _together(values: Sequence[Any]) -> Any:
    """Return the sum of counts, the first of what else was said."""
    if all(isinstance(value, int) for value in values):
        return sum(values)
    return next((value for value in values if value), values[0])


def versions() -> dict[str, str]:
    """Return the versions of everything that can change an answer."""
    import platform
    from importlib.metadata import version

    names = ("reasoning-probe", "torch", "transformers", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
