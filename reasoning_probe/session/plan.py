"""The plan of a session: its cases, and those that are left after every kind of deselection."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_probe.data.items import Item
from reasoning_probe.models.targets import Target
from reasoning_probe.results.outcome import BASELINE, Key


@dataclass(frozen=True)
class Case:
    """One test case: an item under one target (``None``: nothing is switched off)."""

    dataset: str
    item: Item
    target: Target | None = None
    ablation: str | None = None

    @property
    def key(self) -> Key:
        """What the case's outcome is known by."""
        return self.dataset, str(self.item.id), self.target_name, self.ablation

    @property
    def target_name(self) -> str:
        """``L3H7``, or ``baseline``."""
        return BASELINE if self.target is None else self.target.name
