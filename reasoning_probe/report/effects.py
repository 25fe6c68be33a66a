"""What a run says, in plain sentences: what was found, and what could not be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reasoning_probe.data.generators import NAMES as GENERATED
from reasoning_probe.report.text import count, listed, nats, one_line, percent, points
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import ALPHA, items_to_try

Row = Mapping[str, Any]
Finding = Literal["found", "none", "few_items", "few_right", "floor"]

LEAST_NATS = 0.01
"""Smaller changes of the log-probability can be significant, too, but are not worth a sentence."""

MOST_NAME = 60
"""Characters of a dataset's name in a sentence."""

_HEAD = re.compile(r"L(\d{1,5})H(\d{1,5})", re.ASCII)
_LAYER = re.compile(r"L(\d{1,5})", re.ASCII)
_TYPED = re.compile(r"[\w.-]{1,40}")  # a name that a shell takes as it is
_CELL = re.compile(r"L(\d{1,5})(H\d{1,5}|KV\d{1,5}|MLP)", re.ASCII)


def head_of(target: str) -> tuple[int, int] | None:
    """Return (layer, head) of a target that is one head, else ``None``."""
    match = _HEAD.fullmatch(target)
    return (int(match[1]), int(match[2])) if match else None


def layer_of(target: str) -> int | None:
    """Return the layer of a target that is all heads of a layer, else ``None``."""
    match = _LAYER.fullmatch(target)
    return int(match[1]) if match else None


def cell_of(target: str) -> tuple[int, str] | None:
    """Return (layer, column) of a target that is one part of a layer: ``H7``, ``KV1`` or ``MLP``; else ``None``."""
    match = _CELL.fullmatch(target)
    return (int(match[1]), match[2]) if match else None


def significant(row: Row) -> bool:
    """Whether the target changes the accuracy, after Holm's correction."""
    return bool(row["p_adjusted"] <= ALPHA)


def moves_logprob(row: Row) -> bool:
    """Whether the target changes the log-probability of the expected answer, after Holm's correction."""
    p = row.get("logprob_p_adjusted")
    return p is not None and bool(p <= ALPHA)


def changed(outcome: Outcome, baseline: Outcome) -> bool:
    """Whether switching the target off changed what the model answered; the wording of a response may differ."""
    return outcome.answer != baseline.answer or outcome.correct != baseline.correct


@dataclass(frozen=True)
class Group:
    """The effects on one dataset under one ablation, the strongest first."""

    dataset: str
    ablation: str
    entry: Mapping[str, Any]
    rows: tuple[Row, ...]
    screened: bool = False

    @property
    def items(self) -> int:
        """How many items the best measured target has."""
        return max(int(row["items"]) for row in self.rows)

    @property
    def flips_needed(self) -> int:
        """How many items must flip one way for the strongest target to be significant."""
        return int((self.entry.get("power") or {}).get("flips_needed", 1))

    @property
    def significant(self) -> list[Row]:
        """The targets that change the accuracy."""
        return [row for row in self.rows if significant(row)]

    @property
    def moving(self) -> list[Row]:
        """The targets that change the log-probability by :data:`LEAST_NATS` or more, the strongest first."""
        found = [row for row in self.rows if moves_logprob(row) and abs(row["delta_logprob"] or 0.0) >= LEAST_NATS]
        return sorted(found, key=lambda row: -abs(row["delta_logprob"]))

    @property
    def floor(self) -> bool:
        """Whether no baseline answer is right, so that nothing can be lost."""
        return bool(self.entry["correct"] == 0)

    @property
    def finding(self) -> Finding:
        """What can be said of this dataset's targets."""
        if self.significant:
            return "found"
        if self.floor:
            return "floor"
        if self.items < self.flips_needed:
            return "few_items"
        return "few_right" if self.entry["correct"] < self.flips_needed else "none"

    @property
    def noun(self) -> str:
        """What the targets are: ``head``, ``layer`` or ``target``."""
        if all(head_of(row["target"]) for row in self.rows):
            return "head"
        return "layer" if all(layer_of(row["target"]) is not None for row in self.rows) else "target"

    @property
    def counted(self) -> str:
        """How many targets were measured: ``144 heads``, or ``40 measured heads`` where a screening chose them."""
        return count(len(self.rows), f"measured {self.noun}" if self.screened else self.noun)


def groups(run: Run) -> list[Group]:
    """Return the effects of *run* by dataset and ablation, in the order of the datasets."""
    found: dict[tuple[str, str], list[Row]] = {}
    for name in run.summary["datasets"]:
        for row in run.summary["targets"]:
            if row["dataset"] == name:
                found.setdefault((name, str(row["ablation"])), []).append(row)
    screened = {
        (entry["dataset"], str(entry["ablation"]))
        for entry in run.summary.get("screening") or ()
        if entry["sampled"] < entry["rest"]
    }
    return [
        Group(*key, run.summary["datasets"][key[0]], tuple(sorted(rows, key=_strength)), key in screened)
        for key, rows in found.items()
    ]


def _strength(row: Row) -> tuple[bool, float, float]:
    """Sort key: what is significant first, then by the size of the effect, then by the log-probability's."""
    return not significant(row), -abs(row["delta"]), -abs(row["delta_logprob"] or 0.0)


def accuracy_sentence(run: Run) -> str:
    """Say how many questions the model answers right.

    Never empty: ``tiny-reasoner answers 17 of 22 questions right (77 %).``
    """
    entries = run.summary["datasets"].values()
    items, correct = sum(entry["items"] for entry in entries), sum(entry["correct"] for entry in entries)
    name = run.summary["model"]["name"]
    if not items:
        return f"{name} was asked nothing."
    return f"{name} answers {correct:,} of {count(items, 'question')} right ({percent(correct / items)})."


def sentences(run: Run) -> list[str]:
    """Return what was found about the targets, the most telling first; datasets that share a finding share one."""
    return [sentence for sentence, _ in told(run)]


def told(run: Run) -> list[tuple[str, bool]]:
    """Return the sentences, and of each whether it warns: something could not be found out."""
    by_finding: dict[tuple[Any, ...], list[Group]] = {}
    several = len({group.ablation for group in groups(run)}) > 1
    order: dict[Finding, int] = {"found": 0, "none": 1, "few_right": 2, "few_items": 3, "floor": 4}
    for group in sorted(groups(run), key=lambda group: order[group.finding]):
        shared = group.finding in ("few_items", "floor")
        key = (group.finding, group.ablation if several else "", group.noun, len(group.rows), group.flips_needed)
        by_finding.setdefault(key if shared else (*key, group.dataset), []).append(group)
    said = [
        (_sentence(members, _under(members[0], several), run), members[0].finding not in ("found", "none"))
        for members in by_finding.values()
    ]
    silent = [group for group in groups(run) if not group.significant and group.moving]
    moved = [(_logprob_sentence(group, _under(group, several)), False) for group in silent]
    return [*((sentence, True) for sentence in _extent(run)), *said, *moved]


def _under(group: Group, several: bool) -> str:
    return f" ({group.ablation} ablation)" if several else ""


def _extent(run: Run) -> list[str]:
    """Say where the run is not the whole sweep: it was ended early, or is a shard."""
    partial, shard = run.summary.get("partial"), run.summary.get("shard")
    said = []
    if partial:
        said.append(
            f"This run ended early, with {partial['done']:,} of {count(partial['planned'], 'outcome')}:"
            " the same command goes on from there (without -x, if that ended it)."
        )
    if shard:
        part = f"These are the shards {one_line(shard, 40)}" if "," in shard else f"This is shard {one_line(shard, 40)}"
        said.append(f"{part} of the items: reasoning-probe merge puts the shards together.")
    return said


def _sentence(members: list[Group], ablation: str, run: Run) -> str:
    group = members[0]
    names, noun = [one_line(member.dataset, MOST_NAME) for member in members], group.noun
    asked = count(group.items, "item")
    needed = group.flips_needed
    on = listed(names) + ablation
    if group.finding == "found":
        found = group.significant
        effects = [f"{row['target']} ({points(row['delta'])}{' points' if row is found[0] else ''})" for row in found]
        matter = "matters" if len(found) == 1 else "matter"
        return f"{asked}: {len(found)} of {group.counted} {matter} for {on}: {listed(effects, 4)}."
    if group.finding == "floor":
        return f"No {noun} can be judged on {on}: the baseline is 0 %."
    if group.finding == "none":
        least = points(needed / group.items).removeprefix("+")
        return (
            f"None of {group.counted} matters for {on} as far as {asked} can show:"
            f" a change of {least} points ({needed} flips one way) would have been significant."
        )
    if group.finding == "few_right":
        return (
            f"No drop could be significant on {on}: {needed} flips are needed, and only"
            f" {group.entry['correct']} of {asked} are answered right to begin with."
        )
    fewest, most = min(member.items for member in members), max(member.items for member in members)
    items = count(most, "item") if fewest == most else f"{fewest} to {count(most, 'item')}"
    single = "single " if noun == "head" else ""
    return (
        f"With {items} and {group.counted} no {single}{noun} can reach significance on {on};"
        f" {needed} flips are needed: {_more_items(names, items_to_try(needed), run)}."
    )


def _more_items(datasets: list[str], items: int, run: Run) -> str:
    """Say how to ask more, so that it works as typed: only generated datasets have as many items as one wants."""
    growing = [dataset for dataset in datasets if dataset in GENERATED]
    if all(dataset in GENERATED for dataset in run.summary["datasets"]):
        return f"try --probe-items {items}"
    ways = [f"--probe-items {','.join(f'{dataset}={items}' for dataset in growing)}"] if growing else []
    if fixed := [dataset for dataset in datasets if dataset not in GENERATED]:
        name = fixed[0] if len(fixed) == 1 and _TYPED.fullmatch(fixed[0]) else "NAME"
        ways.append(f"{items} items by --probe-dataset {name}=FILE")
    return f"try {' and '.join(ways)}"


def _logprob_sentence(group: Group, ablation: str) -> str:
    """Say which targets move the log-probability of the expected answer, where the accuracy cannot tell."""
    found = group.moving
    effects = [f"{row['target']} ({nats(row['delta_logprob'])}{' nats' if row is found[0] else ''})" for row in found]
    move = "moves" if len(found) == 1 else "move"
    return (
        f"{len(found)} of {group.counted} {move} the log-probability of the expected answer on"
        f" {one_line(group.dataset, MOST_NAME)}{ablation}: {listed(effects, 4)}."
    )


def remarks(run: Run) -> list[str]:
    """Return what a reader must know to read the accuracies right, a sentence each."""
    said = []
    if (run.summary.get("prompting") or {}).get("chat_template_unused"):
        said.append("The model has a chat template that was not used: --probe-chat on puts the questions in it.")
    for dataset, entry in run.summary["datasets"].items():
        if always := entry.get("always"):
            said.append(f"{dataset}: always answering “{always['answer']}” would score {percent(always['accuracy'])}.")
        if entry["items"] and entry["correct"] == entry["items"]:
            said.append(f"{dataset}: every answer is right, so a target can only lose.")
        strict, flexible = entry.get("strict"), entry.get("flexible")
        if strict != flexible:
            said.append(
                f"{dataset}: strict extraction finds {percent(strict)} right, flexible {percent(flexible)};"
                " the difference is formatting, not reasoning."
            )
    return said


def skipped_sentence(run: Run) -> str:
    """Return how many items were left out, with one of them and its reason; empty where none was."""
    skipped = run.summary["skipped"]
    if not skipped:
        return ""
    first, such = skipped[0], ", such as" if len(skipped) > 1 else ","
    return f"Skipped {count(len(skipped), 'item')}{such} {first['dataset']} {first['item']}: {first['reason']}"


def error_counts(run: Run, *, ablated: bool, dataset: str | None = None) -> dict[str, int]:
    """Return the wrong answers by category, the commonest first, of the baseline or of all ablated cases."""
    counts: dict[str, int] = {}
    for row in run.summary["errors"]:
        if (row["target"] != BASELINE) == ablated and dataset in (None, row["dataset"]) and row["count"] > 0:
            category = row["category"] or "unclassified"
            counts[category] = counts.get(category, 0) + row["count"]
    return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def by_cell(rows: Iterable[Row]) -> dict[tuple[int, str], Row]:
    """Return the single heads, key/value groups and MLPs among *rows* by (layer, column)."""
    return {cell: row for row in rows if (cell := cell_of(row["target"])) is not None}


def columns_of(rows: Sequence[Row], heads: int) -> list[str]:
    """Return the columns of a map of *rows*: all *heads* if any was off alone, groups and MLP where they were off."""
    found = {column for _, column in by_cell(rows)}
    groups = sorted((column for column in found if column.startswith("KV")), key=lambda column: int(column[2:]))
    every = [f"H{head}" for head in range(heads)] if any(column.startswith("H") for column in found) else []
    return [*every, *groups, *(["MLP"] if "MLP" in found else [])]


def in_layer_order(rows: Iterable[Row]) -> dict[tuple[int, int], Row]:
    """Return the single heads among *rows* by (layer, head)."""
    return {head: row for row in rows if (head := head_of(row["target"])) is not None}
