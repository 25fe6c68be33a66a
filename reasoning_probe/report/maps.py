"""What each target does, as HTML: a map a dataset, its numbers, the layers, the ranked targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from reasoning_probe.report import figures
from reasoning_probe.report.html import details, figure, minus, name, note, row, table
from reasoning_probe.report.text import count, escape, nats, p_value, points
from reasoning_probe.report.verdict import Finding, Group, Row, groups, in_layer_order, moves_logprob, significant
from reasoning_probe.store import Run

MOST_RANKED = 20
"""Rows of a table of ranked targets; ``run.json`` has all."""
MOST_NUMBERS = 1100
"""Cells up to which a map's numbers stand beside it in a table; a model of 32 layers of 32 heads has 1,024."""

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
            _label(group, shown),
            _map(run, group, f"rp-m{index}"),
            opened=group is opened,
            attributes=' name="rp-maps"',
        )
        for index, group in enumerate(shown)
    )


def layer_indices(run: Run) -> list[int]:
    """Return the numbers of the model's attention layers, which are not contiguous in a hybrid."""
    model = run.summary["model"]
    return list(model.get("layer_indices") or range(min(model["layers"], figures.MOST_CELLS)))


def _label(group: Group, shown: Sequence[Group]) -> str:
    several = len({other.ablation for other in shown}) > 1
    ablation = f" · {escape(group.ablation)} ablation" if several else ""
    found = f"{len(group.significant)} significant" if group.significant else _SHORT[group.finding]
    return f'{name(group.dataset)}{ablation} <span class="rp-facts">{found}</span>'


def _map(run: Run, group: Group, ids: str) -> str:
    layers, heads = layer_indices(run), min(int(run.summary["model"]["heads"]), figures.MOST_CELLS)
    parts = []
    if in_layer_order(group.rows):
        logprob = _heatmap(group, layers, heads, "delta_logprob", f"{ids}l")
        if group.finding == "floor":
            why = "No baseline answer is right, so no accuracy can be lost. This shows the log-probability instead."
            parts += [note(why), logprob]
        else:
            parts.append(_heatmap(group, layers, heads, "delta", f"{ids}a"))
            parts.append(details("Log-probability of the expected answer", logprob))
        parts.append(_numbers(group, layers, heads))
    return "".join([*parts, _bars(group, layers, f"{ids}b")])


def _heatmap(group: Group, layers: Sequence[int], heads: int, metric: figures.Metric, ids: str) -> str:
    what = "Accuracy change in points" if metric == "delta" else "Log-probability change of the expected answer in nats"
    svg = figures.heatmap(
        group.rows,
        layers,
        heads,
        metric=metric,
        name=ids,
        title=f"{what}, {group.dataset}, by layer and head",
        description=figures.describe(group.rows, metric),
    )
    missing = " Hatched: not measured." if len(in_layer_order(group.rows)) < len(layers) * heads else ""
    return figure(svg, f"{what} with one head off: red loses, blue gains, ○ is significant (Holm, 0.05).{missing}")


def _bars(group: Group, layers: Sequence[int], ids: str) -> str:
    means, whole = figures.layer_means(group.rows, layers), figures.whole_layers(group.rows, layers)
    if not any(means.values()) and not whole:
        return ""
    caption = "Mean accuracy change of a layer's heads, in points." if means else "Accuracy change by layer, in points."
    if whole:
        caption += " ◆ is the layer switched off as a whole."
    said = ", ".join(f"L{layer} {points(change)}" for layer, change in [*means.items(), *whole.items()][:64])
    title = f"Accuracy change by layer, {group.dataset}"
    return figure(figures.layer_bars(means, whole, layers, name=ids, title=title, description=said), caption)


def _numbers(group: Group, layers: Sequence[int], heads: int) -> str:
    if len(layers) * heads > MOST_NUMBERS:
        return note("The numbers of all heads are in run.json.")
    cells, means = in_layer_order(group.rows), figures.layer_means(group.rows, layers)
    rows = [
        row(
            f"L{layer}",
            *(_number(cells.get((layer, head))) for head in range(heads)),
            minus(points(means[layer])) if layer in means else "-",
        )
        for layer in layers
    ]
    caption = "Accuracy change in points, beneath it log-probability change in nats; * is significant"
    return details("The numbers", table(caption, ["", *(f"H{head}" for head in range(heads)), "mean"], rows))


def _number(effect: Row | None) -> str:
    if effect is None:
        return "-"
    accuracy = minus(points(effect["delta"])) + "*" * significant(effect)
    return f"{accuracy}<br><small>{minus(nats(effect['delta_logprob']))}{'*' * moves_logprob(effect)}</small>"


def ranked_html(run: Run) -> str:
    """Return the tables of the strongest targets."""
    shown = groups(run)
    opened = [group for group in shown if group.significant] or shown[:1]
    return "".join(details(_label(group, shown), _ranking(group), opened=group in opened) for group in shown)


def _ranking(group: Group) -> str:
    cut = f"; the {MOST_RANKED} strongest of {len(group.rows):,}" if len(group.rows) > MOST_RANKED else ""
    caption = f"{group.dataset}: {count(group.items, 'item')}, paired with the baseline, intervals at 95 %{cut}"
    head = [group.noun, "accuracy (points)", "interval", "right to wrong", "wrong to right", "p, McNemar", "p, Holm"]
    head += ["q, B-H", "log-prob. (nats)", "its interval", "its p, Holm"]
    rows = []
    for effect in group.rows[:MOST_RANKED]:
        low, high = effect["delta_ci95"]
        spread = effect.get("delta_logprob_ci95")
        mark = ' <span class="rp-mark" title="significant">○</span>' if significant(effect) else ""
        rows.append(
            row(
                name(effect["target"]) + mark,
                _signed_bar(effect["delta"]) + minus(points(effect["delta"])),
                minus(f"{points(low)} to {points(high)}"),
                f"{effect['flips_to_wrong']:,}",
                f"{effect['flips_to_right']:,}",
                *(escape(p_value(effect.get(key))) for key in ("p_value", "p_adjusted", "q_value")),
                minus(nats(effect["delta_logprob"])),
                minus(f"{nats(spread[0])} to {nats(spread[1])}") if spread else "-",
                escape(p_value(effect.get("logprob_p_adjusted"))),
            )
        )
    return f'<div class="rp-nowrap">{table(caption, head, rows)}</div>'


def _signed_bar(change: float) -> str:
    side = "rp-loss" if change < 0 else "rp-gain"
    return f'<span class="rp-signed {side}" aria-hidden="true" style="--share:{min(1.0, abs(change)):.3f}"></span>'
