"""Times the judge on the labelled responses and on those of a file, of this tree and of another checkout in one run.

    python -m benchmarks.speed.judging
    python -m benchmarks.speed.judging gsm8k_test.jsonl --against ../before

A line of the file has a ``question`` and an ``answer``; of an answer with ``####``, a worked solution, the text before
that is judged as a response. A line with a ``response`` too has that judged. Each side judges in its own process, the
two in turn, and every response once a round, so that nothing is recalled but what the rules share within one response.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LABELLED = sorted((ROOT / "tests/data/labelled").glob("*.jsonl"))


def pairs(path: Path) -> list[tuple[dict[str, str], str]]:
    """Return the fields of an item and the response to it, for each line of *path*."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    result = []
    for row in rows:
        answer, solution = str(row["answer"]), row.get("solution")
        if "####" in answer:
            answer, solution = answer.rpartition("####")[2].strip(), answer
        fields = {"question": row["question"], "answer": answer} | ({"solution": solution} if solution else {})
        result.append((fields, row.get("response") or (solution or answer).rpartition("####")[0] or answer))
    return result


def measure(path: Path) -> list[float]:
    """Return the milliseconds of processor time that each response of *path* took, by the package on ``PYTHONPATH``."""
    from reasoning_probe import Item, judge

    times = []
    for fields, response in pairs(path):
        item = Item(**fields)
        started = time.thread_time()
        judge(item, response)
        times.append(1000 * (time.thread_time() - started))
    return times


def measured_by(tree: Path, path: Path) -> list[float]:
    """Return what :func:`measure` returns for the package in *tree*, from another process."""
    environment = os.environ | {"PYTHONPATH": str(tree.resolve()), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), str(path.resolve()), "--times"]
    answer = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True, check=True)
    return list(map(float, json.loads(answer.stdout)))


def main() -> None:
    """Print the median, the mean and the 95th percentile of each file, of each tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.times:
        print(json.dumps(measure(options.files[0])))
        return
    trees = {"here": ROOT} | ({"against": options.against} if options.against else {})
    for path in (*LABELLED, *options.files):
        rounds = [{name: measured_by(tree, path) for name, tree in trees.items()} for _ in range(options.rounds)]
        for name in trees:
            best = [min(values) for values in zip(*(times[name] for times in rounds), strict=True)]
            high = statistics.quantiles(best, n=20)[-1]
            print(
                f"{path.name}, {name}: {len(best)} responses, median {statistics.median(best):.2f} ms,"
                f" mean {statistics.fmean(best):.2f} ms, 95th percentile {high:.2f} ms"
            )


if __name__ == "__main__":
    main()
