"""The hooks by which a repository adds its own source, scorer, error category, and section of the page."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable

import reasoning_probe as rp

ROMAN = {1: "I", 4: "IV", 5: "V", 9: "IX", 10: "X", 40: "XL", 50: "L", 90: "XC", 100: "C"}


def roman(number: int) -> str:
    """Return *number*, from 1 to 399, as a Roman numeral."""
    text = ""
    for value, letters in sorted(ROMAN.items(), reverse=True):
        while number >= value:
            number, text = number - value, text + letters
    return text


def pytest_reasoning_probe_source(source: str) -> Iterable[rp.Item] | None:
    """Return N questions about Roman numerals for the source ``roman:N``, and ``None`` for any other source."""
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
    """Judge Roman numerals by the first word of Roman letters in the response; leave other items to the default."""
    if not str(item.id).startswith("roman-"):
        return None
    match = re.search(r"\b[IVXLC]+\b", response)
    if match is None:
        return rp.Judgement(None, False, "incomplete", "no_numeral", "it holds no Roman numeral")
    numeral = match[0]
    if numeral == item.answer:
        return rp.Judgement(numeral, True)
    return rp.Judgement(numeral, False, "wrong_numeral", None, f"{numeral} is not {item.answer}")


def pytest_reasoning_probe_mistake(item: rp.Item, judgement: rp.Judgement) -> rp.Judgement | None:
    """Put a wrong number that is the right one written backwards into the category ``reversed``."""
    if item.kind == "number" and judgement.answer == item.answer[::-1]:
        reason = f"{judgement.answer} is {item.answer} written backwards"
        return dataclasses.replace(judgement, category="reversed", kind="digits", reason=reason)
    return None


def pytest_reasoning_probe_section(run: rp.Run) -> rp.Section:
    """Return a section with the length of the answers, by dataset."""
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
