"""How long a session still takes: what is left to do, each kind of work at the rate that this run has shown of it.

A row of the sweep is verified, at a cost that grows with the layers above its target, and decoded only if it leaves the
baseline's answer; both rates, and the share of rows that leave, are those of the rows so far
(:mod:`reasoning_probe.engine.pace`). The analyses after the sweep run on the same engine: their rows are counted, and
cost what such rows cost in the sweep. ``benchmarks/speed/time_left.py`` measures how far the estimate is off.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.results.outcome import BASELINE
from reasoning_probe.session.post_sweep import STAGES

if TYPE_CHECKING:
    from reasoning_probe.engine.protocol import Engine
    from reasoning_probe.session.session import ProbeSession

VERIFIED_BY_BASELINE, ROW_TOKENS, LEAVING = 0.1, 25.0, 0.3
"""Until the first rows: the cost of verifying one in baseline answers, its tokens, and the share of rows that leave."""

CONTROL_BY_VERIFIED = 1.4
"""A token of the control task by one that is verified: the passes are smaller, and every position has logits."""

CURVE_LEAVING, CURVE_LENGTH = 0.9, 1.6
"""The share of the curve's rows that leave the baseline, and the length of their answers in baseline answers."""

CARDS_TOKENS, CARDS_S = 1200, 0.05
"""The tokens on which all heads are scored, as they are and each time that their weights are permuted, and the seconds
that each of these scorings takes beside the model."""

EFFECTS_S, CURVE_S = 0.0003, 0.3
"""Seconds that the statistics take: of a case's effects, and of a curve."""

NAMED_SHARE = 0.25
"""The share of a map's heads that is taken to be named until the sweep is over, at most those with a card."""

FEWEST_FLIPS = 7
"""Right answers below which no head of a map is named."""

OVERDUE = 0.1
"""The share of its time so far that an analysis is taken to need still when it takes longer than was estimated."""

TEST_S = 0.003
"""Seconds that pytest takes for a case after its answer is known."""


@dataclass(frozen=True)
class Rates:
    """What each kind of work costs in this run, in seconds, as far as it has shown."""

    baseline_s: float  # a baseline answer
    row_s: float  # verifying a row that runs all layers
    row_tokens: float  # that such a row has
    leaving: float  # the share of rows that leave the baseline's answer
    token_s: float  # a token of a decoded row
    answer_tokens: float  # that a decoded row writes in the sweep
    baseline_tokens: float  # of a baseline answer


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
    baselines = sum(key[2] == BASELINE for key in session.outcomes)
    if not baselines:
        return None
    rates = rates_of(engine, baselines)
    sweep = rates.baseline_s * max(0, len(session.plan.by_item) - baselines) + _sweep_left(session, rates, baselines)
    return sweep + sum(analyses_left(session, rates).values())


def rates_of(engine: Engine, baselines: int) -> Rates:
    """Return what work costs on *engine*, which has answered so many *baselines*."""
    pace, timing = engine.pace, engine.timing
    a_baseline = timing.baseline_s / baselines
    baseline_tokens = max(1.0, pace.baseline_tokens / baselines)
    if not pace.rows:  # none yet, or each answer is generated alone
        rows = engine.counts.rows
        a_row = timing.sweep_s / rows if rows else VERIFIED_BY_BASELINE * a_baseline
        token_s = CONTROL_BY_VERIFIED * a_row / ROW_TOKENS
        leaving = 0.0 if rows else LEAVING
        return Rates(a_baseline, a_row, ROW_TOKENS, leaving, token_s, baseline_tokens, baseline_tokens)
    row_s, row_tokens = pace.verify_s / pace.depth, pace.row_tokens / pace.depth
    # Before much is decoded, a token counts like one that is verified.
    as_verified = CONTROL_BY_VERIFIED * row_s / row_tokens
    token_s = (pace.decode_s + pace.diverged * as_verified) / max(1, pace.tokens + pace.diverged)
    answer_tokens = pace.decoded_tokens / pace.decoded if pace.decoded else baseline_tokens
    leaving = pace.diverged / pace.rows
    return Rates(a_baseline, row_s, row_tokens, leaving, token_s, answer_tokens, baseline_tokens)


def _sweep_left(session: ProbeSession, rates: Rates, baselines: int) -> float:
    """Return about how many seconds the ablated answers still take."""
    engine = session.engine
    assert engine is not None
    pace = engine.pace
    planned = [case.target.lowest for case in session.plan.cases.values() if case.target is not None]
    if not planned:
        return 0.0
    answered = len(session.outcomes) - baselines
    rows = max(0, len(planned) - max(answered, engine.counts.rows, pace.rows))
    depth = sum(_share_of_layers(session, lowest) for lowest in planned)
    recalled = max(0, answered - engine.counts.rows)
    if recalled or not pace.rows:
        depth *= rows / len(planned)
    else:
        depth = max(0.0, depth - pace.depth) if rows else 0.0
    waiting = pace.diverged - pace.decoded  # verified and not decoded to the end
    tokens = max(0.0, waiting * rates.answer_tokens - (pace.tokens - pace.decoded_tokens))
    tokens += rates.leaving * rows * rates.answer_tokens
    return _size_of_the_rest(session) * rates.row_s * depth + rates.token_s * tokens


def _share_of_layers(session: ProbeSession, lowest: int) -> float:
    """Return the share of the model's layers that a row runs whose *lowest* target is in that layer."""
    return 1 - lowest / (session.head_map.layers[-1] + 1)


def _size_of_the_rest(session: ProbeSession) -> float:
    """Return how long the questions are that have no baseline answer yet, by the others."""
    answered = {key[:2] for key in session.outcomes}
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for item, cases in session.plan.by_item.items():
        lengths[item in answered].append(1 + len(cases[0].item.question))
    if not all(lengths.values()):
        return 1.0
    means = {known: sum(of) / len(of) for known, of in lengths.items()}
    return means[False] / means[True]


def analyses_left(session: ProbeSession, rates: Rates) -> Mapping[str, float]:
    """Return about how many seconds each analysis after the sweep still takes, by its key in ``timing``."""
    stage, since = session.post_sweep.stage, session.post_sweep.stage_started
    seconds = {
        "control_s": _control(session, rates),
        **_of_named_heads(session, rates),
        **_random_sets(session, rates),
        "curve_s": _curves(session, rates),
    }
    if stage not in STAGES:
        return {} if stage else seconds
    seconds = {name: of_stage for name, of_stage in seconds.items() if STAGES.index(name) >= STAGES.index(stage)}
    if stage in seconds:
        elapsed = time.perf_counter() - since
        seconds[stage] = max(seconds[stage] - elapsed, OVERDUE * elapsed) if seconds[stage] else 0.0
    return seconds


def _control(session: ProbeSession, rates: Rates) -> float:
    """Return the seconds of the control task: its sentences under each target, every token with its logits."""
    from reasoning_probe.analyses.control_task import MOST_TOKENS, neutral_sentences
    from reasoning_probe.data.places import ALL

    tokenizer = session.model_runner.load().tokenizer
    if session.settings.where != ALL or tokenizer is None:
        return 0.0
    variants = {case.key[2:]: case.target.lowest for case in session.plan.cases.values() if case.target is not None}
    depth = sum(_share_of_layers(session, lowest) for lowest in variants.values())
    tokens = sum(min(MOST_TOKENS, len(tokenizer(sentence)["input_ids"])) - 1 for sentence in neutral_sentences())
    return CONTROL_BY_VERIFIED * rates.row_s * depth * tokens / rates.row_tokens


def _curves(session: ProbeSession, rates: Rates) -> float:
    """Return the seconds of the curves: with many heads off a row runs all layers and is often decoded."""
    curves, rows = _curve_rows(session)
    limit = max(session.queries.generation(name).max_new_tokens for name in session.planned_datasets)
    tokens = min(limit, CURVE_LENGTH * rates.baseline_tokens)
    return CURVE_S * curves + rows * (rates.row_s + CURVE_LEAVING * tokens * rates.token_s)


def _of_named_heads(session: ProbeSession, rates: Rates) -> dict[str, float]:
    """Return the seconds for the heads that will be named, whose number is estimated until the sweep is over."""
    from reasoning_probe.analyses.head_scores import MOST_PERMUTATIONS, PERMUTED_HEADS
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
    passes = 1 + min(MOST_PERMUTATIONS, -(-PERMUTED_HEADS // max(1, len(session.head_map))))
    scores = passes * (CARDS_S + CARDS_TOKENS * rates.row_s / rates.row_tokens)
    return {
        # The tests of all effects, then rows that begin at their head's layer and decode nothing.
        "directions_s": EFFECTS_S * cases + rates.row_s * compared * of_each * (DIRECTIONS + 1) / 2,
        "describe_s": scores if maps and session.settings.describe != "0" else 0.0,
    }


def _random_sets(session: ProbeSession, rates: Rates) -> dict[str, float]:
    """Return the seconds of the random sets beside those that restore answers: a row for each set and right answer."""
    from reasoning_probe.analyses.restored_sets import ABLATION, compared_targets
    from reasoning_probe.models.targets import every_head

    if ABLATION not in session.settings.ablations or not session.measures_heads:
        return {}
    items = Counter(dataset for dataset, _ in session.plan.by_item)
    right = sum(count * _share_right(session, name) for name, count in items.items())
    sets = len(compared_targets(session.targets, every_head(session.head_map)))
    return {"circuits_s": sets * right * (rates.row_s + rates.leaving * rates.answer_tokens * rates.token_s)}


def _share_right(session: ProbeSession, dataset: str) -> float:
    """Return the share of right answers to *dataset* so far; 0 without any."""
    outcomes = session.outcomes.items()
    right = [outcome.correct for key, outcome in outcomes if key[0] == dataset and key[2] == BASELINE]
    return sum(right) / max(1, len(right))


def _curve_rows(session: ProbeSession) -> tuple[int, int]:
    """Return how many cumulative curves there are, and about how many rows they ask."""
    from reasoning_probe.analyses.cumulative_curve import FEWEST, first_steps, measured_items

    if not session.settings.ablate_heads or session.settings.screen is not None:
        return 0, 0
    heads = len(session.targets)
    ids: dict[str, list[str]] = {}
    for dataset, item in session.plan.by_item:
        ids.setdefault(dataset, []).append(item)
    measured = [measured_items(of, name, heads)[1] for name, of in ids.items() if len(of) >= FEWEST]
    ablations = len(session.settings.ablations)
    return ablations * len(measured), 2 * (len(first_steps(heads)) + 1) * ablations * sum(map(len, measured))
