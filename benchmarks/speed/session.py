"""Measures the time of a whole test session beyond the engine: collection, reporting, figures and the page.

    python -m benchmarks.speed.session --model tiny-reasoner --json docs/measurements/session-tiny-reasoner.json

The script runs ``pytest probes/ --ablate-heads`` in a subprocess and takes the engine's times from its ``run.json``. In
another subprocess it times the imports of every module that the session had loaded at its end. ``over_s`` is the rest
of the wall time; ``allowed_s`` is 1.3 times the engine's time, plus imports and loading, plus 5 s. As on a user's
machine, compiled bytecode is cached: ``PYTHONDONTWRITEBYTECODE`` is removed, and one session runs as a warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMPORT_AGAIN = """
import contextlib, importlib, sys, warnings
warnings.simplefilter("ignore")
for name in open(sys.argv[1]).read().split():
    with contextlib.suppress(Exception):  # some modules exist only in a session
        importlib.import_module(name)
"""
LIST_MODULES = """
import os, sys
def pytest_unconfigure():
    open(os.environ["MODULES"], "w").write("\\n".join(sys.modules))
"""
LOADING = ("load_s", "proof_s")


def timed(command: list[str], codes: tuple[int, ...] = (0,), **variables: str) -> float:
    """Return the wall time in seconds of *command*, which must end with one of *codes*."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | variables
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if done.returncode not in codes:
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return time.perf_counter() - started


def session(model: str, more: list[str]) -> dict[str, float]:
    """Return the times of one session in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modules = folder / "modules.txt"
        (folder / "list_modules.py").write_text(LIST_MODULES, encoding="utf-8")
        options = ["--model", model, "--ablate-heads", "--probe-fresh", "--probe-dir", name, "-q", "--tb=no", *more]
        command = [sys.executable, "-m", "pytest", "probes/", "-p", "list_modules", *options]
        wall = timed(command, codes=(0, 1), PYTHONPATH=f"{name}{os.pathsep}{os.getcwd()}", MODULES=str(modules))
        imports = timed([sys.executable, "-c", IMPORT_AGAIN, str(modules)])
        timing: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))["timing"]
    parts = {key: float(timing[key]) for key in timing if key.endswith("_s") and key != "total_s"}
    engine_s = sum(seconds for key, seconds in parts.items() if key not in LOADING)
    loading = sum(parts.get(key, 0.0) for key in LOADING)
    return {"wall_s": wall, "engine_s": engine_s, "load_s": loading, "imports_s": imports}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options, more = parser.parse_known_args()
    sessions = [session(options.model, more) for _ in range(options.runs + 1)][1:]
    medians = {key: statistics.median(each[key] for each in sessions) for key in sessions[0]}
    medians["allowed_s"] = 1.3 * medians["engine_s"] + medians["imports_s"] + medians["load_s"] + 5
    medians["over_s"] = medians["wall_s"] - medians["engine_s"] - medians["imports_s"] - medians["load_s"]
    result = {
        "model": options.model,
        "runs": options.runs,
        **medians,
        "within": medians["wall_s"] <= medians["allowed_s"],
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
