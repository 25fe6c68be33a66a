"""The options that a question lists (``A) 7 B) 8``), and the one that a response chooses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reasoning_probe.scoring.extraction.explicit import BOXED, explicit_statement
from reasoning_probe.scoring.extraction.free_text import comparable_text
from reasoning_probe.scoring.extraction.markup import THOUGHTS, ThoughtMarks
from reasoning_probe.scoring.extraction.preprocess import without_markup
from reasoning_probe.scoring.extraction.sentences import normalise_text, options_in, sentences
from reasoning_probe.utils.numbers import parse_number

_NEW_QUESTION = re.compile(r"\n[ \t>#*]{0,8}(?:question|problem|user|human)\b[^\n:]{0,9}[:.]", re.IGNORECASE)
_CHOICE_LINE = re.compile(r"\(?([A-Z]|[1-9][0-9]?)[.):]\s*(.*)")
_MARK = re.compile(
    r"\b(?:answer|choice|option)\b(?: (?:is|would be|should be|must be)\b|[\"']?[ \t]*(?:[:=]|[-\u2013\u2014](?= )))"
    r"(?: (?:option|choice|letter))?[ \t]*:?\s*"
    r"|\banswer\b[^.\n:=]{0,60}?\b(?:is|was|be)\b[ \t]*:?\s*(?:(?:option|choice|letter) )?"
    r"|####[ \t]*",
    re.IGNORECASE,
)
"""The words before a choice that is marked as the answer."""

_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "$": None})
_BULLET = re.compile(r"(?:[-=]>|[>\u2022#*+-]+|\s)*")
_NUMBERED = re.compile(r"[0-9]{1,2}[.)]\s+(?=\S)")
_SPACED = re.compile(r"\(\s+([A-Za-z]|[1-9][0-9]?)\s+\)")
_FIRST_LABEL = re.compile(
    r"(?i:(?:the )?(?:correct |right |best |final )?(?:option|choice|letter|answer)(?: is|:)?\s+"
    r"|(?:solution|response|selected|selection|result|output):\s*"
    r"|(?:(?:so|then|well|thus|i think|i believe|i guess),? )?(?:it|this|that)"
    r"(?:'s| is| must be| should be| would be| has to be)\s+)?[\"'*\[]{0,3}"
    r"(?:\(([A-Za-z]|[1-9][0-9]?)\)|([A-Z]|[1-9][0-9]?)(?=[\"'*\]}]{0,3}(?:[.):,;!?]|\s*$|\s*\n|\s+[-\u2013\u2014]\s"
    r"|\s+(?:because|since|as it|is (?:the )?(?:correct|right|best|answer))\b))|([a-z])(?=[.):]|\s*$))"
)
_HEADED = re.compile(r"(?:A|Ans|Answer)[ \t]*[:=]\s*[(\[]?([A-Z]|[1-9][0-9]?)[)\].]*")
"""A label after the heading of an answer, which may be a label itself: "A: B"."""

_NAMED_LABEL = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter|[Aa]nswer|[Cc]hoose|[Pp]ick|[Ss]elect)(?: is|:)?\s+"
    r"\(?([A-Z]|[1-9][0-9]?)\b(?!')"
)
_SUBJECT_LABEL = re.compile(
    r"(?:^|\b(?:[Ss]o|[Tt]herefore|[Tt]hus|[Hh]ence),? (?:it is |it's )?)\(?([A-Z])\)?(?: is\b|[.,]|\s*$)", re.MULTILINE
)
_LONE_LABEL = re.compile(
    r"(?P<denied>\b(?i:not|n't|than|isn't|neither|nor)(?: (?:be|option|choice))?[ ]\(?)?"
    r"(?<![\w'-])(?:\(([A-Z])\)|([B-HJ-Z])|(A)(?=[.,;:!?)]|\s*$|\s+(?:or|and)\s+\(?[B-Z]\b))(?![\w'+#-])"
)
"""A label that stands alone in a sentence: no "A cloud", and no "I"."""

_OTHER_LABEL = re.compile(r"[(*]{0,3}[A-Z][)*]{0,3}[.:]?")

_INSTRUCTION = re.compile(
    r"\s+(?:please )?(?:answer|reply|respond|choose|select|pick|give|write|state)\b.{0,200}$", re.IGNORECASE | re.DOTALL
)
_ONLY_LETTER = re.compile(r"(?:(?:option|choice|letter)[ ])?\(?([A-Ea-e])\)?[.):]?\s*$", re.IGNORECASE)
_LETTER_FIRST = re.compile(
    r"(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)[ ])?"
    r"(?:\(([A-Ea-e])\)|([A-E])(?=[).:,;]|\s*$|\s+(?:because|since|is (?:the )?(?:correct|right))\b))"
)
_NAMED = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter|[Aa]nswer)(?: is|:)?[ ]+\(?([A-E])\b(?!')")
_SUBJECT = re.compile(r"(?:^|\b(?:[Ss]o|[Tt]herefore|[Tt]hus|[Hh]ence),? )\(?([A-E])\)? is\b", re.MULTILINE)


def options_of(question: str) -> dict[str, str]:
    """Return the text of each option that *question* lists, by its letter.

    >>> options_of("Which is larger? A) 0.7 B) 0.65 Answer with the letter."), options_of("Which is larger?")
    ({'A': '0.7', 'B': '0.65'}, {})
    """
    options = options_in(question[-2000:])
    return {letter: _INSTRUCTION.sub("", option).strip(" ,;.") for letter, option in options.items()}


def chosen_option(text: str, choices: dict[str, str]) -> str | None:
    """Return the letter of the option that a cleaned response chooses by its letter or by its text.

    >>> choices = {"A": "0.7", "B": "0.65"}
    >>> texts = ("B", "(a) 0.7", "It is 0.65.", "Option A is right.", "A number is larger.")
    >>> [chosen_option(text, choices) for text in texts]
    ['B', 'A', 'B', 'A', None]
    """
    explicit = explicit_statement(text).strip()
    for statement in (explicit, "" if options_in(text) else text):
        match = _LETTER_FIRST.match(statement)
        letter = (match[1] or match[2]).upper() if match else None
        if letter in choices:
            return letter
    named = _NAMED.search(text) or next(iter([*_SUBJECT.finditer(text)][-1:]), None)
    if named and named[1] in choices:
        return str(named[1])
    if options_in(text):
        return None
    for statement in (explicit, *(part.text for part in sentences(text) if not part.is_question)):
        letters = [letter for letter, option in choices.items() if _mentions(statement, option)]
        if len(letters) == 1:
            return letters[0]
    return None


def expand_option_letter(text: str, choices: dict[str, str]) -> str:
    """Return the option that a response chooses by its letter alone, as an explicit answer; else the response itself.

    >>> expand_option_letter("B", {"A": "$10", "B": "$18"}), expand_option_letter("B) $17", {"A": "$10", "B": "$18"})
    ('The answer is $18', 'B) $17')
    """
    for statement in (explicit_statement(text).strip(), text.partition("\n")[0]):
        match = _ONLY_LETTER.match(statement)
        if match and match[1].upper() in choices:
            return f"The answer is {choices[match[1].upper()]}"
    return text


def _mentions(statement: str, option: str) -> bool:
    return (
        bool(option) and re.search(rf"(?<![\w.]){re.escape(option)}(?![\w]|\.\d)", statement, re.IGNORECASE) is not None
    )


def read_choice(response: str, question: str, letters: Sequence[str], thoughts: ThoughtMarks = THOUGHTS) -> str | None:
    r"""Return the label among *letters* that a response to listed choices gives, or ``None`` if it gives none.

    It is the last one that is marked as the answer (in a box, after "the answer is"), else what the response begins
    with, else the one that it names. A label counts before the text of a choice: "2" is the second choice, whatever
    number another choice has. What *thoughts* surround is not read.

    >>> question = "Which is wet?\nA. sand\nB. rain"
    >>> responses = (" B. rain", " **Rain.**", " So the answer is (A).", r"\boxed{\text{B}}", " A cloud is")
    >>> [read_choice(response, question, "AB") for response in responses]
    ['B', 'B', 'A', 'B', None]
    """
    text = _without_list(_NEW_QUESTION.split(without_markup(response, thoughts=thoughts).strip())[0].strip(), letters)
    if (match := _HEADED.fullmatch(text)) and match[1] in letters:
        return match[1]
    choices = _listed_choices(question, letters)
    for statement in _marked_statements(text):
        if _OTHER_LABEL.fullmatch(statement) and statement.strip(" ().*:") not in letters:
            return None
        if label := _label_at_start(statement, letters) or _mentioned(statement, choices):
            return label
    if label := _label_at_start(text, letters):
        return label
    named = [match[1] for pattern in (_NAMED_LABEL, _SUBJECT_LABEL) for match in pattern.finditer(text)]
    if labels := [label for label in named if label in letters]:
        return labels[-1]
    if label := _only_label(text, letters):
        return label
    lines = [part.text for part in sentences(text) if not part.is_question]
    return next((label for line in (*lines[:1], *reversed(lines)) if (label := _mentioned(line, choices))), None)


def _listed_choices(question: str, letters: Sequence[str]) -> dict[str, str]:
    """Return the text of each choice in the last lines of *question*, by its label."""
    matches = (_CHOICE_LINE.fullmatch(line.strip()) for line in question.strip().split("\n")[-len(letters) - 2 :])
    return {match[1]: match[2].strip() for match in matches if match and match[1] in letters}


def _without_list(text: str, letters: Sequence[str]) -> str:
    """Return *text* without the list of all choices, which some models repeat before they answer."""
    lines = text.split("\n")
    listed = [
        index
        for index, line in enumerate(lines)
        if (match := _CHOICE_LINE.fullmatch(line.strip())) and match[1] in letters
    ]
    labels = [lines[index].strip().lstrip("(")[0] for index in listed]
    if len(listed) < len(letters) or labels[: len(letters)] != [letter[0] for letter in letters]:
        return text
    repeated = set(listed[: len(letters)])
    return "\n".join(line for index, line in enumerate(lines) if index not in repeated).strip()


def _marked_statements(text: str) -> list[str]:
    """Return what *text* marks as its answer, the last first: boxes, ``####`` and "the answer is"."""
    boxes = [match[1] for match in BOXED.finditer(text)]
    marks = [text[match.end() : match.end() + 400].strip().partition("\n")[0] for match in _MARK.finditer(text)]
    return [statement.strip() for statement in (*reversed(boxes), *reversed(marks)) if statement.strip()]


def _label_at_start(statement: str, letters: Sequence[str]) -> str | None:
    """Return the label with which *statement* begins; "A cloud" begins with an article."""
    statement = statement.translate(_QUOTES)
    statement = _SPACED.sub(r"(\1)", statement[_BULLET.match(statement).end() :])  # type: ignore[union-attr]
    if not any(letter.isdecimal() for letter in letters):
        statement = _NUMBERED.sub("", statement, count=1)
    match = _FIRST_LABEL.match(statement)
    label = next((group for group in match.groups() if group), "") if match else ""
    return next((letter for letter in letters if letter in (label, label.upper())), None)


def _only_label(text: str, letters: Sequence[str]) -> str | None:
    """Return the one label that *text* names anywhere without denying it."""
    labels = {
        label
        for match in _LONE_LABEL.finditer(text)
        if match["denied"] is None and (label := match[2] or match[3] or match[4]) in letters
    }
    return labels.pop() if len(labels) == 1 else None


def _mentioned(statement: str, choices: Mapping[str, str]) -> str | None:
    """Return the label of the only choice whose text *statement* is, or else mentions without a "not"."""
    plain = normalise_text(statement)
    value = parse_number(statement)
    same = [
        label
        for label, choice in choices.items()
        if (plain and normalise_text(choice) == plain)
        or (statement and comparable_text(choice) == comparable_text(statement))
        or (value is not None and parse_number(choice) == value)
    ]
    labels = same or [
        label
        for label, choice in choices.items()
        if _mentions(statement, choice) and not re.search(rf"\bnot (?:an? |the )?{re.escape(choice)}", statement, re.I)
    ]
    if len(labels) > 1:  # "light rain" also mentions "rain"
        longest = max(labels, key=lambda label: len(choices[label]))
        labels = [longest] if all(choices[label].lower() in choices[longest].lower() for label in labels) else []
    return labels[0] if labels and (same or len(labels) == 1) else None
