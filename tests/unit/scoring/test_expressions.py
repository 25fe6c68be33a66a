"""Answers of kind ``expression``: read from LaTeX, and equal where Math-Verify finds them equal."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.data import items as items_module
from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.sources.shapes import items_of
from reasoning_probe.scoring import expressions
from reasoning_probe.scoring.expressions import normal_form, same_expression
from reasoning_probe.scoring.extraction.expression_answer import read_expression
from reasoning_probe.scoring.judge import judge
from reasoning_probe.utils.latex import last_boxed

pytest.importorskip("math_verify")


def expression(answer: str, question: str = "What is it?") -> Item:
    return Item(question=question, answer=answer, kind="expression")


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"\frac{1}{2}", r"\dfrac12"),
        ("x+1", "1 + x"),
        ("x^2-1", "(x-1)(x+1)"),
        (r"2\sqrt{3}", r"\sqrt{12}"),
        (r"\frac{\pi}{4}", r"\pi/4"),
        ("(1,2)", r"\left( 1,\, 2 \right)"),
        ("[0,1)", r"\left[0,1\right)"),
        (r"\{1,2\}", r"\{2,1\}"),
        ("14", "x = 14"),
        (r"x \le 3", r"x \leq 3"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"\text{(C)}", "C"),
        ("10080", "10,080"),
        (r"\$18.90", "18.90"),
        (r"90^\circ", "90"),
        ("1024", "2^{10}"),
        ("6 - 5i", "-5i + 6"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"3\sqrt{2}", r"$3 \cdot \sqrt{2}$"),
        ("5", r"5\text{ cm}"),
    ],
)
def test_equal_expressions(expected: str, answer: str) -> None:
    assert same_expression(answer, expected)
    assert judge(expression(expected), rf"We get $\boxed{{{answer.strip('$')}}}$.").correct


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("p - q", "p + q"),
        ("(1,2)", "(2,1)"),
        ("[0,1)", "[0,1]"),
        (r"x \le 3", "x < 3"),
        (r"\pi", "3.14159"),
        (r"\frac{1}{3}", "0.333"),
        ("even", "neve"),  # as a product of letters they would be equal
        (r"\text{odd}", r"\text{even}"),
        ("x+1", ""),
        ("x+1", r"\frac{"),
        ("x^2", "2x"),
        (r"\sqrt{2}", "2"),
    ],
)
def test_other_expressions(expected: str, answer: str) -> None:
    assert not same_expression(answer, expected)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"First \boxed{3}. No: \boxed{\frac{\sqrt{2}}{2}}.", r"\frac{\sqrt{2}}{2}"),
        (r"\boxed{\left\{ x : x > 1 \right\}}", r"\left\{ x : x > 1 \right\}"),
        (r"So the answer is $x + 1$, as expected.", "x + 1"),
        ("The answer is **x + 1**.", "x + 1"),
        ("The final answer is: x + 1", "x + 1"),
        ("#### 2x", "2x"),
        (r"Hence \[ y = 3x. \]", "y = 3x"),
        ("x+1", "x+1"),
        ("$x+1$", "x+1"),
        (r"<think>\boxed{3}</think>\boxed{4}", "4"),
        (r"\boxed 7", "7"),
        ("I'm sorry, I cannot answer that.", None),
        ("We need to think about what this says of the matter at hand, and so on.", None),
        (r"<think>So it is \boxed{4}", None),
        ("", None),
    ],
)
def test_the_answer_is_read_with_its_latex(response: str, answer: str | None) -> None:
    assert judge(expression("z"), response).answer == answer


@pytest.mark.parametrize("response", [r"The answer is $\boxed{\frac{1}{2", "The answer is x + 1", "x + 1"])
def test_what_the_limit_cut_is_not_read(response: str) -> None:
    judgement = judge(expression("x"), response, truncated=True)
    assert (judgement.answer, judgement.category, judgement.kind) == (None, "incomplete", "cut_off")


def test_mistakes_of_expressions() -> None:
    """A wrong number where a number is expected makes a number's mistake."""
    item = expression("8", "What is 5 + 3?")
    assert (judge(item, r"\boxed{9}").category, judge(item, r"\boxed{9}").kind) == ("off_by_one", "one_too_many")
    wrong = judge(expression("p - q"), r"\boxed{p+q}")
    assert (wrong.category, wrong.kind) == ("hallucination", "wrong_expression")
    assert wrong.reason == "answers 'p+q', which does not equal 'p - q'"


def test_boxes_are_read_to_their_own_brace() -> None:
    assert last_boxed(r"\boxed{a_{b_{c_{d}}}} and \boxed{}") == "a_{b_{c_{d}}}"
    assert last_boxed(r"\boxed{\{1\}}") == r"\{1\}"
    assert last_boxed(r"\boxed{" * 3000) is None


@pytest.mark.parametrize(
    "answer", ["9^{9^{9^9}}", "9^9^9", "2^{99999999}", "99999999!", r"\binom{99999999}{5}", "x" * 5000]
)
def test_what_cannot_be_worked_out_is_not_tried(answer: str) -> None:
    started = time.thread_time()
    assert not same_expression(answer, "x+7")
    assert time.thread_time() - started < 1


def test_a_comparison_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no signal, so that it works in any thread and leaves pytest-timeout's alarm alone."""
    monkeypatch.setattr(expressions, "SECONDS", 0.0)
    handler, alarm = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    before = sys.gettrace()
    assert not same_expression("1 + y + x + z", "x + y + z + 1")
    assert (signal.getsignal(signal.SIGALRM), sys.gettrace()) == (handler, before)
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (alarm[0] > 0)


def test_time_that_other_programs_take_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's clock runs a day ahead at every look; a judgement must not depend on it."""
    days = iter(range(0, 86_400 * 10**9, 86_400))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(days)))
    assert same_expression("(a-b)(a+b)", "a^2-b^2")


def test_expressions_are_compared_in_a_thread() -> None:
    verdicts: list[bool] = []
    thread = threading.Thread(target=lambda: verdicts.append(same_expression("(a+b)(a-b)", "a^2 - b^2")))
    thread.start()
    thread.join()
    assert verdicts == [True]


TOKENS = [
    "x", "2", "0.5", "\\frac{", "}", "{", "^", "_", "(", ")", "\\sqrt{", "+", "-", "=", "\\pi", ",", "[", "\\{",
    "\\text{", " ", "$", "\\boxed{", "!", "\\sum", "\\int",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
def test_any_text_is_compared_or_refused(text: str) -> None:
    assert isinstance(same_expression(text, "x + 1"), bool)
    assert read_expression(text, truncated=False) is None or text.strip()
    assert isinstance(normal_form(text), str)


ROW = {
    "problem": "Solve $2x = 1$.",
    "solution": r"We divide by two: $x = \boxed{\frac{1}{2}}$.",
    "level": "Level 1",
}


@pytest.mark.parametrize(
    "more", [{"type": "Algebra"}, {"subject": "Algebra", "answer": r"\frac{1}{2}", "unique_id": "test/1"}]
)
def test_rows_of_math_expect_expressions(more: dict[str, str]) -> None:
    [(item, _)] = items_of(ROW | more, "line 1")
    assert (item.kind, item.answer, item.question) == ("expression", r"\frac{1}{2}", "Solve $2x = 1$.")
    assert item.solution == ROW["solution"]


def test_a_row_that_names_its_kind_keeps_it() -> None:
    [(item, _)] = items_of(ROW | {"type": "Algebra", "kind": "text"}, "line 1")
    assert item.kind == "text"


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "has_math_verify", lambda: False)
    with pytest.raises(ItemError, match=r"^kind expression needs Math-Verify: pip install 'reasoning-probe\[math\]'$"):
        expression("x")
