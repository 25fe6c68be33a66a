"""Measures the cost of the outcome cache: sweeps without the cache, writing to it, and reading from it.

python -m benchmarks.speed.outcome_cache
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from reasoning_probe.engine.cache.store import size
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings


def sweep(settings: Settings) -> tuple[float, int, int]:
    """Return the seconds of a sweep once the model is ready, its outcomes, and how many of them came from the cache."""
    session = ProbeSession(settings)
    cases = session.cases(session.dataset("arithmetic", "arithmetic"))
    session.select(cases)
    session.sweep([])  # loads the model, opens the cache
    started = time.perf_counter()
    session.sweep(session.items)
    seconds = time.perf_counter() - started
    run = session.finish()
    assert run is not None
    return seconds, len(run.outcomes), run.summary["engine"]["recalled"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"without": [], "with": [], "from": []}
    outcomes = stored = 0
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for kind, cache in (("without", None), ("with", Path(folder)), ("from", Path(folder))):
                settings = Settings(ablate_heads=True, items=options.items, cache=cache)
                seconds, outcomes, recalled = sweep(settings)
                assert recalled == (outcomes if kind == "from" else 0)
                times[kind].append(1000 * seconds / outcomes)
            stored = size(Path(folder))
    print(f"{outcomes} outcomes, {stored / outcomes:.0f} bytes each, medians of {options.repeats}:")
    for kind, milliseconds in times.items():
        print(
            f"  {kind:8} the store {statistics.median(milliseconds):.3f} ms an outcome"
            f" ({min(milliseconds):.3f} to {max(milliseconds):.3f})"
        )


if __name__ == "__main__":
    main()
