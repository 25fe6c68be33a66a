"""Measures the time and memory that a probe's case costs beyond plain pytest's, with half of the answers wrong.

    python -m benchmarks.speed.pytest_overhead                      # 3,000, 15,000 and 150,000 cases
    python -m benchmarks.speed.pytest_overhead --cases 3000 --json docs/measurements/pytest-overhead.json
    python -m benchmarks.speed.pytest_overhead --everything --cases 15000 150000

Each side runs in a process of its own with the same number of parametrised cases, readable ids, and as many xfailed
cases. On the probe's side an :class:`InstantEngine` takes the model's place, so that collection, asking, reporting and
writing the files remain. Judging belongs to the sweep; its time is measured and subtracted. Times are processor times.

With ``--everything`` all that is not the engine counts: responses are worked solutions of about 100 tokens, half of
them distinct; they are judged, kept in a new outcome store, put into the files and shown on the page; and the other
side's cases are trivial ones that pass.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, cycle, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning_probe.engine.protocol import SweepRequest
    from reasoning_probe.results.answer import Answer
    from reasoning_probe.scoring.judgement import Judgement

ITEMS = 100
PLAIN = """
import pytest

CASES = [(item, target) for item in range({items}) for target in range({targets})]


@pytest.mark.parametrize("case", CASES, ids=[f"q{{item}}-L{{target // 12}}H{{target % 12}}" for item, target in CASES])
def test_plain(case):
    item, target = case
    if {xfails} and (item + target) % 2:
        pytest.xfail("wrong")
"""
PROBE = """
import reasoning_probe as rp

ITEMS = [rp.Item(id=f"q{{n}}", question={question!r}.format(n + 20), answer=str(2 * n + 40)) for n in range({items})]


@rp.probe(ITEMS, name="sums")
def test_sums(answer):
    assert answer.correct
"""
CONFTEST = """
import resource, sys, time
import pytest
sys.path.insert(0, {root!r})

STARTED, STARTED_WALL = time.process_time(), time.perf_counter()
TIMES = {{}}


def pytest_configure(config):
    if {probe}:
        from benchmarks.speed.pytest_overhead import install
        install({targets}, TIMES, everything={everything})


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    TIMES["collecting"] = time.process_time()  # after all imports


def pytest_collection_finish(session):
    TIMES["collect"] = time.process_time() - TIMES["collecting"]
    TIMES["cases"] = len(session.items)


def pytest_unconfigure(config):
    import json
    total, wall = time.process_time() - STARTED, time.perf_counter() - STARTED_WALL
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open("times.json", "w") as file:
        json.dump(TIMES | {{"total": total, "wall": wall, "peak": peak}}, file)
"""
QUESTION = "Ann has {0} apples. She doubles them, gives 12 away, and buys 12 more. How many apples does she have?"
SOLUTION = """ Ann starts with {n} apples, so after doubling them she has {n} + {n} = {double} apples in her basket.
Then she gives {given} of her apples away to her friends, which leaves {double} - {given} = {left} apples.
In the evening she buys {bought} more at the market, and that makes {left} + {bought} = {total} apples.

The answer is: {total}"""
"""A worked solution of about 100 tokens: 99 to 114 of SmolLM2's, by the digits of its numbers."""


def solution(n: int, bought: int = 12) -> str:
    """Return a response to ``QUESTION`` about *n* apples; it is right if she has *bought* 12."""
    left = 2 * n - 12
    return SOLUTION.format(n=n, double=2 * n, given=12, left=left, bought=bought, total=left + bought)


class InstantEngine:
    """Takes an engine's place in a session: answers at once, every second ablated answer wrong.

    The wrong answers to an item are all the same, or all different if they are *distinct*.
    """

    def __init__(self, *, distinct: bool = False) -> None:
        from reasoning_probe.engine.pace import Pace
        from reasoning_probe.engine.plain_path import Counts
        from reasoning_probe.engine.protocol import Timing

        self.distinct = distinct
        self.skipped: list[dict[str, str]] = []
        self.timing, self.counts, self.pace = Timing(), Counts(), Pace()
        self.references: dict[str, list[str]] = {}
        self.where, self.seed = "all", 0

    def facts(self) -> dict[str, object]:
        """Return the engine's part of the run's summary."""
        counts = dict.fromkeys(("rows", "verified", "decoded", "settled_singly"), 0)
        return {**counts, "path": "ready", "why": "", "peak_bytes": 0}

    def close(self) -> None:
        """Do nothing."""

    def run(self, requests: Iterable[SweepRequest]) -> Iterator[list[Answer]]:
        """Yield the answers to each request."""
        from reasoning_probe.results.answer import Answer

        for request in requests:
            right, wrong = f" {request.query.item.answer}", [" 0"]
            if self.distinct:
                n = int(request.query.item.answer) // 2
                right, wrong = solution(n), [solution(n, 13 + each) for each in range(len(request.ablated))]
            responses = chain([right], chain.from_iterable(zip(repeat(right), cycle(wrong), strict=False)))
            targets = [("baseline", None), *((target.name, ablation) for target, ablation in request.ablated)]
            yield [
                Answer(
                    query=request.query,
                    target=target,
                    ablation=ablation,
                    response=response,
                    truncated=False,
                    answer_logprob=-1.0,
                )
                for (target, ablation), response in zip(targets, responses, strict=False)
            ]


def install(targets: int, times: dict[str, float], *, everything: bool) -> None:
    """Replace the model and its engine with an :class:`InstantEngine`; import everything before the measurement."""
    import torch  # noqa: F401

    from reasoning_probe.engine.cache import cached_engine, store
    from reasoning_probe.engine.engine import LocalEngine  # noqa: F401
    from reasoning_probe.models.head_map import AttentionLayer, HeadMap
    from reasoning_probe.pytest_plugin import html_report  # noqa: F401
    from reasoning_probe.report.html import findings  # noqa: F401
    from reasoning_probe.session.extensions import Extensions
    from reasoning_probe.session.model_runner import ModelRunner
    from reasoning_probe.session.session import ProbeSession

    layers = -(-targets // 12)
    head_map = HeadMap(
        tuple(AttentionLayer(layer, f"h.{layer}", f"h.{layer}.c_proj", 12, 64) for layer in range(layers))
    )

    def start(self: ProbeSession) -> None:
        engine: Any = InstantEngine(distinct=everything)
        if everything:
            engine = cached_engine.CachedEngine(engine, store.OutcomeCache(Path("store")), {})
        self.model_runner.engine = engine
        self.model_runner.model_info = {
            "name": "ready", "fingerprint": "", "architecture": "Ready", "layers": layers, "heads": 12,
            "layer_indices": list(range(layers)), "dtype": "float32", "device": "cpu",
        }  # fmt: skip
        self._pending = self._run(list(self.plan.cases.values()))

    def timed_judgement(
        self: Extensions,
        answer: Answer,
        *,
        listed: bool,
        think: str = "auto",
        judgement: Callable[..., Judgement] = Extensions.judgement,
    ) -> Judgement:
        started = time.process_time()
        try:
            return judgement(self, answer, listed=listed, think=think)
        finally:
            times["judging"] = times.get("judging", 0.0) + time.process_time() - started

    if not everything:
        Extensions.judgement = timed_judgement  # type: ignore[method-assign]
    ProbeSession._start = start  # type: ignore[method-assign]
    ModelRunner.head_map = property(lambda self: head_map)  # type: ignore[assignment]
    ModelRunner.loaded = property(lambda self: True)  # type: ignore[assignment]
    ModelRunner.load = lambda self: SimpleNamespace(model=None, tokenizer=None)  # type: ignore[assignment,method-assign,return-value]
    ProbeSession.run_post_sweep = lambda self, progress=None: None  # type: ignore[method-assign]


def measured(cases: int, probe: bool, *, page: bool, everything: bool) -> dict[str, float]:
    """Run one side in a fresh folder and process; return its times in seconds and its peak memory in bytes."""
    targets = max(1, cases // ITEMS - 1)
    root = str(Path(__file__).parents[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        values = {"items": ITEMS, "targets": targets + (not probe), "root": root, "probe": probe}
        values |= {"everything": everything, "xfails": not everything, "question": QUESTION}
        (folder / "conftest.py").write_text(CONFTEST.format(**values), encoding="utf-8")
        (folder / "test_it.py").write_text((PROBE if probe else PLAIN).format(**values), encoding="utf-8")
        heads = ",".join(f"L{head // 12}H{head % 12}" for head in range(targets))
        options = ["--probe-heads", heads, "--probe-cache=off"] if probe else ["-p", "no:reasoning_probe"]
        quiet = ["-q", "-p", "no:cacheprovider", *([] if page else ["-p", "no:html"])]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "pytest", *quiet, *options]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        broken = done.returncode not in (0, 1) or " error" in done.stdout.strip().rpartition("\n")[2]
        if broken or not (folder / "times.json").exists():
            raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
        times: dict[str, float] = json.loads((folder / "times.json").read_text(encoding="utf-8"))
    return times


def compared(cases: int, fixed: dict[bool, dict[str, float]], *, page: bool, everything: bool) -> dict[str, Any]:
    """Measure both sides with *cases* cases, print their rows of the table, and return the figures for the file.

    *fixed* holds each side's times and memory with next to no cases, keyed by whether it is the probe.
    """
    sides = {probe: measured(cases, probe, page=page, everything=everything) for probe in (False, True)}
    more = cases - 2 * ITEMS
    per_case = {}
    for probe, side in sides.items():
        side["total"] -= side.get("judging", 0.0)
        base = fixed[probe]["total"] - fixed[probe].get("judging", 0.0)
        seconds, memory = (side["total"] - base) / more, (side["peak"] - fixed[probe]["peak"]) / more
        per_case[probe] = (seconds, memory)
        print(
            f"{cases:8,} {'probe' if probe else 'plain':10} {side['collect']:7.2f} s {side['total']:7.2f} s"
            f" {1000 * seconds:6.3f} ms {side['peak'] / 1e6:6.0f} MB {memory / 1e3:6.2f} kB"
        )
    time_ms = 1000 * (per_case[True][0] - per_case[False][0])
    memory_kb = (per_case[True][1] - per_case[False][1]) / 1e3
    collects = {probe: side["collect"] - fixed[probe]["collect"] for probe, side in sides.items()}
    ratio = collects[True] / collects[False] if collects[False] > 0 else float("nan")
    print(f"{'':8} {'beyond':10} collection x {ratio:.2f}, {time_ms:.3f} ms and {memory_kb:.2f} kB a case")
    figures = {"cases": cases, "ms": time_ms, "kB": memory_kb, "collect": ratio}
    return figures | {"plain": sides[False], "probe": sides[True]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[3_000, 15_000, 150_000])
    parser.add_argument("--page", action="store_true", help="with pytest-html's page on both sides")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--everything", action="store_true", help="all that is not the engine, beyond trivial tests")
    options = parser.parse_args()
    kind = {"page": options.page or options.everything, "everything": options.everything}
    # Time and memory that do not depend on the number of cases, such as imports.
    fixed = {probe: measured(2 * ITEMS, probe, **kind) for probe in (False, True)}
    print(f"{'cases':>8} {'':10} {'collect':>9} {'total':>9} {'a case':>9} {'memory':>9} {'a case':>9}")
    rows = [compared(cases, fixed, **kind) for cases in options.cases]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
