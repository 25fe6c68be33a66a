"""Tests of a sweep on a real cluster of two nodes, one of which is killed meanwhile: see ``ray_two_nodes_script``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from reasoning_probe.results.outcome import Outcome
from tests.helpers.project import PROBES, ROOT
from tests.helpers.ray_plan import MODEL, TOKENIZER, same

CASES = 107
"""Items of the script's sweep that fit the planted model's context: 100 of arithmetic, 4 of logic, 3 of gsm8k."""

MEMORY_PROBE = """
import pytest, transformers
@pytest.fixture(scope="session")
def probe_model():
    return (transformers.AutoModelForCausalLM.from_pretrained({0!r}), transformers.AutoTokenizer.from_pretrained({0!r}))
"""


def _apart() -> list[str] | None:
    """Return a command that runs a process in a network namespace of its own, or ``None`` where that is impossible."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    for command in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        up = subprocess.run([*command, "ip", "link", "set", "lo", "up"], capture_output=True)
        if up.returncode == 0:
            return command
    return None


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of the script, which kills one of two nodes while a third joins."""
    pytest.importorskip("ray", reason="the extra reasoning-probe[ray] is not installed")
    apart = _apart()
    if apart is None:
        pytest.skip("needs unshare (util-linux) and ip (iproute2), and the right to make a network namespace")
    folder = tmp_path_factory.mktemp("cluster")
    MODEL.save_pretrained(folder / "model")
    TOKENIZER.save_pretrained(folder / "model")
    shutil.copy(PROBES / "test_logic.py", folder)
    (folder / "conftest.py").write_text(MEMORY_PROBE.format(str(folder / "model")))
    script = [sys.executable, "-m", "tests.integration.ray_two_nodes_script", str(folder)]
    command = [*apart, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    events: dict[str, Any] = json.loads((folder / "seen.json").read_text(encoding="utf-8"))
    return events


def outcomes_of(values: dict[str, Any]) -> list[Outcome]:
    return [Outcome(**outcome) for outcome in values["outcomes"]]


def test_a_node_that_is_killed_loses_nothing_and_one_that_joins_is_used(seen: dict[str, Any]) -> None:
    shared = seen["shared"]
    assert 0 < shared["killed_at"] < shared["batches"]
    assert shared["engine"]["lost"] >= 1
    assert shared["third_used"]
    assert shared["engine"]["nodes"] == 3
    assert len(outcomes_of(shared)) == CASES * 3
    assert same(outcomes_of(shared), outcomes_of(seen["alone"]))
    assert shared["skipped"] == seen["alone"]["skipped"]
    assert len(shared["skipped"]) == 2


def test_counts_and_control_task_are_those_of_one_process(seen: dict[str, Any]) -> None:
    shared, alone = seen["shared"], seen["alone"]
    assert shared["engine"]["rows"] == alone["engine"]["rows"] == CASES * 2
    assert shared["engine"]["verified"] == alone["engine"]["verified"]
    assert shared["control"]["logprob"] == pytest.approx(alone["control"]["logprob"], abs=1e-5)
    deltas = [[row["delta"] for row in part["control"]["targets"]] for part in (shared, alone)]
    assert deltas[0] == pytest.approx(deltas[1], abs=1e-5)


def test_the_store_has_what_the_nodes_found(seen: dict[str, Any]) -> None:
    again = seen["again"]
    assert again["engine"]["recalled"] == CASES * 3
    assert again["engine"]["rows"] == 0
    assert same(outcomes_of(again), outcomes_of(seen["shared"]))


def test_more_than_any_node_has_is_refused_at_once(seen: dict[str, Any]) -> None:
    assert seen["too_much"]["type"] == "ClusterError"
    assert (
        "had 64 CPU free for a replica of the model: add nodes, or lower --probe-replica-cpus"
        in seen["too_much"]["said"]
    )
    assert seen["too_much"]["seconds"] < 30


def test_a_model_in_memory_is_sent_to_the_nodes(seen: dict[str, Any]) -> None:
    assert seen["pytest"]["code"] == 1, seen["pytest"]["said"]
    assert "1 failed, 4 passed, 3 xfailed" in seen["pytest"]["said"]
