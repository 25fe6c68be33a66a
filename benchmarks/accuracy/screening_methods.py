"""Compares cheap rankings of heads: how many of the heads that exact answers name stand among the first K of each.

    python -m benchmarks.accuracy.screening_methods --save docs/measurements/screening-methods.json
    python -m benchmarks.accuracy.screening_methods --model smollm2 --tasks arithmetic --items 400 --ranked-items 40
    python -m benchmarks.accuracy.screening_methods --model smollm2 --tasks logic --shots 4 --every 3 --heads 8

The truth is a sweep: every head off, one at a time, answers generated in full, heads named by the exact McNemar test
after discrete Holm. Five rankings stand beside it, each by the mean size of what it says over the same items:

- attribution: the gradient of the expected answer's log-probability times the head's output (``--probe-screen K``);
- ig5: the mean gradient over five inputs on the way from the mean embedding (``--probe-screen K:ig5``);
- patching: the expected answer's log-probability with the head off, exactly, without generating an answer;
- weights: the norm of the output projection's weights of the head, which no item has a part in;
- random: what any order gives on average.

With ``--cache`` the sweep's outcomes are kept in a folder and taken from it, such as those that
``benchmarks.speed.racing`` left there; the seconds of the sweep then say nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.workloads import head_names
from reasoning_probe.analyses.attribution import estimates
from reasoning_probe.analyses.screening import MOST_ITEMS, STEPS, evenly_spaced
from reasoning_probe.data.prompts.prompting import Prompting
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.tokenization import TokenCodec
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.results import stats
from reasoning_probe.results.naming import significant
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from reasoning_probe.utils.target_names import part_name

Scores = dict[str, float]

SHARES = (8, 4, 2)
"""K is the number of heads divided by these."""


def swept(task: str, model: tuple[Any, Any], options: argparse.Namespace) -> tuple[ProbeSession, list[str]]:
    """Return a session that has answered *task* with every head off, and the heads."""
    settings = Settings(
        ablate_heads=True, items=options.items, cache=options.cache, prompting=Prompting(shots=options.shots)
    )
    session = ProbeSession(settings)
    session.model_runner.use(model, options.model)
    heads = head_names(session.head_map, options.every, options.heads)
    cases = session.cases(session.dataset(task))
    session.select(case for case in cases if case.target is None or case.target_name in heads)
    session.sweep(session.items)
    return session, heads


def by_gradients(session: ProbeSession, queries: Sequence[Query], steps: int) -> Scores:
    """Return the mean size of each head's estimate over *queries*."""
    loaded = session.model_runner.load()
    codec = TokenCodec(loaded.model, loaded.tokenizer)
    sizes: dict[str, list[float]] = {}
    for query in queries:
        (changes,) = estimates(loaded.model, session.head_map, codec.encode(query), [ZERO], steps)
        for (layer, head), change in changes.items():
            sizes.setdefault(part_name(layer, "H", head), []).append(abs(change))
    return {name: statistics.fmean(changes) for name, changes in sizes.items()}


def by_patching(outcomes: Sequence[Outcome], queries: Sequence[Query]) -> Scores:
    """Return the mean size of the change of the expected answer's log-probability over *queries*."""
    ids = {query.item.id for query in queries}
    before = {outcome.item: outcome.answer_logprob for outcome in outcomes if outcome.target == BASELINE}
    sizes: dict[str, list[float]] = {}
    for outcome in outcomes:
        known = before[outcome.item]
        if (
            outcome.item in ids
            and outcome.target != BASELINE
            and known is not None
            and outcome.answer_logprob is not None
        ):
            change = abs(outcome.answer_logprob - known)
            sizes.setdefault(outcome.target, []).append(change if math.isfinite(change) else 0.0)
    return {name: statistics.fmean(changes) for name, changes in sizes.items()}


@torch.no_grad()
def by_weights(model: Any, head_map: HeadMap) -> Scores:
    """Return the norm of each head's part of its output projection."""
    scores: Scores = {}
    for site in head_map.attention_layers:
        projection = model.get_submodule(site.path)
        like = next(projection.parameters())
        basis = torch.eye(site.heads * site.head_dim, dtype=like.dtype, device=like.device)
        written = projection(basis) - projection(torch.zeros_like(basis))  # (heads * head_dim, hidden)
        norms = written.view(site.heads, site.head_dim, -1).float().norm(dim=(1, 2))
        scores |= {part_name(site.layer, "H", head): float(norm) for head, norm in enumerate(norms)}
    return scores


def recall(scores: Scores, heads: Sequence[str], named: set[str], first: int) -> int:
    """Return how many of the *named* heads are among the *first* of *heads*."""
    return len(named & set(sorted(heads, key=lambda name: -scores[name])[:first]))


def measure(task: str, model: tuple[Any, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return the recall of each ranking on *task*, and the seconds of the sweep and of the gradients."""
    started = time.perf_counter()
    session, heads = swept(task, model, options)
    seconds = {"sweep": time.perf_counter() - started}
    run = session.finish()
    assert run is not None
    named = {row["target"] for row in run.summary["targets"] if significant(row)}
    every = [session.queries.query(task, item) for item in session.datasets[task].items]
    queries = evenly_spaced(every, options.ranked_items)
    rankings: dict[str, Scores] = {}
    for method, steps in STEPS.items():
        started = time.perf_counter()
        rankings[method] = by_gradients(session, queries, steps)
        seconds[method] = time.perf_counter() - started
    rankings["patching"] = by_patching(run.outcomes, queries)
    rankings["weights"] = by_weights(model[0], session.head_map)
    return {
        "model": options.model,
        "task": task,
        "shots": options.shots,
        "items": run.summary["datasets"][task]["items"],
        "accuracy": run.summary["datasets"][task]["accuracy"],
        "ranked_items": len(queries),
        "heads": len(heads),
        "named": sorted(named),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "recall": {
            method: {str(len(heads) // share): recall(scores, heads, named, len(heads) // share) for share in SHARES}
            for method, scores in rankings.items()
        },
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the recalls as Markdown, with Wilson's intervals over the named heads."""
    lines = [
        "| model | task | shots | items | right | heads | named | ranking | K = 1/8 | 1/4 | 1/2 |",
        "| --- " * 11 + "|",
    ]
    for result in results:
        begin = [result["model"], result["task"], result["shots"], result["items"]]
        begin += [f"{100 * result['accuracy']:.0f} %", result["heads"], len(result["named"])]
        for method, hits in result["recall"].items():
            cells = [_share(count, len(result["named"])) for count in hits.values()]
            lines.append("| " + " | ".join(map(str, [*begin, method, *cells])) + " |")
        chance = [f"{100 / share:.0f} %" for share in SHARES]
        lines.append("| " + " | ".join(map(str, [*begin, "random", *chance])) + " |")
    return "\n".join(lines)


def _share(hits: int, named: int) -> str:
    if not named:
        return "-"
    low, high = stats.wilson(hits, named)
    return f"{100 * hits / named:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--tasks", nargs="+", default=["arithmetic", "logic"])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--every", type=int, default=1, help="heads of every so manieth layer")
    parser.add_argument("--heads", type=int, default=1000, help="heads a layer at most")
    parser.add_argument("--shots", type=int, default=0, help="examples before each question")
    parser.add_argument("--ranked-items", type=int, default=MOST_ITEMS, help="items that the rankings are made from")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="the outcome store of the sweep")
    parser.add_argument("--save", type=Path, metavar="FILE", help="add the counts to this JSON file")
    options = parser.parse_args()
    loaded = ProbeSession(Settings(model=options.model)).model_runner.load()
    results = [measure(task, (loaded.model, loaded.tokenizer), options) for task in options.tasks]
    print(table(results))
    for result in results:
        print(result["model"], result["task"], result["seconds"])
    if options.save:
        earlier = json.loads(options.save.read_text(encoding="utf-8")) if options.save.is_file() else []
        again = {_sweep_of(result) for result in results}
        others = [result for result in earlier if _sweep_of(result) not in again]
        options.save.write_text(json.dumps([*others, *results], indent=1) + "\n", encoding="utf-8")


def _sweep_of(result: Mapping[str, Any]) -> tuple[str, str, int]:
    return result["model"], result["task"], result["shots"]


if __name__ == "__main__":
    main()
