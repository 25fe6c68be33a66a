"""Runs sweeps on a real Ray cluster of two nodes, in a process and a network namespace of its own.

    unshare --net bash -c 'ip link set lo up; python -m tests.integration.ray_two_nodes_script FOLDER'

FOLDER holds the planted model in ``model`` and a probe with a model in memory; the script writes its results to
``FOLDER/seen.json``. With only the loopback interface both nodes are on 127.0.0.1 and cannot reach other machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}

import ray
from ray.cluster_utils import Cluster as Nodes

from reasoning_probe.cluster.actor_pool import ClusterError
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.data import datasets
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}


def planned_session(settings: Settings) -> ProbeSession:
    """Return a session of 109 items; two of gsm8k do not fit the planted model's context and are skipped."""
    session = ProbeSession(settings)
    for name, items in (("arithmetic", 100), ("logic", None), ("gsm8k", None)):
        session.dataset(name, datasets.builtin(name, items).items)
    session.select(case for dataset in session.datasets.values() for case in session.cases(dataset))
    return session


def outcomes(session: ProbeSession) -> list[dict[str, Any]]:
    return [session.outcomes[key].as_dict() for key in sorted(session.outcomes, key=str)]


def facts(session: ProbeSession) -> dict[str, Any]:
    """Return the parts of a finished sweep's summary that the tests compare, with its outcomes."""
    session.run_post_sweep()
    run = session.finish()
    assert run is not None
    known = {key: run.summary[key] for key in ("engine", "control", "skipped", "timing")}
    return known | {"outcomes": outcomes(session), "device": run.summary["model"]["device"]}


def lost_and_added(session: ProbeSession, nodes: Nodes, second: Any) -> dict[str, Any]:
    """Sweep in small chunks; kill the *second* node in the middle of one, and add a third node."""
    session.sweep([])
    cluster: Any = session.engine.engine  # type: ignore[union-attr]  # behind the store
    cluster._rows = 3
    while len(cluster.actor_pool.idle()) < 2:  # both nodes work before one of them is lost
        cluster.actor_pool.scale_up()
        list(cluster.actor_pool.events())
    first_two = {actor.node for actor in cluster.actor_pool.actors}
    killed_at = batches = 0
    for _ in session._run([case for item in session.items for case in session.plan.by_item[item]]):
        batches += 1
        working = any(actor.node == second.node_id and actor.stage == "busy" for actor in cluster.actor_pool.actors)
        if not killed_at and batches >= 20 and working and second.node_id in cluster._hosts:
            nodes.remove_node(second, allow_graceful=False)
            nodes.add_node(num_cpus=1)
            killed_at = batches
        if killed_at and len(cluster._hosts) < 3:
            time.sleep(0.5)  # the third node's process takes seconds to load its libraries
    events = {"killed_at": killed_at, "batches": batches, "third_used": len(cluster._hosts - first_two) == 1}
    known = facts(session)
    session.model_runner.close()
    return known | events


def error_of(call: Any) -> dict[str, Any]:
    started = time.monotonic()
    try:
        call()
    except (ClusterError, RuntimeError) as error:
        return {"type": type(error).__name__, "said": str(error), "seconds": time.monotonic() - started}
    return {}


def main(folder: Path) -> None:
    seen: dict[str, Any] = {}
    local = Settings(model=str(folder / "model"), heads="L1H2,L0H1", cache=None)
    alone = planned_session(local)
    alone.sweep(alone.items)
    seen["alone"] = facts(alone)

    nodes = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK_TO_NOTICE},
    )
    second = nodes.add_node(num_cpus=1)
    spec = ClusterSpec(nodes.address)
    stored = replace(local, cache=folder / "cache")
    seen["shared"] = lost_and_added(planned_session(replace(stored, cluster=spec)), nodes, second)
    again = planned_session(stored)
    again.sweep(again.items)
    seen["again"] = facts(again)

    seen["too_much"] = error_of(lambda: planned_session(replace(local, cluster=replace(spec, cpus=64.0))).sweep([]))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:html", "-p", "no:cacheprovider"]
    command += ["--probe-heads", "L1H2", f"--probe-engine=ray={nodes.address}", "--probe-cache=off"]
    done = subprocess.run([*command, "--rootdir", str(folder)], capture_output=True, text=True, cwd=folder)
    seen["pytest"] = {"code": done.returncode, "said": done.stdout + done.stderr}
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
    ray.shutdown()
    nodes.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
