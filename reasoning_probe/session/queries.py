"""Queries: the datasets of a session, and their items as they are sent to the model. Knows no engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from reasoning_probe.data import datasets, generators
from reasoning_probe.data.datasets import Dataset
from reasoning_probe.data.items import PLACES, Arm, Item
from reasoning_probe.data.places import PlaceError
from reasoning_probe.data.prompts.few_shot import few_shot_examples
from reasoning_probe.data.prompts.prompting import Generation, default_generation
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.data.prompts.special_tokens import AddedTokens, added_tokens
from reasoning_probe.data.prompts.token_places import donor_query
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.session import new_items
from reasoning_probe.session.donors import Donors
from reasoning_probe.session.extensions import Extensions
from reasoning_probe.session.settings import Settings

DatasetSource = str | Path | Iterable[Item]

_BEYOND = 1000  # items in memory that are looked at for shots, beyond those that are asked: there may be no end of them


class QueryBuilder:
    """Reads datasets once each, draws their shots, and makes queries of their items."""

    def __init__(self, settings: Settings, extensions: Extensions) -> None:
        self.settings, self.extensions = settings, extensions
        self.datasets: dict[str, Dataset] = {}
        self.shots: dict[str, tuple[Item, ...]] = {}
        self.donors = Donors(settings.ablations if settings.ablating else ())
        self._sources: dict[str, Any] = {}
        self._prompter: PromptRenderer | None = None
        self._tokenizer: Any = None
        self._added: AddedTokens | None = None

    @cached_property
    def _earlier_questions(self) -> Mapping[str, Set[str]]:
        """The questions that an earlier run asked, by dataset; empty where none is to be left out."""
        return new_items.asked_questions(self.settings.fresh_from) if self.settings.fresh_from is not None else {}

    def dataset(self, name: str, source: DatasetSource | None = None) -> Dataset:
        """Return the dataset *name*, loaded once; ``--probe-dataset`` overrides *source*. Raises ``DatasetError``."""
        if name in self.datasets and name not in self.settings.sources and self._sources[name] != source:
            raise DatasetError(f"two probes call different data {name!r}: give one of them another name, name=...")
        if name not in self.datasets:
            self._sources[name] = source
            source = self.settings.sources.get(name, source)
            items = self.extensions.source(source) if isinstance(source, str) else None
            if items is not None:
                source = items
            limit, shots = self.settings.items_of(name), self.settings.prompting.shots
            if shots and source is not None and not isinstance(source, str | Path):
                most = (
                    limit + self.settings.items_start(name) + _BEYOND if limit and not self._earlier_questions else None
                )
                source = tuple(islice(source, most))
            # One number for all datasets is the most of each; a number for one dataset is what it must have.
            at_most = not isinstance(self.settings.items, Mapping)
            start, earlier = self.settings.items_start(name), self._earlier_questions.get(name, frozenset())
            trusted = self.settings.remote_code
            dataset = new_items.read(
                name, source, limit, at_most=at_most, start=start, earlier=earlier, trusted=trusted
            )
            beyond = self._beyond(name, source, dataset) if shots else ()
            self.shots[name] = few_shot_examples(
                dataset, self.settings.prompting, self.settings.seed, beyond, trusted=trusted
            )
            self.datasets[name] = self.donors.restored(dataset)
        return self.datasets[name]

    def _beyond(self, name: str, source: DatasetSource | None, dataset: Dataset) -> tuple[Item, ...]:
        """Return the items of a source after those that are asked; generators have no end and are not read here."""
        generated = dataset.builtin in generators.NAMES or generators.is_spec(dataset.source)
        if self.settings.items_of(name) is None or self.settings.prompting.shots_from or generated:
            return ()
        item_ids = {item.id for item in dataset.items}
        every = datasets.read(name, source, trusted=self.settings.remote_code)
        return tuple(item for item in every.items if item.id not in item_ids)

    def set_tokenizer(self, tokenizer: Any) -> None:
        """Make prompts for the model's *tokenizer* from now on. Raises ``PromptError``."""
        self._prompter = PromptRenderer(self.settings.prompting, tokenizer, self.shots)
        self._tokenizer, self._added = tokenizer, added_tokens(tokenizer)

    @property
    def prompter(self) -> PromptRenderer:
        """What makes the prompts; before :meth:`set_tokenizer` there is no chat."""
        return self._prompter or PromptRenderer(replace(self.settings.prompting, chat="off"), shots=self.shots)

    @property
    def chats(self) -> frozenset[str]:
        """The datasets whose prompts hold the tokenizer's special tokens already."""
        return frozenset(self.datasets) if self.prompter.chat else frozenset()

    def query(self, dataset: str, item: Item) -> Query:
        """Return *item* of *dataset* as it is sent."""
        return replace(self._query(dataset, item), donors=self.donors.prompts(self, dataset, item))

    def _query(self, dataset: str, item: Item) -> Query:
        return self.prompter.query(dataset, item, self.generation(dataset))

    def donor(self, dataset: str, item: Item, arm: Arm) -> Query:
        """Return a donor of *item* as a query. Raises ``DonorError`` where there is none that aligns with it."""
        return donor_query(self.prompter, self._tokenizer, dataset, item, arm, self.generation(dataset), self._added)

    def left_out(self, dataset: str, item: Item) -> str:
        """Say why *item* is not asked although it fits the model: no place where heads are off, or nothing to patch.

        It is empty for all others.
        """
        if not self.settings.ablating:
            return ""
        if self.settings.where not in PLACES:
            from reasoning_probe.models.places import positions_of

            try:
                positions_of(self.settings.where, self._query(dataset, item), 0, self._tokenizer, self._added)
            except PlaceError as error:
                return str(error)
        return self.donors.left_out(self, dataset, item)

    def generation(self, dataset: str) -> Generation:
        """Return the generation settings of *dataset*."""
        known = self.datasets[dataset]
        prompting = replace(self.settings.prompting, chat="on" if self.prompter.chat else "off")
        default = known.generation or default_generation(dataset, known.format, prompting)
        limit, stop = self.settings.max_new_tokens, self.settings.stop
        if stop is None or (stop == Generation.stop and self.prompter.chat):
            stop = default.stop  # a chat's turn ends by a token of its own
        return Generation(default.max_new_tokens if limit is None else limit, stop)

    def references(self) -> dict[str, list[str]]:
        """Return the prompts of all items of every dataset, from which replacements are taken."""
        return {name: [self._query(name, item).prompt for item in known.items] for name, known in self.datasets.items()}

    def describe(self) -> dict[str, Any]:
        """Return in plain values how questions were put."""
        return self.prompter.describe()
