"""The strategies that find the sentence in which a worked solution states its answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from reasoning_probe.scoring.extraction.equations import Equation
from reasoning_probe.scoring.extraction.explicit import ExtractedAnswer
from reasoning_probe.scoring.extraction.number_response import MAX_QUESTION, OPENING_WORDS, STEP, NumberResponse
from reasoning_probe.scoring.extraction.sentence_number import stated_number
from reasoning_probe.scoring.extraction.sentences import Sentence, words
from reasoning_probe.scoring.extraction.strategies import NO_ANSWER, Decision, first_decision
from reasoning_probe.utils.numbers import find_numbers

_ANNOUNCED = re.compile(
    r"(?:\b(?:is|are|was|has|have|had|equals?|of|gets?|and|total|with)\b|[-+*/=:(<$])\s*$", re.IGNORECASE
)
"""The end of a response that the limit cut just before a number."""

_CONCLUSION = re.compile(
    r"(?:and )?(?:so|therefore|thus|hence|finally|in total|altogether|in conclusion|in all|overall|in the end|"
    r"as a result|consequently|(?:this|that|which) means(?: that)?)\b",
    re.IGNORECASE,
)
_LEAVING = re.compile(r"\b(?:leaving|leaves|left with|ends? up with|resulting in|for a total of)\b", re.IGNORECASE)
_ENTRY = re.compile(r"[^:.]{1,40}: ?[^\w\s]?[0-9]")
"""An entry of a list of facts: "Cakes left: 15"."""

_REMARK = re.compile(
    r"(?:this|that|it|these|note|in this|the (?:process|calculation|answer|result|reason)|explanation)\b", re.IGNORECASE
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|can|gets?|got|makes?|made|costs?|leaves?|left|needs?|takes?|equals?)\b",
    re.IGNORECASE,
)


def worked_number(response: NumberResponse) -> ExtractedAnswer | None:
    """Return the number that a worked solution comes to, or ``None`` if it was cut off before it.

    >>> question = "Tom has 5 apples and buys 7 more. He eats 3. How many apples does he have?"
    >>> worked_number(NumberResponse("5 + 7 = 12. He eats 3 of them: 12 - 3 = 9.", question)).answer
    '9'
    >>> worked_number(NumberResponse("First, he has 5 + 7 = 12 apples. Then he", question, truncated=True))
    """
    sentence = first_decision(WORKED_STRATEGIES, response)
    number = stated_number(sentence.text, response.question_numbers) if sentence else None
    return response.answer(number, sentence.text) if sentence and number else None


def repeated_statement(response: NumberResponse) -> Sentence | None:
    """The limit cut the response while it repeated a statement of what is asked: that statement.

    >>> question = "A baker makes 24 cakes and sells 9. How many cakes are left?"
    >>> repeated_statement(NumberResponse("So 15 cakes are left. So 15 cakes are", question, truncated=True)).text
    'So 15 cakes are left.'
    >>> repeated_statement(NumberResponse("So 15 cakes are left. So 15 cakes are", question))
    """
    if not response.truncated:
        return None
    last = response.sentences[-1]
    for sentence in response.numeric:
        repeated = len(words(last.text)) > 3 and sentence.text.startswith(last.text.rstrip())
        if sentence is not last and repeated and response.answers_question(sentence.text):
            return sentence if _states_new_number(sentence, response) else None
    return None


def announced_number(response: NumberResponse) -> Decision | None:
    """The limit cut the response just before the number that it was about to state: no answer.

    >>> question = "A baker makes 24 cakes and sells 9. How many cakes are left?"
    >>> announced_number(NumberResponse("He sold 9. The number of cakes left is", question, truncated=True)).name
    'NO_ANSWER'
    >>> announced_number(NumberResponse("15 cakes are left. That leaves room", question, truncated=True))
    """
    if not response.truncated or response.question_results:
        return None
    last, results = response.sentences[-1], response.results
    if results and {"answer"} <= set(words(last.text)) <= OPENING_WORDS:
        return None  # it was about to repeat its result
    continues = bool(results) and results[-1].paragraph == last.paragraph and results[-1] is not last
    relevant = bool(find_numbers(last.text)) or continues or response.answers_question(last.text)
    return NO_ANSWER if relevant and _ANNOUNCED.search(last.text) else None


def listed_facts(response: NumberResponse) -> Decision | None:
    """The limit cut the response while it listed the question's numbers one by one: no answer.

    >>> question = "Ann has 15 pens and Bob has 4. How many pens do they have?"
    >>> listed_facts(NumberResponse("Ann owns 15 of them. Bob owns 4 of them. So", question, truncated=True)).name
    'NO_ANSWER'
    >>> listed_facts(NumberResponse("Ann owns 15 of them. Both own 19 of them. So", question, truncated=True))
    """
    if not response.truncated or response.results:
        return None
    numbers = [{number.value for number in find_numbers(sentence.text)} for sentence in response.numeric]
    one_paragraph = len({sentence.paragraph for sentence in response.numeric}) == 1
    only_given = set().union(*numbers) <= response.question_numbers
    return NO_ANSWER if len(numbers) > 1 and one_paragraph and only_given else None


def closing_statement(response: NumberResponse) -> Sentence | None:
    """A finished solution without a conclusion: its last sentence, if that says what the calculations came to.

    >>> question = "Tom has 12 apples and eats 3. How many apples does he have?"
    >>> closing_statement(NumberResponse("12 - 3 = 9. After that he has 9 apples left.", question)).text
    'After that he has 9 apples left.'
    >>> closing_statement(NumberResponse("12 - 3 = 9. After that it is 9 o'clock.", question))
    """
    last, results = response.numeric[-1], response.results
    if not response.is_finished or not results or last in results or last.paragraph != results[-1].paragraph:
        return None
    closes = response.answers_question(last.text) and _states_new_number(last, response)
    return last if closes and not _conclusions(response) else None


def conclusion(response: NumberResponse) -> Sentence | None:
    """The last conclusion; in a response that was cut, only one that answers the question and ends its paragraph.

    >>> question = "Tom has 12 apples and eats 3. How many apples does he have?"
    >>> conclusion(NumberResponse("He eats 3 of 12. So he has 9 apples. That is 1 apple fewer.", question)).text
    'So he has 9 apples.'
    >>> conclusion(NumberResponse("He eats 3 of 12. So he has 9 apples. He", question, truncated=True))
    """
    conclusions = _conclusions(response)
    return conclusions[-1] if conclusions else None


def question_result(response: NumberResponse) -> Sentence | None:
    """The last result of the question's own calculation.

    >>> question_result(NumberResponse("2 + 2 = 4. Then 5 + 3 = 8. And 8 + 2 = 10.", "What is 5 + 3?")).text
    'Then 5 + 3 = 8.'
    >>> question_result(NumberResponse("2 + 2 = 4.", "What is 5 + 3?"))
    """
    return response.question_results[-1] if response.question_results else None


def complete_calculation(response: NumberResponse) -> Sentence | None:
    """A calculation with all numbers of the question, or the last one that goes on with its result.

    >>> question = "Tom has 5 apples and buys 7 more. He eats 3. How many apples does he have?"
    >>> complete_calculation(NumberResponse("It is 5 + 7 - 3 = 9 apples.", question)).text
    'It is 5 + 7 - 3 = 9 apples.'
    >>> complete_calculation(NumberResponse("It is 5 + 7 = 12 apples.", question))
    """
    if response.is_stepwise:
        return None
    for sentence in response.results:
        last = sentence is response.results[-1] or sentence is response.last_results[sentence.paragraph]
        complete = any(_uses_all_numbers(equation, response) for equation in response.equations[sentence])
        if complete and last and not (response.truncated and _works_on(sentence, response)):
            return _last_continuation(sentence, response)
    return None


def unfinished_statement(response: NumberResponse) -> Decision | None:
    """A response that was cut, without a result, whose first statement is unfinished or says nothing: no answer.

    >>> question = "How many pages does the book have, with 20 on each side?"
    >>> unfinished_statement(NumberResponse("40 of the", question, truncated=True)).name
    'NO_ANSWER'
    >>> unfinished_statement(NumberResponse("The book has 40 pages. It", question, truncated=True))
    """
    if not response.truncated or response.results:
        return None
    first = response.numeric[0]
    aside = re.search(r"[0-9][^,0-9]*, (?:which|because|since)\b", first.text)
    short = first.text.endswith((".", "!")) or len(words(first.text)) <= 12
    ended = first is not response.sentences[-1] or short or aside is not None
    states = response.answers_question(first.text) or _VERB.search(first.text) is not None
    return None if ended and states else NO_ANSWER


def list_entry(response: NumberResponse) -> Sentence | None:
    r"""A finished list of facts without a calculation: its last entry, if that answers the question.

    >>> question = "A baker makes 24 cakes and sells 9. How many cakes are left?"
    >>> list_entry(NumberResponse("Cakes made: 24\nCakes sold: 9\nCakes left: 15", question)).text
    'Cakes left: 15'
    >>> list_entry(NumberResponse("Cakes left: 15\nOld bread: 3", question))
    """
    last = response.numeric[-1]
    answers = not response.results and _ENTRY.match(last.text) is not None and response.answers_question(last.text)
    return last if answers and response.is_finished else None


def later_statement(response: NumberResponse) -> Sentence | None:
    """A statement that says more of what is asked than the first one, which only repeats a number of the question.

    >>> question = "Tom has 12 apples and eats 3. How many apples does he have?"
    >>> later_statement(NumberResponse("He has 12 in all. He loses 3, leaving him with 9.", question)).text
    'He loses 3, leaving him with 9.'
    >>> later_statement(NumberResponse("He has 9 in all. He is 30 years old.", question))
    """
    if response.results or (response.truncated and response.is_stepwise):
        return None
    first = response.numeric[0]
    later = [part for part in response.numeric[1:] if part.paragraph == first.paragraph]
    new = [part for part in later if _states_new_number(part, response)]
    if new and new[-1] is response.numeric[-1] and _LEAVING.search(new[-1].text):
        return new[-1]
    if _states_new_number(first, response):
        return None
    shared = response.shared_words(first.text)
    return next((part for part in new if not shared or response.shared_words(part.text) - shared), None)


def first_statement(response: NumberResponse) -> Sentence | None:
    """The first statement, where nothing is calculated and it cannot be a mere step towards the answer.

    It is none if the question has few numbers, if it is the only sentence, or if it answers the question without any
    of the question's numbers.

    >>> question = "Tom has 5 apples and buys 7 more. He eats 3. How many apples does he have?"
    >>> first_statement(NumberResponse("Tom has 9 apples. He has 2 pears.", question)).text
    'Tom has 9 apples.'
    >>> first_statement(NumberResponse("Buying 7 more, he has 12 apples. He is 30 years old.", question))
    """
    if response.results or response.is_stepwise:
        return None
    first = response.numeric[0]
    numbers = find_numbers(first.text)
    foreign = not any(number.value in response.question_numbers for number in numbers)
    direct = response.answers_question(first.text) and (len(numbers) == 1 or foreign)
    whole = len(response.question_numbers) <= 2 or direct or len(response.sentences) == 1
    return first if whole else None


def last_result(response: NumberResponse) -> Sentence | None:
    """The last result of a finished solution, or its last number where nothing is calculated.

    >>> question = "Tom has 5 apples and buys 7 more. He eats 3. How many apples does he have?"
    >>> last_result(NumberResponse("First, 5 + 7 = 12. Then 12 - 3 = 9. He is 30 years old.", question)).text
    'Then 12 - 3 = 9.'
    >>> last_result(NumberResponse("First, 5 + 7 = 12. Then", question, truncated=True))
    """
    return (response.results or response.numeric)[-1] if response.is_finished else None


WORKED_STRATEGIES: tuple[Callable[[NumberResponse], Sentence | Decision | None], ...] = (
    repeated_statement,
    announced_number,
    listed_facts,
    closing_statement,
    conclusion,
    question_result,
    complete_calculation,
    unfinished_statement,
    list_entry,
    later_statement,
    first_statement,
    last_result,
)
"""The strategies for a worked solution in the order in which they are tried; each returns the deciding sentence."""


def _states_new_number(sentence: Sentence, response: NumberResponse) -> bool:
    """Whether *sentence* states a number that the question does not give."""
    number = stated_number(sentence.text, response.question_numbers)
    return number is not None and number.value not in response.question_numbers


def _conclusions(response: NumberResponse) -> list[Sentence]:
    """Return the conclusions after which their paragraph has no result, and which the limit did not leave open."""
    conclusions = [sentence for sentence in response.numeric if _CONCLUSION.match(sentence.text)]
    if response.truncated:
        steps = (i for i, sentence in enumerate(response.sentences) if i and STEP.match(sentence.text))
        last_step = max(steps, default=-1)
        conclusions = [
            sentence
            for sentence in conclusions
            if response.index(sentence) >= last_step
            and sentence.text.endswith((".", "!"))
            and response.answers_question(sentence.text)
            and not _continues(sentence, response)
        ]
    last_results = response.last_results
    return [
        sentence
        for sentence in conclusions
        if response.index(sentence) >= response.index(last_results.get(sentence.paragraph, sentence))
    ]


def _last_continuation(sentence: Sentence, response: NumberResponse) -> Sentence:
    """Return the last of the calculations that go on with the result of *sentence*: "9 * 5 = 45", "45 - 9 = 36"."""
    if response.truncated:
        return sentence
    equations = response.equations
    for later in response.results[response.results.index(sentence) + 1 :]:
        results = {equation.stated for equation in equations[sentence]}
        operands = {operand for equation in equations[sentence] for operand in equation.operands}
        if any(results & set(equation.operands) and equation.stated not in operands for equation in equations[later]):
            sentence = later
    return sentence


def _continues(sentence: Sentence, response: NumberResponse) -> bool:
    """Whether the response works on after *sentence*, in the same paragraph, when the limit cuts it."""
    later = response.sentences[response.index(sentence) + 1 :]
    return bool(later) and later[0].paragraph == sentence.paragraph and _REMARK.match(later[0].text) is None


def _works_on(sentence: Sentence, response: NumberResponse) -> bool:
    """Whether what follows *sentence* in its paragraph, until the limit cuts it, may still be on the way to the answer.

    "24 - 9 = 15 cakes are left. The number of cakes is" has answered the question, "24 - 9 = 15. Then" has not.
    """
    following = response.sentences[response.index(sentence) + 1 :]
    later = [part.text for part in following if part.paragraph == sentence.paragraph]
    calculates = any(STEP.match(text) or re.search(r"[-+*/=]", text) for text in later)
    return _continues(sentence, response) and (calculates or not response.answers_question(sentence.text))


def _uses_all_numbers(equation: Equation, response: NumberResponse) -> bool:
    """Whether a calculation with its result uses every number of the question, of which there are two or more.

    A number that the question gives twice has to be used twice.
    """
    numbers, operands = response.question_numbers, equation.operands
    given_count = len(find_numbers(response.question[:MAX_QUESTION]))
    return (
        equation.stated is not None
        and len(numbers) > 1
        and numbers <= set(operands)
        and len(operands) >= min(given_count, 3)
    )
