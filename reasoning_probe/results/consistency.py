"""Contradictions between ``run.json`` and the outcomes beside it: other counts, doubles, shards that cannot be."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from reasoning_probe.data.shards import parse_shards
from reasoning_probe.results.gate_rules import verdict
from reasoning_probe.results.outcome import BASELINE, ItemKey, Outcome
from reasoning_probe.results.record import RunRecord
from reasoning_probe.utils.text import one_line

_Group = tuple[str, str, str | None]
"""Dataset, target, ablation."""


def contradiction(summary: RunRecord, outcomes: Sequence[Outcome]) -> str | None:
    """Say in a few words where *summary* contradicts *outcomes* or itself; ``None`` where it does not."""
    for check in (_doubles, _items, _datasets, _effects, _errors, _partial, _gate, _cards):
        for line in check(summary, outcomes):
            return line
    return None


def impossible_shard(summary: RunRecord) -> str | None:
    """Say why the shard of *summary* cannot be, as ``999/3`` cannot; ``None`` where it can or the run is whole."""
    shard = summary.get("shard")
    if shard:
        try:
            parse_shards(shard)
        except ValueError as error:
            return str(error)
    return None


def _doubles(_: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[str]:
    keys = set()
    for outcome in outcomes:
        if outcome.key in keys:
            yield f"holds {_name(outcome.dataset)} {_name(outcome.item)} under {_name(outcome.target)} twice"
        keys.add(outcome.key)


def _items(summary: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield baselines that are ablated, items of two texts, and items that were skipped twice, or skipped and answered.

    The gate takes from these how many items it judges, and whether they are all.
    """
    texts: dict[ItemKey, tuple[str, str]] = {}
    for outcome in outcomes:
        name = f"{_name(outcome.dataset)} {_name(outcome.item)}"
        if (outcome.target == BASELINE) != (outcome.ablation is None):
            yield f"holds {name} under {_name(outcome.target)} with the ablation {_name(str(outcome.ablation))}"
        text = outcome.question, outcome.expected
        if texts.setdefault(outcome.item_key, text) != text:
            yield f"holds two questions or expected answers of {name}"
    skipped = [(skip["dataset"], skip["item"]) for skip in summary["skipped"]]
    for (dataset, item), times in Counter(skipped).items():
        if times > 1 or (dataset, item) in texts:
            and_what = "twice" if times > 1 else "and answered"
            yield f"and run.json contradict each other: {_name(dataset)} {_name(item)} was skipped {and_what}"


def _datasets(summary: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[str]:
    baselines = [outcome for outcome in _counted(summary, outcomes) if outcome.target == BASELINE]
    items = Counter(outcome.dataset for outcome in baselines)
    correct = Counter(outcome.dataset for outcome in baselines if outcome.correct)
    for name, entry in summary["datasets"].items():
        what = f"{_name(name)} under {BASELINE}"
        yield from _compare_counts(what, (items[name], entry["items"]), (correct[name], entry["correct"]))
        share = entry["correct"] / entry["items"] if entry["items"] else None
        if not _same(share, entry["accuracy"]):
            yield f"and run.json contradict each other: an accuracy of {entry['accuracy']} of {what}"
    for outcome in outcomes:
        if outcome.dataset not in summary["datasets"]:
            yield f"holds outcomes of {_name(outcome.dataset)}, a dataset that run.json lacks"


def _effects(summary: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[str]:
    baselines = {outcome.item_key: outcome.share_correct for outcome in outcomes if outcome.target == BASELINE}
    change: dict[_Group, float] = {}
    items: Counter[_Group] = Counter()
    correct: Counter[_Group] = Counter()
    lost: Counter[_Group] = Counter()
    won: Counter[_Group] = Counter()
    for outcome in outcomes:
        if outcome.target != BASELINE and outcome.item_key in baselines:  # an effect is paired
            group = (outcome.dataset, outcome.target, outcome.ablation)
            items[group] += 1
            correct[group] += outcome.correct
            by = outcome.share_correct - baselines[outcome.item_key]
            lost[group] += by < 0
            won[group] += by > 0
            change[group] = change.get(group, 0.0) + by
    rows = set()
    for row in summary["targets"]:
        group = (row["dataset"], row["target"], row["ablation"])
        what = f"{_name(row['dataset'])} under {_name(row['target'])}"
        if group in rows:
            yield f"and run.json contradict each other: run.json has {what} twice"
        rows.add(group)
        yield from _compare_counts(what, (items[group], row["items"]), (correct[group], row["correct"]))
        if lost[group] != row["flips_to_wrong"]:
            yield f"has {lost[group]:,} of {what} turned wrong, and run.json counts {row['flips_to_wrong']:,}"
        if won[group] != row["flips_to_right"]:
            yield f"has {won[group]:,} of {what} turned right, and run.json counts {row['flips_to_right']:,}"
        if not _same(change[group] / items[group] if items[group] else None, row["delta"]):
            yield f"and run.json contradict each other: an effect of {row['delta']} of {what}"
    for dataset, target, _ in items.keys() - rows:
        yield f"holds outcomes of {_name(dataset)} under {_name(target)}, whose effect run.json lacks"


def _errors(summary: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[str]:
    wrong = Counter(
        (each.dataset, each.target, each.ablation) for each in _counted(summary, outcomes) if not each.correct
    )
    counted: Counter[_Group] = Counter()
    for entry in summary["errors"]:
        counted[entry["dataset"], entry["target"], entry["ablation"]] += entry["count"]
    for group in wrong | counted:
        if wrong[group] != counted[group]:
            what = f"{_name(group[0])} under {_name(group[1])}"
            yield f"has {wrong[group]:,} wrong answers to {what}, and run.json counts {counted[group]:,}"


def _partial(summary: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[str]:
    partial = summary.get("partial")
    if partial and (partial["done"] != len(outcomes) or partial["planned"] < partial["done"]):
        done = f"{partial['done']:,} of {partial['planned']:,}"
        yield f"holds {len(outcomes):,} outcomes, and run.json says that {done} were done"


_RULES = {"min-accuracy": operator.ge, "max-drop": operator.le}
"""How a value must stand to its limit, by the rule of a gate's check."""


def _gate(summary: RunRecord, _: Sequence[Outcome]) -> Iterator[str]:
    """Yield a verdict that is not the one of its checks, or of a value and its limit."""
    gate = summary.get("gate")
    for check in gate["checks"] if gate else ():
        value, limit, passed = check.get("value"), check.get("limit"), check["passed"]
        within = _RULES.get(check.get("rule", ""))
        if value is None or limit is None or passed is None or within is None:
            continue
        if passed != within(value, limit):
            yield f"and run.json contradict each other: the gate's verdict on {_name(str(check.get('dataset')))}"
    if gate and gate["passed"] != verdict(check["passed"] for check in gate["checks"]):
        yield "and run.json contradict each other: the gate's verdict is not that of its checks"


def _cards(summary: RunRecord, _: Sequence[Outcome]) -> Iterator[str]:
    """Yield a card's example whose tokens, attention and pattern are of different lengths."""
    for card in summary.get("heads") or ():
        for example in card.get("examples") or ():
            pattern = example.get("pattern") or ()
            as_many = len(example["tokens"]) == len(example["attention"]) >= len(pattern)
            triangle = all(len(row) == place for place, row in enumerate(pattern, start=1))
            if not as_many or not triangle:
                yield f"and run.json contradict each other: the attention of {_name(card['target'])} in an example"


def _counted(summary: RunRecord, outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Yield the outcomes that accuracies and mistakes count: not the baselines whose own tests were skipped."""
    skipped = cast(Mapping[str, Any], summary).get("skipped_tests") or {}
    without = {dataset: frozenset(ids) for dataset, ids in skipped.items()}
    for outcome in outcomes:
        if outcome.target != BASELINE or outcome.item not in without.get(outcome.dataset, ()):
            yield outcome


def _compare_counts(what: str, items: tuple[int, int], correct: tuple[int, int]) -> Iterator[str]:
    """Yield how the outcomes that are there, the first of each two, differ from those that are counted."""
    if items[0] != items[1]:
        verb = "lacks outcomes" if items[0] < items[1] else "holds too many outcomes"
        yield f"{verb}: {items[0]:,} of {what}, and run.json counts {items[1]:,}"
    if correct[0] != correct[1]:
        yield f"has {correct[0]:,} right answers to {what}, and run.json counts {correct[1]:,}"


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isclose(one, other, abs_tol=1e-6))


def _name(text: str) -> str:
    return one_line(text, 40)
