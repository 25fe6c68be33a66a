"""The findings as an HTML fragment: one renderer for our own page and for pytest-html's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reasoning_probe.report.cards import card_sentences
from reasoning_probe.report.circuits import circuit_sentences
from reasoning_probe.report.effects import error_counts, groups
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.run_figures import mistakes_pie
from reasoning_probe.report.format import percent
from reasoning_probe.report.html.cards import cards_html
from reasoning_probe.report.html.gate import gate_html, trust_html
from reasoning_probe.report.html.head_maps import maps_html
from reasoning_probe.report.html.items import items_html
from reasoning_probe.report.html.ranking import ranked_html
from reasoning_probe.report.html.rendering import inline_svg, nonbreaking, render
from reasoning_probe.report.html.script_data import script_data
from reasoning_probe.report.html.tables import Picture, Table
from reasoning_probe.report.mistakes import Key, MistakeChange, ablated_cases, by_kind, mistake_changes
from reasoning_probe.report.next_steps import NextStep, next_steps
from reasoning_probe.report.numerics import numerics_sentence
from reasoning_probe.report.patching import levels_note
from reasoning_probe.report.paths import path_sentences
from reasoning_probe.report.run_notes import ablation_phrase, remarks, skipped_sentence
from reasoning_probe.report.sampling import figure_words, sampled_figures
from reasoning_probe.report.sentences import accuracy_sentence, control_sentences, sentences
from reasoning_probe.results.record import DatasetRecord, SectionRecord
from reasoning_probe.results.run import Run
from reasoning_probe.scoring.error_categories import BY_NAME, CATEGORIES
from reasoning_probe.utils.text import pluralise, shorten

MOST_KINDS = 200
"""Rows of the table of wrong answers by kind."""
MOST_ROLES = 4
"""Sentences of cards that stand at the top."""
MOST_LINKS = 4
"""Links of the menu to sections that a user's hook made."""
MOST_VALUE = 400
"""Characters of one setting."""


@dataclass(frozen=True)
class _Verdict:
    """What stands at the top."""

    model: str
    facts: Sequence[str]
    accuracy: str
    sentences: Sequence[str]
    steps: Sequence[NextStep]


@dataclass(frozen=True)
class _AccuracyRow:
    """A dataset's accuracy with its interval; *shares* are its other accuracies, a line each."""

    dataset: str
    right: str
    accuracy: float | None
    low: float
    high: float
    shares: Sequence[str]


@dataclass(frozen=True)
class _CategoryRow:
    """The wrong answers of one category on all datasets with nothing switched off."""

    category: str
    colour: str
    count: int
    meaning: str


@dataclass(frozen=True)
class _ChangeRow:
    """How many ablated cases add or remove a mistake of one category on one dataset; shares are of the longest bar."""

    dataset: str
    category: str
    colour: str
    change: MistakeChange
    share_added: float
    share_removed: float


@dataclass(frozen=True)
class _Mistakes:
    """The wrong answers by category and by kind; *cases* says how many ablated cases the changes are of."""

    pie: Picture | None
    rows: Sequence[_CategoryRow]
    changes: Sequence[_ChangeRow]
    cases: str
    kinds: Table


@dataclass(frozen=True)
class _UserSection:
    """A section that a user's hook made; the table's caption is its title."""

    paragraphs: Sequence[str]
    table: Table


def findings_html(run: Run, further: Mapping[str, str] | None = None) -> str:
    """Return the findings of *run*: a ``<style>``, a ``<div class="rp">`` with headings from h2 on, script and data.

    *further* are the titles of the page's other sections by their ids, to which the menu leads as well.

    It loads nothing, is readable without the script, and escapes everything that a model, a dataset or a file wrote.
    """
    maps, ranking = maps_html(run), ranked_html(run)
    skipped = skipped_sentence(run)
    error_view, cards, items = _mistakes(run), cards_html(run), items_html(run)
    targets = "heads" if all(group.noun == "head" for group in groups(run)) else "targets"
    user_sections = [_user_section(section) for section in run.summary.get("sections") or ()]
    sections = {"maps": maps, "cards": cards, "ranking": ranking, "items": items}
    links = _links({name for name, part in sections.items() if part}, user_sections) | dict(further or {})
    fragment = render(
        "findings",
        links=links,
        verdict=_verdict(run),
        gate=gate_html(run),
        accuracy_rows=[_accuracy_row(name, entry) for name, entry in run.summary["datasets"].items()],
        remarks=[*remarks(run), *([skipped] if skipped else [])],
        targets=targets,
        noun=targets.removesuffix("s"),
        maps=maps,
        error_view=error_view,
        cards=cards,
        ranking=ranking and ranking + trust_html(run),
        items=items,
        user_sections=user_sections,
        setting_rows=_settings(run),
        notes=[note for note in (levels_note(run), numerics_sentence(run)) if note],
        script_data=Markup(script_data(run)) if maps else "",
    )
    return str(fragment)


def _links(drawn: set[str], user_sections: Sequence[_UserSection]) -> dict[str, str]:
    """Return the titles of the menu by the ids of the sections; of some it has those that are *drawn*."""
    names = ["accuracy", "maps", "mistakes", "cards", "ranking", "items"]
    always = {"accuracy", "mistakes"}
    links = {f"rp-{name}": name.capitalize() for name in names if name in always | drawn}
    for number, view in enumerate(user_sections[:MOST_LINKS], start=1):
        links[f"rp-section-{number}"] = shorten(view.table.caption, 24)
    return links | {"rp-run": "Run"}


def _verdict(run: Run) -> _Verdict:
    model = run.summary["model"]
    facts = (
        model.get("architecture"),
        f"{pluralise(model['layers'], 'layer')} of {pluralise(model['heads'], 'head')}" if model["heads"] else None,
        model.get("dtype"),
        model.get("device"),
        ablation_phrase(run) if run.summary["targets"] else None,
        pluralise(len(run.outcomes), "case"),
    )
    roles = card_sentences(run, with_role=True)[:MOST_ROLES]
    verdict = [*sentences(run), *path_sentences(run), *circuit_sentences(run), *control_sentences(run), *roles]
    return _Verdict(
        model["name"],
        [str(fact) for fact in facts if fact],
        accuracy_sentence(run),
        verdict or ["Nothing was switched off; --ablate-heads shows which heads the answers depend on."],
        next_steps(run),
    )


def _accuracy_row(dataset: str, entry: DatasetRecord) -> _AccuracyRow:
    right = f"{entry['correct']:,} of {entry['items']:,}"
    low, high = entry["ci95"]
    return _AccuracyRow(dataset, right, entry["accuracy"], low, high, _shares(entry))


def _shares(entry: DatasetRecord) -> list[str]:
    """Return a dataset's other accuracies: by lm-eval's two readings of an answer, or of a choice, and of samples."""
    pairs = (
        {"strict": entry.get("strict"), "flexible": entry.get("flexible")},
        {"acc": entry.get("acc"), "acc_norm": entry.get("acc_norm")},
    )
    return [
        ", ".join(nonbreaking(f"{key} {percent(share)}") for key, share in pair.items())
        for pair in pairs
        if next(iter(pair.values())) is not None
    ] + [
        " (".join(nonbreaking(words) for words in figure_words(*figure).split(" (", 1))
        for figure in sampled_figures(entry)
    ]


def _mistakes(run: Run) -> _Mistakes | None:
    changes = mistake_changes(run)
    if not changes:
        return None
    counts = error_counts(run, ablated=False)
    pie = mistakes_pie(counts) if counts else None
    rows = [
        _CategoryRow(category, plots.category_colour(category), counts.get(category, 0), _meaning(category))
        for category in dict.fromkeys([*CATEGORIES, *sorted(category for _, category in changes)])
        if category in {changed for _, changed in changes}
    ]
    cases = ablated_cases(run)
    return _Mistakes(
        Picture(inline_svg(pie), f"{pie.title}: {sum(counts.values()):,}") if pie else None,
        rows,
        _change_rows(changes),
        ", ".join(f"{number:,} on {shorten(dataset, 40)}" for dataset, number in cases.items()),
        _kinds(run, swept=bool(cases)),
    )


def _meaning(category: str) -> str:
    return BY_NAME[category].definition if category in BY_NAME else ""


def _change_rows(changes: Mapping[Key, MistakeChange]) -> list[_ChangeRow]:
    changed = {key: change for key, change in changes.items() if change.added or change.removed}
    longest = max((max(change.added, change.removed) for change in changed.values()), default=1)
    return [
        _ChangeRow(
            dataset,
            category,
            plots.category_colour(category),
            change,
            change.added / longest,
            change.removed / longest,
        )
        for (dataset, category), change in list(changed.items())[:MOST_KINDS]
    ]


def _kinds(run: Run, *, swept: bool) -> Table:
    """Return the wrong answers by dataset, category and kind, and how many ablated cases add and remove one."""
    rows = [
        [*key, f"{change.baseline:,}", *([f"{change.added:,}", f"{change.removed:,}"] if swept else [])]
        for key, change in list(mistake_changes(run, by_kind).items())[:MOST_KINDS]
    ]
    head = ["dataset", "category", "kind", "nothing off", *(["added", "removed"] if swept else [])]
    return Table("Wrong answers by dataset, category and kind", head, rows, names=3)


def _user_section(section: SectionRecord) -> _UserSection:
    rows = [cells for cells in section["rows"] if cells]
    table = Table(section["title"], section["head"], rows, names=max(map(len, rows), default=0))
    return _UserSection([part for part in section["text"].split("\n\n") if part.strip()], table)


def _settings(run: Run) -> list[tuple[str, str, str]]:
    """Return how the run was made: the part of ``run.json``, the key, the value."""
    summary = run.summary
    parts: dict[str, Mapping[str, object]] = {
        "model": summary["model"],
        "prompting": summary.get("prompting") or {},
        "timing": summary["timing"],
        "engine": summary["engine"],
        "versions": summary["versions"],
        "generation": summary["generation"],
        "sampling": summary.get("sampling") or {},
    }
    return [
        (part, key, (f"{value:.1f}" if isinstance(value, float) else str(value))[:MOST_VALUE])
        for part, settings in parts.items()
        for key, value in settings.items()
    ]
