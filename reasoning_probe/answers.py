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

from reasoning_probe.equations import RESULT, Equation, find_equations
from reasoning_probe.explicit import (
    BOTH,
    Reading,
    explicit_label,
    explicit_number,
    explicit_statement,
    reading_of,
    to_sentence_end,
    with_choice,
)
from reasoning_probe.labels import denies, label_in, says_both
from reasoning_probe.numerals import find_numbers, parse_number
from reasoning_probe.responses import (
    Sentence,
    is_counting,
    is_echo,
    is_loop,
    normalise_text,
    options_in,
    sentences,
    words,
)
from reasoning_probe.statements import after_equals, calculations_in, pick_number

_CORRECTION = re.compile(
    r"(?:[.!?,;\u2026][ \t]+|[ \t]+-+[ \t]+|\n[ \t]*)(?:oh,?[ ]|oops,?[ ])?"
    r"(?:(?:no,[ ])?wait|no(?=,)|sorry|oops|correction|(?<!\n)actually|i meant?|i made a mistake|"
    r"let me correct (?:that|myself))"
    r"\b(?:[\s,:.!\u2026-]|(?:wait|no|sorry|actually)\b){1,12}",
    re.IGNORECASE,
)
"""What takes back the number before it."""

MAX_CORRECTION = 12
"""So many words at most make a correction; a longer sentence is a new thought."""

_ANNOUNCED = re.compile(
    r"(?:\b(?:is|are|was|has|have|had|equals?|of|gets?|and|total|with)\b|[-+*/=:(<$])\s*$", re.IGNORECASE
)
"""How a reply ends that the limit cut just before a number."""

_CONCLUSION = re.compile(
    r"(?:and )?(?:so|therefore|thus|hence|finally|in total|altogether|in conclusion|in all|overall|in the end|"
    r"as a result|consequently|(?:this|that|which) means(?: that)?)\b",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"(?:to (?:solve|find|calculate|determine|answer|add|subtract|multiply|divide|get|do|figure)|let's|let us|first|"
    r"step|next|then|now|we (?:need|know|can|have to|start|are)|you (?:need|can)|given|start|here|since|if|"
    r"the (?:question|problem))\b",
    re.IGNORECASE,
)
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
_PLAN = re.compile(
    r"(?:to (?:solve|find|calculate|determine|answer|get|do|figure)|let's|let us|we (?:need|have|can)|"
    r"you (?:need|can)|first)\b",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(?:this|that|it|these|note|in this|the (?:process|calculation|answer|result|reason)|explanation)\b", re.IGNORECASE
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|can|gets?|got|makes?|made|costs?|leaves?|left|needs?|takes?|equals?)\b",
    re.IGNORECASE,
)
_DEGENERATE = re.compile(r"([0-9])\1{14}")
"""Digits without end."""

_AT_END = re.compile(r"[%\u00b0\u00a2\"')\]}]*(?:[ -][^\W\d_]+){0,4}(?:/[^\W\d_]+)?[\s.!\"')\]}$]*")
_MARKED = re.compile(
    rf"(?:=|\N{{ALMOST EQUAL TO}}|\b(?:which|gives|total|make|get)\b.{{0,20}}?|{RESULT})[ \t(]*$", re.IGNORECASE
)
_COMMON = set(
    words(
        "how many much what is are was were does do did will the a an of in to for and or he she it they his her their "
        "if there that this have has had be at on by with from all would can"
    )
)
"""Words that say nothing about what is asked."""


# Labels


def read_label(text: str, question: str) -> Reading | None:
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
            return Reading(BOTH, source=sentence)
        label = label_in(sentence, question)
        if label and any(denies(later, label, question) for later in paragraph[sentence]):
            return Reading(BOTH, source=sentence)
        following = label_in(said[index + 1], question) if label and index + 1 < len(said) else None
        if label == "no" and following == "unknown":
            return Reading("unknown", source=said[index + 1])
        if label in ("yes", "no") and len(words(sentence)) == 1 and following and len(words(said[index + 1])) == 1:
            return Reading(label if following == label else BOTH, source=sentence)
        if label:
            return Reading(label, source=sentence)
    return None


# Text


def read_text(text: str, question: str, truncated: bool) -> Reading | None:
    """Return the words that a cleaned response gives as its answer: an explicit one, or its first sentence.

    Where the sentence says the question again ("The capital of France is Paris"), the answer is what it adds.
    """
    stated = explicit_statement(text)
    if not normalise_text(stated):
        said = [part.text for part in sentences(text) if not part.is_question and not is_echo(part.text, question)]
        if (
            not said
            or is_loop(text)
            or (truncated and len(said) == 1 and not said[0].endswith((".", "!")) and "\n" not in text)
        ):
            return None
        stated = said[0]
    match = re.match(r"(.{1,200}?)\b(?:is|are|was|were|equals)\b\s*(?::\s*)?(.+)", stated, re.DOTALL)
    if match and set(words(match[1])) <= set(words(question)) | {"the", "it", "this", "that", "answer", "he", "she"}:
        stated = match[2]
    stated = stated.strip().rstrip(".!").strip()
    return Reading(stated, parse_number(stated), stated) if normalise_text(stated) else None


# Numbers


def read_number(text: str, question: str, truncated: bool) -> Reading | None:
    """Return the number that a cleaned response gives as its answer, by the order in the module's docstring."""
    own = {number.value for number in find_numbers(question[:20_000])}
    text = with_choice(text)
    corrected = list(_CORRECTION.finditer(text))
    for match in reversed(corrected):
        stated = to_sentence_end(text, match.end())
        number = pick_number(stated, own) if len(words(stated)) <= MAX_CORRECTION else None
        if number and find_numbers(text[: match.start()]):
            return reading_of(number, stated, question)
    explicit = explicit_number(text, own, question)
    if explicit is not None:
        return explicit
    if options_in(text):
        return None
    said = [part for part in sentences(text) if not part.is_question and not is_echo(part.text, question)]
    numeric = [part for part in said if pick_number(part.text, own) and not _is_plan(part.text, own)]
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
        return final or bare
    if is_loop(text) and truncated and len({part.text for part in said}) > 2:
        return None
    return _worked_number(numeric, said, question, own, truncated)


def _nothing(said: list[Sentence]) -> Reading | None:
    """Read "None." and "Nothing." as zero; "None of them is red" is no number."""
    first = normalise_text(said[0].text) if said else ""
    return (
        Reading("0", Fraction(0), said[0].text) if first in ("none", "nothing", "nothing left", "none left") else None
    )


def _bare_number(first: Sentence, said: list[Sentence], question: str) -> Reading | None:
    """``8``, ``$8.``, ``8 dollars``, ``Eight, because ...`` at the beginning; not ``8 + 3 = 11`` nor ``8 9 10 11``."""
    if first is not said[0] and len(words(said[0].text)) > 2:
        return None
    opening = _OPENING.match(first.text)
    start = opening.end() if opening else 0
    numbers = find_numbers(first.text)
    if numbers[0].start > start or any(found.start <= numbers[0].start for found in calculations_in(first.text)):
        return None
    rest = first.text[numbers[0].end :]
    if re.match(r"\.[^\W\d_]", rest):  # "1.2.you."
        return None
    listed = len(numbers) > 2 and len(words(first.text)) <= len(numbers) + 1
    if listed or _ROUNDED.search(rest) or not _BARE_REST.match(rest):
        return None
    return reading_of(numbers[0], first.text, question)


def _final_result(
    last: Sentence, end: Sentence, bare: Reading | None, own: set[Fraction], question: str
) -> Reading | None:
    """Return N where the response ends in "= N" (a unit may follow), unless a bare answer stands before rambling."""
    numbers = find_numbers(last.text)
    if last is not end or not _MARKED.search(last.text[max(0, numbers[-1].start - 60) : numbers[-1].start]):
        return None
    if not _AT_END.fullmatch(last.text, numbers[-1].end):
        return None
    found = calculations_in(last.text)
    if bare is not None and not (found and set(found[-1].operands) <= own):
        return None  # " 8", and then "5 + 4 = 9": rambling about something else
    return reading_of(numbers[-1], last.text, question)


def _worked_number(
    numeric: list[Sentence], said: list[Sentence], question: str, own: set[Fraction], truncated: bool
) -> Reading | None:
    """Return the number that a reply in sentences comes to, or ``None`` if it was cut off on its way there."""
    stepwise = _STEP.match(said[0].text) is not None or said[0].listed
    last_step = max((index for index, part in enumerate(said) if index and _STEP.match(part.text)), default=-1)
    equations = {part: find_equations(part.text) for part in numeric}
    results = [part for part in numeric if _has_result(part.text, equations[part])]
    asked = [found.tokens for found in calculations_in(question)]

    concluding = [
        part
        for part in numeric
        if _CONCLUSION.match(part.text)
        and not (truncated and (said.index(part) < last_step or not part.text.endswith((".", "!"))))
        and not (truncated and (not _answers(part.text, question) or _goes_on(part, said)))
    ]
    restated = [part for part in results if any(found.tokens in asked for found in equations[part])]
    whole = [part for part in results if any(_covers(found, own) for found in equations[part])]
    after = {part.paragraph: part for part in results}  # the last result of each paragraph
    concluding = [part for part in concluding if said.index(part) >= said.index(after.get(part.paragraph, part))]
    if truncated and not restated and _is_announced(said[-1], results, question):
        return None
    whole = [part for part in whole if not stepwise and (part is results[-1] or part is after[part.paragraph])]
    whole = [part for part in whole if not (truncated and _goes_on(part, said))]
    over = not truncated or (said[-1].paragraph > numeric[-1].paragraph and not stepwise)
    closing = _closing_statement(numeric, results, question, own) if over else None
    if closing and not concluding:
        chosen = closing
    elif concluding or restated or whole:
        chosen = (concluding[-1:] or restated[-1:] or whole)[0]
    elif truncated and not results and not _is_finished(numeric[0], said, question):
        return None
    elif not results and not stepwise and (len(own) <= 2 or _is_direct(numeric[0], question, own) or len(said) == 1):
        chosen = numeric[0]
    elif over:
        chosen = (results or numeric)[-1]
    else:
        return None
    number = pick_number(chosen.text, own)
    return reading_of(number, chosen.text, question) if number else None


def _goes_on(part: Sentence, said: list[Sentence]) -> bool:
    """Whether a reply works on after *part*, in the same paragraph, when the limit cuts it."""
    later = said[said.index(part) + 1 :]
    return bool(later) and later[0].paragraph == part.paragraph and _REMARK.match(later[0].text) is None


def _is_finished(part: Sentence, said: list[Sentence], question: str) -> bool:
    """Whether a statement says something and was not cut: "Alice has 6 dollars", not "20 of the first page on each"."""
    ended = part is not said[-1] or part.text.endswith((".", "!")) or len(words(part.text)) <= 12
    return ended and (_answers(part.text, question) or _VERB.search(part.text) is not None)


def _is_announced(last: Sentence, results: list[Sentence], question: str) -> bool:
    """Whether the limit cut a reply just before the number that it was about to say: "so Tom has", "a total of"."""
    goes_on = bool(results) and results[-1].paragraph == last.paragraph and results[-1] is not last
    said = bool(find_numbers(last.text)) or goes_on or _answers(last.text, question)
    return _ANNOUNCED.search(last.text) is not None and said


def _is_empty_list(text: str) -> bool:
    """Whether a reply is a list of nothing, line after line of "1."; line after line of "8" says 8."""
    lines = {line.strip(" *-\t") for line in text.split("\n")} - {""}
    return not any(character.isalpha() for character in text) and lines != {min(lines).rstrip(".")}


def _is_plan(sentence: str, own: set[Fraction]) -> bool:
    """Whether *sentence* only says what to do: "To find out, we add 5 and 7, then subtract 3."."""
    if _PLAN.match(sentence) is None or _has_result(sentence, find_equations(sentence)):
        return False
    number = pick_number(sentence, own)
    return number is not None and number.value in own


def _has_result(sentence: str, equations: list[Equation]) -> bool:
    """Whether *sentence* calculates something: an equation, or at least a number after an equals sign."""
    stated = any(found.stated is not None for found in equations)
    return stated or any(after_equals(sentence, number) for number in find_numbers(sentence))


def _is_direct(first: Sentence, question: str, own: set[Fraction]) -> bool:
    """Whether a first statement is the answer itself, and no step: it works with none of the question's numbers.

    "Tom has 9 apples.", not "He buys 7 more, so he has 12 apples."
    """
    numbers = find_numbers(first.text)
    return _answers(first.text, question) and (len(numbers) == 1 or not any(each.value in own for each in numbers))


def _closing_statement(
    numeric: list[Sentence], results: list[Sentence], question: str, own: set[Fraction]
) -> Sentence | None:
    """Return the sentence that says what the calculations before it came to: "After that he has 9 apples left."."""
    last = numeric[-1]
    if not results or last in results or last.paragraph != results[-1].paragraph or not _answers(last.text, question):
        return None
    number = pick_number(last.text, own)
    return last if number and number.value not in own else None


def _covers(found: Equation, own: set[Fraction]) -> bool:
    """Whether a calculation with its result uses all numbers that the question gave, and two at least."""
    return found.stated is not None and len(own) > 1 and own <= set(found.operands)


def _answers(sentence: str, question: str) -> bool:
    """Whether *sentence* shares a word that matters with what the question's last sentence asks."""
    asked = set(words(re.split(r"[.!]\s", question.strip())[-1])) - _COMMON
    return bool({word.rstrip("s") for word in asked} & {word.rstrip("s") for word in words(sentence)})
