"""Text for messages and pages: one line, safe for a terminal, for a CI system's log and for HTML, in plain words."""

from __future__ import annotations

import html
import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_COMMAND = re.compile(
    r"##\w*(?=\[)|(?:section_start|section_end|travis_fold)(?=:)|(?:^|(?<=\r))(?:[^\S\n]|\x1b\[[0-9;]*m)*(?=::)",
    re.MULTILINE,
)


def one_line(text: object, most: int = 600) -> str:
    r"""Return *text* on one line of at most *most* characters, with unprintable characters as ``?``.

    Libraries quote the files that they cannot read, and a file may hold characters that a terminal would obey.

    >>> one_line("no such\ntype: \x1b[2J")
    'no such type: ?[2J'
    """
    line = " ".join(str(text).split())
    line = break_commands("".join(character if character.isprintable() else "?" for character in line))
    return line if len(line) <= most else line[: most - 3] + "..."


class OneLineError(ValueError):
    r"""What a user's files, names or arguments have wrong; its message is one line, whatever names it quotes.

    >>> print(OneLineError("there is no file a\nb\x1b[2J"))
    there is no file a b?[2J
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, MOST_OF_A_MESSAGE))


MOST_OF_A_MESSAGE = 2000
"""Characters of an error's message."""


def quoted(value: object, most: int = 60) -> str:
    r"""Return *value* as an error quotes it: on one line, in printable ASCII, of at most *most* characters.

    What cannot say what it is, such as a number of thousands of digits, is named by its type.

    >>> quoted("a\n"), quoted(10**5000)
    ("'a\\n'", 'a value of the type int')
    """
    try:
        return ascii(value)[:most]
    except Exception:  # repr of another's class may raise anything
        return ascii(f"a value of the type {type(value).__name__}")[1:-1][:most]


def to_words(value: object, most: int = 600) -> str:
    """Return a value of ``run.json`` in plain words, without Python's quotes, brackets and capitals.

    >>> [to_words(value) for value in (None, True, 32, ["Question:", "Q"], [], {"seed": 0})]
    ['none', 'yes', '32', 'Question:, Q', 'none', 'seed 0']
    """
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return one_line(", ".join(f"{key} {to_words(entry)}" for key, entry in value.items()), most)
    return one_line(", ".join(map(to_words, value)) if isinstance(value, list | tuple) else value, most)


def escape_control_characters(text: str) -> str:
    r"""Return *text* with control characters, direction overrides and lone surrogates written as escapes.

    The text of a model may hold them. A terminal would obey them, and UTF-8 cannot encode lone surrogates.

    >>> print(escape_control_characters("red \x1b[31m"))
    red \x1b[31m
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def break_commands(text: str) -> str:
    r"""Return *text* with a backslash in whatever a CI system would obey when it reads it in a job's log.

    GitHub's runner and its kin obey ``##[...]`` anywhere in a line and ``::`` at its beginning, Azure ``##vso[...]``,
    TeamCity ``##teamcity[...]``, GitLab ``section_start:``. Colours stay, and so do the lines.

    >>> print(break_commands("see ##[set-output name=x]y and a::b\n  ::error::z"))
    see ##\[set-output name=x]y and a::b
      \::error::z
    """
    return _COMMAND.sub(lambda match: match[0] + "\\", text)


def printable(text: str) -> str:
    r"""Return *text*, of any number of lines, so that neither a terminal nor a CI system obeys anything in it.

    Whatever is printed goes through this function, or through :func:`shorten` or :func:`one_line`, which use it.

    >>> print(printable("\x1b]0;title\x07 ##[debug]"))
    \x1b]0;title\x07 ##\[debug]
    """
    return break_commands(escape_control_characters(text))


def printable_in_colour(text: str) -> str:
    r"""Return *text* as :func:`printable` does, with its colours: what a test has printed may have some.

    >>> printable_in_colour("\x1b[31mred\x1b[0m \x1b]52;c;AA\x07\r\n::error::a\rb")
    '\x1b[31mred\x1b[0m \\x1b]52;c;AA\\x07\n\\::error::a\\rb'
    """
    parts = _COLOUR.split(text.replace("\r\n", "\n"))
    parts[::2] = map(escape_control_characters, parts[::2])
    return break_commands("".join(parts))


def well_formed(text: str) -> str:
    r"""Return *text* with lone surrogates, which UTF-8 cannot encode, written as escapes.

    >>> print(well_formed("größe \ud800"))
    größe \ud800
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape(text: object) -> str:
    """Return *text* escaped for HTML, for an element or a quoted attribute."""
    return html.escape(escape_control_characters(str(text)))


def shorten(text: str, width: int) -> str:
    """Return *text* on one line without control characters, cut to *width* characters with ``...``."""
    line = printable(" ".join(text[: 4 * width].split()))
    return line if len(line) <= width and len(text) <= 4 * width else line[: max(0, width - 3)] + "..."


def pluralise(number: int, noun: str) -> str:
    """Return *number* with *noun*, in the plural unless the number is 1.

    >>> pluralise(1, "item"), pluralise(3168, "case")
    ('1 item', '3,168 cases')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def join_names(names: list[str], most: int = 6) -> str:
    """Return *names* as a list in a sentence, cut to the first *most* and the number of the others.

    >>> join_names(["a"]), join_names(["a", "b"]), join_names(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
