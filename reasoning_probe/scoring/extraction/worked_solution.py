"""Worked solutions: the number that a reply in sentences comes to, or that the limit cut it off on its way there."""

from __future__ import annotations

import re
from fractions import Fraction

from reasoning_probe.scoring.extraction.equations import Equation, find_equations
from reasoning_probe.scoring.extraction.explicit import ExtractedAnswer, reading_of
from reasoning_probe.scoring.extraction.sentence_number import after_equals, calculations_in, stated_number
from reasoning_probe.scoring.extraction.sentences import Sentence, words
from reasoning_probe.utils.numbers import NumberSpan, find_numbers

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
_NEED = re.compile(
    r"\b(?:we|you|i|one)(?: still| first)? (?:need|have|want) to (?:find|calculate|determine|figure|know|solve)\b",
    re.IGNORECASE,
)
_LEAVING = re.compile(r"\b(?:leaving|leaves|left with|ends? up with|resulting in|for a total of)\b", re.IGNORECASE)
_ENTRY = re.compile(r"[^:.]{1,40}: ?[^\w\s]?[0-9]")
"""An entry of a list of facts: "Cakes left: 15"."""

_OPENINGS = {"so", "the", "therefore", "thus", "hence", "this", "in", "total", "answer", "is", "and"}
"""Words with which a closing sentence begins."""

_WORK = re.compile(
    r"\b(?:multiply|divide|add|subtract)\b(?!.*\b(?:get|gives?|giving|is|equals?|makes?)\b)", re.IGNORECASE
)
_PLAN = re.compile(
    r"(?:to (?:solve|find|calculate|determine|answer|get|do|figure|convert|know|compute)|let's|let us|"
    r"we (?:need|have|can)|you (?:need|can)|first)\b",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"(?:this|that|it|these|note|in this|the (?:process|calculation|answer|result|reason)|explanation)\b", re.IGNORECASE
)
_IS_ASKED = re.compile(r"(?:this|that|it|which) is the (?:total )?(?:number|amount|cost|price|sum)\b", re.IGNORECASE)
"""What a result is said to be: "This is the total number of bowls that she makes in 5 days."."""

_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|can|gets?|got|makes?|made|costs?|leaves?|left|needs?|takes?|equals?)\b",
    re.IGNORECASE,
)
_COMMON = set(
    words(
        "how many much what is are was were does do did will the a an of in to for and or he she it they his her their "
        "if there that this have has had be at on by with from all would can"
    )
)
"""Words that say nothing about what is asked."""


def worked_number(
    numeric: list[Sentence], said: list[Sentence], question: str, own: set[Fraction], truncated: bool
) -> ExtractedAnswer | None:
    """Return the number that a reply in sentences comes to, or ``None`` if it was cut off on its way there."""
    stepwise = _STEP.match(said[0].text) is not None or said[0].listed
    last_step = max((index for index, part in enumerate(said) if index and _STEP.match(part.text)), default=-1)
    equations = {part: find_equations(part.text) for part in numeric}
    results = [part for part in numeric if has_result(part.text, equations[part])]
    asked = [found.tokens for found in calculations_in(question)]
    before = _repeated(said, numeric, question) if truncated else None
    number = stated_number(before.text, own) if before else None
    if before and number and number.value not in own:
        return reading_of(number, before.text, question)

    concluding = [
        part
        for part in numeric
        if _CONCLUSION.match(part.text)
        and not (truncated and (said.index(part) < last_step or not part.text.endswith((".", "!"))))
        and not (truncated and (not _answers(part.text, question) or _goes_on(part, said)))
    ]
    restated = [part for part in results if any(found.tokens in asked for found in equations[part])]
    given = len(find_numbers(question[:20_000]))
    whole = [part for part in results if any(_covers(found, own, given) for found in equations[part])]
    after = {part.paragraph: part for part in results}  # the last result of each paragraph
    concluding = [part for part in concluding if said.index(part) >= said.index(after.get(part.paragraph, part))]
    if truncated and not restated and _is_announced(said[-1], results, question):
        return None
    whole = [part for part in whole if not stepwise and (part is results[-1] or part is after[part.paragraph])]
    whole = [part for part in whole if not (truncated and _works_on(part, said, question))]
    stated = [part for part in numeric if part in results or not _IS_ASKED.match(part.text)]
    opened = (
        set(words(said[-1].text)) <= _OPENINGS and results[-1:] == stated[-1:] and _answers(numeric[-1].text, question)
    )
    over = not truncated or (said[-1].paragraph > numeric[-1].paragraph and (opened or not stepwise))
    if truncated and not results and _lists_facts(numeric, own):
        return None
    closing = _closing_statement(numeric, results, question, own) if over else None
    if closing and not concluding:
        chosen = closing
    elif concluding or restated or whole:
        chosen = (concluding[-1:] or restated[-1:] or [_followed(whole[0], results, equations, truncated)])[0]
    elif truncated and not results and not _is_finished(numeric[0], said, question):
        return None
    elif not results and _ENTRY.match(numeric[-1].text) and _answers(numeric[-1].text, question) and over:
        chosen = numeric[-1]
    elif not results and not (truncated and stepwise) and (told := _told_later(numeric, question, own)):
        chosen = told
    elif not results and not stepwise and (len(own) <= 2 or _is_direct(numeric[0], question, own) or len(said) == 1):
        chosen = numeric[0]
    elif over:
        chosen = (results or numeric)[-1]
    else:
        return None
    number = stated_number(chosen.text, own)
    return reading_of(number, chosen.text, question) if number else None


def repeated_result(said: list[Sentence], numeric: list[Sentence], own: set[Fraction]) -> tuple[NumberSpan, str] | None:
    """Return the one result that a reply cut by the limit calculates over and over: "36 + 2 = 40. 36 + 2 = 40. 4".

    Definition: its first sentence is a calculation with a result, it stands there twice, and no other one does.
    Counter-example: "3 + 4 = 7. 7 + 1 = 8. 7 + 1".
    """
    found = [each for part in said for each in calculations_in(part.text)]
    results = {each.stated for each in found} - {None}
    same = len(found) > 1 and len(results) == len({each.tokens for each in found}) == 1
    if not same or numeric[:1] != said[:1] or len({part.text for part in numeric}) > 2:
        return None
    number = stated_number(numeric[0].text, own)
    return (number, numeric[0].text) if number and number.value in results else None


def _repeated(said: list[Sentence], numeric: list[Sentence], question: str) -> Sentence | None:
    """Return a statement of what was asked that the limit cut while it was being said again: "15 are left. 15 are"."""
    last = said[-1].text
    whole = [part for part in numeric if part is not said[-1] and _answers(part.text, question)]
    return next((part for part in whole if len(words(last)) > 3 and part.text.startswith(last.rstrip())), None)


def _told_later(numeric: list[Sentence], question: str, own: set[Fraction]) -> Sentence | None:
    """Return a statement that says more of what was asked than the first one, which only gives a number again.

    Example: "There are 24 cakes. If 9 are sold, 15 are left." to "How many cakes are left?" states 15, and so does
    "He has 12 in all. He loses 3, leaving him with 9." state 9. Counter-example: "24 are left. He is 30 years old."
    """
    first = stated_number(numeric[0].text, own)
    here = [part for part in numeric[1:] if part.paragraph == numeric[0].paragraph]
    fresh = [part for part in here if (number := stated_number(part.text, own)) and number.value not in own]
    if fresh and fresh[-1] is numeric[-1] and _LEAVING.search(fresh[-1].text):
        return fresh[-1]
    if first is None or first.value not in own:
        return None
    before = _shared(numeric[0].text, question)
    return next((part for part in fresh if not before or _shared(part.text, question) - before), None)


def _followed(
    part: Sentence, results: list[Sentence], equations: dict[Sentence, list[Equation]], truncated: bool
) -> Sentence:
    """Return the last of the calculations that go on with the result of *part*: "9 * 5 = 45", "45 - 9 = 36"."""
    for later in results[results.index(part) + 1 :] if not truncated else ():
        stated = {found.stated for found in equations[part]}
        used = {operand for found in equations[part] for operand in found.operands}
        if any(stated & set(found.operands) and found.stated not in used for found in equations[later]):
            part = later
    return part


def _lists_facts(numeric: list[Sentence], own: set[Fraction]) -> bool:
    """Whether a reply has come no further than to tell the question's numbers one by one: "He has 15. She has 4."."""
    told = [{number.value for number in find_numbers(part.text)} for part in numeric]
    return len(told) > 1 and len({part.paragraph for part in numeric}) == 1 and set().union(*told) <= own


def _goes_on(part: Sentence, said: list[Sentence]) -> bool:
    """Whether a reply works on after *part*, in the same paragraph, when the limit cuts it."""
    later = said[said.index(part) + 1 :]
    return bool(later) and later[0].paragraph == part.paragraph and _REMARK.match(later[0].text) is None


def _works_on(part: Sentence, said: list[Sentence], question: str) -> bool:
    """Whether what follows *part* in its paragraph, until the limit cuts it, may still be on the way to the answer.

    "24 - 9 = 15 cakes are left. The number of cakes is" has come to what was asked, "24 - 9 = 15. Then" has not.
    """
    later = [each.text for each in said[said.index(part) + 1 :] if each.paragraph == part.paragraph]
    working = any(_STEP.match(text) or re.search(r"[-+*/=]", text) for text in later)
    return _goes_on(part, said) and (working or not _answers(part.text, question))


def _is_finished(part: Sentence, said: list[Sentence], question: str) -> bool:
    """Whether a statement says something and was not cut: "Alice has 6 dollars", not "20 of the first page on each"."""
    aside = re.search(r"[0-9][^,0-9]*, (?:which|because|since)\b", part.text)
    ended = part is not said[-1] or part.text.endswith((".", "!")) or len(words(part.text)) <= 12 or aside is not None
    return ended and (_answers(part.text, question) or _VERB.search(part.text) is not None)


def _is_announced(last: Sentence, results: list[Sentence], question: str) -> bool:
    """Whether the limit cut a reply just before the number that it was about to say: "so Tom has", "a total of"."""
    if results and {"answer"} <= set(words(last.text)) <= _OPENINGS:
        return False  # it was about to say again what it calculated
    goes_on = bool(results) and results[-1].paragraph == last.paragraph and results[-1] is not last
    said = bool(find_numbers(last.text)) or goes_on or _answers(last.text, question)
    return _ANNOUNCED.search(last.text) is not None and said


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
    number = stated_number(last.text, own)
    return last if number and number.value not in own else None


def _covers(found: Equation, own: set[Fraction], given: int) -> bool:
    """Whether a calculation with its result uses all numbers that the question gave, and two at least.

    A number that is *given* twice is no other number, but it has to be used twice.
    """
    used = set(found.operands)
    return found.stated is not None and len(own) > 1 and own <= used and len(found.operands) >= min(given, 3)


def _answers(sentence: str, question: str) -> bool:
    """Whether *sentence* shares a word that matters with what the question's last sentence asks."""
    return bool(_shared(sentence, question))


def _shared(sentence: str, question: str) -> set[str]:
    asked = set(words(re.split(r"[.!]\s", question.strip())[-1])) - _COMMON
    return {word.rstrip("s") for word in asked} & {word.rstrip("s") for word in words(sentence)}


def has_result(sentence: str, equations: list[Equation]) -> bool:
    """Whether *sentence* calculates something: an equation, or at least a number after an equals sign."""
    stated = any(found.stated is not None for found in equations)
    return stated or any(after_equals(sentence, number) for number in find_numbers(sentence))


def is_plan(sentence: str, own: set[Fraction]) -> bool:
    """Whether *sentence* only says what to do: "To find out, we add 5 and 7, then subtract 3."."""
    if not (_PLAN.match(sentence) or _NEED.search(sentence)) or has_result(sentence, find_equations(sentence)):
        return False
    number = stated_number(sentence, own)
    return number is not None and (number.value in own or _WORK.search(sentence) is not None)
