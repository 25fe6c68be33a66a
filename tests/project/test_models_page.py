"""Tests that the table of families in docs/reference/models.md is the recorded one, and reruns a sample of it."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

from benchmarks.families import coverage

FOUND = json.loads(coverage.RESULTS.read_text(encoding="utf-8"))
FAMILIES: dict[str, dict[str, Any]] = {one["family"]: one for one in FOUND["families"]}
SAME = FOUND["versions"] == {name: version(name).partition("+")[0] for name in ("transformers", "torch")}


def test_sixty_families_are_right_and_the_others_have_a_reason() -> None:
    right = [one for one in FAMILIES.values() if one["right"]]
    assert len(right) >= 60
    for one in FAMILIES.values():
        assert one["right"] or one["reason"], one["family"]
    for one in right:
        assert one["moved"] > 0, "no target changed anything: nothing was tested"
        assert one["path"] in ("fast", "plain")


@pytest.mark.parametrize(
    "kind",
    [
        "ALiBi",
        "attention sinks",
        "grouped-query",
        "hybrid",
        "latent attention (MLA)",
        "learned positions",
        "mixture of experts",
        "multi-query",
        "parallel blocks",
        "sliding window",
        "tied embeddings",
    ],
)
def test_every_kind_of_architecture_is_among_the_right_ones(kind: str) -> None:
    assert any(kind in one["has"] for one in FAMILIES.values() if one["right"])
    assert any(kind not in one["has"] for one in FAMILIES.values() if one["right"])


def test_the_table_says_what_ran() -> None:
    assert coverage.table(FOUND) in coverage.PAGE.read_text(encoding="utf-8"), (
        "python -m benchmarks.families.coverage --table"
    )


@pytest.mark.skipif(not SAME, reason="the table was made with other versions of transformers or torch")
def test_no_family_is_left_out() -> None:
    assert sorted(FAMILIES) == coverage.families()


@pytest.mark.parametrize("family", ["gpt_oss", "bloom", "deepseek_v3", "mamba"])
def test_a_family_gives_its_row_again(family: str) -> None:
    result, known = coverage.examine(family), FAMILIES[family]
    names = (
        ("right", "step", "reason", "heads", "kv_heads", "has", "path", "why", "groups", "mlp") if SAME else ("right",)
    )
    assert {name: result.get(name) for name in names} == {name: known.get(name) for name in names}
