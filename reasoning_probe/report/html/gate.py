"""The gate's verdict, and what bears on how far the effects can be trusted, as HTML."""

from __future__ import annotations

from markupsafe import Markup

from reasoning_probe.report.html.rendering import minus, render
from reasoning_probe.report.html.tables import FoldedTable, Table
from reasoning_probe.report.next_steps import repeat_command
from reasoning_probe.report.owners import owner
from reasoning_probe.report.races import race_sentences
from reasoning_probe.report.run_notes import reference_lines
from reasoning_probe.report.sentences import screening_sentences
from reasoning_probe.results.control import guesses_plain_text
from reasoning_probe.results.record import GateRecord, ReferenceRecord, RegressionRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import pluralise

MOST_ROWS = 100


def gate_html(run: Run) -> Markup:
    """Return the gate's result, a line for each check, and the items that got worse; empty where a run has no gate."""
    gate = run.summary.get("gate")
    if not gate:
        return Markup()
    return render(
        "gate",
        passed=gate["passed"],
        checks=gate["checks"][:MOST_ROWS],
        notes=(gate.get("notes") or [])[:MOST_ROWS],
        since=reference_lines(gate),
        changed=_changed(gate),
        regressions=_regressions(run, gate.get("regressions") or []),
        repeat=repeat_command(run, [item["item"] for item in gate.get("regressions") or []]),
    )


def _changed(gate: GateRecord) -> Table | None:
    since = gate.get("since")
    rows = since["changed"] if since else []
    title = "Settings that differ from the reference's"
    return Table(title, ["setting", "reference", "now"], rows[:MOST_ROWS], names=3) if rows else None


def _regressions(run: Run, regressions: list[RegressionRecord]) -> FoldedTable | None:
    if not regressions:
        return None
    by_mistake = sorted(regressions, key=lambda item: item["category"] or "")
    owned = bool(run.summary.get("owners"))
    rows = [
        (
            item["category"] or "wrong",
            item["dataset"],
            item["item"],
            item["question"],
            item["expected"],
            *("nothing" if answer is None else answer for answer in (item.get("before", "-"), item["answer"])),
            *([owner(run, item["dataset"]) or "nobody"] if owned else []),
        )
        for item in by_mistake[:MOST_ROWS]
    ]
    cut = f": the first {MOST_ROWS}" if len(regressions) > MOST_ROWS else ""
    head = ["mistake", "dataset", "item", "question", "expected", "was", "now", *(["owner"] if owned else [])]
    table = Table(f"Right in the reference, wrong now{cut}", head, rows, names=len(head))
    return FoldedTable(f"{pluralise(len(regressions), 'answer')} that got worse", table)


def trust_html(run: Run) -> Markup:
    """Return what bears on the effects: neutral sentences, other ablations, screening, races, the reference."""
    return render(
        "trust",
        control=_control(run),
        rank_changes=_rank_changes(run),
        notes=[*screening_sentences(run)[:MOST_ROWS], *race_sentences(run)[:MOST_ROWS], *_reference(run)],
    )


def _control(run: Run) -> str:
    control = run.summary.get("control")
    if not control:
        return ""
    logprob = control["logprob"]
    measured = "none" if logprob is None else f"{minus(format(logprob, '+.2f'))} nats a token"
    meaning = (
        "Guessing among all tokens does as well, so this cannot serve as a control."
        if guesses_plain_text(control)
        else "The ranking's last column shows how each target changes this."
    )
    return (
        f"Control: {pluralise(control['sentences'], 'neutral sentence')} of {pluralise(control['tokens'], 'token')}"
        f" have a mean log-probability of {measured} with nothing switched off. {meaning}"
    )


def _rank_changes(run: Run) -> FoldedTable | None:
    changes = run.summary.get("rank_changes")
    if not changes:
        return None
    ablations = list(dict.fromkeys(ablation for change in changes for ablation in change["ranks"]))
    rows = [
        (change["target"], change["dataset"], *(change["ranks"].get(ablation, "-") for ablation in ablations))
        for change in changes[:MOST_ROWS]
    ]
    caption = "These have an effect under the ablation that ranks them high, and none under the one that ranks them low"
    table = Table(caption, ["target", "dataset", *(f"rank, {ablation}" for ablation in ablations)], rows, names=2)
    return FoldedTable(f"{pluralise(len(changes), 'target')} whose rank changes between ablations", table)


def _reference(run: Run) -> list[str]:
    """Return what each ablation's values were taken from, a sentence an ablation."""
    return [
        f"{ablation} ablation: values from {pluralise(_prompts(entry), 'reference prompt')}"
        + (f", averaged by {entry['averaged']}" if entry.get("averaged") else "")
        + (f", seed {entry['seed']}" if entry.get("seed") is not None else "")
        + "".join(f"; {dataset} {prompts['sha256'][:12]}" for dataset, prompts in list(entry["datasets"].items())[:8])
        + " (sha256)."
        for ablation, entry in list((run.summary.get("reference") or {}).items())[:MOST_ROWS]
        if _prompts(entry)
    ]


def _prompts(entry: ReferenceRecord) -> int:
    return sum(prompts["prompts"] for prompts in entry["datasets"].values())
