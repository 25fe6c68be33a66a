"""What a whole test session costs beyond the engine: collecting, reporting, figures and the page.

    python -m benchmarks.session --model tiny-reasoner --json docs/session-tiny-reasoner.json

Runs ``pytest probes/ --ablate-heads`` in a process of its own, takes the engine's own times from its ``run.json``, and
times the imports in another process. ``over_s`` is what is left of the wall time; ``allowed_s`` is 1.3 times the
engine's own time, plus imports and load, plus 5 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMPORTS = "import pytest, pytest_html, torch, transformers, matplotlib.figure, scipy.stats, reasoning_probe.session"
LOADING = ("load_s", "proof_s")


def timed(command: list[str], codes: tuple[int, ...] = (0,)) -> float:
    """Return the wall time of *command*."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return time.perf_counter() - started


def session(model: str, more: list[str]) -> dict[str, float]:
    """Return the times of one session in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--model", model, "--ablate-heads", "--probe-fresh", "--probe-dir", folder, "-q", "--tb=no", *more]
        wall = timed([sys.executable, "-m", "pytest", "probes/", *options], codes=(0, 1))
        timing: dict[str, Any] = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))["timing"]
    parts = {key: float(timing[key]) for key in timing if key.endswith("_s") and key != "total_s"}
    own = sum(seconds for key, seconds in parts.items() if key not in LOADING)
    return {"wall_s": wall, "engine_s": own, "load_s": sum(parts.get(key, 0.0) for key in LOADING)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options, more = parser.parse_known_args()
    imports, sessions = [], []
    for _ in range(options.runs):
        imports.append(timed([sys.executable, "-c", IMPORTS]))
        sessions.append(session(options.model, more))
    found = {key: statistics.median(each[key] for each in sessions) for key in sessions[0]}
    found["imports_s"] = statistics.median(imports)
    found["allowed_s"] = 1.3 * found["engine_s"] + found["imports_s"] + found["load_s"] + 5
    found["over_s"] = found["wall_s"] - found["engine_s"] - found["imports_s"] - found["load_s"]
    result = {"model": options.model, "runs": options.runs, **found, "within": found["wall_s"] <= found["allowed_s"]}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
