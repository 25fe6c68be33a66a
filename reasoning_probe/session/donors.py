"""The donors of a session: the prompts from which activations are patched into the items' prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.items import Arm, Item, ItemError
from reasoning_probe.data.prompts.token_places import DonorError
from reasoning_probe.models.targets import PATCHES

if TYPE_CHECKING:
    from reasoning_probe.session.queries import QueryBuilder

_NAMES: dict[Arm, str] = {"counterfactual": "counterfactual", "same_answer": "same-answer twin"}


class Donors:
    """The donors that *ablations* take their values from; each prompt is made once."""

    def __init__(self, ablations: Sequence[str]) -> None:
        self.arms: tuple[Arm, ...] = tuple(dict.fromkeys(PATCHES[name] for name in ablations if name in PATCHES))
        self._restores = "restore" in ablations
        self._prompts: dict[tuple[str, str, Arm], str] = {}
        self._reasons: dict[tuple[str, str, Arm], str] = {}

    def asked(self, dataset: Dataset) -> Dataset:
        """Return *dataset* as it is asked: ``restore`` asks the counterfactuals of its items."""
        if not self._restores:
            return dataset
        return replace(dataset, items=tuple(item.restored() for item in dataset.items))

    def check(self, items: Iterable[Item]) -> None:
        """Raise ``ItemError`` if none of *items* has a donor that is needed."""
        asked = list(items)
        for arm in self.arms:
            if not any(getattr(item, arm) for item in asked):
                raise ItemError(
                    f'no question has a {_NAMES[arm]}: give items one, "{arm}": {{"question": ..., "answer": ...}}, or'
                    " ask arithmetic, multi_step or logic"
                )

    def prompts(self, queries: QueryBuilder, dataset: str, item: Item) -> tuple[tuple[Arm, str], ...]:
        """Return the prompts of the donors of *item* that can be used, by arm."""
        keys = [(dataset, str(item.id), arm) for arm in self.arms]
        for key in keys:
            self._make(queries, key, item)
        return tuple((key[2], self._prompts[key]) for key in keys if key in self._prompts)

    def left_out(self, queries: QueryBuilder, dataset: str, item: Item) -> str:
        """Say why *item* cannot be patched; empty where it can."""
        for arm in self.arms:
            self._make(queries, (dataset, str(item.id), arm), item)
        return next((why for arm in self.arms if (why := self._reasons.get((dataset, str(item.id), arm)))), "")

    def _make(self, queries: QueryBuilder, key: tuple[str, str, Arm], item: Item) -> None:
        """Make the prompt of a donor, or the reason why there is none."""
        dataset, _, arm = key
        if key in self._prompts or key in self._reasons:
            return
        try:
            self._prompts[key] = queries.donor(dataset, item, arm).prompt
        except DonorError as error:
            lacks = getattr(item, arm) is None
            self._reasons[key] = f"it has no {_NAMES[arm]}" if lacks else f"its {_NAMES[arm]} {error}"
