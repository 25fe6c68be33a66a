"""What to run next: commands that a shell takes as they stand, each with its reason and about how long it takes.

They are the run's own command with options added, of which pytest takes the last: a run without a command has none.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reasoning_probe.data.generators import NAMES as GENERATED
from reasoning_probe.data.generators import available, is_spec
from reasoning_probe.report.effects import EffectGroup, groups
from reasoning_probe.report.sentences import chat_template_missed
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import items_to_try
from reasoning_probe.utils.target_names import head_of
from reasoning_probe.utils.text import join_names

_MOST_HEADS = 4
_MOST_REPEATED = 20
_LONGEST_COMMAND = 10_000  # characters
_KEYWORD = re.compile(r"[\w.+:-]{1,80}")
"""An item's name that pytest's ``-k`` takes as one word."""

_OF_THE_WHOLE_RUN = {
    "--probe-reference": 1,
    "--probe-max-drop": 1,
    "--probe-update-reference": 0,
    "--probe-screen": 1,
}
"""Options with the number of their values that a step leaves out, since it asks other items, or other heads."""


@dataclass(frozen=True)
class NextStep:
    """A command, why it helps, and about how many seconds it takes; ``None`` where this run's times do not say."""

    reason: str
    command: str
    options: str
    """What the command adds to this run's; empty where it is the same."""
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
        steps.append(_step(run, "Put the questions in the model's chat template", ["--probe-chat", "on"], 1.0))
    if run.summary.get("partial"):
        return [*steps, _go_on(run)]
    if not run.summary["targets"]:
        return [*steps, _switch_off(run)]
    named = [group for group in groups(run) if group.significant]
    steps += _about_named(run, named) if named else _about_none(run)
    return steps or [_with_mean(run, [])]


def _go_on(run: Run) -> NextStep:
    """Return the command of a run that ended early, which goes on from the outcome store."""
    partial = run.summary.get("partial") or {"planned": 1, "done": 1}
    share = (partial["planned"] - partial["done"]) / max(1, partial["done"])
    return _step(run, "Continue where this run ended", [], share, whole=True)


def _switch_off(run: Run) -> NextStep:
    """Return how to switch every head off; a row takes at most as long as an answer of the whole model."""
    model = run.summary["model"]
    heads = model["layers"] * model["heads"]
    return _step(run, "Switch every head off, one at a time", ["--ablate-heads"], 1.0 + heads)


def _about_named(run: Run, named: Sequence[EffectGroup]) -> list[NextStep]:
    """Return how to confirm the named targets: on new items, under another ablation, and jointly."""
    rows = sorted((row for group in named for row in group.significant), key=lambda row: row["delta"])
    heads = list(dict.fromkeys(row["target"] for row in rows))[:_MOST_HEADS]
    share = (1 + len(heads)) / _targets(run)
    steps = []
    item_counts = {name: entry["items"] for name, entry in run.summary["datasets"].items()}
    wanted = {group.dataset: max(40, item_counts[group.dataset]) for group in named}
    spec, counts = _new_items(run, wanted)
    if counts:
        grown = sum((item_counts | counts).values()) / max(1, sum(item_counts.values()))
        options = ["--probe-heads", ",".join(heads), "--probe-items", spec]
        what = "heads" if all(map(head_of, heads)) else "targets"
        steps.append(_step(run, f"Confirm the named {what} on new items", options, share * grown))
    if "mean" not in run.summary["ablation"].split(","):
        steps.append(_with_mean(run, heads))
    pair = [head for head in heads if head_of(head) is not None][:2]
    if len(pair) == 2:
        options = ["--probe-heads", "+".join(pair)]
        steps.append(_step(run, "Switch the two strongest heads off together", options, 2 / _targets(run)))
    return steps


def _with_mean(run: Run, heads: Sequence[str]) -> NextStep:
    """Return how to see whether the effects of *heads*, or of all where there are none, stay under mean ablation."""
    if "mean" in run.summary["ablation"].split(","):
        return _step(run, "Replace outputs with those of other questions", ["--ablation", "resample"], 1.0)
    options = ["--probe-heads", ",".join(heads)] if heads else []
    share = (1 + len(heads)) / _targets(run) if heads else 1.0
    return _step(run, "Check whether the effect holds under mean ablation", [*options, "--ablation", "mean"], share)


def _about_none(run: Run) -> list[NextStep]:
    """Return how to learn more where no target is named: more items, worked examples, layers in place of heads."""
    steps = _more_items(run)
    floors = [group.dataset for group in groups(run) if group.finding == "floor"]
    answerable = [name for name in dict.fromkeys(floors) if name in GENERATED or _is_gsm8k(run, name)]
    if answerable and not (run.summary.get("prompting") or {}).get("shots"):
        names = join_names(answerable)
        steps.append(_step(run, f"Give {names} two worked examples", ["--probe-shots", "2"], 1.0))
    by_logprob = [row["target"] for group in groups(run) for row in group.with_logprob_effect]
    if by_logprob:
        steps.append(_with_mean(run, list(dict.fromkeys(by_logprob))[:_MOST_HEADS]))
    layers = run.summary["model"]["layers"]
    if not steps and layers > 1 and any(group.noun == "head" and not group.floor for group in groups(run)):
        share = (1 + layers) / _targets(run)
        options = ["--probe-heads", f"L0-L{layers - 1}"]
        steps.append(_step(run, "Ask which layers matter: fewer targets need fewer flips", options, share))
    return steps


def _more_items(run: Run) -> list[NextStep]:
    """Return how to ask more items of the generated datasets on which nothing could be, or was, significant."""
    short = [group for group in groups(run) if group.finding in ("few_items", "few_right", "none")]
    spec, counts = _new_items(run, {group.dataset: items_to_try(group.flips_needed) for group in short})
    if not counts:
        return []
    grown = sum(counts.values()) / max(1, sum(entry["items"] for entry in run.summary["datasets"].values()))
    return [_step(run, "Ask more new items", ["--probe-items", spec], grown)]


def _new_items(run: Run, wanted: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """Return the value of ``--probe-items`` that asks new items of generated datasets, and how many it asks of each.

    These are as many as are *wanted*, or as the generator has; a dataset without any is left out.
    """
    counts: dict[str, int] = {}
    specs = []
    for name, most in wanted.items():
        generator = _generator(run, name)
        first = _first_item(run, name) + run.summary["datasets"][name]["items"]
        count = 0 if generator is None else available(generator, first + most) - first
        if count > 0:
            counts[name] = count
            specs.append(f"{name}={count}@{first}")
    return ",".join(specs), counts


def _generator(run: Run, dataset: str) -> str | None:
    """Return what generates *dataset*, ``arithmetic`` or ``arithmetic:digits=1``; ``None`` where a file holds it."""
    if dataset not in GENERATED:
        return None
    sources = [value.partition("=")[2] for value in _values(run, "--probe-dataset") if value.startswith(f"{dataset}=")]
    source = sources[-1] if sources else dataset
    return source if source in GENERATED or is_spec(source) else None


def _first_item(run: Run, dataset: str) -> int:
    """Return from which item of *dataset* on this run asked."""
    starts = [re.search(rf"(?:^|,){re.escape(dataset)}=\d+@(\d+)", value) for value in _values(run, "--probe-items")]
    return int(starts[-1][1]) if starts and starts[-1] else 0


def _values(run: Run, option: str) -> list[str]:
    """Return the values that the run's command gives to *option*."""
    words = shlex.split(_command(run) or "")
    following = [value for name, value in itertools.pairwise(words) if name == option]
    return [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")] + following


def _is_gsm8k(run: Run, dataset: str) -> bool:
    """Tell whether *dataset* is in GSM8K's format, for which worked examples can be made."""
    return run.summary["datasets"][dataset].get("format") == "gsm8k"


def repeat_command(run: Run, items: Sequence[str]) -> str | None:
    """Return the command that asks only *items* again, with nothing off; ``None`` where no line can say it."""
    plain = [f"[{item}]" for item in items if _KEYWORD.fullmatch(item)]  # with brackets: add-1 is part of add-10
    if len(plain) < len(items) or not 0 < len(items) <= _MOST_REPEATED:
        return None
    command = _command(run)
    return None if command is None else f"{command} -k {shlex.quote(' or '.join(dict.fromkeys(plain)))}"


def _command(run: Run) -> str | None:
    """Return the run's command as a shell takes it: words for pytest, each quoted; ``None`` where there is none.

    The run may be another's, and its command is read by whoever copies one of the steps: what is no call of pytest, or
    would not be shown as it is copied, is no command.
    """
    invocation = run.summary.get("invocation")
    text = (invocation["command"] if invocation else None) or ""
    if not text.isprintable() or len(text) > _LONGEST_COMMAND:
        return None
    try:
        words = shlex.split(text)
    except ValueError:  # a quote without its other
        return None
    return shlex.join(words) if words[:1] == ["pytest"] else None


def _command_of_a_part(run: Run, options: Sequence[str]) -> str:
    """Return the run's command without the options that hold for all its items and heads, or that *options* replace."""
    replaced = {
        name: 1 for name, value in itertools.pairwise(options) if name.startswith("--") > value.startswith("--")
    }
    left_out = _OF_THE_WHOLE_RUN | replaced
    words = iter(shlex.split(_command(run) or ""))
    remaining = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in left_out:
            remaining.append(word)
        elif not equals:
            for _ in range(left_out[name]):
                next(words, None)
    return shlex.join(remaining)


def _targets(run: Run) -> int:
    """Return the number of targets that were asked, the baseline with them."""
    return max(1, len({(outcome.target, outcome.ablation) for outcome in run.outcomes} | {(BASELINE, None)}))


def _once(run: Run) -> float:
    """Return the seconds that a run takes however many cases it has: the model is loaded, and its heads are proved."""
    timing = run.summary["timing"]
    return (timing.get("load_s") or 0.0) + (timing.get("proof_s") or 0.0)


def _step(run: Run, reason: str, options: Sequence[str], share: float, *, whole: bool = False) -> NextStep:
    """Return the step of the run's command with *options*, whose cases are *share* of this run's.

    Of a *whole* run the command stays as it is; otherwise it loses what holds for all items and heads.
    """
    total, once = run.summary["timing"].get("total_s"), _once(run)
    seconds = None if total is None else once + share * max(0.0, total - once)
    recalled = run.summary["engine"].get("recalled")  # answers of the outcome store took no time
    added = shlex.join(options)
    command = str(_command(run)) if whole else _command_of_a_part(run, options)
    return NextStep(reason, f"{command} {added}".rstrip(), added, None if recalled else seconds)
