"""The judge: it extracts the answer of a response, compares it, and categorises a wrong one.

The categories are those of :mod:`~reasoning_probe.scoring.error_categories`.
"""

from __future__ import annotations

from dataclasses import replace

from reasoning_probe.data.items import Item, ItemError, label_of
from reasoning_probe.scoring.error_categories import categorise_number
from reasoning_probe.scoring.expressions import same_expression
from reasoning_probe.scoring.extract import answer_in, is_correct
from reasoning_probe.scoring.extraction.equations import find_equations
from reasoning_probe.scoring.extraction.explicit import ExtractedAnswer
from reasoning_probe.scoring.extraction.expression_answer import read_expression
from reasoning_probe.scoring.extraction.label_answer import BOTH
from reasoning_probe.scoring.extraction.markup import plain_text, thought_marks
from reasoning_probe.scoring.extraction.preprocess import HEAD, TAIL, clean, with_latex
from reasoning_probe.scoring.gold_solution import gold_solution_of
from reasoning_probe.scoring.judgement import Judgement, quoted
from reasoning_probe.scoring.mistake_rules import stated_chain
from reasoning_probe.scoring.no_answer import judge_unanswered
from reasoning_probe.utils.numbers import find_numbers, parse_number
from reasoning_probe.utils.text import quoted as quoted_value


def judge(item: Item, response: str, truncated: bool = False, think: str = "auto") -> Judgement:
    r"""Judge the generated text *response* (never the prompt) to *item*; *truncated* if the token limit ended it.

    *think* says what surrounds a model's thoughts, in which no answer is looked for: the marks that models use
    (``auto``), a pair of other marks beside them (``"<plan>,</plan>"``), or nothing (``off``).

    Raises ``ValueError`` for a *think* that is none of these, and for what is no item or no text.

    >>> item = Item(question="What is 10 - 4?", answer="6")
    >>> judge(item, " 6\n\nThe answer is: 6").correct
    True
    >>> judge(item, " 10 - 4 = 4\n\nThe answer is: 4").reason
    '10 - 4 is the right calculation, but it does not come to 4'
    """
    if not isinstance(item, Item) or not isinstance(response, str):
        raise ItemError(f"{quoted_value(item)} and {quoted_value(response)} cannot be judged: give an Item and a text")
    item = _with_clipped_question(item)
    thoughts = thought_marks(think)
    text = clean(response, item.question, truncated, thoughts)
    if item.kind == "expression":
        extracted = read_expression(with_latex(response, item.question, thoughts), truncated)
        item = _as_number(item, extracted)
    else:
        extracted = answer_in(text, item, response, truncated)
    if extracted is None:
        return judge_unanswered(item, text, response, truncated, thoughts)
    if is_correct(item, extracted):
        return Judgement(extracted.answer, True)
    if item.kind == "label":
        error = _wrong_label(extracted.answer, label_of(item.answer) or item.answer)
    elif item.kind == "expression":
        reason = f"answers {quoted(extracted.answer)}, which does not equal {quoted(item.answer)}"
        error = "hallucination", "wrong_expression", reason
    elif item.kind == "text" or extracted.value is None:
        error = "hallucination", "wrong_text", f"answers {quoted(extracted.answer)}, which is not expected"
    else:
        equations = find_equations(text)
        preceding = find_numbers(text[: equations[0].start]) if equations else []
        chain = stated_chain(equations, extracted.written or extracted.value, [number.value for number in preceding])
        error = categorise_number(gold_solution_of(item), extracted.value, chain)
    category, kind, reason = error
    return Judgement(extracted.answer, False, category, kind, reason)


def _with_clipped_question(item: Item) -> Item:
    """Clip a long question: every sentence of the response is compared with it."""
    if len(item.question) <= HEAD + TAIL:
        return item
    return replace(item, question=f"{item.question[:HEAD]}\n\n{item.question[-TAIL:]}")


def _as_number(item: Item, extracted: ExtractedAnswer | None) -> Item:
    """Return *item*, which expects an expression, as one that expects a number if the answer is another number.

    Its mistakes are those of a number then.
    """
    if extracted is None or extracted.value is None or same_expression(extracted.answer, item.answer):
        return item
    expected = plain_text(item.answer)
    return item if parse_number(expected) is None else replace(item, answer=expected, kind="number")


def _wrong_label(answer: str, expected: str) -> tuple[str, str, str]:
    if answer == BOTH:
        return "hallucination", "yes_and_no", "says both yes and no"
    return "wrong_label", f"{answer}_for_{expected}", f"says {answer} where {expected} is right"
