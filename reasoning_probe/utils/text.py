"""Wording: other people's words made fit for a message of ours, which is one line that a terminal may print."""

from __future__ import annotations


def printable(text: object, most: int = 600) -> str:
    r"""Return *text* on one line of at most *most* characters, without what a terminal would obey.

    Libraries quote the files that they cannot read, and a file may hold anything.

    >>> printable("no such\ntype: \x1b[2J")
    'no such type: ?[2J'
    """
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= most else line[: most - 3] + "..."


def said(value: object, most: int = 600) -> str:
    """Return a value of ``run.json`` in plain words: no quotes, brackets and capitals of Python's.

    >>> [said(value) for value in (None, True, 32, ["Question:", "Q"], [], {"seed": 0})]
    ['none', 'yes', '32', 'Question:, Q', 'none', 'seed 0']
    """
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return printable(", ".join(f"{key} {said(entry)}" for key, entry in value.items()), most)
    return printable(", ".join(map(said, value)) if isinstance(value, list | tuple) else value, most)
