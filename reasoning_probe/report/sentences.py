"""The sentences of a report: what a run shows, in plain words, with the condition under which each is true."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reasoning_probe.data.generators import NAMES as GENERATED
from reasoning_probe.models.generation import rules_sentence, unused_sentence
from reasoning_probe.report.effects import EffectGroup, Finding, groups, harms_plain_text, significant
from reasoning_probe.report.format import nats, percent, points
from reasoning_probe.results.record import ControlTargetRecord, CurveRecord
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import items_to_try
from reasoning_probe.utils.text import join_names, pluralise, shorten

CARRIED_SHARE = 0.9
"""Heads carry a task if this share of the baseline's accuracy is left with all others off."""

BACKUP_NATS = 1.0
"""Heads get a sentence if together they cost this many nats more than one by one."""

MOST_NAME = 60
"""Characters of a dataset's name in a sentence."""

_SHELL_SAFE = re.compile(r"[\w.-]{1,40}")  # a name that a shell takes as it is

_MOST_NAMES = 4


def control_sentences(run: Run) -> list[str]:
    """Say whether the targets that matter also break plain text, and which ranks depend on the ablation."""
    control = run.summary.get("control")
    sentences = [] if control is None else _plain_text_sentences(run, control["targets"])
    rank_changes = [
        f"{change['target']} ({', '.join(f'{name} {rank}' for name, rank in change['ranks'].items())})"
        for change in run.summary.get("rank_changes") or ()
    ]
    if rank_changes:
        sentences.append(
            f"The rank depends on the ablation for {join_names(rank_changes, _MOST_NAMES)}: trust none of these alone."
        )
    return sentences


def _plain_text_sentences(run: Run, rows: Sequence[ControlTargetRecord]) -> list[str]:
    several = len({row["ablation"] for row in rows}) > 1
    matter = {
        (row["target"], row["ablation"]) for group in groups(run) for row in group.rows if significant(row)
    }  # on any dataset
    broken: list[str] = []
    spared: list[str] = []
    for row in rows:
        if (row["target"], row["ablation"]) not in matter:
            continue
        suffix = f" {row['ablation']}" if several else ""
        (broken if harms_plain_text(row) else spared).append(f"{row['target']}{suffix} ({nats(row['delta'])})")
    sentences = []
    if broken:
        sentences.append(
            f"Without {join_names(broken, _MOST_NAMES)} the model is broken: plain text suffers, too (nats a token)."
        )
    if spared:
        sentences.append(
            f"Plain text hardly needs {join_names(spared, _MOST_NAMES)} (nats a token): reasoning, not a broken model."
        )
    return sentences


def curve_sentences(run: Run) -> list[str]:
    """Say how few heads carry each task, and which heads cost more together than their single effects add up to."""
    notes = []
    keys = dict.fromkeys((str(entry["dataset"]), str(entry["ablation"])) for entry in run.summary.get("curves") or ())
    several = len({ablation for _, ablation in keys}) > 1
    for dataset, ablation in keys:
        curves = _curves_of(run, dataset, ablation)
        under = f" ({ablation} ablation)" if several else ""
        notes += curve_notes(curves, dataset + under)
    return notes


def curve_notes(curves: Mapping[str, CurveRecord], task: str) -> list[str]:
    """Say what the curves of *task* show: how few heads carry it, and whether heads back each other up."""
    return [sentence for sentence in (_carried_sentence(curves, task), _backup_sentence(curves, task)) if sentence]


def _curves_of(run: Run, dataset: str, ablation: str) -> dict[str, CurveRecord]:
    return {
        str(entry["kind"]): entry
        for entry in run.summary.get("curves") or ()
        if (entry["dataset"], str(entry["ablation"])) == (dataset, ablation) and entry["points"]
    }


def _carried_sentence(curves: Mapping[str, CurveRecord], task: str) -> str:
    if "kept" not in curves:
        return ""
    entry = curves["kept"]
    points = entry["points"]
    whole, heads = points[-1], len(entry["order"])
    enough = next((point for point in points if point["accuracy"] >= CARRIED_SHARE * whole["accuracy"]), whole)
    if not whole["correct"] or enough is whole:
        return ""
    if not enough["heads"]:
        return f"With every head off {percent(enough['accuracy'])} of {task} stay right: it needs no attention."
    return (
        f"{enough['heads']} of {pluralise(heads, 'head')} carry {task}: with all others off"
        f" {percent(enough['accuracy'])} are right, of {percent(whole['accuracy'])}"
        f" ({pluralise(whole['items'], 'item')})."
    )


def _backup_sentence(curves: Mapping[str, CurveRecord], task: str) -> str:
    """Say how few heads cost more together than one by one, the sign that they back each other up."""
    candidates = []
    for kind, entry in curves.items():
        heads = len(entry["order"])
        start = entry["points"][0 if kind == "off" else -1].get("mean_answer_logprob")
        for point in entry["points"]:
            together, added = point.get("mean_answer_logprob"), point.get("if_added")
            if start is None or together is None or added is None:
                continue
            off = point["heads"] if kind == "off" else heads - point["heads"]
            if off > 1 and start - together >= max(BACKUP_NATS, 2 * (start - added)):
                candidates.append((off, kind, start - together, start - added))
    if not candidates:
        return ""
    off, kind, together, added = min(candidates)
    which = "strongest" if kind == "off" else "weakest"
    return (
        f"Off together, the {off} {which} heads cost {task} {together:.2f} nats, where their single effects add up to"
        f" {added:.2f}: heads back each other up."
    )


def screening_sentences(run: Run) -> list[str]:
    """Say how many of the ranked heads were measured, and how many of the others may matter nevertheless."""
    notes = []
    for entry in run.summary.get("screening") or ():
        chosen = (
            f"Screening of {entry['dataset']} ({entry['ablation']} ablation): of"
            f" {pluralise(entry['candidates'], 'head')} the first {entry['ranked']:,} by first-order"
            " attribution were measured"
        )
        if not entry["rest"]:
            notes.append(f"{chosen}: all of them.")
        elif entry["sampled"] == entry["rest"]:
            matter = "matters" if entry["missed"] == 1 else "matter"
            notes.append(f"{chosen}, and all {entry['rest']:,} others, of which {entry['missed']:,} {matter}.")
        elif entry["miss_rate"] is None:
            notes.append(f"{chosen}, and none of the other {entry['rest']:,}: how many of these matter is not known.")
        else:
            matter = "matters" if entry["missed"] == 1 else "matter"
            low, high = map(percent, entry["ci95"])
            notes.append(
                f"{chosen}. Of {entry['sampled']:,} of the other {entry['rest']:,}, drawn at random,"
                f" {entry['missed']:,} {matter}: a miss rate of {percent(entry['miss_rate'])} ({low} to {high})."
            )
    return notes


def accuracy_sentence(run: Run) -> str:
    """Say how many questions the model answers right.

    Never empty: ``tiny-reasoner answers 17 of 22 questions right (77 %).``
    """
    entries = run.summary["datasets"].values()
    items, correct = sum(entry["items"] for entry in entries), sum(entry["correct"] for entry in entries)
    name = run.summary["model"]["name"]
    if not items:
        return f"{name} was asked nothing."
    return f"{name} answers {correct:,} of {pluralise(items, 'question')} right ({percent(correct / items)})."


def sentences(run: Run) -> list[str]:
    """Return the sentences about the targets, the most informative first; datasets with equal findings share one."""
    return [sentence for sentence, _ in findings(run)]


def findings(run: Run) -> list[tuple[str, bool]]:
    """Return each sentence about the targets with whether it is a warning that something could not be measured."""
    by_finding: dict[tuple[str | int, ...], list[EffectGroup]] = {}
    several = len({group.ablation for group in groups(run)}) > 1
    order: dict[Finding, int] = {"found": 0, "none": 1, "few_right": 2, "few_items": 3, "floor": 4}
    for group in sorted(groups(run), key=lambda group: order[group.finding]):
        shared = group.finding in ("few_items", "floor")
        key = (group.finding, group.ablation if several else "", group.noun, len(group.rows), group.flips_needed)
        by_finding.setdefault(key if shared else (*key, group.dataset), []).append(group)
    finding_sentences = [
        (
            _finding_sentence(members, _ablation_suffix(members[0], several), run),
            members[0].finding not in ("found", "none"),
        )
        for members in by_finding.values()
    ]
    without_accuracy_effect = [group for group in groups(run) if not group.significant and group.with_logprob_effect]
    logprob_sentences = [
        (_logprob_sentence(group, _ablation_suffix(group, several)), False) for group in without_accuracy_effect
    ]
    return [*((sentence, True) for sentence in _extent_sentences(run)), *finding_sentences, *logprob_sentences]


def _ablation_suffix(group: EffectGroup, several: bool) -> str:
    return f" ({group.ablation} ablation)" if several else ""


def _extent_sentences(run: Run) -> list[str]:
    """Say that the run is not the whole sweep, because it ended early or is a shard."""
    partial, shard = run.summary.get("partial"), run.summary.get("shard")
    notes = []
    if partial:
        notes.append(
            f"This run ended early, with {partial['done']:,} of {pluralise(partial['planned'], 'outcome')}:"
            " the same command goes on from there (without -x, if that ended it)."
        )
    if shard:
        part = f"These are the shards {shorten(shard, 40)}" if "," in shard else f"This is shard {shorten(shard, 40)}"
        notes.append(f"{part} of the items: reasoning-probe merge puts the shards together.")
    return notes


def _finding_sentence(members: list[EffectGroup], ablation: str, run: Run) -> str:
    group = members[0]
    names, noun = [shorten(member.dataset, MOST_NAME) for member in members], group.noun
    items_text = pluralise(group.items, "item")
    needed = group.flips_needed
    datasets = join_names(names) + ablation
    if group.finding == "found":
        rows = group.significant
        effects = [f"{row['target']} ({points(row['delta'])}{' points' if row is rows[0] else ''})" for row in rows]
        matter = "matters" if len(rows) == 1 else "matter"
        return f"{items_text}: {len(rows)} of {group.counted} {matter} for {datasets}: {join_names(effects, 4)}."
    if group.finding == "floor":
        return f"No {noun} can be judged on {datasets}: the baseline is 0 %."
    if group.finding == "none":
        least = points(needed / group.items).removeprefix("+")
        return (
            f"None of {group.counted} matters for {datasets} as far as {items_text} can show:"
            f" a change of {least} points ({needed} flips one way) would have been significant."
        )
    if group.finding == "few_right":
        return (
            f"No drop could be significant on {datasets}: {needed} flips are needed, and only"
            f" {group.entry['correct']} of {items_text} are answered right to begin with."
        )
    fewest, most = min(member.items for member in members), max(member.items for member in members)
    items = pluralise(most, "item") if fewest == most else f"{fewest} to {pluralise(most, 'item')}"
    single = "single " if noun == "head" else ""
    return (
        f"With {items} and {group.counted} no {single}{noun} can reach significance on {datasets};"
        f" {needed} flips are needed: {_more_items_hint(names, items_to_try(needed), run)}."
    )


def _more_items_hint(datasets: list[str], items: int, run: Run) -> str:
    """Return the options that ask more items, ready to be typed: only generated datasets have any number of items."""
    growing = [dataset for dataset in datasets if dataset in GENERATED]
    if all(dataset in GENERATED for dataset in run.summary["datasets"]):
        return f"try --probe-items {items}"
    options = [f"--probe-items {','.join(f'{dataset}={items}' for dataset in growing)}"] if growing else []
    if fixed := [dataset for dataset in datasets if dataset not in GENERATED]:
        name = fixed[0] if len(fixed) == 1 and _SHELL_SAFE.fullmatch(fixed[0]) else "NAME"
        options.append(f"{items} items by --probe-dataset {name}=FILE")
    return f"try {' and '.join(options)}"


def _logprob_sentence(group: EffectGroup, ablation: str) -> str:
    """Say which targets change the log-probability of the expected answer, for a dataset whose accuracy shows none."""
    rows = group.with_logprob_effect
    effects = [f"{row['target']} ({nats(row['delta_logprob'])}{' nats' if row is rows[0] else ''})" for row in rows]
    move = "moves" if len(rows) == 1 else "move"
    return (
        f"{len(rows)} of {group.counted} {move} the log-probability of the expected answer on"
        f" {shorten(group.dataset, MOST_NAME)}{ablation}: {join_names(effects, 4)}."
    )


def setting_sentences(run: Run) -> list[str]:
    """Return what changes the answers beside the weights: the model's own generation settings, and its prompts."""
    generation = run.summary["model"].get("generation")
    texts = [] if generation is None else [rules_sentence(generation), unused_sentence(generation)]
    sentences = list(filter(None, texts))
    prompting = run.summary.get("prompting") or {}
    if date := prompting.get("chat_date"):
        sentences.append(f"The chat template prints today's date: it is told {date}, on every day.")
    return [f"{sentence}." if not sentence.endswith(".") else sentence for sentence in sentences] + [
        str(note) for note in prompting.get("notes") or ()
    ]


def remarks(run: Run) -> list[str]:
    """Return the sentences that a reader needs to interpret the accuracies."""
    notes = setting_sentences(run)
    if (run.summary.get("prompting") or {}).get("chat_template_unused"):
        notes.append("The model has a chat template that was not used: --probe-chat on puts the questions in it.")
    for dataset, entry in run.summary["datasets"].items():
        if always := entry.get("always"):
            notes.append(f"{dataset}: always answering “{always['answer']}” would score {percent(always['accuracy'])}.")
        if entry["items"] and entry["correct"] == entry["items"]:
            notes.append(f"{dataset}: every answer is right, so a target can only lose.")
        strict, flexible = entry.get("strict"), entry.get("flexible")
        if strict != flexible:
            notes.append(
                f"{dataset}: strict extraction finds {percent(strict)} right, flexible {percent(flexible)};"
                " the difference is formatting, not reasoning."
            )
    return notes


def skipped_sentence(run: Run) -> str:
    """Return how many items were left out, with one of them and its reason; empty where none was."""
    skipped = run.summary["skipped"]
    if not skipped:
        return ""
    first, separator = skipped[0], ", such as" if len(skipped) > 1 else ","
    return f"Skipped {pluralise(len(skipped), 'item')}{separator} {first['dataset']} {first['item']}: {first['reason']}"
