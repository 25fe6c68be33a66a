"""Sentences on how a run was made: its reference, settings that change answers, what was skipped."""

from __future__ import annotations

from collections import Counter

from reasoning_probe.data.places import ALL, ANSWER, LAST, PROMPT
from reasoning_probe.models.generation import rules_sentence, unused_sentence
from reasoning_probe.report.format import percent
from reasoning_probe.report.sampling import sampling_sentences
from reasoning_probe.report.sentences import chat_template_missed
from reasoning_probe.report.thoughts import thought_sentences
from reasoning_probe.results.record import GateRecord, where_of
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names, pluralise, shorten

_MOST_REASONS = 3
"""So many reasons are counted one by one."""


def reference_lines(gate: GateRecord) -> list[str]:
    """Return when and on what the gate's reference was made, and what changed since, where it says so."""
    since = gate.get("since")
    if since is None or not since["started"]:
        return []
    commit = f", commit {since['commit'][:12]}" if since["commit"] else ""
    lines = [f"The reference was made on {since['started']}{commit}."]
    if names := [row[0] for row in since["changed"] if row]:
        lines.append(f"Changed since the reference: {join_names([shorten(name, 40) for name in names], 8)}.")
    return lines


def ablation_phrase(run: Run) -> str:
    """Return what stood in for heads that were off, and where they were, where that was not everywhere.

    The text is for the page's header.
    """
    where = where_of(run.summary)
    return f"{run.summary['ablation']} ablation" + ("" if where == ALL else f" {place_phrase(where)}")


def place_phrase(where: str) -> str:
    """Return the place *where* in words.

    >>> place_phrase("last"), place_phrase("operands")
    ("at the prompt's last token", 'on the tokens of operands')
    """
    words = {PROMPT: "on the prompt's tokens", ANSWER: "on the answer's tokens", LAST: "at the prompt's last token"}
    return words.get(where, f"on the tokens of {shorten(where, 40)}")


def place_sentence(run: Run) -> str:
    """Say where heads were off, if that was not everywhere; empty otherwise."""
    where = where_of(run.summary)
    if where == ALL or not run.summary["targets"]:
        return ""
    return f"Heads were off only {place_phrase(where)} (--probe-where {shorten(where, 40)})."


def setting_sentences(run: Run) -> list[str]:
    """Return what changes the answers beside the weights: the model's own generation settings, and its prompts."""
    generation = run.summary["model"].get("generation")
    texts = [] if generation is None else [rules_sentence(generation), unused_sentence(generation)]
    sentences = list(filter(None, texts))
    prompting = run.summary.get("prompting") or {}
    if date := prompting.get("chat_date"):
        sentences.append(f"The chat template prints today's date; it is always given {date}.")
    sentences += filter(None, [place_sentence(run), *sampling_sentences(run), *thought_sentences(run)])
    return [f"{sentence}." if not sentence.endswith(".") else sentence for sentence in sentences] + [
        str(note) for note in prompting.get("notes") or ()
    ]


def remarks(run: Run) -> list[str]:
    """Return the sentences that a reader needs to interpret the accuracies."""
    notes = setting_sentences(run)
    if (run.summary.get("prompting") or {}).get("chat_template_unused") and not chat_template_missed(run):
        notes.append("The model has a chat template that was not used: --probe-chat on puts the questions in it.")
    for dataset, entry in run.summary["datasets"].items():
        if always := entry.get("always"):
            notes.append(f"{dataset}: always answering “{always['answer']}” would score {percent(always['accuracy'])}.")
        if entry["items"] and entry["correct"] == entry["items"]:
            notes.append(f"{dataset}: the baseline is 100 %, so ablation can only lower it.")
        strict, flexible = entry.get("strict"), entry.get("flexible")
        disagree = entry.get("extractors_disagree")
        if disagree is None and strict is not None and flexible is not None:
            disagree = round(abs(strict - flexible) * entry["items"])  # of an earlier version's run: at least so many
        if disagree:
            notes.append(
                f"{dataset}: the two extractors disagree on {pluralise(disagree, 'answer')}: strict finds"
                f" {percent(strict)} right, flexible {percent(flexible)}."
            )
    return notes


def skipped_sentence(run: Run) -> str:
    """Return how many items were left out, and why: by reason where there are few; empty where none was."""
    skipped = run.summary["skipped"]
    if not skipped:
        return ""
    reasons = Counter(skip["reason"] for skip in skipped)
    if len(skipped) > len(reasons) and len(reasons) <= _MOST_REASONS:
        counted = [f"{reason} ({count:,})" for reason, count in reasons.most_common()]
        return f"Skipped {pluralise(len(skipped), 'item')}: {', '.join(counted)}"
    first, separator = skipped[0], ", such as" if len(skipped) > 1 else ","
    return f"Skipped {pluralise(len(skipped), 'item')}{separator} {first['dataset']} {first['item']}: {first['reason']}"
