"""Carries what was measured on one GPU on to a sweep of a 70B model on several.

    python -m benchmarks.speed.gpu --shapes llama-8b --dtypes bfloat16 --new-tokens 150 --json gpu.json
    python -m benchmarks.speed.extrapolate_70b --gpu-json gpu.json --gpus 8 64

Every second printed comes from the file: of a case, of a baseline and of a naive ``generate``, each carried on in
proportion to the parameters and the tokens. Without ``--gpu-json`` only what no GPU decides is printed: the cases, the
driver's hours, the store and the driver's memory. Nothing here was measured on a model of 70B.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOUR = 3600.0

WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a parameter."""

ROOM = 1.3
"""The memory of a replica over that of its weights: room for rows."""


@dataclass(frozen=True)
class Workload:
    """Llama 3 70B on GSM8K's test split, unless the options say otherwise."""

    parameters: float = 70.6e9
    heads: int = 5120  # 80 layers of 64
    items: int = 1319
    prompt_tokens: float = 70.0  # GSM8K's questions have 67 by SmolLM2's tokenizer
    new_tokens: float = 150.0

    @property
    def tokens(self) -> float:
        """The tokens of a row."""
        return self.prompt_tokens + self.new_tokens


@dataclass(frozen=True)
class Driver:
    """What the process that runs pytest needs, measured on CPUs: it answers nothing itself."""

    row_ms: float = 0.47  # sending and reading an outcome: benchmarks.speed.ray_cluster
    session_ms: float = 1.2  # pytest, judging, storing, files, page: benchmarks.speed.pytest_overhead --everything
    outcome_bytes: float = 484.0  # of an outcome in the store, with a response of 400 characters
    case_bytes: float = 12_700.0  # of a case in memory, pytest's own objects included: pytest_overhead --everything

    def hours(self, cases: int) -> float:
        """Return the driver's hours for *cases*."""
        return cases * (self.row_ms + self.session_ms) / 1000 / HOUR


@dataclass(frozen=True)
class Reckoned:
    """Seconds on one replica, carried on from a smaller model's, and the GPUs that hold a replica."""

    case_s: float
    baseline_s: float
    naive_s: float
    replica_gpus: int

    def hours(self, cases: int, items: int, replicas: int) -> float:
        """Return the hours that *replicas* take to answer *items* and *cases*."""
        return (cases * self.case_s + items * self.baseline_s) / replicas / HOUR


def measured_model(file: Path, dtype: str) -> dict[str, Any]:
    """Return the figures of the largest model of *dtype* in the JSON of ``benchmarks.speed.gpu``.

    Raises ``ValueError`` where none was measured.
    """
    models = json.loads(file.read_text(encoding="utf-8"))["models"]
    measured = [model for model in models if model["dtype"] == dtype and "skipped" not in model]
    if not measured:
        raise ValueError(f"{file} has no model that was measured in {dtype}")
    largest: dict[str, Any] = max(measured, key=lambda model: model["parameters"])
    return largest


def reckon(model: dict[str, Any], workload: Workload, replica_gpus: int | None = None) -> Reckoned:
    """Return what the figures of *model* come to for *workload*, in proportion to parameters and tokens.

    A replica takes as many GPUs as its weights fill, with room for rows, unless *replica_gpus* says how many. They
    compute one after another (a device map), so they are no faster than one.
    """
    larger = workload.parameters / model["parameters"]
    longer = workload.tokens / (model["prompt_tokens"] + model["new_tokens"])
    seconds = model["seconds_per_row"]
    needed = ROOM * workload.parameters * WEIGHT_BYTES[model["dtype"]] / model["device_bytes"]
    return Reckoned(
        case_s=seconds["engine"] * larger * longer,
        baseline_s=model["seconds_per_baseline"] * larger * longer,
        naive_s=seconds["naive"] * larger * workload.new_tokens / model["new_tokens"],
        replica_gpus=replica_gpus or math.ceil(needed),
    )


def print_fixed(workload: Workload, driver: Driver, cases: int) -> None:
    """Print what no GPU decides."""
    print(f"{cases:,} cases: {workload.heads:,} heads by {workload.items:,} items")
    print(f"the driver needs {driver.hours(cases):.1f} h, at {driver.row_ms + driver.session_ms:.2f} ms a case")
    print(f"the store takes {cases * driver.outcome_bytes / 1e9:.1f} GB,", end=" ")
    print(f"the driver's memory {cases * driver.case_bytes / 1e9:.1f} GB")


def print_reckoned(options: argparse.Namespace, workload: Workload, driver: Driver, cases: int) -> None:
    """Print the reckoning from the file that the *options* name."""
    model = measured_model(options.gpu_json, options.dtype)
    reckoned = reckon(model, workload, options.replica_gpus)
    case_ms = 1000 * model["seconds_per_row"]["engine"]
    print(
        f"\nfrom {model['shape']}, {model['dtype']}, {model['numerics']}: {case_ms:.2f}"
        f" ms a case of {model['prompt_tokens'] + model['new_tokens']:.0f} tokens,"
        f" {model['engine_against_naive']:.1f} times faster than the naive loop,"
        f" {100 * model['share_leaving_the_baseline']:.0f} % of the rows leave the baseline"
    )
    print(
        f"carried on: {reckoned.case_s:.3g} s a case, {reckoned.baseline_s:.3g} s a baseline, {reckoned.naive_s:.3g} s"
        f" a naive case; a replica takes {reckoned.replica_gpus} GPUs\n"
    )
    print("| GPUs | replicas | answering, h | driver, h | in all, h | GPU hours |" + " cost |" * bool(options.price))
    print("| ---: | ---: | ---: | ---: | ---: | ---: |" + " ---: |" * bool(options.price))
    for gpus in options.gpus:
        replicas = gpus // reckoned.replica_gpus
        if not replicas:
            print(f"| {gpus} | 0 | too few for one replica | | | |" + " |" * bool(options.price))
            continue
        answering = reckoned.hours(cases, workload.items, replicas)
        hours = answering + driver.hours(cases)  # as if the driver's work never overlapped with answering
        cells = [f"{gpus}", f"{replicas}", f"{answering:,.1f}", f"{driver.hours(cases):.1f}", f"{hours:,.1f}"]
        cells += [f"{hours * gpus:,.0f}", *([f"{hours * gpus * options.price:,.0f}"] if options.price else [])]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Print the reckoning."""
    usual, of_driver = Workload(), Driver()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu-json", type=Path, help="what benchmarks.speed.gpu wrote on your GPU")
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64], help="GPUs of the cluster")
    parser.add_argument(
        "--replica-gpus", type=int, help="GPUs of one copy of the model; by default what its weights fill"
    )
    parser.add_argument("--dtype", default="bfloat16", choices=WEIGHT_BYTES)
    parser.add_argument("--parameters", type=float, default=usual.parameters)
    parser.add_argument("--heads", type=int, default=usual.heads, help="150 after --probe-screen 100")
    parser.add_argument("--items", type=int, default=usual.items)
    parser.add_argument("--prompt-tokens", type=float, default=usual.prompt_tokens)
    parser.add_argument("--new-tokens", type=float, default=usual.new_tokens, help="tokens of an answer")
    parser.add_argument("--row-ms", type=float, default=of_driver.row_ms, help="from benchmarks.speed.ray_cluster")
    parser.add_argument("--session-ms", type=float, default=of_driver.session_ms, help="from a session of yours")
    parser.add_argument("--price", type=float, help="of a GPU for an hour")
    options = parser.parse_args()
    workload = Workload(options.parameters, options.heads, options.items, options.prompt_tokens, options.new_tokens)
    driver = Driver(options.row_ms, options.session_ms)
    cases = workload.heads * workload.items
    print_fixed(workload, driver, cases)
    if options.gpu_json:
        try:
            print_reckoned(options, workload, driver, cases)
        except (OSError, ValueError, KeyError) as error:
            raise SystemExit(f"{options.gpu_json} is no file of benchmarks.speed.gpu: {error!r}") from None
    else:
        print("how long the GPUs take, --gpu-json says: python -m benchmarks.speed.gpu --json FILE writes it")


if __name__ == "__main__":
    main()
