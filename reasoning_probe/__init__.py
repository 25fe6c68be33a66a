"""Reasoning questions for language models, and the attention heads that the answers depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoning_probe.items import Item

if TYPE_CHECKING:
    from reasoning_probe.extensions import Section
    from reasoning_probe.judging.errors import Judgement, judge
    from reasoning_probe.marks import probe
    from reasoning_probe.notebook import Sweep, sweep
    from reasoning_probe.outcome import Outcome
    from reasoning_probe.prompts import Prompting
    from reasoning_probe.store import Run, read_run

__all__ = [
    "Item",
    "Judgement",
    "Outcome",
    "Prompting",
    "Run",
    "Section",
    "Sweep",
    "judge",
    "probe",
    "read_run",
    "sweep",
]

_HOMES = {
    "Judgement": "reasoning_probe.judging.errors",
    "Outcome": "reasoning_probe.outcome",
    "Prompting": "reasoning_probe.prompts",
    "Run": "reasoning_probe.store",
    "Section": "reasoning_probe.extensions",
    "Sweep": "reasoning_probe.notebook",
    "judge": "reasoning_probe.judging.errors",
    "probe": "reasoning_probe.marks",
    "read_run": "reasoning_probe.store",
    "sweep": "reasoning_probe.notebook",
}


def __getattr__(name: str) -> Any:
    """Import what a name needs when it is first used: pytest sessions without probes stay fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
