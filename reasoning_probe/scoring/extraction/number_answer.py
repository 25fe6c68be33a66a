"""The strategies that find the answer of a response to a number question."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from fractions import Fraction

from reasoning_probe.scoring.extraction.equations import RESULT
from reasoning_probe.scoring.extraction.explicit import (
    ANSWER_PHRASE,
    BOXED,
    FINAL,
    HASH_MARK,
    ExtractedAnswer,
    to_sentence_end,
    with_choice,
)
from reasoning_probe.scoring.extraction.number_response import CHECK, NumberResponse
from reasoning_probe.scoring.extraction.sentence_number import after_equals, calculations_in, stated_number
from reasoning_probe.scoring.extraction.sentences import (
    MAX_SENTENCE,
    is_counting,
    is_empty_list,
    is_loop,
    normalise_text,
    options_in,
    words,
)
from reasoning_probe.scoring.extraction.strategies import NO_ANSWER, Decision, first_decision
from reasoning_probe.scoring.extraction.units import merge_unit_pairs
from reasoning_probe.scoring.extraction.worked_solution import worked_number
from reasoning_probe.utils.number_words import NumberSpan
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
"""The words that take back the number before them."""

MAX_CORRECTION = 12
"""A correction has at most so many words; a longer sentence is a new thought."""

_OPENING = re.compile(
    r"(?:about|approximately|exactly|around|roughly|only|just|it is|it's|it would be|that is|"
    r"there (?:are|is|were|will be)|i think(?: it is| it's)?|[=:~\"'(]|=>|->)\s*",
    re.IGNORECASE,
)
_CLOSE = r"[%\u00b0\u00a2\"')\]]*"
_WORD = r"[ -]?[^\W\d_]+"
_BARE_REST = re.compile(
    rf"{_CLOSE}(?:{_WORD}(?:[ -][^\W\d_]+)?)?[)\"']*(?:[.!,;:)]"
    r"|\s+(?:because|since|as(?! (?:many|much|long|far|old))|so|which|that|is the)\b|\s*\()"
    rf"|{_CLOSE}(?:{_WORD}(?:[ -][^\W\d_]+){{0,4}})?[.!)\"']*\s*$",
    re.IGNORECASE,
)
_ROUNDED = re.compile(r"\bround(?:s|ed|ing)? (?:\w+ )?to\b|(?<=,) so\b", re.IGNORECASE)
_ROUNDING = re.compile(
    r"\bround(?:ed|s|ing)?(?: (?:it|this|that))?(?: (?:up|down|off))? to\b|\bneeds?\b|\bso\b", re.IGNORECASE
)
_NONE_LEFT = re.compile(
    r"\b(?:has|have|is|are|be) (?:none|nothing|(?:no|zero) (?:\w+ )?\w+) (?:left|remaining)(?: over)?$"
)
_CUT_AT_RESULT = re.compile(r"(?:=|\b(?:is|are|equals|makes|gives))\s*\Z", re.IGNORECASE)
_ENDLESS_DIGITS = re.compile(r"([0-9])\1{19}")
"""Digits without end."""

_AT_END = re.compile(r"[%\u00b0\u00a2\"')\]}]*(?:[ -][^\W\d_]+){0,4}(?:/[^\W\d_]+)?[\s.!\"')\]}$]*")
_UNIT_FACT = re.compile(
    r" \w+(?: are)? (in (?:an?|one|each|every) (?:year|month|week|day|hour|minute|dozen|foot|yard|mile|dollar))\b",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[%\u00b0\u00a2\"')\]}]*(?:[ -][^\W\d_]+){0,2}[\s.!\"')\]}$]*")
_SAID_OF_RESULT = re.compile(r"[%\u00b0\u00a2]?(?:[ -][^\W\d_]+){1,12}\b")
"""Words after a result that belong to it: "= 5 deer that are", "= 18 cards left to fill the"."""

_MARKED = re.compile(
    rf"(?:=|\N{{ALMOST EQUAL TO}}|\b(?:which|gives|total|make|get)\b.{{0,20}}?|{RESULT})[ \t(]*$", re.IGNORECASE
)


def read_number(text: str, question: str, truncated: bool) -> ExtractedAnswer | None:
    """Return the number that a cleaned response gives as its answer, by the first strategy that decides.

    >>> read_number("10 - 4 = 6, so it is 6 dollars.", "Alice has 10 dollars, spends 4. How much left?", False).answer
    '6'
    """
    return first_decision(NUMBER_STRATEGIES, NumberResponse(with_choice(text), question, truncated))


def corrected_number(response: NumberResponse) -> ExtractedAnswer | None:
    """The last number that takes back an earlier one, carried through the calculations after it.

    >>> corrected_number(NumberResponse("7. Wait, no, 8.", "What is 5 + 3?")).answer
    '8'
    >>> corrected_number(NumberResponse("Wait, it is 8.", "What is 5 + 3?"))
    """
    text = response.text
    for match in reversed(list(_CORRECTION.finditer(text))):
        statement = to_sentence_end(text, match.end())
        short = len(words(statement)) <= MAX_CORRECTION
        number = stated_number(statement, response.question_numbers) if short else None
        if number and not CHECK.search(statement) and find_numbers(text[: match.start()]):
            answer = response.answer(number, statement)
            return _carried_through(answer, text[match.end() :], response)
    return None


def hash_mark_number(response: NumberResponse) -> ExtractedAnswer | None:
    r"""The number after the first ``####`` that has one.

    >>> hash_mark_number(NumberResponse("5 + 3 = 9.\n#### 8\n#### 7", "What is 5 + 3?")).answer
    '8'
    >>> hash_mark_number(NumberResponse("### 8", "What is 5 + 3?"))
    """
    for match in HASH_MARK.finditer(response.text):
        line = response.text[match.end() : match.end() + 200].partition("\n")[0]
        if number := stated_number(line, response.question_numbers):
            return response.answer(number, line)
    return None


def boxed_number(response: NumberResponse) -> ExtractedAnswer | None:
    r"""The number in the last box that has one.

    >>> boxed_number(NumberResponse(r"\boxed{7}, I mean \boxed{8}", "What is 5 + 3?")).answer
    '8'
    >>> boxed_number(NumberResponse(r"\boxed{x}", "What is 5 + 3?"))
    """
    for content in reversed(BOXED.findall(response.text)):
        if number := stated_number(content, response.question_numbers):
            return response.answer(number, content)
    return None


def answer_phrase_number(response: NumberResponse) -> ExtractedAnswer | None:
    """The number after the first "the answer is", or after a later one that concludes ("so", "final").

    >>> answer_phrase_number(NumberResponse("The answer is 7. So the answer is 8.", "What is 5 + 3?")).answer
    '8'
    >>> answer_phrase_number(NumberResponse("It is 8.", "What is 5 + 3?"))
    """
    text, answer = response.text, None
    for match in ANSWER_PHRASE.finditer(text):
        statement = to_sentence_end(text, match.end())
        number = None if options_in(statement) else stated_number(statement, response.question_numbers)
        line_start = text.rfind("\n", 0, match.start()) + 1
        before = text[max(line_start, match.start() - 40) : match.end()]
        if number and (answer is None or FINAL.search(before)):
            answer = response.answer(number, statement)
    return answer


def unchosen_options(response: NumberResponse) -> Decision | None:
    """The response lists options and takes none of them: no answer.

    >>> unchosen_options(NumberResponse("A) 7 B) 8", "What is 5 + 3?")).name
    'NO_ANSWER'
    >>> unchosen_options(NumberResponse("B) 8", "What is 5 + 3?"))
    """
    return NO_ANSWER if options_in(response.text) else None


def repeated_calculation(response: NumberResponse) -> ExtractedAnswer | None:
    """The limit cut the response while it repeated the one calculation of which it consists: its result.

    >>> question = "What is 36 + 4?"
    >>> repeated_calculation(NumberResponse("36 + 2 = 40. 36 + 2 = 40. 4", question, truncated=True)).answer
    '40'
    >>> repeated_calculation(NumberResponse("3 + 4 = 7. 7 + 1 = 8. 7 + 1", question, truncated=True))
    """
    if not response.truncated:
        return None
    numeric = response.numeric
    equations = [equation for sentence in response.sentences for equation in calculations_in(sentence.text)]
    results = {equation.stated for equation in equations} - {None}
    same = len(equations) > 1 and len(results) == len({equation.tokens for equation in equations}) == 1
    if not same or numeric[:1] != response.sentences[:1] or len({sentence.text for sentence in numeric}) > 2:
        return None
    first = numeric[0].text
    number = stated_number(first, response.question_numbers)
    return response.answer(number, first) if number and number.value in results else None


def zero_in_words(response: NumberResponse) -> ExtractedAnswer | Decision | None:
    """A response that states no number: zero if it says that nothing is left, else no answer.

    >>> zero_in_words(NumberResponse("She has none left.", "How many apples are left?")).answer
    '0'
    >>> zero_in_words(NumberResponse("None of them is red.", "How many apples are left?")).name
    'NO_ANSWER'
    >>> zero_in_words(NumberResponse("8", "How many apples are left?"))
    """
    if response.numeric:
        return None
    first = response.sentences[0].text if response.sentences else ""
    plain = normalise_text(first)
    none = plain in ("none", "nothing", "nothing left", "none left") or _NONE_LEFT.search(plain)
    return ExtractedAnswer("0", Fraction(0), first) if none else NO_ANSWER


def degenerate_text(response: NumberResponse) -> Decision | None:
    r"""The response counts, repeats a digit without end, or was cut in a loop around its first number: no answer.

    >>> degenerate_text(NumberResponse("8 9 10 11 12", "What is 5 + 3?")).name
    'NO_ANSWER'
    >>> degenerate_text(NumberResponse("8\n8\n8\n8\n", "What is 5 + 3?", truncated=True))
    """
    text = response.text
    if is_counting(text) or _ENDLESS_DIGITS.search(text):
        return NO_ANSWER
    looped = response.truncated and is_loop(text)
    return NO_ANSWER if looped and (is_empty_list(text) or is_loop(response.numeric[0].text)) else None


def final_result(response: NumberResponse) -> ExtractedAnswer | None:
    r"""N where a finished response ends in "= N" (a unit may follow), unless this rambles on after a bare answer.

    >>> final_result(NumberResponse("Tom buys 7 more: 5 + 7 = 12 apples.", "Tom has 5 apples. He buys 7.")).answer
    '12'
    >>> final_result(NumberResponse("8\n\n1 + 4 = 5", "What is 5 + 3?"))
    """
    if response.truncated or response.answers_question_calculation:
        return None
    last, bare, question_numbers = response.numeric[-1], _bare_number(response), response.question_numbers
    number = _final_number(last.text, question_numbers) if last is response.sentences[-1] else None
    if number is None:
        return None
    if bare is not None and bare.written not in question_numbers and last.listed and last.paragraph > 0:
        return None  # "44 legs", and then the list of steps that explains it
    equations = calculations_in(last.text)
    if bare is not None and not (equations and set(equations[-1].operands) <= question_numbers):
        return None  # " 8", and then "5 + 4 = 9": rambling about something else
    return _rounded(response.answer(number, last.text), response)


def closing_number(response: NumberResponse) -> ExtractedAnswer | None:
    r"""A number alone at the end of a finished response that stated it before.

    >>> question = "A pen costs $3 and a book $4. What do they cost?"
    >>> closing_number(NumberResponse("So the pen is $3.\n\n3 + 4 = 7 dollars.\n\n$7", question)).answer
    '7'
    >>> closing_number(NumberResponse("3 + 4 = 7 dollars.\n\n$9", question))
    """
    *earlier, last = response.numeric
    number = stated_number(last.text, response.question_numbers)
    if response.truncated or not earlier or last is not response.sentences[-1] or number is None:
        return None
    if re.search(r"\w", last.text[: number.start]) or not _ALONE.fullmatch(last.text, number.end):
        return None
    stated = (stated_number(sentence.text, response.question_numbers) for sentence in earlier[-3:])
    same = any(other is not None and other.value == number.value for other in stated)
    return response.answer(number, last.text) if same else None


def bare_number(response: NumberResponse) -> ExtractedAnswer | None:
    """A bare number at the beginning: ``8``, ``$8.``, ``8 dollars``, ``Eight, because ...``.

    >>> bare_number(NumberResponse("8, because 5 plus 3 makes 8", "What is 5 + 3?")).answer
    '8'
    >>> bare_number(NumberResponse("8 + 3 = 11", "What is 5 + 3?"))
    """
    answer = _bare_number(response)
    return _rounded(answer, response) if answer else None


def unfinished_calculation(response: NumberResponse) -> Decision | None:
    """The limit cut the response in a new calculation, or in a loop after other sentences: no answer.

    >>> question = "A card costs $5 and a stamp $4. What do two cards and a stamp cost?"
    >>> unfinished_calculation(NumberResponse("That is $5. So it is $5 + $4 +", question, truncated=True)).name
    'NO_ANSWER'
    >>> unfinished_calculation(NumberResponse("5 + 4 = 9. 5 + 4", question, truncated=True))
    """
    if not response.truncated:
        return None
    if _is_cut_in_calculation(response) and not response.answers_question_calculation:
        return NO_ANSWER
    varied = len({sentence.text for sentence in response.sentences}) > 2
    return NO_ANSWER if varied and is_loop(response.text) else None


NUMBER_STRATEGIES: tuple[Callable[[NumberResponse], ExtractedAnswer | Decision | None], ...] = (
    corrected_number,
    hash_mark_number,
    boxed_number,
    answer_phrase_number,
    unchosen_options,
    repeated_calculation,
    zero_in_words,
    degenerate_text,
    closing_number,
    final_result,
    bare_number,
    unfinished_calculation,
    worked_number,
)
"""The strategies for a number in the order in which they are tried."""


def _final_number(sentence: str, question_numbers: AbstractSet[Fraction]) -> NumberSpan | None:
    """Return the result that the last *sentence* states: of a calculation ("25 * 0.2 = 5 deer"), else at its end."""
    stated = stated_number(sentence, question_numbers)
    last = merge_unit_pairs(sentence, find_numbers(sentence), question_numbers)[-1]
    if stated is not None and stated.start < last.start and after_equals(sentence, stated):
        return stated if _SAID_OF_RESULT.match(sentence, stated.end) else None
    marked = _MARKED.search(sentence[max(0, last.start - 60) : last.start])
    return last if marked and _AT_END.fullmatch(sentence, last.end) else None


def _carried_through(answer: ExtractedAnswer, rest: str, response: NumberResponse) -> ExtractedAnswer:
    """Return what the calculations of *rest* make of *answer*: "no, 15 - 4 is 11. 11 + 6 is 17." comes to 17."""
    value = answer.written
    for equation in calculations_in(rest):
        if equation.stated is not None and equation.result_end is not None and value in equation.operands:
            value = equation.stated
            results = [number for number in find_numbers(rest[:MAX_SENTENCE]) if number.end == equation.result_end]
            answer = response.answer(results[0], rest) if results else answer
    return answer


def _bare_number(response: NumberResponse) -> ExtractedAnswer | None:
    """Return the number with which the response begins, if it is bare; not that of ``8 + 3 = 11`` or ``8 9 10 11``."""
    first = response.numeric[0]
    if first is not response.sentences[0] and len(words(response.sentences[0].text)) > 2:
        return None
    opening = _OPENING.match(first.text)
    start = opening.end() if opening else 0
    numbers = merge_unit_pairs(first.text, find_numbers(first.text), set())
    if numbers[0].start > start:
        return None
    if any(equation.start <= numbers[0].start for equation in calculations_in(first.text)):
        return None
    rest = first.text[numbers[0].end :]
    if _is_fact(rest, response):
        return None
    if re.match(r"[^\W\d_]{0,3}\.[^\W\d_]", rest) or _is_premise(numbers[0], rest):  # "1.2.you.", "20s.Add"
        return None
    if response.truncated and first is response.sentences[-1] and _CUT_AT_RESULT.search(rest):
        return None  # "210 minutes is", and the limit cut off what it is
    listed = len(numbers) > 2 and len(words(first.text)) <= len(numbers) + 1
    if listed or _ROUNDED.search(rest) or not _BARE_REST.match(rest):
        return None
    return response.answer(numbers[0], first.text)


def _is_fact(rest: str, response: NumberResponse) -> bool:
    """Whether a solution only begins with how many of one unit make another: "There are 12 months in a year."."""
    fact = _UNIT_FACT.match(rest)
    return fact is not None and len(response.sentences) > 1 and fact[1].lower() not in response.question.lower()


def _is_premise(number: NumberSpan, rest: str) -> bool:
    """Whether the sentence goes on to calculate with its first number: "There are 20 bags, 20 * 6 = 120".

    A counter-example is "12, because 24 - 12 = 12", which explains it.
    """
    equations = [equation for equation in calculations_in(rest) if equation.stated is not None]
    if re.search(r"\b(?:because|since|as)\b|\(", rest):
        return False
    used = any(number.value in equation.operands for equation in equations)
    return used and number.value not in {equation.stated for equation in equations}


def _rounded(answer: ExtractedAnswer, response: NumberResponse) -> ExtractedAnswer:
    """Return the whole number that a response makes of its result: "3.125. A bus is whole, so round up to 4." says 4.

    A counter-example is "3.125. It is about 3 and a bit.", which draws no conclusion.
    """
    sources = [sentence.text for sentence in response.numeric]
    if answer.value is None or answer.value.denominator == 1 or answer.source not in sources:
        return answer
    for later in sources[sources.index(answer.source) + 1 :][:2]:
        number = find_numbers(later)[-1]
        near = number.value.denominator == 1 and abs(number.value - answer.value) < 1
        if near and _ROUNDING.search(later) and not (response.truncated and later == sources[-1]):
            return response.answer(number, later)
    return answer


def _is_cut_in_calculation(response: NumberResponse) -> bool:
    """Whether the response ends in a calculation without a result that is not the beginning of an earlier one."""
    *earlier, last = response.sentences
    equations = calculations_in(last.text)
    if not earlier or not equations or equations[-1].stated is not None:
        return False
    others = (equation.tokens for sentence in earlier for equation in calculations_in(sentence.text))
    repeats = any((tokens := equations[-1].tokens) == other[: len(tokens)] for other in others)
    return not repeats and not re.search(r"\w", last.text[equations[-1].end :])
