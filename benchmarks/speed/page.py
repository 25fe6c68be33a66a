"""Measures the size of the HTML report, the time until it is interactive in a browser, and how long it opens.

    python -m benchmarks.speed.page --json docs/measurements/page.json

For the sizes in ``--sessions``, a real pytest session on the bundled model writes the page, with single heads, pairs
and layers ablated. For the sizes in ``--made-up``, the code behind ``reasoning-probe report`` writes it from a
synthetic run of 12 layers of 12 heads in which half of the cases are wrong. Interactive means: the page is loaded, a
cell of the map is clicked, and the items that the head flipped are visible. Times are medians of three visits in
headless Chromium, in seconds from the start of loading. They depend on the process's cores: ``taskset -c 0,1``. The
height, in pixels on a screen 1,280 wide, and the tab stops are those before anything is opened; printed pages are A4.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.results.summary import RunContext, summarise

LIMITS = {22: (3, 2.0), 100: (6, 4.0), 1000: (10, None)}
"""By the number of items, under 144 targets and the baseline: the maximum of megabytes and of seconds."""
HEIGHT_LIMIT, STOPS_LIMIT, PRINTED_LIMIT = 6000, 100, 8
"""Pixels, tab stops and printed pages of a page, however many cases it has."""
STOPS = """[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
    .filter(e => e.checkVisibility() && e.getClientRects().length).length"""
TARGETS = 144
PROBE = """
import reasoning_probe as rp

@rp.probe("arithmetic")
def test_arithmetic(answer):
    assert answer.correct
"""


def made_up(items: int, seed: int = 0) -> Run:
    """Return a run of GPT-2's 144 heads in which about half of the cases are wrong, each with another answer."""
    rng = random.Random(seed)
    outcomes = []
    for item in range(items):
        first, second = rng.randint(10, 99), rng.randint(10, 99)
        right = str(first + second)
        baseline = Outcome(
            dataset="arithmetic",
            item=f"add-{item}",
            target=BASELINE,
            ablation=None,
            question=f"What is {first} + {second}?",
            prompt=f"Question: What is {first} + {second}?\nAnswer:",
            response=f" {right}\n\nThe answer is: {right}",
            expected=right,
            answer=right,
            correct=True,
            category=None,
            kind=None,
            reason=None,
            answer_logprob=-1.0,
            truncated=False,
        )
        baseline = baseline if rng.random() < 0.75 else _wrong(baseline, rng)
        outcomes.append(baseline)
        for target in range(TARGETS):
            off = replace(baseline, target=f"L{target // 12}H{target % 12}", ablation="zero")
            outcomes.append(_wrong(off, rng) if rng.random() < 1 / 3 else off)
    model = {"name": "made-up", "architecture": "GPT2LMHeadModel", "layers": 12, "heads": 12, "dtype": "float32"}
    context = RunContext(
        model=model,
        generation={"arithmetic": {"max_new_tokens": 32, "stop": []}},
        ablation="zero",
        formats={"arithmetic": "plain"},
        timing={"baseline_s": 1.0, "sweep_s": 1.0, "total_s": 2.0},
        engine={"rows": 0, "verified": 0, "decoded": 0, "settled_singly": 0},
        versions={},
    )
    return Run(summarise(outcomes, context), outcomes)


def _wrong(outcome: Outcome, rng: random.Random) -> Outcome:
    answer = str(rng.randint(100, 999))
    category = rng.choice(["hallucination", "wrong_operation", "off_by_one"])
    response = f" {answer}\n\nThe answer is: {answer}, since {rng.randint(10, 99)} and {rng.randint(10, 99)} make it."
    return replace(
        outcome, response=response, answer=answer, correct=False, category=category, kind="made_up", reason="made up"
    )


def session_page(folder: Path, items: int) -> Path:
    """Return the page of a pytest session of the bundled model: *items* questions, 144 targets."""
    (folder / "test_arithmetic.py").write_text(PROBE, encoding="utf-8")
    heads = [f"L{layer}H{head}" for layer in range(4) for head in range(4)]
    pairs = ["+".join(pair) for pair in combinations(heads, 2)]
    triples = ["+".join(heads[start : start + 3]) for start in range(4)]
    targets = ",".join([*heads, *pairs, *triples, "L0", "L1", "L2", "L3"])
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--probe-items={items}", f"--probe-heads={targets}"]
    subprocess.run([sys.executable, "-m", "pytest", *options], cwd=folder, stdout=subprocess.DEVNULL, check=False)
    return folder / "reports" / "report.html"


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def seconds(browser: Any, page: Path) -> float:
    """Return the seconds from the start of loading until a click on the map has opened the flipped items."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    started = time.perf_counter()
    tab.goto(page.as_uri())
    tab.locator("svg[data-grid]").first.click(position={"x": 45, "y": 15})
    tab.locator(".rp-dialog[open] .rp-effect").wait_for()
    interactive_s = time.perf_counter() - started
    tab.close()
    return interactive_s


def layout(browser: Any, page: Path) -> dict[str, int]:
    """Return how high *page* is, how many stops the tab key makes, and how many A4 pages it prints on, with limits."""
    tab = browser.new_page(viewport={"width": 1280, "height": 800})
    tab.goto(page.as_uri())
    tab.locator(".rp[data-ready]").wait_for()
    height, stops = (tab.evaluate(code) for code in ("document.documentElement.scrollHeight", STOPS))
    margins = dict.fromkeys(("top", "bottom", "left", "right"), "1cm")
    printed = tab.pdf(format="A4", margin=margins, print_background=True)
    tab.close()
    return {
        "height_px": height,
        "height_limit_px": HEIGHT_LIMIT,
        "tab_stops": stops,
        "tab_stops_limit": STOPS_LIMIT,
        "printed_pages": len(re.findall(rb"/Type\s*/Page\b", printed)),
        "printed_pages_limit": PRINTED_LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="*", default=[22, 100], choices=list(LIMITS))
    parser.add_argument("--made-up", type=int, nargs="*", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    measured = []
    with chromium() as browser, tempfile.TemporaryDirectory() as temporary:
        seconds(browser, _written(Path(temporary) / "first.html", 22))  # warm-up, which starts Chromium's processes
        for source, wanted in (("session", options.sessions), ("made up", options.made_up)):
            for items in wanted:
                folder = Path(temporary) / f"{source}-{items}"
                folder.mkdir()
                page = session_page(folder, items) if source == "session" else _written(folder / "report.html", items)
                megabytes, most = LIMITS[items]
                figures = {
                    "page": source,
                    "cases": items * (1 + TARGETS),
                    "megabytes": round(page.stat().st_size / 1e6, 2),
                    "megabytes_limit": megabytes,
                    "interactive_s": round(statistics.median(seconds(browser, page) for _ in range(3)), 2),
                    "interactive_limit_s": most,
                    **layout(browser, page),
                }
                measured.append(figures)
                print(json.dumps(figures), flush=True)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def _written(page: Path, items: int) -> Path:
    page.write_text(standalone_page(made_up(items)), encoding="utf-8")
    return page


if __name__ == "__main__":
    main()
