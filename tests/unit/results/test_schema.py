"""The schemas of the run's files: real files keep them, and our checker reads them as the package jsonschema does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.results.run import SCHEMA_VERSION
from reasoning_probe.results.schema import OUTCOME, RUN, Mismatch, checker, compiled, schema
from reasoning_probe.utils.files import to_json_types
from tests.helpers.corrupt_json import VALUES, damaged
from tests.helpers.fake_runs import as_run, full_run, outcome
from tests.helpers.project import Project


def strictly_whole(_: Any, value: Any) -> bool:
    return type(value) is int  # JSON Schema takes 8.0, too


STRICT = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", strictly_whole),
)
SMALL = to_json_types(full_run(layers=1, heads=2, items=4).summary)


def ours(name: str, value: Any) -> bool:
    message = ""
    try:
        checker(name)(value, "here")
    except Mismatch as error:
        message = str(error)
    assert not message or (message.startswith("here: ") and "\n" not in message)
    return not message


@pytest.mark.parametrize("name", [RUN, OUTCOME])
def test_the_schemas_are_schemas(name: str) -> None:
    content = schema(name)
    jsonschema.Draft202012Validator.check_schema(content)
    assert content["$id"] == f"urn:reasoning-probe:{name}:{SCHEMA_VERSION}"
    assert schema(RUN)["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_the_files_of_a_session_keep_the_schemas(project: Project) -> None:
    project.probe("logic", "arithmetic")
    too_long = json.dumps({"question": "a " * 2000, "answer": "8"})
    project.write("long.jsonl", too_long + '\n{"question": "What is 5 + 3?", "answer": "8"}\n')
    project.write(
        "test_long.py",
        "import reasoning_probe as rp\n@rp.probe('long.jsonl')\ndef test_long(answer):\n    assert answer.correct\n",
    )
    project.run("--probe-heads", "L1H2,L0", "--ablation", "zero,mean,resample", "--probe-shard", "1/2")
    assert project.summary()["shard"] == "1/2"
    STRICT(schema(RUN)).validate(project.summary())
    lines = project.outcomes()
    assert {line["ablation"] for line in lines} == {None, "zero", "mean", "resample"}
    for line in lines:
        STRICT(schema(OUTCOME)).validate(line)


def test_all_that_a_run_can_hold_keeps_the_schema() -> None:
    STRICT(schema(RUN)).validate(SMALL)
    named = schema(RUN)["properties"]
    assert set(SMALL) <= set(named)
    for key in ("model", "timing", "engine"):
        assert set(SMALL[key]) <= set(named[key]["properties"])
    for key in ("targets", "errors", "curves", "screening", "rank_changes"):
        assert set(SMALL[key][0]) <= set(named[key]["items"]["properties"])


@settings(deadline=None, max_examples=400)
@given(damaged(SMALL))
def test_the_checker_agrees_with_jsonschema_on_runs(value: Any) -> None:
    assert ours(RUN, value) == STRICT(schema(RUN)).is_valid(value)


@settings(deadline=None, max_examples=200)
@given(damaged(outcome().as_dict()))
def test_the_checker_agrees_with_jsonschema_on_outcomes(value: Any) -> None:
    assert ours(OUTCOME, value) == STRICT(schema(OUTCOME)).is_valid(value)


SHAPES = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", ["array", "null"], ["object", "number"], "boolean"])},
    optional={
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2),
        "const": st.sampled_from([1, "a", None]),
        "items": st.sampled_from([{"type": "string"}, {"$ref": "#/$defs/x"}]),
        "required": st.sampled_from([["a"], []]),
        "properties": st.just({"a": {"$ref": "#/$defs/x"}}),
        "additionalProperties": st.just({"type": "boolean"}),
    },
)


@settings(deadline=None, max_examples=400)
@given(SHAPES, VALUES | st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 1) | st.booleans()))
def test_every_word_means_what_it_means_to_jsonschema(shape: dict[str, Any], value: Any) -> None:
    shape = shape | {"$defs": {"x": {"type": "integer", "minimum": 1}}}
    try:
        compiled(shape, shape)(value, "here")
        good = True
    except Mismatch:
        good = False
    assert good == STRICT(shape).is_valid(value)


def test_a_word_that_is_not_known_is_no_silent_pass() -> None:
    with pytest.raises(KeyError, match="pattern"):
        compiled({"type": "string", "pattern": "a"}, {})


def test_no_schema_is_told_twice(tmp_path: Path) -> None:
    fields = set(schema(OUTCOME)["properties"])
    later = {"choices", "form", "tags", "became_counterfactual", "counterfactual", "thought", "thought_cut", "sample"}
    assert fields == set(schema(OUTCOME)["required"]) | later == set(outcome().as_dict())
    assert set(as_run([outcome()]).summary) <= set(schema(RUN)["properties"])
