"""Simulates heads that matter for single forms of questions, and how often tests over items and over forms name them.

    python -m benchmarks.accuracy.form_clusters --save docs/measurements/form-clusters.json

Each of 16 heads flips the answers of a few forms as a whole, to wrong or to right with equal chances, so over forms
none has an effect. The test over items names such heads, and its sentence speaks of this mixture of forms; the test
over forms, which a sentence needs to say "for logic", may name any in 2.5 % of sweeps at most. The last columns are the
power of both where one head loses a quarter of the items of every form.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from reasoning_probe.report.format import percent
from reasoning_probe.results import stats
from reasoning_probe.results.forms import FormChange, forms_records

HEADS, SWEEPS = 16, 2_000
SIZES = ((24, 8), (24, 40), (16, 12), (4, 50))
"""Forms, and items of each."""

_FLIPPED, _BACKGROUND, _LOSS = 0.15, 0.03, 0.25


def sweep(rng: np.random.Generator, forms: int, items: int, loss: float) -> list[list[FormChange]]:
    """Return the changes of every head by form; the first head loses a share *loss* of the items of each form."""
    whole = rng.random((HEADS, forms)) < _FLIPPED
    to_wrong = rng.random((HEADS, forms)) < 0.5
    lost = rng.binomial(items, _BACKGROUND / 2, (HEADS, forms)) + whole * to_wrong * (items // 2)
    won = rng.binomial(items, _BACKGROUND / 2, (HEADS, forms)) + whole * ~to_wrong * (items // 2)
    if loss:
        lost[0], won[0] = rng.binomial(items, loss, forms), 0
    return [
        [FormChange(f"f{form}", items, int(lost[head, form]), int(won[head, form])) for form in range(forms)]
        for head in range(HEADS)
    ]


def named(changes: list[list[FormChange]]) -> tuple[list[bool], list[bool]]:
    """Return which heads the test over items names, and which the test over forms."""
    lost = np.array([sum(change.lost for change in of_head) for of_head in changes])
    won = np.array([sum(change.won for change in of_head) for of_head in changes])
    over_items = stats.discrete_holm(stats.mcnemar(lost, won), lost + won)
    over_forms = [1.0 if record is None else record["p_adjusted"] for record in forms_records(changes)]
    return [stats.is_significant(float(p)) for p in over_items], [stats.is_significant(p) for p in over_forms]


def main() -> None:
    """Print, and save, the rates of every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    print("| forms | items of each | sweeps | named over items | named over forms | power over items | over forms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for forms, items in SIZES:
        null = [named(sweep(rng, forms, items, 0)) for _ in range(args.sweeps)]
        effect = [named(sweep(rng, forms, items, _LOSS)) for _ in range(args.sweeps)]
        counts = [sum(map(any, (one[test] for one in null))) for test in (0, 1)]
        counts += [sum(one[test][0] for one in effect) for test in (0, 1)]
        rows.append({"forms": forms, "items": items, "sweeps": args.sweeps, "counts": counts})
        rates = [_rate(count, args.sweeps) for count in counts]
        print(f"| {forms} | {items} | {args.sweeps} | {' | '.join(rates)} |", flush=True)
    if args.save:
        args.save.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")


def _rate(count: int, sweeps: int) -> str:
    low, high = stats.wilson(count, sweeps)
    return f"{percent(count / sweeps)} ({percent(low)} to {percent(high)})"


if __name__ == "__main__":
    main()
