"""The sentences of a report: what a run shows, in plain words, with the condition under which each is true."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reasoning_probe.data.generators import NAMES as GENERATED
from reasoning_probe.report.directions import direction_sentences, rank_text
from reasoning_probe.report.effects import EffectGroup, Finding, groups
from reasoning_probe.report.format import nats, percent, points
from reasoning_probe.report.forms import mixture
from reasoning_probe.report.patching import patch_sentences, restored_sentences
from reasoning_probe.results.control import HARMFUL_NATS, guesses_plain_text, harms_plain_text
from reasoning_probe.results.curves import CARRIED_SHARE
from reasoning_probe.results.naming import holds_across_forms, median_nats, significant_on_page
from reasoning_probe.results.record import ControlRecord, CurveRecord, EffectRecord, ScreeningRecord
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import is_significant, items_to_try
from reasoning_probe.utils.text import join_names, pluralise, shorten

EXCESS_LOG_ODDS, EXCESS_RATIO = 1.0, 2.0
"""Heads get a sentence if together they cost the median item this much more log-odds than one by one, and more than
this many times the sum of their single changes: heads whose sum the logits square cost up to twice as much together."""

LOW_ACCURACY = 0.5
"""A model that answers less than this share right without its chat template should be asked in it first."""

MOST_NAME = 60
"""Characters of a dataset's name in a sentence."""

_SHELL_SAFE = re.compile(r"[\w.-]{1,40}")  # a name that a shell takes as it is

_MOST_NAMES = 4


def control_sentences(run: Run) -> list[str]:
    """Say whether the targets that matter also harm plain text, and which effects depend on the ablation."""
    control = run.summary.get("control")
    sentences = [] if control is None else _plain_text_sentences(run, control)
    rank_changes = [
        f"{change['target']} ({', '.join(f'rank {rank} under {name}' for name, rank in change['ranks'].items())})"
        for change in run.summary.get("rank_changes") or ()
    ]
    if rank_changes:
        verb = "has" if len(rank_changes) == 1 else "have"
        sentences.append(
            f"{join_names(rank_changes, _MOST_NAMES)} {verb} an effect under one ablation and none under another."
        )
    return sentences


def _plain_text_sentences(run: Run, control: ControlRecord) -> list[str]:
    rows = control["targets"]
    several = len({row["ablation"] for row in rows}) > 1
    matter = {
        (row["target"], row["ablation"]) for group in groups(run) for row in group.rows if significant_on_page(row)
    }  # on any dataset: of all tests of the page
    if guesses_plain_text(control):
        return ["Plain text cannot serve as a control: the model predicts it no better than a guess."] * bool(matter)
    broken: list[str] = []
    spared: list[str] = []
    for row in rows:
        if (row["target"], row["ablation"]) not in matter:
            continue
        suffix = f" {row['ablation']}" if several else ""
        (broken if harms_plain_text(row) else spared).append(f"{row['target']}{suffix} ({nats(row['delta'])})")
    limit = f"{-HARMFUL_NATS:.1f} nats a token"
    sentences = []
    if broken:
        sentences.append(f"Ablating {join_names(broken, _MOST_NAMES)} also costs plain text {limit} or more.")
    if spared:
        sentences.append(f"Ablating {join_names(spared, _MOST_NAMES)} costs plain text less than {limit}.")
    return sentences


def curve_sentences(run: Run) -> list[str]:
    """Say how many heads keep each task's accuracy, and which heads back each other up."""
    notes = []
    keys = dict.fromkeys((str(entry["dataset"]), str(entry["ablation"])) for entry in run.summary.get("curves") or ())
    several = len({ablation for _, ablation in keys}) > 1
    for dataset, ablation in keys:
        curves = _curves_of(run, dataset, ablation)
        under = f" ({ablation} ablation)" if several else ""
        notes += curve_notes(curves, dataset + under)
    return notes


def curve_notes(curves: Mapping[str, CurveRecord], task: str) -> list[str]:
    """Say what the curves of *task* show: how many heads keep its accuracy, and whether heads back each other up."""
    return [sentence for sentence in (_kept_sentence(curves, task), _backup_sentence(curves, task)) if sentence]


def _curves_of(run: Run, dataset: str, ablation: str) -> dict[str, CurveRecord]:
    return {
        str(entry["kind"]): entry
        for entry in run.summary.get("curves") or ()
        if (entry["dataset"], str(entry["ablation"])) == (dataset, ablation) and entry["points"]
    }


def _kept_sentence(curves: Mapping[str, CurveRecord], task: str) -> str:
    """Say at which size the kept heads have nine tenths of the accuracy; runs of earlier versions know no range."""
    curve = curves.get("kept")
    carried = curve.get("carried") if curve else None
    if curve is None or not carried:
        return ""
    low, high = carried["range95"]
    strongest = f"the strongest {carried['heads']:,} of {pluralise(len(curve['order']), 'head')}"
    items = pluralise(curve["points"][-1]["items"], "item")
    chose = "" if curve["held_out"] else ", which also chose the order"
    return (
        f"With only {strongest} on, at least {percent(CARRIED_SHARE)} of the accuracy on {task} is left; no smaller"
        f" measured size leaves as much (95 % range {low:,} to {high:,}; {items}{chose})."
    )


def _backup_sentence(curves: Mapping[str, CurveRecord], task: str) -> str:
    """Say how few heads cost more together than one by one, where the items show it that did not choose the order."""
    candidates = []
    for kind, entry in curves.items():
        heads = len(entry["order"])
        for point in entry["points"]:
            excess = point.get("excess")
            if not entry["held_out"] or excess is None or not is_significant(excess["p_adjusted"]):
                continue
            off = point["heads"] if kind == "off" else heads - point["heads"]
            if -excess["median"] >= max(EXCESS_LOG_ODDS, EXCESS_RATIO * abs(excess["sum_of_single"])):
                candidates.append((off, kind, excess))
    if not candidates:
        return ""
    off, kind, excess = min(candidates, key=lambda candidate: candidate[0])
    place = "first" if kind == "off" else "last"
    return (
        f"The {place} {off} heads of the order back each other up on {task}: their single effects add up to"
        f" {nats(excess['sum_of_single'])} log-odds in the median; switched off together they lose"
        f" {-excess['median']:.2f} more ({excess['falls']:,} of {excess['items']:,} held-out items lose more)."
    )


_RANKED_BY = {"ig5": "integrated gradients"}


def screening_sentences(run: Run) -> list[str]:
    """Say how many of the ranked heads were measured, and how many of the others may matter nevertheless."""
    notes = []
    for entry in run.summary.get("screening") or ():
        chosen = (
            f"Screening of {entry['dataset']} ({entry['ablation']} ablation): of"
            f" {pluralise(entry['candidates'], 'head')} the first {entry['ranked']:,} by"
            f" {_RANKED_BY.get(entry.get('method') or '', 'first-order attribution')} were measured"
        )
        if not entry["rest"]:
            notes.append(f"{chosen}: all of them.")
        elif entry["sampled"] == entry["rest"]:
            matter = "matters" if entry["missed"] == 1 else "matter"
            notes.append(f"{chosen}, and all {entry['rest']:,} others, of which {entry['missed']:,} {matter}.")
        elif entry["miss_rate"] is None:
            notes.append(
                f"{chosen}, and none of the other {entry['rest']:,}: it is not known how many of these matter."
            )
        else:
            matter = "matters" if entry["missed"] == 1 else "matter"
            low, high = map(percent, entry["ci95"])
            notes.append(
                f"{chosen}. Of {entry['sampled']:,} drawn at random from the other {entry['rest']:,},"
                f" {entry['missed']:,} {matter}: a miss rate of {percent(entry['miss_rate'])} ({low} to {high})"
                f"{_detectable(entry)}."
            )
    return notes


def _detectable(entry: ScreeningRecord) -> str:
    """Return which heads a miss rate speaks of; nothing for runs of earlier versions."""
    if "smallest_effect" not in entry:
        return ""
    smallest = entry["smallest_effect"]
    if smallest is None:
        return "; with these items, any effect would be missed in more than 2 of 10 runs"
    return f"; these items can show heads that cost {points(smallest).removeprefix('+')} points or more"


def accuracy_sentence(run: Run) -> str:
    """Say how many questions the model answers right, of each dataset: unlike datasets have no common accuracy.

    Never empty: ``tiny-reasoner answers 17 of 22 questions right (77 %).``
    """
    entries = {name: entry for name, entry in run.summary["datasets"].items() if entry["items"]}
    model = run.summary["model"]["name"]
    if not entries:
        return f"{model} was asked no question."
    if len(entries) == 1:
        (entry,) = entries.values()
        items, correct = entry["items"], entry["correct"]
        return f"{model} answers {correct:,} of {pluralise(items, 'question')} right ({percent(correct / items)})."
    by_dataset = [
        f"{entry['correct']:,} of {entry['items']:,} on {shorten(name, MOST_NAME)}" for name, entry in entries.items()
    ]
    return f"Right answers by {model}: {join_names(by_dataset, _MOST_NAMES)}."


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
    nulls = [(sentence, False) for group in groups(run) for sentence in direction_sentences(run, group, several)]
    inflated = [(sentence, False) for group in groups(run) if (sentence := _inflated_sentence(group, several))]
    logprob_sentences = [
        (_logprob_sentence(run, group, _ablation_suffix(group, several)), False) for group in without_accuracy_effect
    ]
    extent = [(sentence, True) for sentence in (*_chat_sentences(run), *_extent_sentences(run))]
    patches = [(sentence, False) for sentence in (*patch_sentences(run), *restored_sentences(run))]
    return [*extent, *patches, *finding_sentences, *inflated, *logprob_sentences, *nulls]


def _ablation_suffix(group: EffectGroup, several: bool) -> str:
    return f" ({group.ablation} ablation)" if several else ""


def chat_template_missed(run: Run) -> bool:
    """Whether the model has a chat template that was not used, and answers fewer than half of the questions right."""
    entries = run.summary["datasets"].values()
    items, right = (sum(entry[key] for entry in entries) for key in ("items", "correct"))
    unused = (run.summary.get("prompting") or {}).get("chat_template_unused")
    return bool(unused) and right < LOW_ACCURACY * items


def _chat_sentences(run: Run) -> list[str]:
    """Say first of all that a model which answers little was not asked in its chat template."""
    if not chat_template_missed(run):
        return []
    entries = run.summary["datasets"].values()
    share = percent(sum(entry["correct"] for entry in entries) / sum(entry["items"] for entry in entries))
    return [
        f"The model answers {share} right without its chat template. --probe-chat on uses it, which may change all that"
        " follows."
    ]


def _extent_sentences(run: Run) -> list[str]:
    """Say that the run is not the whole sweep, because it ended early or is a shard."""
    partial, shard = run.summary.get("partial"), run.summary.get("shard")
    notes = []
    if partial:
        notes.append(
            f"This run ended early, with {partial['done']:,} of {pluralise(partial['planned'], 'outcome')}:"
            " the same command continues from there (drop -x if that ended it)."
        )
    if shard:
        part = f"These are shards {shorten(shard, 40)}" if "," in shard else f"This is shard {shorten(shard, 40)}"
        notes.append(f"{part} of the items: reasoning-probe merge combines the shards.")
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
        forms = mixture(group)
        place = f"for {datasets}" if forms is None else f"on this mixture of {forms} forms of {datasets}"
        holding = [row["target"] for row in rows if forms is not None and holds_across_forms(row)]
        hold = "holds" if len(holding) == 1 else "hold"
        across = f"; {join_names(holding, 4)} {hold} across the forms" if holding else ""
        return f"{items_text}: {len(rows)} of {group.counted} {matter} {place}: {join_names(effects, 4)}{across}."
    if group.finding == "floor":
        return f"No {noun} can be judged on {datasets}: the baseline is 0 %."
    if group.finding == "none":
        marked = len(group.marked)
        alone = f" ({marked} would be if this map were tested alone)" if marked else ""
        return f"None of {group.counted} is shown to matter for {datasets}{alone}: {_power_text(group)}."
    if group.finding == "few_right":
        return (
            f"No drop on {datasets} can be significant: at least {needed} answers must become wrong, and only"
            f" {group.can_be_lost} of {items_text} are answered right."
        )
    fewest, most = min(member.items for member in members), max(member.items for member in members)
    items = pluralise(most, "item") if fewest == most else f"{fewest} to {pluralise(most, 'item')}"
    hint = "" if run.summary.get("invocation") else f"; {_more_items_hint(names, items_to_try(needed), run)}"
    return (
        f"None of {group.counted} can be significant on {datasets} with {items}: at least {needed} answers must flip"
        f" the same way{hint}."
    )


def _power_text(group: EffectGroup) -> str:
    """Return what the items could have shown; of an earlier version's run, what it needed at the least."""
    items = pluralise(group.items, "item")
    if group.family is None:
        return f"{items} can show no effect of fewer than {group.flips_needed} flips"
    if group.smallest_effect is None:
        return f"with {items}, no loss is large enough to be named in 8 of 10 such runs"
    loss = points(group.smallest_effect).removeprefix("+")
    return (
        f"with {items}, 8 of 10 such runs would name a {group.noun} that costs {loss} points; fewer would name a weaker"
        " one"
    )


def _inflated_sentence(group: EffectGroup, several: bool) -> str:
    """Say which named effects most such runs would have missed, so that those which name them show them too large."""
    rows = [row for row in group.significant if group.inflated(row)]
    if not rows:
        return ""
    effects = [f"{row['target']} ({points(row['delta'])}, shrunken {_shrunken(row)})" for row in rows]
    verb, they = ("has a smaller effect", "it was") if len(rows) == 1 else ("have smaller effects", "they were")
    place = f"{shorten(group.dataset, MOST_NAME)}{_ablation_suffix(group, several)}"
    return (
        f"{join_names(effects, _MOST_NAMES)} probably {verb} on {place} than measured: {they} named with less than"
        " 80 % power."
    )


def _shrunken(row: EffectRecord) -> str:
    shrunken = row.get("delta_shrunken")
    return "-" if shrunken is None else points(shrunken)


def _more_items_hint(datasets: list[str], items: int, run: Run) -> str:
    """Return the options that ask new items, ready to be typed: only generated datasets have any number of items.

    The items that were asked are left out: looking again at a growing sample counts as looking again.
    """
    asked_items = {name: entry["items"] for name, entry in run.summary["datasets"].items()}
    growing = [dataset for dataset in datasets if dataset in GENERATED]
    if all(dataset in GENERATED for dataset in asked_items) and len(set(asked_items.values())) == 1:
        return f"try {items} new ones, --probe-items {items}@{next(iter(asked_items.values()))}"
    counts = ",".join(f"{dataset}={items}@{asked_items[dataset]}" for dataset in growing)
    options = [f"{items} new ones, --probe-items {counts}"] if growing else []
    if fixed := [dataset for dataset in datasets if dataset not in GENERATED]:
        name = fixed[0] if len(fixed) == 1 and _SHELL_SAFE.fullmatch(fixed[0]) else "NAME"
        options.append(f"{items} new items by --probe-dataset {name}=FILE")
    return f"try {' and '.join(options)}"


def _logprob_sentence(run: Run, group: EffectGroup, ablation: str) -> str:
    """Say without which targets the expected answer's log-probability falls, or rises, on most items.

    On a sure model nearly everything that is removed moves it, so the sentence says how the losses rank.
    """
    falling = [row for row in group.with_logprob_effect if row.get("logprob_falls", 0) > row.get("logprob_rises", 0)]
    rising = [row for row in group.with_logprob_effect if row not in falling]
    parts = []
    for verb, rows in (("falls", falling), ("rises", rising)):
        effects = [f"{row['target']} ({nats(median_nats(row))})" for row in rows]
        if rows:
            parts.append(f"{verb} on most items without {len(rows)} of {group.counted}: {join_names(effects, 4)}")
    return (
        f"The log-probability of the expected answer on {shorten(group.dataset, MOST_NAME)}{ablation}"
        f" {'; it '.join(parts)} (median nats; {rank_text(run, group)})."
    )
