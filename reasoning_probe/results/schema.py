"""The JSON Schemas of the run's files, and a validator of the few keywords that they use.

It checks a hundred thousand outcomes in about a second and describes the first mismatch in one line that names the
place, whatever characters a key holds. The tests compare it with the package ``jsonschema``. It is stricter in one
respect: an integer must be written as one, ``8`` and not ``8.0``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

RUN, OUTCOME = "run", "outcome"
"""The names of the schemas: of ``run.json``, and of a line of ``outcomes.jsonl``."""

Validator = Callable[[Any, str], None]
"""Raises :class:`Mismatch` for a value that the schema does not allow; the text names the value's place."""

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}


class Mismatch(ValueError):
    """A value that its schema does not allow; the message is one line that names the place."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema *name*: ``run`` or ``outcome``."""
    text = files("reasoning_probe.results").joinpath("schemas", f"{name}.schema.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def checker(name: str) -> Validator:
    """Return the validator of the schema *name*."""
    whole = schema(name)
    return compiled(whole, whole)


def compiled(shape: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    """Return the validator of *shape*, a part of the schema *whole*; ``KeyError`` for an unknown keyword."""
    checks: list[Validator] = []
    for keyword, constraint in shape.items():
        if keyword not in _ANNOTATIONS:
            check = _KEYWORDS[keyword](constraint, shape, whole)
            if check is not None:
                checks.append(check)
    if len(checks) == 1:
        return checks[0]

    def check_all(value: Any, where: str) -> None:
        for check in checks:
            check(value, where)

    return check_all


def _wrong(value: Any, where: str) -> Mismatch:
    # Lists and objects may be too deeply nested for json.dumps.
    text = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else json.dumps(value)[:40]
    return Mismatch(f"{where}: {text} is not what belongs here")


def _printable(key: str) -> str:
    """Return a key from a file on one line."""
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _minimum(constraint: float, _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if _is_number(value) and not value >= constraint:
            raise _wrong(value, where)

    return check


def _maximum(constraint: float, _: Mapping[str, Any], __: Mapping[str, Any]) -> Validator:
    def check(value: Any, where: str) -> None:
        if _is_number(value) and not value <= constraint:
            raise _wrong(value, where)

    return check


def _item_count(constraint: int, shape: Mapping[str, Any], _: Mapping[str, Any]) -> Validator:
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


def _additional(constraint: Mapping[str, Any], shape: Mapping[str, Any], whole: Mapping[str, Any]) -> Validator:
    each, named = compiled(constraint, whole), set(shape.get("properties", ()))

    def check(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key in value:
                if key not in named:
                    each(value[key], f"{where}: {_printable(key)}")

    return check


_KEYWORDS: dict[str, Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Validator | None]] = {
    "$ref": _ref,
    "type": _type,
    "const": _const,
    "minimum": _minimum,
    "maximum": _maximum,
    "minItems": _item_count,
    "maxItems": lambda *_: None,  # belongs to minItems
    "items": _items,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
}
