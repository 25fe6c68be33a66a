"""Shards: together they are the whole sweep, and no two share an item."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.data.datasets import from_items
from reasoning_probe.data.items import Item
from reasoning_probe.data.shards import parse_shard, shards
from tests.helpers.project import Project

IDS = st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=1, max_size=60)


@given(IDS, st.integers(1, 12))
def test_every_item_lies_in_one_shard_and_sizes_differ_by_one_at_most(ids: list[str], of: int) -> None:
    dataset = from_items("mine", [Item(question="?", answer="1", id=id) for id in ids])
    shard_of = shards(dataset, of)
    assert shard_of.keys() == {item.id for item in dataset.items}
    sizes = Counter(shard_of.values())
    assert set(sizes) <= set(range(1, of + 1))
    assert max(sizes.values()) - min(sizes[number] for number in range(1, of + 1)) <= 1


@given(IDS)
def test_a_shard_does_not_depend_on_the_order_of_the_file(ids: list[str]) -> None:
    items = [Item(question="?", answer="1", id=id) for id in ids]
    assert shards(from_items("mine", items), 3) == shards(from_items("mine", items[::-1]), 3)


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "2/", "/4", "2/4/8", "-1/4", "a/b", "1/0", "1/9999999"])
def test_what_is_no_shard_is_refused(project: Project, text: str) -> None:
    with pytest.raises(ValueError, match="cannot read the shard"):
        parse_shard(text)
    project.probe("logic")
    result = project.run(f"--probe-shard={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--probe-shard: cannot read the shard*"])


def test_the_union_of_the_shards_is_the_whole(project: Project) -> None:
    project.probe("logic", "arithmetic")
    options = ["--probe-heads", "L1H2,L0", "--ablation", "zero,mean", "--probe-cache=off"]
    project.run(*options)
    whole = project.outcomes()
    assert "shard" not in project.summary()
    outcomes = []
    for number in (1, 2, 3):
        project.run(*options, f"--probe-shard={number}/3", "--probe-dir", f"part-{number}")
        assert project.summary(f"part-{number}")["shard"] == f"{number}/3"
        part = project.outcomes(f"part-{number}")
        baselines = {outcome["item"] for outcome in part if outcome["target"] == "baseline"}
        assert {outcome["item"] for outcome in part} == baselines
        outcomes += part
    assert sorted(map(case, outcomes)) == sorted(map(case, whole))


def case(outcome: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(outcome[key]) for key in ("dataset", "item", "target", "ablation", "response", "category"))


def test_other_tests_and_other_selections_stay(project: Project) -> None:
    project.probe("logic")
    project.write("test_plain.py", "def test_plain(): pass\n")
    counts = []
    for number in (1, 2):
        result = project.run(f"--probe-shard={number}/2", "-k", "max or plain")
        counts.append(result.parseoutcomes()["passed"])
    assert sorted(counts) == [1, 2]  # the plain test in both, the item in one
