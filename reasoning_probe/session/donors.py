"""The donors of a session: the prompts from which activations are patched into the items' prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.items import Arm, Donor, Item, ItemError
from reasoning_probe.data.prompts.token_places import DonorError
from reasoning_probe.models.targets import PATCHES

if TYPE_CHECKING:
    from reasoning_probe.session.queries import QueryBuilder

_NAMES: dict[Arm, str] = {"counterfactual": "counterfactual", "same_answer": "same-answer twin"}


class Donors:
    """The donors that *ablations* take their values from; each prompt is made once, and serves one item of a dataset.

    A donor that served several would stand or fall for all of them, and tests over items would name heads for nothing
    (``python -m benchmarks.accuracy.patching``).
    """

    def __init__(self, ablations: Sequence[str]) -> None:
        self.arms: tuple[Arm, ...] = tuple(dict.fromkeys(PATCHES[name] for name in ablations if name in PATCHES))
        self._restores = "restore" in ablations
        self._prompts: dict[tuple[str, str, Arm], str] = {}
        self._reasons: dict[tuple[str, str, Arm], str] = {}
        self._served: dict[tuple[str, Arm], dict[str, str]] = {}  # the donors' questions with the items' ids

    def restored(self, dataset: Dataset) -> Dataset:
        """Return *dataset* as a sweep asks it: ``restore`` asks the counterfactuals of its items."""
        if not self._restores:
            return dataset
        return replace(dataset, items=tuple(item.restored() for item in dataset.items))

    def check(self, items: Iterable[Item]) -> None:
        """Raise ``ItemError`` if none of *items* has a donor that is needed."""
        items = list(items)
        for arm in self.arms:
            if not any(getattr(item, arm) for item in items):
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
        dataset, id, arm = key
        if key in self._prompts or key in self._reasons:
            return
        donor: Donor | None = getattr(item, arm)
        if donor is not None and self._first_served(queries, dataset, arm)[donor.question] != id:
            self._reasons[key] = f"its {_NAMES[arm]} is that of an earlier item"
            return
        try:
            self._prompts[key] = queries.donor(dataset, item, arm).prompt
        except DonorError as error:
            self._reasons[key] = f"it has no {_NAMES[arm]}" if donor is None else f"its {_NAMES[arm]} {error}"

    def _first_served(self, queries: QueryBuilder, dataset: str, arm: Arm) -> dict[str, str]:
        """Return the question of each donor of *dataset* with the id of the first item that has it."""
        if (dataset, arm) not in self._served:
            pairs = [(getattr(item, arm), str(item.id)) for item in reversed(queries.datasets[dataset].items)]
            self._served[dataset, arm] = {donor.question: id for donor, id in pairs if donor is not None}
        return self._served[dataset, arm]
