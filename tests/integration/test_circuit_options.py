"""The options that look for circuits, as a user runs them: on the terminal, in the files and on the page."""

from __future__ import annotations

from pathlib import Path

from reasoning_probe.results.run import read_run
from tests.helpers.known_circuits import COPIERS, DECIDER, save_circuit
from tests.helpers.project import Project


def test_paths_and_masks_of_a_planted_circuit_reach_terminal_files_and_page(project: Project) -> None:
    options = (*save_circuit(project, items=40), "--probe-paths", "--probe-masks=64", "--probe-describe=0")
    result = project.run(*options, page=True)
    reports = Path(project.path / "reports")
    summary = read_run(reports).summary
    assert [(row["from"], row["to"]) for row in summary["paths"] or ()] == [(copier, DECIDER) for copier in COPIERS]
    sets = {row["source"]: sorted(row["heads"]) for row in summary["circuits"] or ()}
    assert sets == {"named": [*COPIERS, DECIDER], "masks": [*COPIERS, DECIDER]}
    text = " ".join(" ".join(result.outlines).split())
    assert "Of 2 paths between the named heads on arithmetic, 2 change the log-probability" in text
    assert "circuit for arithmetic: L0H1, L0H3 and L1H2, named on 20 items," in text
    page = (reports / "report.html").read_text(encoding="utf-8")
    for part in ("Paths between heads", "L0H1 → L1H2", "Sets of heads as circuits", "CPR is"):
        assert part in page


def test_two_processes_measure_each_path_and_each_set_once(project: Project) -> None:
    options = save_circuit(project, items=40)
    project.run_apart(*options, "--probe-paths", "--probe-masks=32", "--probe-describe=0", "-n2")
    summary = read_run(Path(project.path / "reports")).summary
    paths = [(row["from"], row["to"]) for row in summary["paths"] or ()]
    sources = [row["source"] for row in summary["circuits"] or ()]
    assert sorted(paths) == [(copier, DECIDER) for copier in COPIERS]
    assert sorted(sources) == ["masks", "named"]
