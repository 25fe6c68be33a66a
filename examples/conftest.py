"""What a repository can add of its own, a hook each: a source, a scorer, an error category, a section of the page."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable

import reasoning_probe as rp

ROMAN = {1: "I", 4: "IV", 5: "V", 9: "IX", 10: "X", 40: "XL", 50: "L", 90: "XC", 100: "C"}


def roman(number: int) -> str:
    """Return *number*, from 1 to 399, as the Romans wrote it."""
    text = ""
    for value, letters in sorted(ROMAN.items(), reverse=True):
        while number >= value:
            number, text = number - value, text + letters
    return text


def pytest_reasoning_probe_source(source: str) -> Iterable[rp.Item] | None:
    """``roman:5`` are five questions about Roman numerals; every other source is left to others."""
    scheme, _, count = source.partition(":")
    if scheme != "roman":
        return None
    if not count.isdigit() or not 1 <= int(count) <= 399:
        raise ValueError(f"cannot read {source!r}: write roman:N, N from 1 to 399")
    return [
        rp.Item(id=f"roman-{n}", question=f"Write {n} as a Roman numeral.", answer=roman(n), kind="text")
        for n in range(1, int(count) + 1)
    ]


def pytest_reasoning_probe_judge(item: rp.Item, response: str) -> rp.Judgement | None:
    """Roman numerals are read as the first word of capital Roman letters; all else is judged as ever."""
    if not str(item.id).startswith("roman-"):
        return None
    found = re.search(r"\b[IVXLC]+\b", response)
    if found is None:
        return rp.Judgement(None, False, "incomplete", "no_numeral", "it holds no Roman numeral")
    if found[0] == item.answer:
        return rp.Judgement(found[0], True)
    return rp.Judgement(found[0], False, "wrong_numeral", None, f"{found[0]} is not {item.answer}")


def pytest_reasoning_probe_mistake(item: rp.Item, judgement: rp.Judgement) -> rp.Judgement | None:
    """A wrong number that is the right one written backwards is a category of its own."""
    if item.kind == "number" and judgement.answer == item.answer[::-1]:
        reason = f"{judgement.answer} is {item.answer} written backwards"
        return dataclasses.replace(judgement, category="reversed", kind="digits", reason=reason)
    return None


def pytest_reasoning_probe_section(run: rp.Run) -> rp.Section:
    """How long the answers are, by dataset."""
    baselines = [outcome for outcome in run.outcomes if outcome.target == "baseline"]
    words = Counter[str]()
    for outcome in baselines:
        words[outcome.dataset] += len(outcome.response.split())
    items = Counter(outcome.dataset for outcome in baselines)
    return rp.Section(
        title="Length of the answers",
        text="Words an answer, with nothing switched off.",
        head=("dataset", "words"),
        rows=tuple((name, f"{words[name] / count:.1f}") for name, count in items.items()),
    )
