r"""Markup: thoughts, programs, tables, LaTeX and Markdown in a response, turned into the plain text that they show."""

from __future__ import annotations

import re

_CODE = re.compile(r"```[^\n`]{0,20}\n(.*?)(?:```|\Z)", re.DOTALL)
_PROGRAM = re.compile(
    r"\b(?:print|def|import|return|function|const|let|var)\b|[-+*/]=|^[ \t]*[a-z_]\w* ?= ?\S", re.MULTILINE
)
_ROW = re.compile(r"^[ \t]*\|([^\n]{1,400})\|[ \t]*$", re.MULTILINE)
_PLAIN = (
    (re.compile(r"\\(?:times|cdot)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"\\approx\b"), "\N{ALMOST EQUAL TO}"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit)\{([^{}]{0,200})\}"), r"\1"),
    (re.compile(r"\\[()\[\]$ ,;!]|\\(?:left|right|quad)\b"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"<<[^<>]{0,200}>>"), ""),  # GSM8K's calculator annotations
    (re.compile(r"(?<![0-9])\*\*(?=\S)|(?<=\S)\*\*(?![0-9])|__(?=\S)|(?<=\S)__|`"), ""),  # Markdown
    (re.compile(r"<(?:final_)?answer>\s*", re.IGNORECASE), "Answer: "),
    (re.compile(r"</(?:final_)?answer>", re.IGNORECASE), "\n"),
)


def plain_text(text: str) -> str:
    r"""Return *text* as its reader sees it: without thoughts, programs and markup, a table's row as "cell: cell".

    >>> plain_text("<think>7?</think>\\boxed{**8**}"), plain_text("| Total | $8 |\n|---|---|")
    ('\\boxed{8}', 'Total: $8\n')
    """
    text = _CODE.sub(_shown, without_thoughts(text))
    for pattern, plain in _PLAIN:
        text = pattern.sub(plain, text)
    return _ROW.sub(_cells, text)


def without_thoughts(text: str) -> str:
    """Drop what stands between ``<think>`` and ``</think>``; thoughts that never end hold no answer.

    >>> without_thoughts("<think>7? No.</think>8"), without_thoughts("<think>It is 7."), without_thoughts("8")
    ('8', '', '8')
    """
    before, opened, _ = text.partition("<think>")
    if "</think>" in text:
        return text.rpartition("</think>")[2]
    return before if opened else text


def _shown(block: re.Match[str]) -> str:
    """A block with a result is text in a box; a program answers nothing before it runs."""
    return "\n" if _PROGRAM.search(block[1]) else block[1]


def _cells(row: re.Match[str]) -> str:
    cells = [cell.strip() for cell in row[1].split("|")]
    return ": ".join(cell for cell in cells if cell.strip(" -:"))
