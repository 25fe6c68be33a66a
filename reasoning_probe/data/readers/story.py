"""Word problems read from their text: the stories of both generators, by their templates and events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from reasoning_probe.data.generators.multi_step import LARGEST, STEP, TEMPLATES, Template
from reasoning_probe.data.generators.multi_step_stories import DISTRACTORS, EVENTS
from reasoning_probe.data.readers.reading import Numbers, Reading, Spans, chain, number_parts, step_tags

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LAST = re.compile(r"How many (?P<things>\w+) does (?P<name>\w+) have now\?")
_SENTENCE = re.compile(r"[^.?]+[.?]")
_OPERATORS = re.compile(
    r"\b(?:spends|earns|more|found|gave|gives|share them equally|each|buys|pays|times|get off|get on|rows|breaks|plants"
    r"|fewer|together|loses|packs|finds|sells|half|eats|saves|a day|a week|left|equal piles)\b"
)
"""The words that say what to calculate."""


def read_story(question: str) -> Reading | None:
    """Return what is read from *question*, ``None`` if it is no story of the generators."""
    for template in TEMPLATES:
        if match := _pattern(template.text).fullmatch(question):
            return _of_template(template, question, match)
    return _of_events(question)


@cache
def _pattern(text: str, names: tuple[tuple[str, str], ...] = ()) -> re.Pattern[str]:
    """Return the pattern of a template's *text*; the placeholders in *names* stand for a word that is known."""
    known, pattern, end = dict(names), "", 0
    seen: set[str] = set()
    for match in _PLACEHOLDER.finditer(text):
        name = match[1]
        one = r"\d{1,12}" if len(name) == 1 else re.escape(known[name]) if name in known else r"\w+"
        pattern += re.escape(text[end : match.start()]) + (f"(?P={name})" if name in seen else f"(?P<{name}>{one})")
        seen.add(name)
        end = match.end()
    return re.compile(pattern + re.escape(text[end:]), re.ASCII)


def _of_template(template: Template, question: str, match: re.Match[str]) -> Reading | None:
    letters = sorted((name for name in match.groupdict() if len(name) == 1), key=match.start)
    hidden = {letter: low for letter, (low, _) in template.ranges.items() if letter not in letters}
    ranges = [template.ranges.get(letter, (2, 12)) for letter in letters]
    places = {name: place for place, name in enumerate([*letters, *hidden])}
    program = []
    for left, sign, right, result in STEP.findall(template.steps):
        program.append((places[left], sign, places[right]))
        places[result] = len(places)

    def allows(values: Sequence[int], results: Sequence[int]) -> bool:
        in_ranges = all(low <= value <= high for value, (low, high) in zip(values, ranges, strict=True))
        return in_ranges and min(results) >= 1 and max(results) <= LARGEST

    spans = tuple(match.span(letter) for letter in letters)
    values = tuple(int(match[letter]) for letter in letters)
    numbers = Numbers(values, spans, tuple(program), allows, tuple(hidden.values()))
    words = {name: match[name] for name in match.groupdict() if len(name) > 1}
    return _reading(question, {"story": template.name}, words, numbers)


def _reading(question: str, tags: Mapping[str, str], words: Mapping[str, str], numbers: Numbers) -> Reading | None:
    if numbers.results(numbers.values) is None:
        return None
    return Reading(
        {**tags, **step_tags(numbers.steps(), numbers.values)},
        number_parts(numbers.spans) | _word_parts(question, words),
        numbers,
    )


def _of_events(question: str) -> Reading | None:
    """Return what is read from a story whose events change how many things somebody has."""
    sentences = [match.span() for match in _SENTENCE.finditer(question)]
    last = _LAST.fullmatch(question[slice(*sentences[-1])].strip()) if sentences else None
    if last is None:
        return None
    known = (("name", last["name"]), ("things", last["things"]))
    spans: list[tuple[int, int]] = []
    signs: list[str] = []
    distractors: list[tuple[int, int]] = []
    others: dict[str, str] = {}
    for start, end in sentences[:-1]:
        start += question[start] == " "
        text = question[start:end]
        event = _event(text, known) if spans else _pattern("{name} has {n} {things}.", known).fullmatch(text)
        if event is None:
            distractor = next(filter(None, (_pattern(sentence).fullmatch(text) for sentence in DISTRACTORS)), None)
            if distractor is None:
                return None
            distractors.append((start, end))
            others |= {name: word for name, word in distractor.groupdict().items() if name == "other"}
            continue
        match, sign = event if isinstance(event, tuple) else (event, "")
        signs += [sign] if sign else []
        spans.append((start + match.start("n"), start + match.end("n")))
        others |= {name: word for name, word in match.groupdict().items() if name == "other"}
    if not signs:
        return None
    values = tuple(int(question[start:end]) for start, end in spans)
    numbers = Numbers(values, tuple(spans), chain(signs), _events_allow(signs, len(str(values[0]))))
    reading = _reading(question, {"distractors": str(len(distractors))}, dict(known) | others, numbers)
    if reading is None or not distractors:
        return reading
    return replace(reading, parts={**reading.parts, "distractors": tuple(distractors)})


def _event(text: str, known: tuple[tuple[str, str], ...]) -> tuple[re.Match[str], str] | None:
    for event in EVENTS:
        if match := _pattern(event.text, known).fullmatch(text):
            return match, event.sign
    return None


def _events_allow(signs: Sequence[str], digits: int) -> Callable[[Sequence[int], Sequence[int]], bool]:
    """Return what tells whether a story of amounts of so many *digits* could have other values and results."""

    def allows(values: Sequence[int], results: Sequence[int]) -> bool:
        factors = [value for sign, value in zip(signs, values[1:], strict=True) if sign in "*/"]
        in_ranges = min(values) > 1 and all(2 <= factor <= 5 for factor in factors)
        return in_ranges and min(results) >= 1 and max(results) <= 100 * (10**digits - 1)

    return allows


def _word_parts(question: str, words: Mapping[str, str]) -> dict[str, Spans]:
    """Return where names, things, the words that say what to calculate and the last sentence stand in *question*."""
    people = {words[role] for role in ("name", "other") if role in words}
    parts = {
        "names": _places(question, people),
        "things": _places(question, {words["things"]} if "things" in words else set()),
        "operators": tuple(match.span() for match in _OPERATORS.finditer(question)),
    }
    start = max(question.rfind(mark, 0, -1) for mark in ".!") + 2
    parts["claim"] = ((start if start > 1 else 0, len(question)),)
    return {name: spans for name, spans in parts.items() if spans}


def _places(question: str, words: set[str]) -> Spans:
    if not words:
        return ()
    pattern = "|".join(map(re.escape, sorted(words)))
    return tuple(match.span() for match in re.finditer(rf"\b(?:{pattern})\b", question))
