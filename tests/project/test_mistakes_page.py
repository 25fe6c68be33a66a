"""Tests the page on mistakes: its examples are judged as it states, and its figures are the benchmark's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.accuracy.judge_agreement import SPLITS, answers, kappa, parts, read, table
from reasoning_probe.data.items import Item
from reasoning_probe.scoring.error_categories import CATEGORIES, RULES
from reasoning_probe.scoring.judge import judge

PAGE = (Path(__file__).parents[2] / "docs/explanation/mistakes.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+): [^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROWS = [
    (category, *(cell.strip().strip("`") for cell in line.strip("| \n").split("|")))
    for category, section in SECTIONS.items()
    for line in re.findall(r"^\| (?!kind|---).*", section, re.MULTILINE)
]


def test_the_page_has_every_category_and_every_rule() -> None:
    assert tuple(SECTIONS) == CATEGORIES
    documented = {(row[0], row[1]) for row in ROWS}
    assert documented >= {(category, kind) for category, kind, _ in RULES}
    assert len(documented) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_each_example_is_judged_as_the_page_says_and_its_counter_example_is_not(row: tuple[str, ...]) -> None:
    category, kind, _, question, expected, example, counter_example = row
    expression = pytest.importorskip("math_verify") and "expression" if kind == "wrong_expression" else None
    item, truncated = Item(question=question, answer=expected.strip("`"), kind=expression), kind == "cut_off"
    judgement = judge(item, example, truncated)
    assert (judgement.category, judgement.kind) == (category, kind), judgement
    assert judge(item, counter_example, truncated).kind != kind


@pytest.mark.parametrize("split", SPLITS)
def test_the_rules_agree_with_the_labels_as_the_page_says(split: str) -> None:
    for name, pairs in parts(split).items():
        assert f"| {name} | {len(pairs)} | {answers(pairs):.1%}" in PAGE
        assert f"{kappa(pairs):.3f}" in PAGE
    assert table(read(split)) in PAGE
    assert kappa(read(split)) >= 0.85
