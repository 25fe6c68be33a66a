"""The lines of a single case in the terminal: the question, the answer and the expected answer."""

from __future__ import annotations

from reasoning_probe.report.sampling import samples_phrase
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.utils.text import shorten


def failure_text(outcome: Outcome) -> str:
    """Return the lines of a failed baseline case: question, expected, answered, response, category."""
    answer = "nothing" if outcome.answer is None else shorten(outcome.answer, 60)
    reason = f": {shorten(outcome.reason, 160)}" if outcome.reason else ""
    return "\n".join(
        [
            f"question  {shorten(outcome.question, 200)}",
            f"expected  {shorten(outcome.expected, 60)}",
            f"answered  {answer}",
            f"response  {shorten(outcome.response, 120)}",
            f"mistake   {_category(outcome)}{reason}",
            *([f"samples   {samples_phrase(outcome)}"] if outcome.samples else []),
        ]
    )


def baseline_line(outcome: Outcome) -> str:
    """Return why an answer is wrong where a gate decides: ``wrong_label: answered yes, expected Unknown``."""
    return f"{_category(outcome)}: {_answers(outcome)}"


def ablated_line(outcome: Outcome, baseline: Outcome | None) -> str:
    """Return why an ablated case is wrong: ``L3H7 off: off_by_one, answered 9, expected 8, baseline was right``."""
    was = "" if baseline is None else f", baseline was {'right' if baseline.correct else 'wrong too'}"
    return f"{shorten(outcome.target, 60)} off: {_category(outcome)}, {_answers(outcome)}{was}"


def _answers(outcome: Outcome) -> str:
    answer = "nothing" if outcome.answer is None else shorten(outcome.answer, 60)
    samples = f", {samples_phrase(outcome)}" if outcome.samples else ""
    return f"answered {answer}, expected {shorten(outcome.expected, 60)}{samples}"


def _category(outcome: Outcome) -> str:
    return shorten(outcome.category or "unclassified", 40)
