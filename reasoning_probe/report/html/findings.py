"""The findings as an HTML fragment: one renderer for our own page and for pytest-html's."""

from __future__ import annotations

from typing import Any

from reasoning_probe.report.effects import error_counts, groups
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.run_figures import mistakes_pie
from reasoning_probe.report.format import percent
from reasoning_probe.report.html.elements import details, figure, name, note, package_file, prose, row, table, whole
from reasoning_probe.report.html.gate import gate_html, trust_html
from reasoning_probe.report.html.head_maps import maps_html, ranked_html
from reasoning_probe.report.html.items import items_html
from reasoning_probe.report.html.script_data import script_data
from reasoning_probe.report.sentences import accuracy_sentence, remarks, sentences, skipped_sentence
from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.results.run import Run
from reasoning_probe.scoring.error_categories import BY_NAME, CATEGORIES
from reasoning_probe.utils.text import escape, pluralise


def findings_html(run: Run) -> str:
    """Return what *run* found: a ``<style>``, a ``<div class="rp">`` with headings from h2 on, the script and its data.

    It loads nothing, is readable without the script, and escapes everything that a model, a dataset or a file wrote.
    """
    kind = "heads" if all(group.noun == "head" for group in groups(run)) else "targets"
    maps, ranked, items = maps_html(run), ranked_html(run), items_html(run)
    parts = [
        _verdict(run),
        '<div class="rp-columns">',
        _section("Accuracy", _accuracy(run)),
        _section(f"What the {kind} do", maps),
        _section("Mistakes", _mistakes(run)),
        "</div>",
        _section(f"Ranked {kind}", ranked and ranked + trust_html(run)),
        _section("Items", items),
        *map(_own, run.summary.get("sections") or ()),
        _section("Run", _settings(run)),
    ]
    data = f'<script type="application/json" id="rp-data">{script_data(run)}</script>' if maps else ""
    script = f"{data}<script>{package_file('page.js')}</script>" if maps else ""
    return f'<style>{package_file("page.css")}</style><div class="rp">{"".join(parts)}</div>{script}'


def _section(title: str, body: str) -> str:
    return f"<section><h3>{title}</h3>{body}</section>" if body else ""


def _own(section: dict[str, Any]) -> str:
    """Return a section that a user's hook made: its text in paragraphs, then its table."""
    said = "".join(f"<p>{name(part)}</p>" for part in section["text"].split("\n\n") if part.strip())
    rows = [row(name(first), *map(name, rest)) for first, *rest in (cells for cells in section["rows"] if cells)]
    made = table(section["title"], section["head"], rows) if rows else ""
    return _section(name(section["title"]), said + made)


def _verdict(run: Run) -> str:
    model = run.summary["model"]
    facts = [
        model.get("architecture"),
        f"{pluralise(model['layers'], 'layer')} of {pluralise(model['heads'], 'head')}" if model["heads"] else None,
        model.get("dtype"),
        model.get("device"),
        f"{run.summary['ablation']} ablation" if run.summary["targets"] else None,
        pluralise(len(run.outcomes), "case"),
    ]
    found = sentences(run) or ["Nothing was switched off; --ablate-heads shows which heads the answers depend on."]
    return (
        f'<h2 class="rp-model">{name(model["name"])}</h2>'
        f'<p class="rp-facts">{escape(" · ".join(str(fact) for fact in facts if fact))}</p>'
        f'<p class="rp-lead">{prose(accuracy_sentence(run))}</p>'
        f'<ul class="rp-verdict">{"".join(f"<li>{prose(sentence)}</li>" for sentence in found)}</ul>{gate_html(run)}'
    )


def _accuracy(run: Run) -> str:
    datasets: dict[str, dict[str, Any]] = run.summary["datasets"]
    rows = []
    for dataset, entry in datasets.items():
        low, high = entry["ci95"]
        bar = (
            f'<span class="rp-bar" style="--low:{low:.3f};--high:{high:.3f};--at:{entry["accuracy"] or 0:.3f}"></span>'
        )
        cells = [
            whole(f"{entry['correct']:,} of {entry['items']:,}"),
            f"<strong>{whole(percent(entry['accuracy']))}</strong>{_shares(entry)}",
            f'{bar}<span class="rp-interval">{percent(low)} to {percent(high)}</span>',
        ]
        rows.append(row(name(dataset), *cells))
    head = ["dataset", "right", "accuracy", "95 % interval"]
    said = "Right answers with nothing switched off; Wilson intervals"
    return table(said, head, rows) + "".join(map(note, _remarks(run)))


def _shares(entry: dict[str, Any]) -> str:
    """Return a dataset's other accuracies, where it has them: lm-eval's two readings of an answer, or of a choice."""
    pairs = ("strict", "flexible"), ("acc", "acc_norm")
    said = [
        ", ".join(whole(f"{key} {percent(entry.get(key))}") for key in pair)
        for pair in pairs
        if entry.get(pair[0]) is not None
    ]
    return "".join(f"<br><small>{shares}</small>" for shares in said)


def _remarks(run: Run) -> list[str]:
    """Return what a reader must know to read the accuracies right."""
    skipped = skipped_sentence(run)
    return [*remarks(run), *([skipped] if skipped else [])]


def _mistakes(run: Run) -> str:
    alone, off = error_counts(run, ablated=False), error_counts(run, ablated=True)
    if not alone and not off:
        return note("No answer was wrong.")
    pies = [
        figure(pie.svg(), f"{pie.title}: {sum(counts.values()):,}")
        for counts, ablated in ((alone, False), (off, True))
        if counts and (pie := mistakes_pie(counts, ablated=ablated))
    ]
    categories = sorted({*alone, *off}, key=lambda category: [*CATEGORIES, category].index(category))
    rows = [
        row(
            f'<span class="rp-nowrap"><span class="rp-swatch" style="background:{plots.category_colour(category)}">'
            f"</span>{name(category)}</span>",
            f"{alone.get(category, 0):,}",
            *([f"{off.get(category, 0):,}"] if off else []),
            f'<span class="rp-words">{escape(BY_NAME[category].definition if category in BY_NAME else "")}</span>',
        )
        for category in categories
    ]
    head = ["category", "nothing off", *(["a target off"] if off else []), "meaning"]
    tables = table("Wrong answers by category", head, rows) + details("By kind", _kinds(run, bool(off)))
    return f'<div class="rp-pies">{"".join(pies)}</div>{tables}'


def _kinds(run: Run, ablated: bool) -> str:
    counts: dict[tuple[str, str, str], list[int]] = {}
    for error in run.summary["errors"]:
        key = (error["dataset"], error["category"] or "unclassified", error["kind"] or "")
        counts.setdefault(key, [0, 0])[error["target"] != BASELINE] += error["count"]
    rows = [
        row(name(dataset), name(category), name(kind), f"{alone:,}", *([f"{off:,}"] if ablated else []))
        for (dataset, category, kind), (alone, off) in sorted(counts.items())[:200]
    ]
    head = ["dataset", "category", "kind", "nothing off", *(["a target off"] if ablated else [])]
    return table("Wrong answers by dataset, category and kind", head, rows)


def _settings(run: Run) -> str:
    summary, rows = run.summary, []
    for title in ("model", "prompting", "timing", "engine", "versions"):
        for key, value in (summary.get(title) or {}).items():
            shown = f"{value:.1f}" if isinstance(value, float) else value
            rows.append(row(f"{title} {name(key)}", name(str(shown)[:400])))
    for dataset, given in summary["generation"].items():
        rows.append(row(f"generation {name(dataset)}", name(str(given)[:400])))
    method = (
        "Each target is compared with the baseline over the same items: exact McNemar test, Holm's correction over all"
        " targets of a dataset and ablation, q by Benjamini and Hochberg; log-probabilities by a paired sign-flip test"
        " with a bootstrap interval. A head is its slice of the input of the attention output projection."
    )
    return note(method) + details("Settings and versions", table("How this run was made", ["what", "value"], rows))
