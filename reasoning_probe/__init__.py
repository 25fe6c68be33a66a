"""Reasoning questions for language models, and the attention heads that the answers depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoning_probe.data.items import Donor, Item

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.prompting import Prompting
    from reasoning_probe.pytest_plugin.marks import probe
    from reasoning_probe.results.outcome import Outcome
    from reasoning_probe.results.run import Run, read_run
    from reasoning_probe.scoring.judge import judge
    from reasoning_probe.scoring.judgement import Judgement
    from reasoning_probe.session.api import Sweep, sweep
    from reasoning_probe.session.extensions import Section
    from reasoning_probe.session.inputs import items, load

__all__ = [
    "Donor",
    "Item",
    "Judgement",
    "Outcome",
    "Prompting",
    "Run",
    "Section",
    "Sweep",
    "items",
    "judge",
    "load",
    "probe",
    "read_run",
    "sweep",
]

_MODULES = {
    "Judgement": "reasoning_probe.scoring.judgement",
    "Outcome": "reasoning_probe.results.outcome",
    "Prompting": "reasoning_probe.data.prompts.prompting",
    "Run": "reasoning_probe.results.run",
    "Section": "reasoning_probe.session.extensions",
    "Sweep": "reasoning_probe.session.api",
    "items": "reasoning_probe.session.inputs",
    "judge": "reasoning_probe.scoring.judge",
    "load": "reasoning_probe.session.inputs",
    "probe": "reasoning_probe.pytest_plugin.marks",
    "read_run": "reasoning_probe.results.run",
    "sweep": "reasoning_probe.session.api",
}
"""The module of each public name; the same as in the imports for type checkers above."""


def __getattr__(name: str) -> Any:
    """Import the module of a public name when the name is first used, so that sessions without probes start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
