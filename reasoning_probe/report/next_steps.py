"""What to run next: commands that a shell takes as they stand, each with its reason and about how long it takes.

They are the run's own command with options added, of which pytest takes the last: a run without a command has none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_probe.data.generators import NAMES as GENERATED
from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.sentences import chat_template_missed
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import items_to_try
from reasoning_probe.utils.target_names import head_of

_MOST_HEADS = 4
_MOST_REPEATED = 20
_KEYWORD = re.compile(r"[\w.+:-]{1,80}")
"""An item's name that pytest's ``-k`` takes as one word."""


@dataclass(frozen=True)
class NextStep:
    """A command, why it helps, and about how many seconds it takes; ``None`` where this run's times do not say."""

    reason: str
    command: str
    seconds: float | None

    @property
    def time(self) -> str:
        """The estimate in words: ``about 40 s``, ``about 12 min``; empty where there is none."""
        if self.seconds is None:
            return ""
        if self.seconds < 100:
            return f"about {max(1, round(self.seconds)):,} s"
        return f"about {round(self.seconds / 60):,} min"


def next_steps(run: Run) -> list[NextStep]:
    """Return what this run's verdict calls for, the most urgent first; empty where its command is not known."""
    if _command(run) is None:
        return []
    steps = []
    if chat_template_missed(run):
        step = _step(run, "Put the questions in the model's chat template", ["--probe-chat", "on"], 1.0)
        steps.append(step)
    named = [group for group in groups(run) if group.significant]
    steps += _about_named(run, named) if named else _more_items(run)
    return steps


def _about_named(run: Run, named: Sequence[EffectGroup]) -> list[NextStep]:
    """Return how to confirm the named targets: on new items, under another ablation, and jointly."""
    rows = sorted((row for group in named for row in group.significant), key=lambda row: row["delta"])
    heads = list(dict.fromkeys(row["target"] for row in rows))[:_MOST_HEADS]
    share = (1 + len(heads)) / _targets(run)
    steps = []
    if all(name in GENERATED for name in run.summary["datasets"]):
        counts = {name: max(40, entry["items"]) for name, entry in run.summary["datasets"].items()}
        item_counts = {name: entry["items"] for name, entry in run.summary["datasets"].items()}
        spec = ",".join(f"{name}={counts[name]}@{item_counts[name]}" for name in counts)
        grown = sum(counts.values()) / max(1, sum(item_counts.values()))
        options = ["--probe-heads", ",".join(heads), "--probe-items", spec]
        steps.append(_step(run, "Confirm the named heads on new items", options, share * grown))
    if "mean" not in run.summary["ablation"].split(","):
        options = ["--probe-heads", ",".join(heads), "--ablation", "mean"]
        steps.append(_step(run, "See whether the effect stays under the mean ablation", options, share))
    pair = [head for head in heads if head_of(head) is not None][:2]
    if len(pair) == 2:
        options = ["--probe-heads", "+".join(pair)]
        steps.append(_step(run, "Switch the two strongest heads off together", options, 2 / _targets(run)))
    return steps


def _more_items(run: Run) -> list[NextStep]:
    """Return how to ask more items of the generated datasets on which nothing could be, or was, significant."""
    short = [group for group in groups(run) if group.finding in ("few_items", "few_right", "none")]
    wanted = {group.dataset: items_to_try(group.flips_needed) for group in short if group.dataset in GENERATED}
    if not wanted:
        return []
    item_counts = {name: run.summary["datasets"][name]["items"] for name in wanted}
    spec = ",".join(f"{name}={wanted[name]}@{item_counts[name]}" for name in wanted)
    grown = sum(wanted.values()) / max(1, sum(entry["items"] for entry in run.summary["datasets"].values()))
    return [_step(run, "Ask more items, new ones", ["--probe-items", spec], grown)]


def repeat_command(run: Run, items: Sequence[str]) -> str | None:
    """Return the command that asks only *items* again, with nothing off; ``None`` where no line can say it."""
    plain = [f"[{item}]" for item in items if _KEYWORD.fullmatch(item)]  # with brackets: add-1 is part of add-10
    if len(plain) < len(items) or not 0 < len(items) <= _MOST_REPEATED:
        return None
    command = _command(run)
    return None if command is None else f"{command} -k {shlex.quote(' or '.join(dict.fromkeys(plain)))}"


def _command(run: Run) -> str | None:
    invocation = run.summary.get("invocation")
    return invocation["command"] if invocation else None


def _targets(run: Run) -> int:
    """Return the number of targets that were asked, the baseline with them."""
    return max(1, len({(outcome.target, outcome.ablation) for outcome in run.outcomes} | {(BASELINE, None)}))


def _step(run: Run, reason: str, options: Sequence[str], share: float) -> NextStep:
    """Return the step of the run's command with *options*, whose cases are *share* of this run's."""
    timing = run.summary["timing"]
    answering = (timing.get("baseline_s") or 0.0) + (timing.get("sweep_s") or 0.0)
    total = timing.get("total_s")
    seconds = None if total is None else max(0.0, total - answering) + share * answering
    recalled = run.summary["engine"].get("recalled")  # answers of the outcome store took no time
    return NextStep(reason, f"{_command(run)} {shlex.join(options)}", None if recalled else seconds)
