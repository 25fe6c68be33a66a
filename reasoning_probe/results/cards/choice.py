"""Which heads get a card: those that matter, at most so many of each dataset, or those that are named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reasoning_probe.results.naming import significant_on_page
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.utils.target_names import head_of, join_parts, part_name, read_part, read_range, split_parts

AUTO = "auto"
MOST_CARDS = 8
"""Heads of a dataset that have a card by default, at most."""

MOST_NAMED = 1000


def parse_describe(text: str) -> str:
    """Return *text*, ``auto``, a number of heads, or targets, in its usual spelling. Raises ``ValueError``, one line.

    >>> parse_describe(" L3H1, L2-L4")
    'L3H1,L2,L3,L4'
    """
    text = text.strip()
    if text == AUTO:
        return text
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return str(int(text))
    names: list[str] = []
    for part in text.split(","):
        layers = read_range(part.strip())
        if layers is not None and layers[0] <= layers[1]:
            names += [part_name(layer) for layer in range(layers[0], layers[1] + 1)]
            continue
        name = join_parts(split_parts(part))
        if not all(map(read_part, split_parts(part))):
            raise ValueError(f"{part.strip()[:40]!r} is not a target: write auto, a number of heads, or L3H1,L5H0")
        names.append(name)
    if len(names) > MOST_NAMED:
        raise ValueError(f"{len(names):,} targets are named: name at most {MOST_NAMED:,}")
    return ",".join(dict.fromkeys(names))


def named_targets(describe: str) -> tuple[str, ...] | None:
    """Return the targets that *describe* names, ``None`` where it lets the results choose."""
    return None if describe == AUTO or describe.isdigit() else tuple(describe.split(","))


def described(rows: Sequence[EffectRecord], describe: str) -> dict[str, list[str]]:
    """Return by dataset the targets that get a card, the strongest first.

    By default these are the single heads that change the accuracy, of all tests of the page, under any ablation.
    """
    names = named_targets(describe)
    by_dataset: dict[str, list[EffectRecord]] = {}
    for row in rows:
        by_dataset.setdefault(row["dataset"], []).append(row)
    if names is not None:
        return {
            dataset: _strongest(row for row in of_dataset if row["target"] in names)
            for dataset, of_dataset in by_dataset.items()
        }
    most = MOST_CARDS if describe == AUTO else int(describe)
    return {
        dataset: _strongest(row for row in of_dataset if head_of(row["target"]) and significant_on_page(row))[:most]
        for dataset, of_dataset in by_dataset.items()
    }


def _strongest(rows: Iterable[EffectRecord]) -> list[str]:
    """Return the targets of *rows*, each once, by their largest effect."""
    return list(dict.fromkeys(row["target"] for row in sorted(rows, key=lambda row: -abs(row["delta"]))))
