"""Measures the overhead of a chunk of work on a Ray cluster, and the speed-up from one replica to two.

    unshare --net bash -c 'ip link set lo up; python -m benchmarks.speed.ray_cluster \
        --json docs/measurements/cluster.json'

Each replica is a Ray node of its own on this machine, with one CPU and one thread, in a network namespace that has only
the loopback interface. The same plan is swept by an engine in this process, with one thread, by one replica and by two.
The overhead of a chunk is measured on small ones: seconds per chunk, less the seconds that engines spend on queries.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}

import torch
from ray.cluster_utils import Cluster as Nodes

from reasoning_probe.cluster.cluster_engine import ClusterEngine
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.cluster.replica import ReplicaConfig
from reasoning_probe.data import datasets
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading, weights
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head


def swept(runner: Any, plan: Sequence[SweepRequest]) -> tuple[float, list[Any]]:
    """Return the seconds of a sweep, and its outcomes sorted by item and target."""
    started = time.perf_counter()
    outcomes = [outcome for batch in runner.run(plan) for outcome in batch]
    return time.perf_counter() - started, sorted(outcomes, key=lambda outcome: (outcome.item, outcome.target))


def spent(runner: Any) -> float:
    """Return the seconds that engines have spent on queries so far."""
    return float(runner.timing.baseline_s + runner.timing.sweep_s)


def chunk_cost(cluster: ClusterEngine, plan: Sequence[SweepRequest], rows: int) -> dict[str, float]:
    """Return the overhead of a chunk of *rows* rows beyond the engine's work, in seconds per chunk."""
    cluster._rows = rows
    chunks, engine = cluster.chunks, spent(cluster)
    seconds, outcomes = swept(cluster, plan)
    number = cluster.chunks - chunks
    cluster._rows = None
    return {
        "rows": rows,
        "chunks": number,
        "outcomes": len(outcomes),
        "seconds_a_chunk": seconds / number,
        "overhead_a_chunk_s": (seconds - (spent(cluster) - engine)) / number,
    }


def overhead(cluster: ClusterEngine, plan: Sequence[SweepRequest], targets: int) -> dict[str, Any]:
    """Return the cost of a chunk and of a row in milliseconds, from chunks of one item and of four."""
    chunks = [chunk_cost(cluster, plan, rows) for rows in (1 + targets, 4 * (1 + targets))]
    small, large = (1000 * chunk["overhead_a_chunk_s"] for chunk in chunks)
    row_ms = (large - small) / (chunks[1]["rows"] - chunks[0]["rows"])
    return {"chunks": chunks, "row_ms": row_ms, "chunk_ms": small - row_ms * chunks[0]["rows"]}


def wait_for(cluster: ClusterEngine, replicas: int) -> None:
    """Wait until so many replicas have loaded the model."""
    while len(cluster.actor_pool.idle()) < replicas:
        cluster.actor_pool.scale_up()
        list(cluster.actor_pool.events())


def prepared(model: str, items: int, new_tokens: int) -> tuple[LocalEngine, list[SweepRequest], ReplicaConfig]:
    """Return an engine in this process, the plan of a sweep of every head, and the config of a replica."""
    loaded = loading.load_model(loading.resolve_model(model), "cpu")
    head_map = find_heads(loaded.model)
    ablated = tuple((target, "zero") for target in every_head(head_map))
    plan = [
        SweepRequest(query("arithmetic", item, Generation(new_tokens)), ablated)
        for item in datasets.builtin("arithmetic", items).items
    ]
    context = model_context(loaded.model, loaded.tokenizer, weights.fingerprint(loaded.model))
    assert context is not None
    config = ReplicaConfig(
        model=model,
        device="cpu",
        dtype="auto",
        device_map=None,
        memory=None,
        seed=0,
        references={},
        head_map=head_map,
        context=context,
    )
    return LocalEngine(loaded.model, loaded.tokenizer, head_map), plan, config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine, plan, config = prepared(options.model, options.items, options.new_tokens)
    targets = len(plan[0].ablated)
    swept(engine, plan[:2])  # warm-up
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    times: dict[str, list[float]] = {"engine": [], "1": [], "2": []}
    result: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
        "model": options.model,
        "items": options.items,
        "rows": len(plan) * targets,
    }
    alone: list[Any] = []
    for replicas in (1, 2):
        if replicas == 2:
            nodes.add_node(num_cpus=1)
        started = time.perf_counter()
        cluster = ClusterEngine(ClusterSpec(nodes.address), config)
        result[f"first_replica_of_{replicas}_s"] = time.perf_counter() - started
        wait_for(cluster, replicas)
        swept(cluster, plan[: 4 * replicas])  # each replica checks its fast path at its first chunk
        for _ in range(options.repeats):
            if replicas == 1:
                seconds, alone = swept(engine, plan)
                times["engine"].append(seconds)
            seconds, outcomes = swept(cluster, plan)
            times[str(replicas)].append(seconds)
            assert [outcome.response for outcome in outcomes] == [outcome.response for outcome in alone]
        if replicas == 1:
            result |= overhead(cluster, plan[: max(8, options.items // 4)], targets)
        cluster.close()
    nodes.shutdown()
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    result |= {
        "seconds": medians,
        "ranges": {name: [min(seconds), max(seconds)] for name, seconds in times.items()},
        "one_replica_against_engine": medians["1"] / medians["engine"],
        "two_replicas_against_one": medians["1"] / medians["2"],
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
