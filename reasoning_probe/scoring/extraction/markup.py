r"""Conversion of the markup in a response (thoughts, programs, tables, LaTeX, Markdown) to plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

BARE_ANALYSIS = "analysis"
"""What gpt-oss's channel of thoughts begins with where the special tokens are left out."""

ThoughtMarks = Sequence[tuple[str, str]]
"""The texts before and after a model's thoughts, in pairs."""

BARE_FINAL = "assistantfinal"
"""What ends that channel there."""

THOUGHTS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reason>", "</reason>"),
    ("<rationale>", "</rationale>"),
    ("<reflection>", "</reflection>"),
    ("<analysis>", "</analysis>"),
    ("<cot>", "</cot>"),
    ("<chain_of_thought>", "</chain_of_thought>"),
    ("<thinking_process>", "</thinking_process>"),
    ("<thought_process>", "</thought_process>"),
    ("<inner_thoughts>", "</inner_thoughts>"),
    ("<inner_thought>", "</inner_thought>"),
    ("<ant_thinking>", "</ant_thinking>"),
    ("<antThinking>", "</antThinking>"),
    ("<deep_think>", "</deep_think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<mm:think>", "</mm:think>"),
    ("<begin_think>", "<end_think>"),
    ("<start_working_out>", "<end_working_out>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<internal>", "</internal>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("[THINKING]", "[/THINKING]"),
    ("[THOUGHT]", "[/THOUGHT]"),
    ("[REASONING]", "[/REASONING]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|start_of_thought|>", "<|end_of_thought|>"),
    ("<|think_start|>", "<|think_end|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|think|>", "<|/think|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|begin_of_thinking|>", "<|end_of_thinking|>"),
    ("<\uff5cbegin\u2581of\u2581thinking\uff5c>", "<\uff5cend\u2581of\u2581thinking\uff5c>"),
    ("<unused94>", "<unused95>"),  # MedGemma
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    (BARE_ANALYSIS, BARE_FINAL),
)
"""The texts between which models write their thoughts, in any case of letters."""

_ANALYSIS = re.compile(r"\s*analysis(?=[^\sa-z,.:;])")
_CODE = re.compile(r"```[^\n`]{0,20}\n(.*?)(?:```|\Z)", re.DOTALL)
_PROGRAM = re.compile(
    r"\b(?:print|def|import|return|function|const|let|var)\b|[-+*/]=|^[ \t]*[a-z_]\w* ?= ?\S", re.MULTILINE
)
_ROW = re.compile(r"^[ \t]*\|([^\n]{1,400})\|[ \t]*$", re.MULTILINE)
_SPACE = re.compile(r"(?<![0-9])[\u00a0\u2009\u202f]|[\u00a0\u2009\u202f](?![0-9]{3}(?![0-9]))")
"""A no-break or thin space, except between the thousands of a number."""

_COLUMN = re.compile(
    r"^[ \t]*([0-9][0-9.,]{0,20})[ \t]*\n[ \t]*([-+*x\u00d7\u2212])[ \t]*([0-9][0-9.,]{0,20})[ \t]*\n"
    r"[ \t]*[-_=\u2014\u2500]{1,40}[ \t]*\n[ \t]*(?=[0-9])",
    re.MULTILINE,
)
"""A column calculation: its numbers one below the other, and the line above its result."""

_AND_A_HALF = re.compile(
    r"\b(?:an?|(one|two|three|four|five|six|seven|eight|nine|ten))[ ]([a-z]{3,12})[ ]and[ ]a[ ](half|quarter)\b",
    re.IGNORECASE,
)


def _quotient(match: re.Match[str]) -> str:
    r"""Write ``\frac{12 + 4}{2}`` as ``(12 + 4) / 2``; a fraction of two numbers is a number and stays."""
    operators = [re.search(r"[-+*/x]", part) is not None for part in match.groups()]
    if not any(operators):
        return match[0]
    return " / ".join(f"({part})" if group else part for part, group in zip(match.groups(), operators, strict=True))


_PLAIN: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (("\\",), re.compile(r"\\(?:times|cdot)\b"), "*"),
    (("\\",), re.compile(r"\\div\b"), "/"),
    (("\\",), re.compile(r"\\approx\b"), "\N{ALMOST EQUAL TO}"),
    (("\\",), re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit)\{([^{}]{0,200})\}"), r"\1"),
    (("\\",), re.compile(r"\\([$%])"), r"\1"),
    (("\\",), re.compile(r"\\[()\[\] ,;!]|\\(?:left|right|quad)\b"), ""),
    (("^{",), re.compile(r"(?<=[0-9)])\^\{(-?[0-9]{1,3})\}"), r"^\1"),
    (("{,}",), re.compile(r"\{,\}"), ","),
    (
        ("\\",),
        re.compile(r"\\[cdt]?frac\{([0-9][-+*/x(). 0-9]{0,40})\}\{([0-9][-+*/x(). 0-9]{0,40})\}"),
        _quotient,
    ),
    (("<<",), re.compile(r"<<[^<>]{0,200}>>"), ""),  # GSM8K's calculator annotations
    (("**", "__", "`"), re.compile(r"(?<![0-9])\*\*(?=\S)|(?<=\S)\*\*(?![0-9])|__(?=\S)|(?<=\S)__|`"), ""),  # Markdown
    (("<",), re.compile(r"<(?:final_)?answer>\s*", re.IGNORECASE), "Answer: "),
    (("<",), re.compile(r"</(?:final_)?answer>", re.IGNORECASE), "\n"),
)
"""The signs of which a text needs one to hold any such markup, its pattern, and what it becomes."""


def plain_text(text: str) -> str:
    r"""Return *text* without programs and markup, and with each row of a table as "cell: cell".

    >>> plain_text("\\boxed{**8**}"), plain_text("| Total | $8 |\n|---|---|")
    ('\\boxed{8}', 'Total: $8\n')
    """
    if "```" in text:
        text = _CODE.sub(_block_text, text)
    if not text.isascii():
        text = _SPACE.sub(" ", text)
    if " and a " in text.lower():
        text = _AND_A_HALF.sub(_number_first, text)
    if "\n" in text:
        text = _COLUMN.sub(r"\1 \2 \3 = ", text)
    for signs, pattern, plain in _PLAIN:
        if any(sign in text for sign in signs):
            text = pattern.sub(plain, text)
    return _ROW.sub(_cells, text) if "|" in text else text


@lru_cache(maxsize=64)
def thought_marks(think: str) -> ThoughtMarks:
    """Return the marks that *think* names: those of :data:`THOUGHTS` for ``auto``, none for ``off``, else one more.

    Raises ``ValueError``, in one line, where *think* is neither of these words nor two different marks with a comma.

    >>> thought_marks("off"), thought_marks("<plan>,</plan>")[0]
    ((), ('<plan>', '</plan>'))
    """
    if think in ("auto", "off"):
        return THOUGHTS if think == "auto" else ()
    marks = tuple(mark.strip() for mark in think.split(",")) if isinstance(think, str) else ()
    if len(marks) != 2 or not all(marks) or marks[0].lower() == marks[1].lower():
        raise ValueError(
            f"{ascii(think)[:60]} is not a pair of marks: write auto, off, or two different marks with one comma"
            " between them, for example <plan>,</plan>"
        )
    return ((marks[0], marks[1]), *THOUGHTS)


def without_thoughts(text: str, pairs: ThoughtMarks = THOUGHTS) -> str:
    """Drop the thoughts of a model, between the texts of one of *pairs*; unclosed thoughts have no answer.

    >>> without_thoughts("<think>7? No.</think>8"), without_thoughts("<think>It is 7."), without_thoughts("8")
    ('8', '', '8')
    >>> without_thoughts("[THINK]7?[/THINK]8"), without_thoughts("analysisIt is 7.assistantfinal8")
    ('8', '8')
    """
    return _beside_thoughts(text, pairs)[0]


def in_thought(text: str, pairs: ThoughtMarks = THOUGHTS) -> bool:
    """Whether *text* ends in a thought that is not closed.

    >>> in_thought("<think>It is 7."), in_thought("<think>It is 7.</think>"), in_thought("7")
    (True, False, False)
    """
    return _beside_thoughts(text, pairs)[1]


def opened_by(prompt: str, pairs: ThoughtMarks = THOUGHTS) -> str:
    r"""Return the mark at the end of *prompt* that opens a thought; empty where there is none.

    >>> opened_by("What is 5 + 3?\n<think>\n"), opened_by("What is 5 + 3?")
    ('<think>', '')
    """
    end = prompt[-200:].rstrip().lower()
    openings = (opening for opening, _ in pairs if opening != BARE_ANALYSIS)
    return next((opening for opening in openings if end.endswith(opening.lower())), "")


def after_thought(text: str, pairs: ThoughtMarks = THOUGHTS) -> str:
    r"""Return *text*, which follows a closed thought, with a line's end for marks that close one it has not opened.

    >>> after_thought("It is 8.</think>"), after_thought("8</think><think>7?")
    ('It is 8.\n', '8\n<think>7?')
    """
    if not _may_have_thoughts(text, tuple(pairs)):
        return text
    marks = "|".join(re.escape(opening) for opening, _ in pairs if opening != BARE_ANALYSIS)
    opening = re.search(marks, text, re.IGNORECASE)
    first = opening.start() if opening else len(text)
    closings = "|".join(re.escape(closing) for _, closing in pairs)
    return re.sub(closings, "\n", text[:first], flags=re.IGNORECASE) + text[first:]


def _beside_thoughts(text: str, pairs: ThoughtMarks) -> tuple[str, bool]:
    """Return the text after the last thought that is closed, before the one that is not, and whether there is one."""
    if not _may_have_thoughts(text, tuple(pairs)):
        return text, False
    lower = text.lower()
    if len(lower) != len(text):  # a few letters are longer in lower case
        lower = text
    start = max((end + len(closing) for _, closing in pairs if (end := lower.rfind(closing.lower())) >= 0), default=0)
    openings = (opening.lower() for opening, _ in pairs if opening != BARE_ANALYSIS)
    ends = [place for opening in openings if (place := lower.find(opening, start)) >= 0]
    if ends:
        return text[start : min(ends)], True
    bare = any(opening == BARE_ANALYSIS for opening, _ in pairs)
    return ("", True) if bare and _ANALYSIS.match(text, start) else (text[start:], False)


def _may_have_thoughts(text: str, pairs: tuple[tuple[str, str], ...]) -> bool:
    """Whether *text* has a sign with which one of the marks of *pairs* begins; most responses have none."""
    return any(sign in text for sign in _first_signs(pairs))


@lru_cache(maxsize=64)
def _first_signs(pairs: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return the first character of each mark, in either case, and all of a mark that begins as any word may."""
    signs = {mark if mark in (BARE_ANALYSIS, BARE_FINAL) else mark[0] for pair in pairs for mark in pair}
    return tuple({sign for mark in signs for sign in (mark, mark.upper(), mark.lower(), mark.capitalize())})


def _block_text(block: re.Match[str]) -> str:
    """Return the text of a code block; nothing for a program, which gives no answer before it runs."""
    return "\n" if _PROGRAM.search(block[1]) else block[1]


def _number_first(match: re.Match[str]) -> str:
    """Write "an hour and a half" as "one and a half hour"; not "a cup and a half cup", which says the same thing."""
    return f"{match[1] or 'one'} and a {match[3]} {match[2]}"


def _cells(row: re.Match[str]) -> str:
    cells = [cell.strip() for cell in row[1].split("|")]
    return ": ".join(cell for cell in cells if cell.strip(" -:"))
