"""How often paths between heads are named: planted ones, and where no head reads what another writes.

    python -m benchmarks.accuracy.planted_paths --seeds 20 --models 1000

In models whose weights are written by hand, paths between all 12 heads are measured, 48 at a time, on as many sums as
a run takes. The first lines count the seeds on which each planted path is named. The next one counts models in which
heads work side by side and any path is named. The last one leaves the models out: changes of 28 paths on 20 items are
drawn with median 0 and heavy tails, which no path may be named for in more than 2.5 %.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from typing import Any

import numpy as np

from reasoning_probe.analyses.paths import MOST_ITEMS, PathSpec, path_changes
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.path_patching import Path
from reasoning_probe.models.targets import every_head
from reasoning_probe.results.paths import named, path_record, with_tests
from reasoning_probe.results.stats import wilson
from tests.helpers.known_circuits import circuit, sums

PLANTED = ("L0H1 L1H2", "L0H3 L1H2", "L1H2 L2H1")
"""What the copiers hand to the decider, and the decider's note to its backup that it has decided."""

_Changes = list[list[float]]


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further model after so many")
    arguments = parser.parse_args()
    started = time.process_time()
    found: Counter[str] = Counter()
    for seed in range(arguments.seeds):
        found.update(_named(*circuit(seed=seed, backup=True)))
    for path in PLANTED:
        print(f"planted {path}: named on {found[path]} of {arguments.seeds} seeds")
    print(f"planted models: {sum(found.values()) - sum(found[path] for path in PLANTED)} other paths named", flush=True)
    models = alarms = paths = 0
    for seed in range(arguments.models):
        if time.process_time() - started > arguments.seconds:
            break
        of_model = _named(*circuit(seed=seed, side_by_side=True))
        models, alarms, paths = models + 1, alarms + bool(of_model), paths + len(of_model)
    print(
        f"side by side: {paths} of {48 * models:,} paths named, in {alarms} of {models} models {_share(alarms, models)}"
    )
    rng = np.random.default_rng(0)
    simulated = 1000
    alarms = sum(
        any(map(named, _records({str(n): row for n, row in enumerate(rng.standard_t(2, size=(28, 20)).tolist())})))
        for _ in range(simulated)
    )
    print(f"drawn with median 0: any of 28 paths named in {alarms} of {simulated} {_share(alarms, simulated)}")


def _named(model: Any, tokenizer: Any) -> list[str]:
    """Return the paths that are named, of those between all heads of *model*."""
    head_map = find_heads(model)
    ends = sorted(next(iter(head.heads)) for head in every_head(head_map))
    paths = tuple(Path(one, other) for other in ends for one in ends if one[0] < other[0])
    queries = tuple(query("arithmetic", item, Generation(4)) for item in sums(MOST_ITEMS))
    engine = LocalEngine(model, tokenizer, head_map, wanted_numerics="settle")
    (result,) = path_changes(engine, [PathSpec("arithmetic", "zero", paths, queries)])
    assert not result.note, result.note
    names = [" ".join(f"L{layer}H{head}" for layer, head in (path.sender, path.receiver)) for path in paths]
    rows = _records(dict(zip(names, map(list, result.changes), strict=True)))
    return [row["from"] for row in rows if named(row)]


def _records(changes: dict[str, list[float]]) -> Any:
    return with_tests(
        [
            path_record(
                ("arithmetic", "zero", name, ""),
                [
                    {"item": str(place), "change": change, "answer": None, "correct": None, "changed": None}
                    for place, change in enumerate(of_path)
                ],
            )
            for name, of_path in changes.items()
        ]
    )


def _share(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"({100 * count / max(1, total):.1f} %, {100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
