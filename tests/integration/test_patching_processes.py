"""Patched sweeps, and those at one place, by several processes, from shards and from the store: all are one run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reasoning_probe.results.merge import merge_runs
from reasoning_probe.results.run import read_run
from tests.helpers.known_circuits import COPIERS, DECIDER, NOISE, donated, save_circuit
from tests.helpers.project import Project
from tests.unit.results.test_merge import near

SETS = ",".join(("+".join(COPIERS), DECIDER, "+".join(NOISE[:3])))
SWEEPS = {
    "patch": ("--ablate-heads", "--ablation=patch,patch-same"),
    "restore": (f"--probe-heads={SETS}", "--ablation=restore"),
    "last": ("--ablate-heads", "--probe-where=last", "--ablation=zero,mean"),
    "answer": ("--ablate-heads", "--probe-where=answer"),
}
sweeps = pytest.mark.parametrize("name", SWEEPS)


def options_of(project: Project, name: str) -> tuple[str, ...]:
    options = save_circuit(project, of=donated(40))
    return (*(option for option in options if option != "--ablate-heads"), *SWEEPS[name])


def settled(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what does not hang on how a run was made."""
    return {key: value for key, value in summary.items() if key not in ("timing", "engine", "invocation")}


def assert_same(project: Project, one: str, other: str) -> None:
    outcomes, others = project.outcomes(one), project.outcomes(other)
    assert near(others, outcomes) == outcomes
    summary, other_summary = (json.loads(json.dumps(settled(project.summary(name)))) for name in (one, other))
    assert near(other_summary, summary) == summary


@sweeps
def test_workers_of_xdist_give_the_files_of_one_process(project: Project, name: str) -> None:
    options = options_of(project, name)
    project.run(*options, "--probe-cache=off", "--probe-dir=alone")
    project.run_apart(*options, "--probe-cache=off", "-n2", "--probe-dir=shared")
    assert len(project.outcomes("alone")) > 40
    assert_same(project, "alone", "shared")


@sweeps
def test_a_run_from_the_store_is_the_run(project: Project, name: str) -> None:
    options = options_of(project, name)
    project.run(*options, "--probe-cache=store", "--probe-dir=first")
    project.run(*options, "--probe-cache=store", "--probe-dir=again")
    again = project.summary("again")["engine"]
    assert (again["rows"], again["recalled"]) == (0, len(project.outcomes("again")))
    assert_same(project, "first", "again")


@sweeps
def test_shards_are_the_whole(project: Project, name: str) -> None:
    """Analyses that each shard makes on its own items, such as curves, are not those of the whole."""
    options = (*options_of(project, name), "--probe-cache=off")
    project.run(*options, "--probe-dir=whole")
    for number in (1, 2):
        project.run(*options, f"--probe-shard={number}/2", f"--probe-dir=part-{number}")
    folders = [project.path / f"part-{number}" for number in (1, 2)]
    merged = merge_runs({folder: read_run(folder) for folder in folders})
    whole = read_run(project.path / "whole")
    assert near([one.as_dict() for one in merged.outcomes], project.outcomes("whole")) == project.outcomes("whole")
    for part in ("targets", "families", "patching", "restored", "skipped", "ablation", "where"):
        expected = whole.summary[part]  # type: ignore[literal-required]
        assert near(merged.summary[part], expected) == expected, part  # type: ignore[literal-required]
    if name in ("patch", "restore"):
        assert whole.summary["patching"]
    assert bool(whole.summary["restored"]) is (name == "restore")


def test_the_sets_of_a_session_stand_beside_random_ones(project: Project) -> None:
    result = project.run(*options_of(project, "restore"), "--probe-cache=off")
    rows = {row["target"]: row for row in project.summary()["restored"]}
    assert list(rows) == SETS.split(",")
    text = " ".join(" ".join(result.outlines).split())
    restored = f"Restoring {DECIDER} on arithmetic brings the item's own answer back on {rows[DECIDER]['became']} of"
    assert restored in text
