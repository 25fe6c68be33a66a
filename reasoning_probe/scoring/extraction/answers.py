r"""Answers: what a careful reader would say that a response answered.

Where several places could hold the answer, the first of these that does is taken:

1. an explicit final answer: ``####``, ``\boxed{}``, "the answer is", then a calculation whose result ends the response;
2. a reply that begins with its bare answer (``8``, ``$8.``, ``8 dollars``, ``No.``), whatever rambling follows;
3. a conclusion ("So Alice has 6 dollars left"), or the question's own calculation with a result;
4. the last result of a worked solution that came to its end; the first statement of any other reply.
"""

from __future__ import annotations

import re
from fractions import Fraction

from reasoning_probe.scoring.extraction.equations import RESULT
from reasoning_probe.scoring.extraction.explicit import (
    BOTH,
    ExtractedAnswer,
    explicit_label,
    explicit_number,
    explicit_statement,
    reading_of,
    to_sentence_end,
    with_choice,
)
from reasoning_probe.scoring.extraction.sentence_number import calculations_in, stated_number
from reasoning_probe.scoring.extraction.sentences import (
    MAX_SENTENCE,
    Sentence,
    is_counting,
    is_loop,
    normalise_text,
    options_in,
    repeats_question,
    sentences,
    words,
)
from reasoning_probe.scoring.extraction.units import merge_unit_pairs
from reasoning_probe.scoring.extraction.worked_solution import is_plan, repeated_result, worked_number
from reasoning_probe.scoring.extraction.yes_no import denies, label_in, says_both
from reasoning_probe.utils.numbers import find_numbers

_CORRECTION = re.compile(
    r"(?:[.!?,;\u2026][ \t]+|[ \t]+-+[ \t]+|\n[ \t]*)(?:oh,?[ ]|oops,?[ ])?"
    r"(?:(?:no,?[ ])?wait|no(?=,)|sorry|oops|correction|(?<!\n)actually|i meant?|i made (?:a mistake|an error)|"
    r"scratch that|(?:hmm+,?[ ])?(?:that's|that is|this is) (?:not right|wrong|incorrect)|"
    r"let me (?:correct (?:that|myself|this)|recalculate|redo (?:that|this)|try again))"
    r"\b(?:[\s,:.!\u2026-]|(?:wait|no|sorry|actually|(?:that's|that is|this is) (?:not right|wrong|incorrect)|"
    r"i made (?:a mistake|an error))\b){1,12}",
    re.IGNORECASE,
)
"""What takes back the number before it."""

MAX_CORRECTION = 12
"""So many words at most make a correction; a longer sentence is a new thought."""

_OPENING = re.compile(
    r"(?:about|approximately|exactly|around|roughly|only|just|it is|it's|it would be|that is|"
    r"there (?:are|is|were|will be)|i think(?: it is| it's)?|[=:~\"'(]|=>|->)\s*",
    re.IGNORECASE,
)
_CLOSE = r"[%\u00b0\u00a2\"')\]]*"
_WORD = r"[ -]?[^\W\d_]+"
_BARE_REST = re.compile(
    rf"{_CLOSE}(?:{_WORD}(?:[ -][^\W\d_]+)?)?[)\"']*(?:[.!,;:)]|\s+(?:because|since|as|so|which|that|is the)\b|\s*\()"
    rf"|{_CLOSE}(?:{_WORD}(?:[ -][^\W\d_]+){{0,4}})?[.!)\"']*\s*$",
    re.IGNORECASE,
)
_ROUNDED = re.compile(r"\bround(?:s|ed|ing)? (?:\w+ )?to\b|(?<=,) so\b", re.IGNORECASE)
_ROUNDING = re.compile(
    r"\bround(?:ed|s|ing)?(?: (?:it|this|that))?(?: (?:up|down|off))? to\b|\bneeds?\b|\bso\b", re.IGNORECASE
)
_CHECK = re.compile(r"\b(?:double-?check(?:ing)?|let me check|check(?:ing)?:|verif(?:y|ying|ication))", re.IGNORECASE)
"""What goes over an answer again, and gives none."""

_PART_OF = re.compile(r"[ ]?(?:%|percent)?[ ]of (?:the|his|her|their|its)\b", re.IGNORECASE)
_PART_ASKED = re.compile(r"\b(?:fraction|per ?cent(?:age)?|part|share|proportion|portion|how much)\b", re.IGNORECASE)
_NONE_LEFT = re.compile(
    r"\b(?:has|have|is|are|be) (?:none|nothing|(?:no|zero) (?:\w+ )?\w+) (?:left|remaining)(?: over)?$"
)
_DEGENERATE = re.compile(r"([0-9])\1{14}")
"""Digits without end."""

_AT_END = re.compile(r"[%\u00b0\u00a2\"')\]}]*(?:[ -][^\W\d_]+){0,4}(?:/[^\W\d_]+)?[\s.!\"')\]}$]*")
_MARKED = re.compile(
    rf"(?:=|\N{{ALMOST EQUAL TO}}|\b(?:which|gives|total|make|get)\b.{{0,20}}?|{RESULT})[ \t(]*$", re.IGNORECASE
)


# Labels


def read_label(text: str, question: str) -> ExtractedAnswer | None:
    """Return what a cleaned response answers to a yes/no question: explicitly, at its beginning, or in a statement."""
    text = with_choice(text)
    if explicit := explicit_label(text, question):
        return explicit
    if options_in(text):
        return None
    parts = [part for part in sentences(text) if not part.is_question and not explicit_statement(part.text)]
    said = [part.text for part in parts]
    paragraph = {  # what stands after a sentence in its own paragraph
        part.text: [later.text for later in parts[index + 1 :] if later.paragraph == part.paragraph]
        for index, part in reversed(list(enumerate(parts)))
    }
    for index, sentence in enumerate(said):
        if says_both(sentence, question):
            return ExtractedAnswer(BOTH, source=sentence)
        label = label_in(sentence, question)
        if label and any(denies(later, label, question) for later in paragraph[sentence]):
            return ExtractedAnswer(BOTH, source=sentence)
        following = label_in(said[index + 1], question) if label and index + 1 < len(said) else None
        if label == "no" and following == "unknown":
            return ExtractedAnswer("unknown", source=said[index + 1])
        if label in ("yes", "no") and len(words(sentence)) == 1 and following and len(words(said[index + 1])) == 1:
            return ExtractedAnswer(label if following == label else BOTH, source=sentence)
        if label:
            return ExtractedAnswer(label, source=sentence)
    return None


# Numbers


def read_number(text: str, question: str, truncated: bool) -> ExtractedAnswer | None:
    """Return the number that a cleaned response gives as its answer, by the order in the module's docstring."""
    own = {value for number in find_numbers(question[:20_000]) for value in (number.value, abs(number.value))}
    text = with_choice(text)
    corrected = list(_CORRECTION.finditer(text))
    for match in reversed(corrected):
        stated = to_sentence_end(text, match.end())
        number = stated_number(stated, own) if len(words(stated)) <= MAX_CORRECTION else None
        if number and not _CHECK.search(stated) and find_numbers(text[: match.start()]):
            return _carried_on(reading_of(number, stated, question), text[match.end() :], question)
    explicit = explicit_number(text, own, question)
    if explicit is not None:
        return explicit
    if options_in(text):
        return None
    said = [
        part
        for part in sentences(text)
        if not part.is_question and not repeats_question(part.text, question) and not _CHECK.search(part.text)
    ]
    numeric = [
        part
        for part in said
        if stated_number(part.text, own) and not is_plan(part.text, own) and not _is_share(part.text, question)
    ]
    if repeated := repeated_result(said, numeric, own) if truncated else None:
        return reading_of(*repeated, question)
    if not numeric:
        return _nothing(said)
    if (
        is_counting(text)
        or _DEGENERATE.search(text)
        or (truncated and is_loop(text) and (_is_empty_list(text) or is_loop(numeric[0].text)))
    ):
        return None
    bare = _bare_number(numeric[0], said, question)
    asked = [found.tokens for found in calculations_in(question)]
    results = [found for part in said if asked for found in calculations_in(part.text) if found.stated is not None]
    solved = any(found.tokens in asked for found in results)
    final = None if truncated or solved else _final_result(numeric[-1], said[-1], bare, own, question)
    if final or bare:
        return _rounded(final or bare, numeric, question, truncated)
    if truncated and (
        (_calculates_on(said) and not solved) or (is_loop(text) and len({part.text for part in said}) > 2)
    ):
        return None
    return worked_number(numeric, said, question, own, truncated)


def _calculates_on(said: list[Sentence]) -> bool:
    """Whether the limit cut the reply in a new calculation: "That is $5. So the total is $5 + $4 +".

    A counter-example is "5 + 4 = 9. 5 + 4", which only says the last one again.
    """
    last = said[-1].text
    found = calculations_in(last)
    before = [each.tokens for part in said[:-1] for each in calculations_in(part.text)]
    cut = bool(found) and found[-1].stated is None and not re.search(r"\w", last[found[-1].end :])
    return cut and len(said) > 1 and all(found[-1].tokens != tokens[: len(found[-1].tokens)] for tokens in before)


def _carried_on(reading: ExtractedAnswer, rest: str, question: str) -> ExtractedAnswer:
    """Return what the calculations of *rest* make of *reading*: "no, 15 - 4 is 11. 11 + 6 is 17." comes to 17."""
    value = reading.written
    for found in calculations_in(rest):
        if found.stated is not None and found.result_end is not None and value in found.operands:
            value = found.stated
            ending = [number for number in find_numbers(rest[:MAX_SENTENCE]) if number.end == found.result_end]
            reading = reading_of(ending[0], rest, question) if ending else reading
    return reading


def _nothing(said: list[Sentence]) -> ExtractedAnswer | None:
    """Read "None.", "Nothing." and "She has none left." as zero; "None of them is red" is no number."""
    first = normalise_text(said[0].text) if said else ""
    none = first in ("none", "nothing", "nothing left", "none left") or _NONE_LEFT.search(first)
    return ExtractedAnswer("0", Fraction(0), said[0].text) if none else None


def _bare_number(first: Sentence, said: list[Sentence], question: str) -> ExtractedAnswer | None:
    """``8``, ``$8.``, ``8 dollars``, ``Eight, because ...`` at the beginning; not ``8 + 3 = 11`` nor ``8 9 10 11``."""
    if first is not said[0] and len(words(said[0].text)) > 2:
        return None
    opening = _OPENING.match(first.text)
    start = opening.end() if opening else 0
    numbers = merge_unit_pairs(first.text, find_numbers(first.text), set())
    if numbers[0].start > start or any(found.start <= numbers[0].start for found in calculations_in(first.text)):
        return None
    rest = first.text[numbers[0].end :]
    if re.match(r"[^\W\d_]{0,3}\.[^\W\d_]", rest) or _is_premise(numbers[0].value, rest):  # "1.2.you.", "20s.Add"
        return None
    listed = len(numbers) > 2 and len(words(first.text)) <= len(numbers) + 1
    if listed or _ROUNDED.search(rest) or not _BARE_REST.match(rest):
        return None
    return reading_of(numbers[0], first.text, question)


def _is_share(sentence: str, question: str) -> bool:
    """Whether *sentence* only says which part it is, where no part is asked for: "It is 75% of the old price.".

    A counter-example is "75% of the 80 dollars is 60 dollars.".
    """
    numbers = find_numbers(sentence)
    part = len(numbers) == 1 and _PART_OF.match(sentence, numbers[0].end) is not None
    in_words = numbers and numbers[0].value.denominator > 1 and not set("./") & set(numbers[0].text)  # "three quarters"
    share = part and ("%" in sentence or in_words)
    return bool(share) and _PART_ASKED.search(question) is None


def _is_premise(value: Fraction, rest: str) -> bool:
    """Whether the sentence goes on to calculate with its first number: "There are 20 bags, 20 * 6 = 120".

    A counter-example is "12, because 24 - 12 = 12", which explains it.
    """
    found = [each for each in calculations_in(rest) if each.stated is not None]
    explains = re.search(r"\b(?:because|since|as)\b|\(", rest) is not None
    return not explains and any(value in each.operands for each in found) and value not in {f.stated for f in found}


def _rounded(
    reading: ExtractedAnswer | None, numeric: list[Sentence], question: str, truncated: bool
) -> ExtractedAnswer | None:
    """Return the whole number that a reply makes of its result: "3.125. Since a bus is whole, round up to 4." says 4.

    A counter-example is "3.125. It is about 3 and a bit.", which draws no conclusion.
    """
    sources = [part.text for part in numeric]
    if reading is None or reading.value is None or reading.value.denominator == 1 or reading.source not in sources:
        return reading
    for later in sources[sources.index(reading.source) + 1 :][:2]:
        number = find_numbers(later)[-1]
        near = number.value.denominator == 1 and abs(number.value - reading.value) < 1
        if near and _ROUNDING.search(later) and not (truncated and later == sources[-1]):
            return reading_of(number, later, question)
    return reading


def _final_result(
    last: Sentence, end: Sentence, bare: ExtractedAnswer | None, own: set[Fraction], question: str
) -> ExtractedAnswer | None:
    """Return N where the response ends in "= N" (a unit may follow), unless a bare answer stands before rambling."""
    numbers = merge_unit_pairs(last.text, find_numbers(last.text), own)
    if last is not end or not _MARKED.search(last.text[max(0, numbers[-1].start - 60) : numbers[-1].start]):
        return None
    if not _AT_END.fullmatch(last.text, numbers[-1].end):
        return None
    if bare is not None and bare.written not in own and last.listed and last.paragraph > 0:
        return None  # "44 legs", and then the list of steps that explains it
    found = calculations_in(last.text)
    if bare is not None and not (found and set(found[-1].operands) <= own):
        return None  # " 8", and then "5 + 4 = 9": rambling about something else
    return reading_of(numbers[-1], last.text, question)


def _is_empty_list(text: str) -> bool:
    """Whether a reply is a list of nothing, line after line of "1."; line after line of "8" says 8."""
    lines = {line.strip(" *-\t") for line in text.split("\n")} - {""}
    return not any(character.isalpha() for character in text) and lines != {min(lines).rstrip(".")}
