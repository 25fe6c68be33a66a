"""The items as HTML: each question with its answer, and the ablated cases that changed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reasoning_probe.report.effects import answer_changed
from reasoning_probe.report.format import nats
from reasoning_probe.report.html.diff import split_at_difference
from reasoning_probe.report.html.elements import details, name, note, table
from reasoning_probe.results.outcome import BASELINE, Choice, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import escape, join_names, pluralise, shorten

MOST_ITEMS = 1000
"""Items listed a dataset; the wrong and the changed ones come first where there are more."""
MOST_CHANGES = 10
"""Different changed answers listed an item."""
MOST_CHARACTERS = 2_500_000
"""Size of the list in all, whatever the items hold."""
MOST_TEXT = 4000
"""Characters shown of one prompt or response."""


@dataclass
class _Asked:
    """An item's outcomes: the baseline and the ablated cases, of which some changed."""

    baseline: Outcome | None = None
    ablated: int = 0
    changed: list[Outcome] = field(default_factory=list)


def items_html(run: Run) -> str:
    """Return the items by dataset, and how many ablated cases are not listed because nothing changed."""
    asked = _by_item(run.outcomes)
    ablated = sum(item.ablated for items in asked.values() for item in items)
    unchanged = ablated - sum(len(item.changed) for items in asked.values() for item in items)
    said = f"{pluralise(ablated, 'ablated case')}, {unchanged:,} unchanged (not listed)." if ablated else ""
    parts, room = [note(said)] if said else [], MOST_CHARACTERS
    for dataset, items in asked.items():
        wrong = sum(item.baseline is not None and not item.baseline.correct for item in items)
        moved = sum(bool(item.changed) for item in items)
        facts = f"{pluralise(len(items), 'item')}, {wrong:,} wrong" + (
            f", {moved:,} changed by a target" if moved else ""
        )
        shown = []
        for item in _listed(items):
            shown.append(_item(item))
            room -= len(shown[-1])
            if room < 0:
                break
        if len(shown) < len(items):
            shown.append(note(f"{len(items) - len(shown):,} more items are in outcomes.jsonl."))
        parts.append(details(f'{name(dataset)} <span class="rp-facts">{facts}</span>', "".join(shown)))
    return "".join(parts)


def _by_item(outcomes: Sequence[Outcome]) -> dict[str, list[_Asked]]:
    asked: dict[str, dict[str, _Asked]] = {}
    for outcome in outcomes:
        item = asked.setdefault(outcome.dataset, {}).setdefault(outcome.item, _Asked())
        if outcome.target == BASELINE:
            item.baseline = outcome
    for outcome in outcomes:
        item = asked[outcome.dataset][outcome.item]
        if outcome.target != BASELINE and item.baseline is not None:
            item.ablated += 1
            if answer_changed(outcome, item.baseline):
                item.changed.append(outcome)
    return {dataset: [item for item in items.values() if item.baseline] for dataset, items in asked.items()}


def _listed(items: Sequence[_Asked]) -> Sequence[_Asked]:
    if len(items) <= MOST_ITEMS:
        return items
    return sorted(items, key=lambda item: (bool(item.baseline and item.baseline.correct), not item.changed))[
        :MOST_ITEMS
    ]


def _item(item: _Asked) -> str:
    outcome = item.baseline
    assert outcome is not None
    facts = [f"answered {shorten(outcome.answer, 40) if outcome.answer is not None else 'nothing'}"]
    if not outcome.correct:
        facts += [f"expected {shorten(outcome.expected, 40)}", outcome.category or "wrong"]
    if item.changed:
        facts.append(f"{len(item.changed):,} of {item.ablated:,} changed it")
    verdict = '<span class="rp-right">✓ right</span>' if outcome.correct else '<span class="rp-wrong">✗ wrong</span>'
    summary = (
        f'{verdict} <bdi>{escape(shorten(outcome.question, 140))}</bdi> <span class="rp-facts"><bdi>'
        f"{escape(' · '.join(facts))}</bdi></span>"
    )
    return details(summary, _answered(outcome) + _changes(item, outcome), attributes=' class="rp-item"')


def _answered(outcome: Outcome) -> str:
    cut = " (cut off by the token limit)" if outcome.truncated else ""
    shown = [
        ("item", name(outcome.item)),
        ("question", name(_cut(outcome.question))),
        ("prompt", _verbatim(outcome.prompt)),
        ("expected", name(_cut(outcome.expected))),
        (f"answered{cut}", _verbatim(outcome.response)),
        ("extracted", _extracted(outcome)),
    ]
    if outcome.choices:
        shown.append(("choices", "<br>".join(map(_choice, outcome.choices))))
    if not outcome.correct:
        shown.append(("mistake", _mistake(outcome)))
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in shown) + "</dl>"


def _choice(choice: Choice) -> str:
    return f"{name(_cut(choice.text))} {nats(choice.logprob)} nats"


def _changes(item: _Asked, baseline: Outcome) -> str:
    """Return a row for each different answer, with all targets that led to it."""
    alike: dict[tuple[str | None, str, str | None, bool], list[Outcome]] = {}
    for outcome in item.changed:
        alike.setdefault((outcome.ablation, outcome.response, outcome.answer, outcome.correct), []).append(outcome)
    ranked = sorted(alike.values(), key=len, reverse=True)
    if not ranked:
        return ""
    several = len({outcome.ablation for outcome in item.changed}) > 1
    rows = []
    for same in ranked[:MOST_CHANGES]:
        first = same[0]
        off = join_names([outcome.target for outcome in same], 12) + (f" ({first.ablation})" if several else "")
        verdict = '<span class="rp-right">✓ right</span>' if first.correct else f"✗ {_mistake(first)}"
        rows.append(
            f'<tr><th scope="row">{name(off)}</th><td>{_verbatim(first.response, baseline.response)}</td>'
            f"<td>{_extracted(first)}</td><td>{verdict}</td></tr>"
        )
    rest = sum(len(same) for same in ranked[MOST_CHANGES:])
    caption = "Switched off, the answer changed" + (
        f"; {pluralise(rest, 'more case')} in outcomes.jsonl" if rest else ""
    )
    return table(caption, ["off", "answered", "extracted", "verdict"], rows)


def _extracted(outcome: Outcome) -> str:
    return "<em>nothing</em>" if outcome.answer is None else name(_cut(outcome.answer))


def _mistake(outcome: Outcome) -> str:
    said = " · ".join(part for part in (outcome.category or "wrong", outcome.kind) if part)
    return name(said + (f": {_cut(outcome.reason)}" if outcome.reason else ""))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}... ({len(text) - MOST_TEXT:,} more characters)"


def _verbatim(text: str, beside: str | None = None) -> str:
    """Return *text* as it is; where it is shown *beside* another, the first token that differs is marked."""
    if not text:
        return "<em>nothing</em>"
    if beside is None:
        return f'<pre dir="auto">{escape(_cut(text))}</pre>'
    before, differs, after = map(escape, split_at_difference(text, beside, MOST_TEXT))
    return f'<pre dir="auto">{before}{f"<mark>{differs}</mark>" if differs else ""}{after}</pre>'
