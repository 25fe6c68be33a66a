"""What a cluster costs and gives: the overhead of a chunk, and how the sweep scales from one replica to two.

    unshare --net bash -c 'ip link set lo up; python -m benchmarks.speed.ray_cluster \
        --json docs/measurements/cluster.json'

Each replica is a node of its own on this machine, with one CPU and one thread, in a network of nothing but the
loopback. The same plan is swept by an engine in this process, with one thread, by one replica and by two. The overhead
of a chunk is measured on small ones: seconds a chunk, less the seconds that the engine spends on its queries.
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
from reasoning_probe.engine.engine import Engine, SweepRequest
from reasoning_probe.models import loading, weights
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head


def swept(runner: Any, plan: Sequence[SweepRequest]) -> tuple[float, list[Any]]:
    """Return the seconds of a sweep, and its outcomes."""
    started = time.perf_counter()
    found = [outcome for batch in runner.run(plan) for outcome in batch]
    return time.perf_counter() - started, sorted(found, key=lambda made: (made.item, made.target))


def spent(runner: Any) -> float:
    """Return the seconds that engines spent on queries so far."""
    return float(runner.timing.baseline_s + runner.timing.sweep_s)


def overhead(cluster: ClusterEngine, plan: Sequence[SweepRequest], rows: int) -> dict[str, float]:
    """Return what a chunk of *rows* rows costs beside the engine's work, in seconds, and its size on the wire."""
    cluster._rows = rows
    chunks, engine = cluster.chunks, spent(cluster)
    seconds, found = swept(cluster, plan)
    number = cluster.chunks - chunks
    cluster._rows = None
    return {
        "rows": rows,
        "chunks": number,
        "outcomes": len(found),
        "seconds_a_chunk": seconds / number,
        "overhead_a_chunk_s": (seconds - (spent(cluster) - engine)) / number,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    loaded = loading.load_model(loading.resolve_model(given.model), "cpu")
    head_map = find_heads(loaded.model)
    items = datasets.builtin("arithmetic", given.items).items
    off = tuple((target, "zero") for target in every_head(head_map))
    plan = [SweepRequest(query("arithmetic", item, Generation(given.new_tokens)), off) for item in items]
    context = model_context(loaded.model, loaded.tokenizer, weights.fingerprint(loaded.model))
    assert context is not None
    order = ReplicaConfig(
        model=given.model,
        device="cpu",
        dtype="auto",
        device_map=None,
        memory=None,
        seed=0,
        references={},
        head_map=head_map,
        context=context,
    )

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    engine = Engine(loaded.model, loaded.tokenizer, head_map)
    swept(engine, plan[:2])
    times: dict[str, list[float]] = {"engine": [], "1": [], "2": []}
    result: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
        "model": given.model,
        "items": given.items,
        "rows": len(plan) * len(off),
    }
    alone: list[Any] = []
    for replicas in (1, 2):
        if replicas == 2:
            nodes.add_node(num_cpus=1)
        started = time.perf_counter()
        cluster = ClusterEngine(ClusterSpec(nodes.address), order)
        result[f"first_replica_of_{replicas}_s"] = time.perf_counter() - started
        while len(cluster.fleet.idle()) < replicas:
            cluster.fleet.scale_up()
            list(cluster.fleet.events())
        swept(cluster, plan[: 4 * replicas])  # each replica checks its fast path at its first chunk
        for _ in range(given.repeats):
            if replicas == 1:
                seconds, alone = swept(engine, plan)
                times["engine"].append(seconds)
            seconds, found = swept(cluster, plan)
            times[str(replicas)].append(seconds)
            assert [made.response for made in found] == [made.response for made in alone]
        if replicas == 1:
            few = plan[: max(8, given.items // 4)]
            chunks = [overhead(cluster, few, rows) for rows in (1 + len(off), 4 * (1 + len(off)))]
            small, large = (1000 * chunk["overhead_a_chunk_s"] for chunk in chunks)
            row_ms = (large - small) / (chunks[1]["rows"] - chunks[0]["rows"])
            result |= {"chunks": chunks, "row_ms": row_ms, "chunk_ms": small - row_ms * chunks[0]["rows"]}
        cluster.close()
    nodes.shutdown()
    medians = {name: statistics.median(found) for name, found in times.items()}
    result |= {
        "seconds": medians,
        "ranges": {name: [min(found), max(found)] for name, found in times.items()},
        "one_replica_against_engine": medians["1"] / medians["engine"],
        "two_replicas_against_one": medians["1"] / medians["2"],
    }
    print(json.dumps(result, indent=2))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
