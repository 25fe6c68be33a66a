"""Multiple choice: the judgement of a question whose answer is one of its choices."""

from __future__ import annotations

from reasoning_probe.scoring.judgement import Judgement

CATEGORY, KIND = "wrong_label", "other_choice"
"""The category and kind of a definite but wrong choice."""


def judge_choice(expected: str, chosen: str | None, response: str, truncated: bool) -> Judgement:
    """Return the judgement of the *chosen* choice, ``None`` where *response* names none of them."""
    if chosen == expected:
        return Judgement(chosen, True)
    if chosen is None:
        empty = not response.strip()
        reason = "the response is empty" if empty else "it names none of the choices"
        return Judgement(
            None, False, "incomplete", "empty" if empty else "cut_off" if truncated else "no_answer", reason
        )
    return Judgement(chosen, False, CATEGORY, KIND, f"chooses {_cut(chosen)} where {_cut(expected)} is right")


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
