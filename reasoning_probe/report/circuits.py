"""Sets of heads scored as circuits in a report: the sentences on them."""

from __future__ import annotations

from reasoning_probe.report.format import nats, percent
from reasoning_probe.report.paths import place_of
from reasoning_probe.results.circuits import is_circuit, is_needed
from reasoning_probe.results.record import CircuitRecord
from reasoning_probe.results.run import Run
from reasoning_probe.utils.text import join_names, pluralise

_MOST_NAMES = 8
_MEASURE = "the expected answer's log-probability"


def circuits_of(run: Run, dataset: str, ablation: str) -> list[CircuitRecord]:
    """Return the sets of *run* on *dataset* under *ablation* that hold a head."""
    rows = run.summary.get("circuits") or ()
    return [row for row in rows if (row["dataset"], str(row["ablation"])) == (dataset, ablation) and row["heads"]]


def circuit_sentences(run: Run) -> list[str]:
    """Say which sets of heads do what the heads do, or are needed for it, on items that did not choose them."""
    rows = run.summary.get("circuits") or ()
    several = len({row["ablation"] for row in rows}) > 1
    return [
        sentence
        for row in rows
        if (sentence := _sentence(row, place_of(row["dataset"], str(row["ablation"]), several=several)))
    ]


def chosen_by(row: CircuitRecord) -> str:
    """Return what chose a set: ``named on 50 items``."""
    items = pluralise(row["chosen_on"], "item")
    return f"named on {items}" if row["masks"] is None else f"found by {row['masks']:,} masks"


def interval(share: float, ci95: list[float]) -> str:
    """Return a share with its interval: ``98 % (95 % interval 90 % to 104 %)``."""
    return f"{percent(share)} (95 % interval {percent(ci95[0])} to {percent(ci95[1])})"


def _sentence(row: CircuitRecord, place: str) -> str:
    recovered = row["logprob"]
    if not row["heads"] or recovered is None:
        return ""
    heads = f"{join_names(row['heads'], _MOST_NAMES)}, {chosen_by(row)},"
    size = pluralise(len(row["heads"]), "head")
    keep, them = ("keeps", "it") if len(row["heads"]) == 1 else ("keep", "them")
    others = pluralise(recovered["items"], "other item")
    sets = f"{len(recovered['random_faithfulness'])} random sets of {size}"
    share = interval(recovered["faithfulness"], recovered["faithfulness_ci95"])
    lost = interval(recovered["completeness"], recovered["completeness_ci95"])
    whole = f"of what all heads do for {_MEASURE}"
    if is_circuit(row):
        return (
            f"A circuit for {place}: {heads} alone {keep} {share} {whole} on {others}, more than any of {sets}; without"
            f" {them} {lost} is lost."
        )
    if is_needed(row):
        return (
            f"Needed together for {place}: without {heads} {lost} {whole} is lost on {others}, more than without any"
            f" of {sets}; their single effects add up to {nats(row['sum_of_single'])} nats."
        )
    as_much = sum(one >= recovered["faithfulness"] for one in recovered["random_faithfulness"])
    return (
        f"Not shown to be a circuit for {place}: {heads} alone {keep} {share} {whole} on {others}; {as_much} of {sets}"
        " keep as much."
    )
