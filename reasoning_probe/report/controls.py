"""What the control task and a second ablation say of the strongest targets, in sentences."""

from __future__ import annotations

from reasoning_probe.report.effects import groups, significant
from reasoning_probe.report.text import listed, nats
from reasoning_probe.results.run import Run

BROKEN = -0.5
"""Nats per token: a target that costs plain text so much (its perplexity grows by 65 %) breaks the model."""

_MOST = 4


def control_sentences(run: Run) -> list[str]:
    """Return whether the targets that matter also break plain text, and which ranks hang on the ablation."""
    control = run.summary.get("control")
    sentences = [] if control is None else _controlled(run, control["targets"])
    changed = [
        f"{change['target']} ({', '.join(f'{name} {rank}' for name, rank in change['ranks'].items())})"
        for change in run.summary.get("rank_changes") or ()
    ]
    if changed:
        sentences.append(f"The rank depends on the ablation for {listed(changed, _MOST)}: trust none of these alone.")
    return sentences


def _controlled(run: Run, rows: list[dict[str, object]]) -> list[str]:
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
        delta = float(str(row["delta"])) if row["delta"] is not None else None
        name = f"{row['target']}{suffix} ({nats(delta)})"
        (broken if delta is None or delta <= BROKEN else spared).append(name)
    sentences = []
    if broken:
        sentences.append(
            f"Without {listed(broken, _MOST)} the model is broken: plain text suffers, too (nats a token)."
        )
    if spared:
        sentences.append(
            f"Plain text hardly needs {listed(spared, _MOST)} (nats a token): reasoning, not a broken model."
        )
    return sentences
