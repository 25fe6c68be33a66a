"""How long a session still takes: the sweep by its measured rate, and what follows it by the rows that it will ask.

The analyses after a sweep run on the same engine, so their rows are counted in cases of the sweep, whose rate is
measured. What a row costs beside a case was measured by ``benchmarks/speed/time_left.py``, which shows how far the
estimate is off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE

if TYPE_CHECKING:
    from reasoning_probe.session.session import ProbeSession

A_CASE = 0.05
"""An ablated answer by a baseline answer, until the first of them are there: most are verified, few are decoded."""

CONTROL_ROWS = 4.0
"""A target of the control task in cases of the sweep: three sentences in place of an answer."""

DIRECTION_ROWS = 0.4
"""A row of the random directions, which begins at its head's layer and decodes nothing."""

CURVE_ROWS = 1.5
"""A row of the cumulative curve, which seldom repeats the baseline's answer."""

CARDS_ROWS, CARD_ROWS = 600, 35
"""The scores of all heads, which cards share, and a card: its head's attention and attribution on three items."""

NAMED_SHARE = 0.25
"""The share of a map's heads that is taken to be named until the sweep is over, at most those with a card."""

FEWEST_FLIPS = 7
"""Right answers below which no head of a map is named."""

TEST_S = 0.003
"""Seconds that pytest takes for a case after its answer is known."""


def seconds_left(session: ProbeSession) -> float | None:
    """Return about how many seconds *session* still takes, with all that follows its sweep and pytest's own work.

    ``None`` until a baseline answer shows the rate.
    """
    on_the_model = model_seconds_left(session)
    return None if on_the_model is None else on_the_model + TEST_S * len(session.plan.cases)


def model_seconds_left(session: ProbeSession) -> float | None:
    """Return about how many seconds the model is still asked, in the sweep and after it.

    ``None`` as above, and on a cluster, where the seconds are sums over the replicas.
    """
    engine = session.engine
    if engine is None or session.settings.cluster is not None:
        return None
    timing = engine.timing
    baselines = sum(key[2] == BASELINE for key in session.outcomes)
    if not baselines:
        return None
    ablated = max(len(session.outcomes) - baselines, engine.counts.rows)  # some are computed and not yet handed over
    planned = sum(case.target is not None for case in session.plan.cases.values())
    a_baseline = timing.baseline_s / baselines
    a_case = timing.sweep_s / ablated if ablated else A_CASE * a_baseline
    sweep = a_baseline * max(0, len(session.plan.by_item) - baselines) + a_case * max(0, planned - ablated)
    return sweep + a_case * sum(rows_after_sweep(session).values())


def rows_after_sweep(session: ProbeSession) -> Mapping[str, float]:
    """Return the work of each analysis that follows the sweep and is not done, in cases of the sweep.

    The keys are those of ``timing`` in ``run.json``.
    """
    timing = session.engine.timing if session.engine is not None else None
    rows = {
        "control_s": CONTROL_ROWS * len({key[2:] for key in session.plan.cases if key[2] != BASELINE}),
        **_of_named_heads(session),
        "curve_s": CURVE_ROWS * _curve_rows(session),
    }
    return {name: count for name, count in rows.items() if timing is None or not getattr(timing, name)}


def _of_named_heads(session: ProbeSession) -> dict[str, float]:
    """Return the work for the heads that will be named, of whom there is only an estimate before the sweep is over."""
    from reasoning_probe.analyses.random_directions import DIRECTIONS, heads_of_each_map, items_of_each_head
    from reasoning_probe.results.cards.choice import MOST_CARDS

    if not session.measures_heads or not session.targets:
        return {}
    items = Counter(dataset for dataset, _ in session.plan.by_item)
    measurable = [name for name in items if items[name] * _share_right(session, name) >= FEWEST_FLIPS]
    maps = len(session.settings.ablations) * len(measurable)
    named = min(MOST_CARDS, NAMED_SHARE * len(session.targets))
    cases = len(session.plan.cases)
    compared = maps * min(named, heads_of_each_map(cases, maps))
    of_each = min(items_of_each_head(cases, int(compared)), max(items.values(), default=0))
    return {
        "directions_s": DIRECTION_ROWS * compared * of_each * (DIRECTIONS + 1),
        "describe_s": CARDS_ROWS + CARD_ROWS * maps * named if maps and session.settings.describe != "0" else 0.0,
    }


def _share_right(session: ProbeSession, dataset: str) -> float:
    """Return the share of right answers to *dataset* so far; 0 without any."""
    outcomes = session.outcomes.items()
    right = [outcome.correct for key, outcome in outcomes if key[0] == dataset and key[2] == BASELINE]
    return sum(right) / max(1, len(right))


def _curve_rows(session: ProbeSession) -> int:
    """Return how many rows the cumulative curves ask at most."""
    from reasoning_probe.analyses.cumulative_curve import FEWEST, measured_items, steps

    if not session.settings.ablate_heads or session.settings.screen is not None:
        return 0
    heads = len(session.targets)
    ids: dict[str, list[str]] = {}
    for dataset, item in session.plan.by_item:
        ids.setdefault(dataset, []).append(item)
    joints = 2 * len(steps(heads)) * len(session.settings.ablations)
    return joints * sum(
        len(measured_items(of_dataset, name, heads)[1]) for name, of_dataset in ids.items() if len(of_dataset) >= FEWEST
    )
