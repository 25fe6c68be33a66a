"""What a probe's cases cost beyond plain pytest's: time and memory a case, with half of the answers wrong.

    python -m benchmarks.speed.pytest_overhead                      # 3,000, 15,000 and 150,000 cases
    python -m benchmarks.speed.pytest_overhead --cases 3000 --json overhead.json

Both sides run in a process of their own: the same number of parametrised cases with readable ids, as many of them
xfailed. The model answers at once: an engine in its place yields ready-made answers, half of them wrong, so that what
is left is collecting, asking, reporting and writing the files. Judging, which is the sweep's part, is measured and
taken off. Times are of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ITEMS = 100
PLAIN = """
import pytest

CASES = [(item, target) for item in range({items}) for target in range({targets})]


@pytest.mark.parametrize("case", CASES, ids=[f"q{{item}}-L{{target // 12}}H{{target % 12}}" for item, target in CASES])
def test_plain(case):
    item, target = case
    if (item + target) % 2:
        pytest.xfail("wrong")
"""
PROBE = """
import reasoning_probe as rp

ITEMS = [rp.Item(id=f"q{{n}}", question=f"What is {{n}} + 1?", answer=str(n + 1)) for n in range({items})]


@rp.probe(ITEMS, name="sums")
def test_sums(answer):
    assert answer.correct
"""
CONFTEST = """
import resource, sys, time
import pytest
sys.path.insert(0, {root!r})

STARTED = time.process_time()
TIMES = {{}}


def pytest_configure(config):
    if {probe}:
        from benchmarks.speed.pytest_overhead import install
        install({targets}, TIMES)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    TIMES["collecting"] = time.process_time()  # behind all imports


def pytest_collection_finish(session):
    TIMES["collect"] = time.process_time() - TIMES["collecting"]
    TIMES["cases"] = len(session.items)


def pytest_unconfigure(config):
    import json
    total = time.process_time() - STARTED
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open("times.json", "w") as file:
        json.dump(TIMES | {{"total": total, "peak": peak}}, file)
"""


def install(targets: int, times: dict[str, float]) -> None:
    """Put ready-made answers in place of the model, imported before anything is measured."""
    import torch  # noqa: F401

    from reasoning_probe.engine.engine import Engine  # noqa: F401
    from reasoning_probe.models.head_map import AttentionLayer, HeadMap
    from reasoning_probe.pytest_plugin import html_report
    from reasoning_probe.report.html import findings  # noqa: F401
    from reasoning_probe.results.outcome import outcome_from_response
    from reasoning_probe.session import session
    from reasoning_probe.session.model_runner import ModelRunner
    from reasoning_probe.session.session import ProbeSession

    layers = -(-targets // 12)
    head_map = HeadMap(
        tuple(AttentionLayer(layer, f"h.{layer}", f"h.{layer}.c_proj", 12, 64) for layer in range(layers))
    )

    class Ready:
        """Stands for an engine: what the session asks of one, with no model behind it."""

        model = None
        seed = 0

        def __init__(self) -> None:
            from reasoning_probe.engine.engine import Timing

            self.skipped: list[dict[str, str]] = []
            self.timing = Timing()
            self.references: dict[str, list[str]] = {}

        def facts(self) -> dict[str, object]:
            counts = dict.fromkeys(("rows", "verified", "decoded", "settled_singly"), 0)
            return {**counts, "path": "ready", "why": "", "peak_bytes": 0}

        def run(self, plan):  # type: ignore[no-untyped-def]
            for work in plan:
                started = time.process_time()
                right, wrong = f" {work.query.item.answer}", " 0"
                batch = [
                    outcome_from_response(work.query, "baseline", None, response=right, truncated=False, logprob=-1.0)
                ]
                for at, (target, ablation) in enumerate(work.ablated):
                    response = wrong if at % 2 else right
                    batch.append(
                        outcome_from_response(
                            work.query, target.name, ablation, response=response, truncated=False, logprob=-1.0
                        )
                    )
                times["judging"] = times.get("judging", 0.0) + time.process_time() - started
                yield batch

    def start(self: ProbeSession) -> None:
        self.model_runner.engine = Ready()  # type: ignore[assignment]
        self.model_runner.facts = {
            "name": "ready", "fingerprint": "", "architecture": "Ready", "layers": layers, "heads": 12,
            "layer_indices": list(range(layers)), "dtype": "float32", "device": "cpu",
        }  # fmt: skip
        self._pending = self._run(list(self._plan.values()))

    ProbeSession._start = start  # type: ignore[method-assign]
    ModelRunner.head_map = property(lambda self: head_map)  # type: ignore[assignment,misc]
    ModelRunner.loaded = property(lambda self: True)  # type: ignore[assignment,misc]
    ModelRunner.load = lambda self: SimpleNamespace(model=None, tokenizer=None)  # type: ignore[assignment,method-assign,return-value]
    ProbeSession.run_post_sweep = lambda self, progress=None: None  # type: ignore[method-assign]
    del html_report, session


def measured(cases: int, probe: bool, page: bool) -> dict[str, float]:
    """Run one side in a fresh folder and process; return its times and its peak of memory."""
    targets = max(1, cases // ITEMS - 1)
    root = str(Path(__file__).parents[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        values = {"items": ITEMS, "targets": targets + (not probe), "root": root, "probe": probe}
        (folder / "conftest.py").write_text(CONFTEST.format(**values), encoding="utf-8")
        (folder / "test_it.py").write_text((PROBE if probe else PLAIN).format(**values), encoding="utf-8")
        heads = ",".join(f"L{at // 12}H{at % 12}" for at in range(targets))
        options = ["--probe-heads", heads, "--probe-cache=off"] if probe else ["-p", "no:reasoning_probe"]
        quiet = ["-q", "-p", "no:cacheprovider", *([] if page else ["-p", "no:html"])]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "pytest", *quiet, *options]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if not (folder / "times.json").exists() or done.returncode not in (0, 1):
            raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
        found: dict[str, float] = json.loads((folder / "times.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[3_000, 15_000, 150_000])
    parser.add_argument("--page", action="store_true", help="with pytest-html's page on both sides")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # What either side takes with next to no cases (imports) is no cost of a case.
    fixed = {probe: measured(2 * ITEMS, probe, options.page) for probe in (False, True)}
    print(f"{'cases':>8} {'':10} {'collect':>9} {'total':>9} {'a case':>9} {'memory':>9} {'a case':>9}")
    rows = []
    for cases in options.cases:
        sides = {probe: measured(cases, probe, options.page) for probe in (False, True)}
        more = cases - 2 * ITEMS
        per = {}
        for probe, side in sides.items():
            side["total"] -= side.get("judging", 0.0)
            base = fixed[probe]["total"] - fixed[probe].get("judging", 0.0)
            per[probe] = ((side["total"] - base) / more, (side["peak"] - fixed[probe]["peak"]) / more)
            print(
                f"{cases:8,} {'probe' if probe else 'plain':10} {side['collect']:7.2f} s {side['total']:7.2f} s"
                f" {1000 * per[probe][0]:6.3f} ms {side['peak'] / 1e6:6.0f} MB {per[probe][1] / 1e3:6.2f} kB"
            )
        time_ms = 1000 * (per[True][0] - per[False][0])
        memory_kb = (per[True][1] - per[False][1]) / 1e3
        collects = {probe: side["collect"] - fixed[probe]["collect"] for probe, side in sides.items()}
        ratio = collects[True] / collects[False] if collects[False] > 0 else float("nan")
        print(f"{'':8} {'beyond':10} collection x {ratio:.2f}, {time_ms:.3f} ms and {memory_kb:.2f} kB a case")
        rows.append(
            {
                "cases": cases,
                "ms": time_ms,
                "kB": memory_kb,
                "collect": ratio,
                "plain": sides[False],
                "probe": sides[True],
            }
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
