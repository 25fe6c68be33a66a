"""How the names of targets are written and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.utils.target_names import (
    BASELINE,
    TargetPart,
    cell_of,
    head_of,
    join_parts,
    kv_groups_of,
    layer_of,
    part_name,
    read_part,
    read_range,
    split_parts,
)

NUMBERS = st.integers(0, 99_999)
PARTS = st.one_of(
    st.builds(TargetPart, NUMBERS, st.sampled_from(["H", "KV"]), NUMBERS),
    st.builds(TargetPart, NUMBERS, st.sampled_from(["", "MLP"]), st.just(0)),
)


@given(PARTS)
def test_every_part_that_is_written_is_read_back(part: TargetPart) -> None:
    name = part_name(*part)
    assert read_part(name) == part
    assert head_of(name) == ((part.layer, part.number) if part.kind == "H" else None)
    assert layer_of(name) == (None if part.kind else part.layer)
    assert cell_of(name) == ((part.layer, part.column) if part.kind else None)
    assert kv_groups_of(name) == ({(part.layer, part.number)} if part.kind == "KV" else set())


@given(st.lists(PARTS, min_size=2))
def test_every_joint_name_that_is_written_is_read_back(parts: list[TargetPart]) -> None:
    name = join_parts(part_name(*part) for part in parts)
    assert [read_part(part) for part in split_parts(name)] == parts
    assert kv_groups_of(name) == {(part.layer, part.number) for part in parts if part.kind == "KV"}
    assert read_part(name) is head_of(name) is layer_of(name) is cell_of(name) is None


@given(NUMBERS, NUMBERS)
def test_every_range_that_is_written_is_read_back(first: int, last: int) -> None:
    text = f"{part_name(first)}-{part_name(last)}"
    assert read_range(text) == (first, last)
    assert read_part(text) is None


@given(st.text() | st.text("LHKVMP0123+-"))
def test_any_other_text_is_no_part(text: str) -> None:
    part = read_part(text)
    assert part is None or read_part(part_name(*part)) == part


@pytest.mark.parametrize("name", [BASELINE, "", "L", "L3H", "L3KV", "l3h7", "L3H7 ", "L123456", "L٣", "L3H7MLP", "H7"])
def test_what_is_no_part_of_a_layer_is_none(name: str) -> None:
    assert read_part(name) is None
