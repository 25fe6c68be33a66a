"""The types of a run's files and their schemas name the same keys, with the same types, required or not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import typing_extensions

from reasoning_probe.results import record, stats
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.record import EffectRecord, OutcomeRecord, RunRecord
from reasoning_probe.results.schema import OUTCOME, RUN, schema

JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
RECORDS = [(RUN, RunRecord), (OUTCOME, OutcomeRecord)]
Shape = dict[str, Any]
"""``types``, and for what holds others ``items``, ``others`` (any key), or ``keys`` and which are ``required``."""


def hints_of(hint: Any) -> dict[str, Any]:
    """Return the keys of a ``TypedDict`` with their types; type checkers alone import ``NotRequired`` in its module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "NotRequired", typing_extensions.NotRequired, raising=False)
        return get_type_hints(hint, include_extras=True)


def shape_of_type(hint: Any) -> Shape:
    """Return what *hint* says: a type, a union, or a ``TypedDict``."""
    parts = [part for part in get_args(hint) if part is not type(None)]
    if type(None) in get_args(hint):
        (only,) = parts
        inner = shape_of_type(only)
        return inner | {"types": inner["types"] | {"null"}}
    if get_origin(hint) is list:
        return {"types": {"array"}, "items": shape_of_type(parts[0])}
    if get_origin(hint) is dict:
        return {"types": {"object"}, "others": shape_of_type(parts[1])}
    if typing_extensions.is_typeddict(hint):
        hints = hints_of(hint)
        optional = {key for key, value in hints.items() if get_origin(value) is typing_extensions.NotRequired}
        plain = {key: get_args(value)[0] if key in optional else value for key, value in hints.items()}
        return {
            "types": {"object"},
            "keys": {key: shape_of_type(value) for key, value in plain.items()},
            "required": set(hints) - optional if hint.__total__ else set(),
        }
    return {"types": {JSON_TYPES[hint]}}


def shape_of_schema(part: dict[str, Any], whole: dict[str, Any]) -> Shape:
    """Return what *part* of the schema *whole* says, without descriptions and limits."""
    if "$ref" in part:
        part = whole["$defs"][part["$ref"].removeprefix("#/$defs/")]
    types = {part["type"]} if isinstance(part["type"], str) else {*part["type"]}
    shape: Shape = {"types": types}
    if "items" in part:
        shape["items"] = shape_of_schema(part["items"], whole)
    if "additionalProperties" in part:
        shape["others"] = shape_of_schema(part["additionalProperties"], whole)
    if "properties" in part:
        shape["keys"] = {key: shape_of_schema(value, whole) for key, value in part["properties"].items()}
        shape["required"] = set(part.get("required", ()))
    return shape


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a schema that names its keys."""
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict) and part.get("type") in ("object", ["object", "null"]):
            yield part
        for value in part.values():
            yield from objects(value)


@pytest.mark.parametrize(("name", "hint"), RECORDS)
def test_the_types_equal_the_schemas(name: str, hint: Any) -> None:
    assert shape_of_type(hint) == shape_of_schema(schema(name), schema(name))


@pytest.mark.parametrize(("name", "hint"), RECORDS)
def test_every_difference_from_a_schema_shows(name: str, hint: Any) -> None:
    expected, count = shape_of_type(hint), len(list(objects(schema(name))))
    assert count
    for number in range(count):
        for change in ("add", "remove", "require", "type"):
            whole = copy.deepcopy(schema(name))
            part = list(objects(whole))[number]
            key = next(iter(part["properties"]))
            if change == "add":
                part["properties"]["new"] = {"type": "string"}
            elif change == "remove":
                del part["properties"][key]
            elif change == "require":
                part["required"] = [*({*part.get("required", ())} ^ {key})]
            else:
                part["properties"][key] = {"type": "null"}
            assert shape_of_schema(whole, whole) != expected


def test_dataclasses_hold_the_keys_of_their_records() -> None:
    of_other_targets = {"delta_shrunken", "p_page", "logprob_p_page"}
    names = {*stats.Effect.__dataclass_fields__, *of_other_targets, "target", "dataset", "ablation", "shift", "forms"}
    assert set(hints_of(EffectRecord)) == names
    assert [*hints_of(OutcomeRecord), "samples"] == list(Outcome.__dataclass_fields__)  # which are lines of their own
