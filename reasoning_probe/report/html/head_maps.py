"""What each target does, as HTML: a dataset's maps with their numbers, the layers, the curve, the ranked targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from reasoning_probe.report.effects import EffectGroup, Finding, groups, harms_plain_text, moves_logprob, significant
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.figure import SvgFigure
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB, Measure
from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.format import nats, p_value, points
from reasoning_probe.report.html.curves import curve_html
from reasoning_probe.report.html.elements import details, figure, minus, name, note, row, table, whole
from reasoning_probe.results.record import ControlTargetRecord, EffectRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.target_names import part_name
from reasoning_probe.utils.text import escape, pluralise

MOST_RANKED = 20
"""Rows of a table of ranked targets; the next ones open beneath it."""
MOST_LISTED = 300
"""Rows in all; ``run.json`` has every one."""

_SHORT: dict[Finding, str] = {
    "none": "none significant",
    "few_right": "too few right answers to tell",
    "few_items": "too few items to tell",
    "floor": "not measurable, baseline 0 %",
}


def maps_html(run: Run) -> str:
    """Return the maps, a dataset at a time; the most telling one is open."""
    shown = groups(run)
    order = get_args(Finding)
    opened = min(shown, key=lambda group: order.index(group.finding), default=None)
    return "".join(
        details(
            _label(group, shown), _Panel(run, group, index).html(), opened=group is opened, attributes=' name="rp-maps"'
        )
        for index, group in enumerate(shown)
    )


def _label(group: EffectGroup, shown: Sequence[EffectGroup]) -> str:
    several = len({other.ablation for other in shown}) > 1
    ablation = f" · {escape(group.ablation)} ablation" if several else ""
    found = f"{len(group.significant)} significant" if group.significant else _SHORT[group.finding]
    return f'{name(group.dataset)}{ablation} <span class="rp-facts">{found}</span>'


class _Panel:
    """What is shown of one dataset under one ablation; *index* makes its ids and tells the script its data."""

    def __init__(self, run: Run, group: EffectGroup, index: int) -> None:
        self.group, self.index = group, index
        self.pictures = GroupFigures(run, group, index)
        self.layers, self.columns, self.cells = self.pictures.layers, self.pictures.columns, self.pictures.cells

    def html(self) -> str:
        parts = []
        if self.cells:
            logprob = self._map(LOGPROB, "l")
            if self.group.finding == "floor":
                why = "No baseline answer is right, so no accuracy can be lost. This shows the log-probability instead."
                parts += [note(why), logprob, self._numbers()]
            else:
                parts += [
                    self._map(ACCURACY, "a"),
                    self._numbers(),
                    details("Log-probability of the expected answer", logprob),
                ]
        return "".join([*parts, self._shifts(), self._bars(), curve_html(self.pictures)])

    def _map(self, measure: Measure, letter: str) -> str:
        said = (
            f"{measure.name} in {measure.unit} with {self._one()} off. Red loses, blue gains, ○ is significant"
            " (Holm, 0.05)."
            + (" Hatched: not measured." if len(self.cells) < len(self.layers) * len(self.columns) else "")
        )
        return self._figure(self.pictures.heatmap(measure, letter), said)

    def _one(self) -> str:
        """Say what a cell of the map is."""
        words = {"H": "head", "K": "key/value group", "M": "MLP"}
        kinds = list(dict.fromkeys(words[column[0]] for column in self.columns))
        return f"one {kinds[0]}" if len(kinds) == 1 else f"one {', '.join(kinds[:-1])} or {kinds[-1]}"

    def _figure(self, picture: SvgFigure, caption: str) -> str:
        return figure(picture.svg(), caption, f' data-map="{self.index}"')

    def _numbers(self) -> str:
        means = self.pictures.means
        rows = [
            row(
                part_name(layer),
                *(_number(self.cells.get((layer, column))) for column in self.columns),
                minus(points(means[layer])) if layer in means else "-",
            )
            for layer in self.layers[: plots.MOST_CELLS // max(1, len(self.columns))]
        ]
        caption = "Accuracy change in points, beneath it log-probability change in nats; * is significant"
        head = ["layer", *self.columns, "mean"]
        return details("Numbers of the maps", table(caption, head, rows))

    def _shifts(self) -> str:
        measures = self.pictures.shifts
        if not measures:
            return ""
        maps = [
            self._figure(picture, f"{category}: red more, blue fewer")
            for category, picture in self.pictures.shift_maps().items()
        ]
        moved = [effect for effect in self.group.rows if any((effect.get("shift") or {}).values())]
        rows = [
            row(name(effect["target"]), *(minus(measure.text(effect)) for measure in measures.values()))
            for effect in moved[:MOST_LISTED]
        ]
        caption = "Change in the number of wrong answers of each category with the target off"
        body = f'<div class="rp-small">{"".join(maps)}</div>' + details(
            "Numbers by category", table(caption, [self.group.noun, *measures], rows)
        )
        return details("Category shift: how the mistakes change", body)

    def _bars(self) -> str:
        picture = self.pictures.layer_bars()
        if picture is None:
            return ""
        means, whole = self.pictures.means, self.pictures.whole
        caption = (
            "Mean accuracy change of a layer's heads, in points." if means else "Accuracy change by layer, in points."
        )
        if whole:
            caption += " ◆ is the layer switched off as a whole."
        columns = {"mean of its heads": means, "the whole layer": whole}
        shown = {head: changes for head, changes in columns.items() if changes}
        rows = [
            row(
                part_name(layer),
                *(minus(points(changes[layer])) if layer in changes else "-" for changes in shown.values()),
            )
            for layer in self.layers
            if any(layer in changes for changes in shown.values())
        ]
        numbers = details("Numbers by layer", table("Accuracy change in points, by layer", ["layer", *shown], rows))
        return details("Layers", figure(picture.svg(), caption) + numbers)


def _number(effect: EffectRecord | None) -> str:
    if effect is None:
        return "-"
    accuracy = minus(points(effect["delta"])) + "*" * significant(effect)
    return f"{accuracy}<br><small>{minus(nats(effect['delta_logprob']))}{'*' * moves_logprob(effect)}</small>"


def ranked_html(run: Run) -> str:
    """Return the tables of the strongest targets."""
    shown = groups(run)
    opened = [group for group in shown if group.significant] or shown[:1]
    task = run.summary.get("control")
    control = {(entry["target"], str(entry["ablation"])): entry for entry in (task["targets"] if task else ())}
    return "".join(
        details(_label(group, shown), _ranking(group, index, control), opened=group in opened)
        for index, group in enumerate(shown)
    )


def _ranking(group: EffectGroup, index: int, control: dict[tuple[str, str], ControlTargetRecord]) -> str:
    head = [
        group.noun,
        "accuracy (points)",
        "95 % interval",
        "right to wrong",
        "wrong to right",
        "p, McNemar",
        "p, Holm",
    ]
    head += [
        "q, B-H",
        "log-prob. (nats)",
        "its interval",
        "its p, Holm",
        *(["neutral text (nats a token)"] if control else []),
    ]
    rows = []
    for effect in group.rows[:MOST_LISTED]:
        low, high = effect["delta_ci95"]
        spread = effect.get("delta_logprob_ci95")
        mark = '\xa0<span class="rp-mark" title="significant">○</span>' if significant(effect) else ""
        known = control.get((effect["target"], group.ablation))
        rows.append(
            row(
                f'<span class="rp-target" data-map="{index}" data-target="{escape(effect["target"])}">'
                f"{name(effect['target'])}</span>{mark}",
                f'<span class="rp-nowrap">{_signed_bar(effect["delta"])}{minus(points(effect["delta"]))}</span>',
                whole(minus(f"{points(low)} to {points(high)}")),
                f"{effect['flips_to_wrong']:,}",
                f"{effect['flips_to_right']:,}",
                *(whole(escape(p_value(p))) for p in (effect["p_value"], effect["p_adjusted"], effect.get("q_value"))),
                minus(nats(effect["delta_logprob"])),
                whole(minus(f"{nats(spread[0])} to {nats(spread[1])}")) if spread else "-",
                whole(escape(p_value(effect.get("logprob_p_adjusted")))),
                *([_neutral(known)] if control else []),
            )
        )
    caption = f"{group.dataset}: {pluralise(group.items, 'item')}, paired with the baseline, intervals at 95 %"
    cut = f"; the {MOST_RANKED} strongest of {len(group.rows):,}" if len(rows) > MOST_RANKED else ""
    shown = table(caption + cut, head, rows[:MOST_RANKED])
    if cut:
        left = f"; {len(group.rows) - len(rows):,} more are in run.json" if len(group.rows) > len(rows) else ""
        rest = table(f"{group.dataset}: the next {len(rows) - MOST_RANKED:,}{left}", head, rows[MOST_RANKED:])
        shown += details(f"The next {len(rows) - MOST_RANKED:,}", rest)
    return f'<div class="rp-ranked">{shown}</div>'


def _neutral(known: ControlTargetRecord | None) -> str:
    if known is None or known["delta"] is None:
        return "-"
    flag = ' <span class="rp-flag">⚑ harms plain text</span>' if harms_plain_text(known) else ""
    return minus(f"{known['delta']:+.3f}") + flag


def _signed_bar(change: float) -> str:
    side = "rp-loss" if change < 0 else "rp-gain"
    return f'<span class="rp-signed {side}" aria-hidden="true" style="--share:{min(1.0, abs(change)):.3f}"></span>'
