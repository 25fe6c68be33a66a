"""The options that a question lists (``A) 7 B) 8``), and the one that a response chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasoning_probe.scoring.extraction.explicit import explicit_statement
from reasoning_probe.scoring.extraction.sentences import normalise_text, options_in, sentences

_STATED = re.compile(r"answer(?: is)?:?\s*\(?([A-Z])\)?(?=[.,:;)\s]|\Z)")
_FIRST = re.compile(r"\W{0,3}([A-Z])(?:[.,:;)]|\s*\Z|\s*\n)")
_OPTION = re.compile(r"([A-Z])\. (.*)")

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


def read_choice(response: str, question: str, letters: Sequence[str]) -> str | None:
    r"""Return the letter among *letters* that a response to listed choices gives, or ``None`` if it gives none.

    It is the last one after "the answer is", else what the response begins with: a letter, or the words of a choice.

    >>> question = "Which is wet?\nA. sand\nB. rain"
    >>> responses = (" B. rain", " Rain.", " So the answer is (A).", " A cloud is")
    >>> [read_choice(response, question, "AB") for response in responses]
    ['B', 'B', 'A', None]
    """
    if stated := _STATED.findall(response):
        return stated[-1] if stated[-1] in letters else None
    initial = _FIRST.match(response.lstrip())
    if initial and initial[1] in letters:
        return initial[1]
    first = normalise_text(response.strip().partition("\n")[0])
    options = [match for line in question.split("\n")[-len(letters) :] if (match := _OPTION.fullmatch(line))]
    return next((option[1] for option in options if normalise_text(option[2]) == first), None)
