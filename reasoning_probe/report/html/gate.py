"""What stands beside the effects, as HTML: the gate, how far they can be trusted; empty where a run has none of it."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning_probe.report.format import p_value
from reasoning_probe.report.html.elements import details, minus, name, note, prose, row, table
from reasoning_probe.report.sentences import screening_sentences
from reasoning_probe.results.record import ReferenceRecord, RegressionRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import escape, pluralise

MOST_ROWS = 100
_MARKS = {True: "✓", False: "✗", None: "○"}


def gate_html(run: Run) -> str:
    """Return the gate's result, a line for each check, and the items that got worse."""
    gate = run.summary.get("gate")
    if not gate:
        return ""
    sign, said = {
        True: ("rp-right", "✓ Gate passed"),
        False: ("rp-wrong", "✗ Gate failed"),
        None: ("rp-facts", "○ Gate undecided"),
    }[gate["passed"]]
    lines = "".join(
        f"<li>{_MARKS[check['passed']]} {prose(check['line'])}{_significance(check.get('p_value'))}</li>"
        for check in gate["checks"][:MOST_ROWS]
    )
    lines += "".join(f"<li>{prose(line)}</li>" for line in (gate.get("notes") or ())[:MOST_ROWS])
    verdict = f'<p><strong><span class="{sign}">{said}</span></strong></p><ul>{lines}</ul>'
    return f'<div class="rp-gate">{verdict}{_regressions(gate.get("regressions") or [])}</div>'


def _regressions(found: Sequence[RegressionRecord]) -> str:
    if not found:
        return ""
    rows = [
        row(
            name(item["dataset"]),
            name(item["item"]),
            name(item["question"]),
            name(item["expected"]),
            name("nothing" if item["answer"] is None else item["answer"]),
        )
        for item in found[:MOST_ROWS]
    ]
    caption = "Right in the reference, wrong now" + (f": the first {MOST_ROWS}" if len(found) > MOST_ROWS else "")
    head = ["dataset", "item", "question", "expected", "answered"]
    return details(f"{pluralise(len(found), 'answer')} that got worse", table(caption, head, rows))


def _significance(p: float | None) -> str:
    return "" if p is None else f' <span class="rp-facts">p {escape(p_value(p))}</span>'


def trust_html(run: Run) -> str:
    """Return what bears on the effects: the neutral sentences, the other ablations, the screening, the reference."""
    return _control(run) + _rank_changes(run) + _screening(run) + _reference(run)


def _control(run: Run) -> str:
    control = run.summary.get("control")
    if not control:
        return ""
    return note(
        f"Control: {pluralise(control['sentences'], 'neutral sentence')} of {pluralise(control['tokens'], 'token')}"
        f" have a log-probability of {minus(format(control['logprob'], '+.2f'))} nats a token with nothing switched"
        " off. A target that lowers this, too, breaks the model rather than its reasoning: see the"
        " ranking's last column."
    )


def _rank_changes(run: Run) -> str:
    changes = run.summary.get("rank_changes")
    if not changes:
        return ""
    ablations = list(dict.fromkeys(ablation for change in changes for ablation in change["ranks"]))
    rows = [
        row(
            name(change["target"]),
            name(change["dataset"]),
            *(escape(change["ranks"].get(ablation, "-")) for ablation in ablations),
        )
        for change in changes[:MOST_ROWS]
    ]
    head = ["target", "dataset", *(f"rank, {ablation}" for ablation in ablations)]
    caption = "These rank differently by what replaces a head's output, so one ablation alone does not tell"
    return details(
        f"{pluralise(len(changes), 'target')} whose rank changes between ablations", table(caption, head, rows)
    )


def _screening(run: Run) -> str:
    return "".join(note(sentence) for sentence in screening_sentences(run)[:MOST_ROWS])


def _reference(run: Run) -> str:
    return "".join(
        note(
            f"{ablation} ablation: replaced from {pluralise(_prompts(entry), 'reference prompt')}"
            + (f", averaged by {entry['averaged']}" if entry.get("averaged") else "")
            + (f", seed {entry['seed']}" if entry.get("seed") is not None else "")
            + "".join(f"; {dataset} {used['sha256'][:12]}" for dataset, used in list(entry["datasets"].items())[:8])
            + " (sha256)."
        )
        for ablation, entry in list((run.summary.get("reference") or {}).items())[:MOST_ROWS]
        if _prompts(entry)
    )


def _prompts(entry: ReferenceRecord) -> int:
    return sum(used["prompts"] for used in entry["datasets"].values())
