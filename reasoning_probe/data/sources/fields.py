"""Fields that the user names: which field of a file is the question, its context, its choices and its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.utils.text import quoted

ROLES = (
    "question",
    "context",
    "choices",
    "answer",
    "id",
    "solution",
    "kind",
    "operands",
    "operation",
    "prompt",
    "form",
    "tags",
    "parts",
    "counterfactual",
    "same_answer",
)
"""What a field can be. Several fields may be the context or the choices; every other role has one."""

SYNTAX = "question=...,context=...,answer=..."

Fields = Mapping[str, tuple[str, ...]]
"""The names of fields, by their role."""

_FILES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_NAMED = re.compile(r"(.+?):(\s*\w+\s*=[^=,]*(?:,\s*\w+\s*=[^=,]*)*)", re.DOTALL)


def split_fields(source: str) -> tuple[str, Fields | None]:
    """Return the source in *source* without the fields that follow it, and these. Raises :class:`DatasetError`.

    >>> split_fields("q.csv:question=q,context=story+rules")
    ('q.csv', {'question': ('q',), 'context': ('story', 'rules')})
    >>> split_fields("q.csv")
    ('q.csv', None)
    """
    match = _NAMED.fullmatch(source)
    if match is None:
        return source, None
    pairs = [part.partition("=") for part in match[2].split(",")]
    names_of = {role.strip(): [_unescaped(name) for name in names.split("+")] for role, _, names in pairs}
    if not set(names_of) & set(ROLES) and PurePath(match[1]).suffix.lower() not in _FILES:
        return source, None  # arithmetic:digits=3, or a path
    return match[1], named_fields(names_of, quoted(source))


def named_fields(value: Any, where: str) -> Fields | None:
    """Return the fields that *value* names: a text, ``story+rules``, or a list of texts for each role.

    Raises :class:`DatasetError`, one line that names *where*.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value:
        raise DatasetError(f'{where}: {quoted(value)} does not name fields: write {{"question": ..., "context": ...}}')
    fields: dict[str, tuple[str, ...]] = {}
    for role, names in value.items():
        if role not in ROLES:
            raise DatasetError(f"{where}: no field is the {quoted(role)}: name {SYNTAX}, or {', '.join(ROLES[4:])}")
        names = names.split("+") if isinstance(names, str) else names
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise DatasetError(f"{where}: {role} is {quoted(names)}: give the name of a field")
        fields[role] = tuple(name.strip() for name in names if name.strip())
        if len(fields[role]) != 1 and not (role == "context" or (role == "choices" and fields[role])):
            raise DatasetError(f"{where}: {role} is {quoted('+'.join(names))}: name one field")
    return fields


def with_fields(source: Any, value: Any, where: str) -> Any:
    """Return *source* with the fields that *value* names, as :func:`split_fields` reads them.

    Characters with a meaning there are written as in an address, ``%2C``. Raises :class:`DatasetError`.
    """
    if not isinstance(source, str | PurePath):
        raise DatasetError(f"{where}: fields=... belongs to a file or to hf:NAME:SPLIT: leave it out")
    fields = named_fields(value, f"{where}, fields") or {}
    text = ",".join(f"{role}={'+'.join(map(_escaped, names))}" for role, names in fields.items())
    return type(source)(f"{source}:{text}")


def _escaped(name: str) -> str:
    return re.sub(r"[%,=+:/\\.]", lambda sign: f"%{ord(sign[0]):02X}", name)


def _unescaped(text: str) -> str:
    return re.sub(r"%([0-7][0-9A-Fa-f])", lambda code: chr(int(code[1], 16)), text)
