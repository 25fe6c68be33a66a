"""Difficulty: how a generator's settings are written, as in ``arithmetic:digits=3,steps=4``.

====================  =============================================================================================
``arithmetic``        ``digits`` of every number, ``steps`` of the calculation
``multi_step``        ``digits`` of the amounts, ``steps`` of the story, ``distractors``: its irrelevant sentences
``logic``             ``steps`` of the argument, ``distractors``: its irrelevant premises, ``negation`` and
                      ``quantifiers``: how many premises say "no" or "not", and how many say "some"
all of them           ``items``: how many, if ``--probe-items`` does not say, and ``seed``
====================  =============================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reasoning_probe.data.items import ItemError

ITEMS = 20
"""The number of items if neither the spec nor ``--probe-items`` says how many."""

KNOBS: dict[str, dict[str, tuple[int, int, int]]] = {
    "arithmetic": {"digits": (1, 9, 2), "steps": (1, 8, 1)},
    "multi_step": {"digits": (1, 6, 1), "steps": (1, 8, 2), "distractors": (0, 8, 0)},
    "logic": {"steps": (1, 8, 2), "distractors": (0, 8, 0), "negation": (0, 4, 0), "quantifiers": (0, 4, 0)},
}
"""The settings of each generator: the least and the largest value, and the default."""

_COMMON = {"items": (1, 1_000_000, ITEMS), "seed": (0, 999_999_999, 0)}


@dataclass(frozen=True)
class Spec:
    """A generator's name, its settings (``None`` for the plain questions), the number of items and the seed."""

    name: str
    knobs: tuple[tuple[str, int], ...] | None = None
    items: int = ITEMS
    seed: int = 0

    def __getitem__(self, knob: str) -> int:
        return dict(self.knobs or ())[knob]


def is_spec(source: object) -> bool:
    """Tell whether *source* is a generator's name with settings after a colon."""
    return isinstance(source, str) and source.partition(":")[0] in KNOBS and ":" in source


def parse(source: str) -> Spec:
    """Return the spec in *source*, ``logic`` or ``logic:steps=4,negation=1``. Raises ``ItemError``, one line."""
    name, colon, text = source.partition(":")
    if name not in KNOBS:
        raise ItemError(f"there is no generator for {name!r}: use one of {', '.join(KNOBS)}")
    if not colon:
        return Spec(name)
    known = KNOBS[name] | _COMMON
    values = {knob: default for knob, (_, _, default) in known.items()}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*(\d{1,9})\s*", part, re.ASCII)
        if match is None or match[1] not in known:
            raise ItemError(
                f"cannot read {part.strip()[:40]!r} of {source[:80]!r}: {name} takes {', '.join(known)}, each with a"
                f" number, as in {name}:steps=3"
            )
        knob, value = match[1], int(match[2])
        least, most, _ = known[knob]
        if not least <= value <= most:
            raise ItemError(f"{source[:80]!r}: {knob} goes from {least} to {most:,}")
        values[knob] = value
    return Spec(name, tuple((knob, values[knob]) for knob in KNOBS[name]), values["items"], values["seed"])
