"""A response to a number question, taken apart for the strategies that look for its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from reasoning_probe.scoring.extraction.equations import Equation, Token, find_equations
from reasoning_probe.scoring.extraction.explicit import ExtractedAnswer
from reasoning_probe.scoring.extraction.sentence_number import after_equals, calculations_in, stated_number
from reasoning_probe.scoring.extraction.sentences import Sentence, repeats_question, sentences, words
from reasoning_probe.scoring.extraction.units import asked_unit, convert_unit, is_unit, merge_unit_pairs, unit_of
from reasoning_probe.utils.number_words import NumberSpan
from reasoning_probe.utils.numbers import find_numbers, render_number

MAX_QUESTION = 20_000
"""Numbers are looked for in this many characters of a question."""

CHECK = re.compile(r"\b(?:double-?check(?:ing)?|let me check|check(?:ing)?:|verif(?:y|ying|ication))", re.IGNORECASE)
"""The words that introduce the check of an answer; such a sentence gives none."""

STEP = re.compile(
    r"(?:to (?:solve|find|calculate|determine|answer|add|subtract|multiply|divide|get|do|figure)|let's|let us|first|"
    r"step|next|then|now|we (?:need|know|can|have to|start|are)|you (?:need|can)|given|start|here|since|if|"
    r"the (?:question|problem))\b",
    re.IGNORECASE,
)
"""The beginning of a step of a solution."""

OPENING_WORDS = {"so", "the", "therefore", "thus", "hence", "this", "in", "total", "answer", "is", "and"}
"""Words with which a closing sentence begins."""

_PLAN = re.compile(
    r"(?:to (?:solve|find|calculate|determine|answer|get|do|figure|convert|know|compute)|let's|let us|"
    r"we (?:need|have|can)|you (?:need|can)|first)\b",
    re.IGNORECASE,
)
_NEED = re.compile(
    r"\b(?:we|you|i|one)(?: still| first)? (?:need|have|want) to (?:find|calculate|determine|figure|know|solve)\b",
    re.IGNORECASE,
)
_WORK = re.compile(
    r"\b(?:multiply|divide|add|subtract)\b(?!.*\b(?:get|gives?|giving|is|equals?|makes?)\b)", re.IGNORECASE
)
_DEFINES_ASKED = re.compile(
    r"(?:this|that|it|which) is the (?:total )?(?:number|amount|cost|price|sum)\b", re.IGNORECASE
)
"""A remark on a result: "This is the total number of bowls that she makes in 5 days."."""

_PART_OF = re.compile(r"[ ]?(?:%|percent)?[ ]of (?:the|his|her|their|its)\b", re.IGNORECASE)
_PART_ASKED = re.compile(r"\b(?:fraction|per ?cent(?:age)?|part|share|proportion|portion|how much)\b", re.IGNORECASE)
_COMMON = set(
    words(
        "how many much what is are was were does do did will the a an of in to for and or he she it they his her their "
        "if there that this have has had be at on by with from all would can"
    )
)
"""Words that say nothing about what is asked."""


@dataclass(frozen=True)
class NumberResponse:
    """A cleaned response to a number question; its properties are derived once, when they are first needed.

    ``truncated`` says that the token limit ended the response.
    """

    text: str
    question: str
    truncated: bool = False

    @cached_property
    def question_numbers(self) -> frozenset[Fraction]:
        """The question's numbers, without their signs too."""
        numbers = find_numbers(self.question[:MAX_QUESTION])
        values = {number.value for number in numbers}
        return frozenset(values | {-value for value in values if value.numerator < 0})

    @cached_property
    def question_calculations(self) -> list[tuple[Token, ...]]:
        """The calculations that the question itself asks for."""
        return [equation.tokens for equation in calculations_in(self.question)]

    @cached_property
    def sentences(self) -> list[Sentence]:
        """The sentences that may state something: no questions, no repetitions of the question, no checks."""
        return [
            sentence
            for sentence in sentences(self.text)
            if not sentence.is_question
            and not repeats_question(sentence.text, self.question)
            and not CHECK.search(sentence.text)
        ]

    @cached_property
    def numeric(self) -> list[Sentence]:
        """The sentences that state a number and are neither a plan nor merely a share."""
        return [
            sentence
            for sentence in self.sentences
            if stated_number(sentence.text, self.question_numbers)
            and not is_plan(sentence.text, self.question_numbers)
            and not is_share(sentence.text, self.question)
        ]

    @cached_property
    def equations(self) -> dict[Sentence, Sequence[Equation]]:
        """The calculations of each numeric sentence."""
        return {sentence: find_equations(sentence.text) for sentence in self.numeric}

    @cached_property
    def results(self) -> list[Sentence]:
        """The numeric sentences that calculate something."""
        return [sentence for sentence in self.numeric if has_result(sentence.text, self.equations[sentence])]

    @cached_property
    def last_results(self) -> dict[int, Sentence]:
        """The last result of each paragraph, by the paragraph's number."""
        return {sentence.paragraph: sentence for sentence in self.results}

    @cached_property
    def question_results(self) -> list[Sentence]:
        """The results that belong to the question's own calculation."""
        asked_for = self.question_calculations
        return [
            sentence
            for sentence in self.results
            if any(equation.tokens in asked_for for equation in self.equations[sentence])
        ]

    @cached_property
    def answers_question_calculation(self) -> bool:
        """Whether some sentence gives the question's own calculation a result."""
        if not self.question_calculations:
            return False
        equations = [equation for sentence in self.sentences for equation in calculations_in(sentence.text)]
        return any(
            equation.stated is not None and equation.tokens in self.question_calculations for equation in equations
        )

    @cached_property
    def is_stepwise(self) -> bool:
        """Whether the response begins with a step or with an entry of a list."""
        first = self.sentences[0]
        return STEP.match(first.text) is not None or first.listed

    @cached_property
    def is_finished(self) -> bool:
        """Whether the solution came to its end: the response was not cut, or only in a later paragraph."""
        if not self.truncated:
            return True
        last, last_number = self.sentences[-1], self.numeric[-1]
        stated = [part for part in self.numeric if part in self.results or not _DEFINES_ASKED.match(part.text)]
        closes = (
            set(words(last.text)) <= OPENING_WORDS
            and self.results[-1:] == stated[-1:]
            and self.answers_question(last_number.text)
        )
        return last.paragraph > last_number.paragraph and (closes or not self.is_stepwise)

    @cached_property
    def asked_unit(self) -> str | None:
        """The unit in which the question asks for its answer."""
        return asked_unit(self.question)

    @cached_property
    def values_in_asked_unit(self) -> frozenset[Fraction]:
        """The values of the numbers of the response that bear the unit that the question asks for."""
        return frozenset(
            number.value
            for number in merge_unit_pairs(self.text, find_numbers(self.text), self.question_numbers)
            if is_unit(unit_of(self.text[number.end : number.end + 30], number.text), self.asked_unit)
        )

    def answer(self, number: NumberSpan, source: str) -> ExtractedAnswer:
        """Return *number* of *source* as an answer in the unit that the question asks for.

        Its unit is not converted where other numbers of the response bear the question's unit: the response has come
        to its answer in that unit, or it writes its own unit carelessly.
        """
        after = source[number.end : number.end + 30]
        value = convert_unit(number.value, after, self.asked_unit, number.text)
        if value != number.value and self.values_in_asked_unit and value not in self.values_in_asked_unit:
            value = number.value
        plain = number.text if "/" in number.text and value == number.value else render_number(value)
        return ExtractedAnswer(plain.strip(), value, source, after.lstrip(" \\").startswith("%"), number.value)

    def index(self, sentence: Sentence) -> int:
        """Return the place of *sentence* among the sentences."""
        return self.sentences.index(sentence)

    def answers_question(self, sentence: str) -> bool:
        """Whether *sentence* shares a significant word with the last sentence of the question."""
        return bool(self.shared_words(sentence))

    def shared_words(self, sentence: str) -> set[str]:
        """Return the significant words that *sentence* shares with the last sentence of the question."""
        last = re.split(r"[.!]\s", self.question.strip())[-1]
        significant = {word.rstrip("s") for word in set(words(last)) - _COMMON}
        return significant & {word.rstrip("s") for word in words(sentence)}


def has_result(sentence: str, equations: Sequence[Equation]) -> bool:
    """Whether *sentence* calculates something: it has an equation, or at least a number after an equals sign."""
    stated = any(equation.stated is not None for equation in equations)
    return stated or any(after_equals(sentence, number) for number in find_numbers(sentence))


def is_plan(sentence: str, question_numbers: AbstractSet[Fraction]) -> bool:
    """Whether *sentence* only says what to do.

    >>> is_plan("To find out, we add 5 and 7, then subtract 3.", {Fraction(5), Fraction(7), Fraction(3)})
    True
    >>> is_plan("We have 12 apples.", {Fraction(5), Fraction(7)})
    False
    """
    if not (_PLAN.match(sentence) or _NEED.search(sentence)) or has_result(sentence, find_equations(sentence)):
        return False
    number = stated_number(sentence, question_numbers)
    return number is not None and (number.value in question_numbers or _WORK.search(sentence) is not None)


def is_share(sentence: str, question: str) -> bool:
    """Whether *sentence* only says which part something is, where the question asks for no part.

    >>> is_share("It is 75% of the old price.", "What does it cost?")
    True
    >>> is_share("75% of the 80 dollars is 60 dollars.", "What does it cost?")
    False
    """
    numbers = find_numbers(sentence)
    part = len(numbers) == 1 and _PART_OF.match(sentence, numbers[0].end) is not None
    in_words = numbers and numbers[0].value.denominator > 1 and not set("./") & set(numbers[0].text)  # "three quarters"
    share = part and ("%" in sentence or in_words)
    return bool(share) and _PART_ASKED.search(question) is None
