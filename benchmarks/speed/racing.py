"""Measures what racing saves on a real model: the full sweep and the race in one run, and the heads that each names.

    python -m benchmarks.speed.racing --json docs/measurements/racing-tiny-reasoner.json
    python -m benchmarks.speed.racing --model smollm2 --items 100 --every 5 --heads 2 --json racing-smollm2.json

Both answer the same items with the same heads off. Neither takes an answer from an outcome store; ``--cache`` keeps
those of the full sweep in one, for ``benchmarks.accuracy.screening_methods``. ``wall_s`` and ``cpu_s`` have the seconds
of the sweep by the clock and of the process, all its threads together: the latter hardly depend on what else the
machine does. ``sweep_s`` has those of baselines and ablated answers by the clock, ``rows`` the ablated answers.
``same_heads`` says whether both name the same heads by the accuracy, over all tests of the run;
``same_heads_by_plain_holm`` whether they do by Holm's method, which knows no numbers of flips: by discrete Holm a head
that was stopped costs the others, since its number of flips is not known.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.workloads import head_names, report
from reasoning_probe.data.prompts.prompting import Prompting
from reasoning_probe.results.naming import moves_logprob_on_page, significant_on_page
from reasoning_probe.results.stats import is_significant
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings


def measured(options: argparse.Namespace, model: tuple[Any, Any], *, race: bool) -> dict[str, Any]:
    """Return the rows and seconds of one sweep on *model*, and the heads that it names."""
    cache = None if race else options.cache
    settings = Settings(
        ablate_heads=True,
        items=options.items,
        max_new_tokens=options.tokens,
        race=race,
        cache=cache,
        fresh=True,
        prompting=Prompting(shots=options.shots),
    )
    session = ProbeSession(settings)
    session.model_runner.use(model, options.model)
    heads = head_names(session.head_map, options.every, options.heads)
    cases = session.cases(session.dataset(options.dataset))
    session.select(case for case in cases if case.target is None or case.target_name in heads)
    started, cpu_started = time.perf_counter(), time.process_time()
    session.sweep(session.items)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    run = session.finish()
    assert run is not None
    timing, rows = run.summary["timing"], run.summary["targets"]
    races = run.summary.get("races") or ()
    return {
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "sweep_s": round((timing["baseline_s"] or 0.0) + (timing["sweep_s"] or 0.0), 2),
        "rows": run.summary["engine"]["rows"],
        "accuracy": run.summary["datasets"][options.dataset]["accuracy"],
        "named": sorted(row["target"] for row in rows if significant_on_page(row)),
        "named_by_plain_holm": sorted(row["target"] for row in rows if is_significant(row["p_adjusted"])),
        "named_by_logprob": sorted(row["target"] for row in rows if moves_logprob_on_page(row)),
        "stopped": {row["target"]: row["items"] for race in races for row in race["stopped"]},
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return both sweeps and their ratios."""
    loading = ProbeSession(Settings(model=options.model)).model_runner.load()
    model = loading.model, loading.tokenizer
    measured(argparse.Namespace(**{**vars(options), "items": 8, "cache": None}), model, race=False)  # a warm-up
    full, race = measured(options, model, race=False), measured(options, model, race=True)
    return {
        "model": options.model,
        "dataset": options.dataset,
        "items": options.items,
        "shots": options.shots,
        "fewer_rows": round(full["rows"] / race["rows"], 2),
        "faster": round(full["wall_s"] / race["wall_s"], 2),
        "less_cpu": round(full["cpu_s"] / race["cpu_s"], 2),
        "same_heads": full["named"] == race["named"],
        "same_heads_by_plain_holm": full["named_by_plain_holm"] == race["named_by_plain_holm"],
        "full": full,
        "race": race,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--dataset", default="arithmetic")
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--every", type=int, default=1, help="heads of every so manieth layer")
    parser.add_argument("--heads", type=int, default=1000, help="heads a layer at most")
    parser.add_argument("--shots", type=int, default=0, help="examples before each question")
    parser.add_argument("--tokens", type=int, default=None, help="tokens an answer may have (default: the dataset's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the full sweep's outcomes here")
    parser.add_argument("--json", type=Path)
    report(measure, parser.parse_args())


if __name__ == "__main__":
    main()
