"""The JSON Schemas of the run's files: they come with the package, and what is read is checked by them.

They use few of JSON Schema's words, and this checks just these: a hundred thousand outcomes in a second, one line for
what is wrong. The tests compare it with the package ``jsonschema``. It is stricter in one thing: a whole number must be
written as one, ``8`` and not ``8.0``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

RUN, OUTCOME = "run", "outcome"
"""The schemas there are: of ``run.json``, and of a line of ``outcomes.jsonl``."""

Validator = Callable[[Any, str], None]
"""Raises :class:`Mismatch` for a value that is not what belongs there; the text says where it stands."""

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_REMARKS = {"$schema", "$id", "$defs", "title", "description"}


class Mismatch(ValueError):
    """A value that its schema does not allow; the message is one line that names the place."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema *name*: ``run`` or ``outcome``."""
    text = files("reasoning_probe.results").joinpath("schemas", f"{name}.schema.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def checker(name: str) -> Validator:
    """Return what checks values by the schema *name*."""
    whole = schema(name)
    return compiled(whole, whole)


def compiled(shape: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    """Return what checks values by *shape*, a part of the schema *whole*; ``KeyError`` for words it does not know."""
    checks: list[Validator] = []
    for word, constraint in shape.items():
        if word not in _REMARKS:
            check = _WORDS[word](constraint, shape, whole)
            if check is not None:
                checks.append(check)
    if len(checks) == 1:
        return checks[0]

    def check_all(value: Any, where: str) -> None:
        for check in checks:
            check(value, where)

    return check_all


def _wrong(value: Any, where: str) -> Mismatch:
    # What holds others may be nested deeper than it can be written.
    text = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else json.dumps(value)[:40]
    return Mismatch(f"{where}: {text} is not what belongs here")


def _printable(key: str) -> str:
    """Return a key that a file chose, on one line."""
    return key[:40] if key.isprintable() else ascii(key[:40])


def _ref(constraint: str, _: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    return compiled(whole["$defs"][constraint.removeprefix("#/$defs/")], whole)


def _type(constraint: str | list[str], _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    names = [constraint] if isinstance(constraint, str) else constraint
    types = tuple(type for name in names for type in _TYPES[name])
    bools = bool in types

    def check(value: Any, where: str) -> None:
        # True is an int for Python, but not in JSON.
        if not isinstance(value, types) or ((value is True or value is False) and not bools):
            raise _wrong(value, where)

    return check


def _const(constraint: Any, _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if value != constraint or isinstance(value, bool) is not isinstance(constraint, bool):
            raise _wrong(value, where)

    return check


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _minimum(constraint: float, _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if _number(value) and not value >= constraint:
            raise _wrong(value, where)

    return check


def _maximum(constraint: float, _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if _number(value) and not value <= constraint:
            raise _wrong(value, where)

    return check


def _fewest(constraint: int, shape: Mapping[str, Any], _: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if isinstance(value, list) and not constraint <= len(value) <= shape.get("maxItems", len(value)):
            raise Mismatch(f"{where}: {len(value)} entries where {constraint} belong")

    return check


def _items(constraint: Mapping[str, Any], _: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    each = compiled(constraint, whole)

    def check(value: Any, where: str) -> None:
        if isinstance(value, list):
            for index, entry in enumerate(value):
                each(entry, f"{where}[{index}]")

    return check


def _required(constraint: list[str], _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key in constraint:
                if key not in value:
                    raise Mismatch(f"{where}: {key} is missing")

    return check


def _properties(constraint: Mapping[str, Any], _: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    known = {key: compiled(shape, whole) for key, shape in constraint.items()}

    def check(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key, check_entry in known.items():
                if key in value:
                    check_entry(value[key], f"{where}: {key}")

    return check


def _others(constraint: Mapping[str, Any], shape: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    each, named = compiled(constraint, whole), set(shape.get("properties", ()))

    def check(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key in value:
                if key not in named:
                    each(value[key], f"{where}: {_printable(key)}")

    return check


_WORDS: dict[str, Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Validator | None]] = {
    "$ref": _ref,
    "type": _type,
    "const": _const,
    "minimum": _minimum,
    "maximum": _maximum,
    "minItems": _fewest,
    "maxItems": lambda *_: None,  # belongs to minItems
    "items": _items,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _others,
}
