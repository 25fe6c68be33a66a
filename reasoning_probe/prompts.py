"""Prompts: item to text, and how far the answer may run."""

from __future__ import annotations

from dataclasses import dataclass

from reasoning_probe.items import Item

PLAIN = "Question: {question}\nAnswer:"
"""The plain prompt; the expected answer continues it as a space and the answer."""


@dataclass(frozen=True)
class Generation:
    """How an answer is decoded: greedily, up to ``max_new_tokens`` tokens or the first of the ``stop`` strings."""

    max_new_tokens: int = 32
    stop: tuple[str, ...] = ("Question:",)


DEFAULT_LIMITS = {"arithmetic": 32, "multi_step": 64, "logic": 32, "gsm8k": 256}
"""New tokens by dataset name, where the user set none; any other dataset gets 64 (256 in GSM8K's format)."""


def default_generation(dataset: str, data_format: str = "plain") -> Generation:
    """Return the settings of *dataset* where the user chose none."""
    return Generation(DEFAULT_LIMITS.get(dataset, 256 if data_format == "gsm8k" else 64))


@dataclass(frozen=True)
class Query:
    """An item as it is sent to the model."""

    dataset: str
    item: Item
    prompt: str
    generation: Generation

    @property
    def item_id(self) -> str:
        """The item's id; datasets and ``sweep`` give one to every item."""
        assert self.item.id is not None
        return self.item.id


def query(dataset: str, item: Item, generation: Generation) -> Query:
    """Return *item* in the plain prompt."""
    return Query(dataset, item, PLAIN.format(question=item.question), generation)


def cut_at_stop(text: str, stop: tuple[str, ...]) -> str:
    r"""Return *text* up to the first occurrence of any stop string.

    >>> cut_at_stop(" 8\\nQuestion: next", ("Question:",))
    ' 8\\n'
    """
    ends = [position for word in stop if (position := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text
