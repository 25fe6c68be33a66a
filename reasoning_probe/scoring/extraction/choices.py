"""Listed options: those that a question lists (``A) 7 B) 8``), and which of them a response takes."""

from __future__ import annotations

import re

from reasoning_probe.scoring.extraction.explicit import explicit_statement
from reasoning_probe.scoring.extraction.sentences import options_in, sentences

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
    """Return what each option of *question* says, by its letter; empty if it lists none.

    >>> options_of("Which is larger? A) 0.7 B) 0.65 Answer with the letter."), options_of("Which is larger?")
    ({'A': '0.7', 'B': '0.65'}, {})
    """
    options = options_in(question[-2000:])
    return {letter: _INSTRUCTION.sub("", said).strip(" ,;.") for letter, said in options.items()}


def chosen(text: str, choices: dict[str, str]) -> str | None:
    """Return the letter of the option that a cleaned response takes, by its letter or by what it says.

    >>> choices = {"A": "0.7", "B": "0.65"}
    >>> [chosen(text, choices) for text in ("B", "(a) 0.7", "It is 0.65.", "Option A is right.", "A number is larger.")]
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
        said = [letter for letter, option in choices.items() if _says(statement, option)]
        if len(said) == 1:
            return said[0]
    return None


def written_out(text: str, choices: dict[str, str]) -> str:
    """Return the option that a reply takes by nothing but its letter, as an explicit answer; else all of its text.

    >>> written_out("B", {"A": "$10", "B": "$18"}), written_out("B) $17", {"A": "$10", "B": "$18"})
    ('The answer is $18', 'B) $17')
    """
    for statement in (explicit_statement(text).strip(), text.partition("\n")[0]):
        match = _ONLY_LETTER.match(statement)
        if match and match[1].upper() in choices:
            return f"The answer is {choices[match[1].upper()]}"
    return text


def _says(statement: str, option: str) -> bool:
    return (
        bool(option) and re.search(rf"(?<![\w.]){re.escape(option)}(?![\w]|\.\d)", statement, re.IGNORECASE) is not None
    )
