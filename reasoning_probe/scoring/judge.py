"""Errors: how a wrong answer is wrong.

:func:`judge` reads a response and, where it is not right, names the first category that applies:

====================  =====================================================================================
``incomplete``        no definite answer: ``empty``, ``refusal``, ``loop``, ``restated``, ``cut_off``, ``undecided``,
                      ``no_answer``
``wrong_label``       a definite but wrong yes / no / unknown: ``yes_for_no`` and so on
``off_by_one``        a whole number that differs by exactly 1: ``one_too_many``, ``one_too_few``
``wrong_operation``   the question's own numbers, other steps: ``wrong_chain``, ``operand_echoed``,
                      ``step_left_out``, ``wrong_operand``, ``other_operation``, ``altered_solution``
``hallucination``     any other definite wrong answer: ``miscalculated``, ``sign``, ``magnitude``, ``place_value``,
                      ``concatenated``, ``foreign_numbers``, ``yes_and_no``, ``off_topic``, ``wrong_text``,
                      ``from_nowhere``
====================  =====================================================================================

Each rule is a pure function of what was read; it returns one line that says why it fired, or ``None``.
"""

from __future__ import annotations

from dataclasses import replace

from reasoning_probe.data.items import Item, label_of
from reasoning_probe.scoring.error_categories import categorise_number
from reasoning_probe.scoring.extract import extract_answer, is_correct
from reasoning_probe.scoring.extraction.equations import find_equations
from reasoning_probe.scoring.extraction.label_answer import BOTH
from reasoning_probe.scoring.extraction.preprocess import HEAD, TAIL, clean
from reasoning_probe.scoring.gold_solution import reference_of
from reasoning_probe.scoring.judgement import Judgement, quoted
from reasoning_probe.scoring.mistake_rules import stated_chain
from reasoning_probe.scoring.no_answer import judge_unanswered
from reasoning_probe.utils.numbers import find_numbers


def judge(item: Item, response: str, truncated: bool = False) -> Judgement:
    r"""Judge the generated text *response* (never the prompt) to *item*; *truncated* if the token limit ended it.

    >>> item = Item(question="What is 10 - 4?", answer="6")
    >>> judge(item, " 6\n\nThe answer is: 6").correct
    True
    >>> judge(item, " 10 - 4 = 4\n\nThe answer is: 4").reason
    '10 - 4 is the right calculation, but it does not come to 4'
    """
    if len(item.question) > HEAD + TAIL:  # every sentence of the response is compared with it
        item = replace(item, question=f"{item.question[:HEAD]}\n\n{item.question[-TAIL:]}")
    reading = extract_answer(item, response, truncated)
    if reading is None:
        return judge_unanswered(item, response, truncated)
    if is_correct(item, reading):
        return Judgement(reading.answer, True)
    if item.kind == "label":
        category, kind, reason = _wrong_label(reading.answer, label_of(item.answer) or item.answer)
    elif item.kind == "text" or reading.value is None:
        category, kind, reason = (
            "hallucination",
            "wrong_text",
            f"answers {quoted(reading.answer)}, which is not expected",
        )
    else:
        text = clean(response, item.question, truncated)
        equations = find_equations(text)
        ahead = find_numbers(text[: equations[0].start]) if equations else []
        chain = stated_chain(equations, reading.written or reading.value, [number.value for number in ahead])
        category, kind, reason = categorise_number(reference_of(item), reading.value, chain)
    return Judgement(reading.answer, False, category, kind, reason)


# No definite answer


# Labels


def _wrong_label(answer: str, expected: str) -> tuple[str, str, str]:
    if answer == BOTH:
        return "hallucination", "yes_and_no", "says both yes and no"
    return "wrong_label", f"{answer}_for_{expected}", f"says {answer} where {expected} is right"
