"""A race on several machines: the heads that are stopped are those of one process, though replicas die on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.cluster import actor_pool, cluster_engine
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.results.record import RunRecord
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.known_circuits import ALL, COPIERS, DECIDER, circuit, sums
from tests.unit.cluster.test_cluster_engine import InProcess

NAMED = {*COPIERS, DECIDER}


def raced(folder: Path, **changes: Any) -> RunRecord:
    """Return the summary of a race of all heads of the circuit on 60 sums."""
    session = ProbeSession(Settings(ablate_heads=True, max_new_tokens=4, race=True, directory=folder, **changes))
    session.model_runner.use(circuit(), "circuit")
    session.select(session.cases(session.dataset("arithmetic", sums(60))))
    session.sweep(session.items)
    run = session.finish()
    assert run is not None
    return run.summary


@pytest.mark.parametrize("chance", [0.0, 0.1], ids=["whole", "dying"])
def test_replicas_stop_the_heads_that_one_process_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chance: float
) -> None:
    alone = raced(tmp_path)
    monkeypatch.setattr(actor_pool, "check", lambda spec: None)
    monkeypatch.setattr(cluster_engine, "ActorPool", type("Pool", (InProcess,), {"chance": chance, "seed": 1}))
    shared = raced(tmp_path, cluster=ClusterSpec())
    assert (shared["engine"]["lost"] > 0) is bool(chance)
    assert shared["races"] == alone["races"]
    (race,) = shared["races"]
    assert {row["target"]: row["items"] for row in race["stopped"]} == dict.fromkeys(set(ALL) - NAMED, 50)
    assert shared["engine"]["rows"] == alone["engine"]["rows"] == 60 * 3 + 50 * 9
    columns = ("target", "items", "flips_to_wrong", "flips_to_right", "p_discrete", "p_page")
    rows = [[[row[key] for key in columns] for row in run["targets"]] for run in (shared, alone)]
    assert rows[0] == rows[1]
