"""The files that a session writes, its cost without a probe, and the files of several processes."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import read_run
from reasoning_probe.session.plan import Case
from reasoning_probe.session.session import ProbeSession
from tests.helpers.planted_model import CARRIER, COLOUR_PROBE, COLOURS, MAX, OTHERS
from tests.helpers.project import Project

# -- files ----------------------------------------------------------------------------------------------------------


def test_run_json_keeps_its_contract(project: Project) -> None:
    project.probe("logic", "gsm8k")
    project.run("--ablate-heads", "-k", "logic")
    run = project.summary()
    assert run.keys() >= {
        *("schema_version", "model", "generation", "ablation", "datasets", "targets", "errors", "timing", "engine"),
        "versions",
    }
    assert run["model"].keys() >= {"name", "fingerprint", "architecture", "layers", "heads", "dtype", "device"}
    assert run["model"]["layers"], run["model"]["heads"] == (2, 4)
    assert run["generation"]["logic"] == {"max_new_tokens": 32, "stop": ["Question:"]}
    assert run["datasets"]["logic"].keys() >= {"items", "correct", "accuracy", "ci95"}
    assert (run["datasets"]["logic"]["items"], run["datasets"]["logic"]["correct"]) == (4, 3)
    assert run["timing"].keys() >= {"baseline_s", "sweep_s", "total_s"}
    assert run["engine"].keys() >= {"rows", "verified", "decoded", "settled_singly"}
    targets = {target["target"]: target for target in run["targets"]}
    assert targets.keys() == {CARRIER, *OTHERS}
    assert targets[CARRIER].keys() >= {
        *("target", "dataset", "ablation", "items", "correct", "delta", "flips_to_wrong", "flips_to_right"),
        *("p_value", "p_adjusted", "delta_logprob"),
    }
    carrier = targets[CARRIER]
    assert (carrier["delta"], carrier["flips_to_wrong"], carrier["flips_to_right"]) == (-0.5, 3, 1)
    assert all(targets[other]["delta"] == 0 for other in OTHERS)
    assert {"dataset": "logic", "target": CARRIER, "ablation": "zero", "category": "wrong_label"}.items() <= next(
        error for error in run["errors"] if error["target"] == CARRIER
    ).items()


def test_outcomes_jsonl_keeps_its_contract(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads", CARRIER)
    baseline, ablated = [outcome for outcome in project.outcomes() if outcome["item"] == MAX]
    logprob = baseline.pop("answer_logprob")
    assert (
        baseline.items()
        >= {
            "dataset": "logic",
            "item": MAX,
            "target": "baseline",
            "ablation": None,
            "prompt": "Question: All dogs are animals. Max is a dog. Is Max an animal?\nAnswer:",
            "response": "Yes",
            "expected": "Yes",
            "answer": "yes",
            "correct": True,
            "category": None,
            "truncated": False,
        }.items()
    )
    assert -0.1 < logprob < 0
    assert ablated["answer_logprob"] < -4
    assert (ablated["target"], ablated["ablation"], ablated["category"]) == (CARRIER, "zero", "wrong_label")
    assert read_run(project.path / "reports").summary == project.summary()


def test_a_head_that_carries_nothing_changes_no_outcome(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-heads")
    outcomes = project.outcomes()
    baselines = {outcome["item"]: outcome for outcome in outcomes if outcome["target"] == "baseline"}
    for outcome in outcomes:
        if outcome["target"] in OTHERS:
            baseline = baselines[outcome["item"]]
            assert outcome["response"] == baseline["response"]
            assert outcome["answer_logprob"] == pytest.approx(baseline["answer_logprob"], abs=1e-4)


def test_gsm8k_data_get_both_filters(project: Project) -> None:
    project.probe("gsm8k")
    file = project.write("mine.jsonl", json.dumps({"question": "What is 5 + 3?", "answer": "5+3=<<5+3=8>>8\n#### 8"}))
    project.run("--probe-dataset", f"gsm8k={file}").assert_outcomes(passed=1)
    entry = project.summary()["datasets"]["gsm8k"]
    assert (entry["correct"], entry["strict"]) == (1, 0)
    assert "flexible" in entry


def test_the_page_is_one_file_with_the_findings_first(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-heads", page=True).stdout.fnmatch_lines(["*Generated html report: *reports/report.html*"])
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""\ssrc\s*=\s*["']?(?!data:)\w|<link|@import|url\(\s*["']?(?!data:|#)""", page)
    assert page.index("<svg") < page.index('id="results-table"')
    assert f"reasoning-probe: {project.model}" in page[page.index("<title") :][:300]
    assert sorted(path.name for path in (project.path / "reports").iterdir()) == [
        "outcomes.jsonl",
        "report.html",
        "run.json",
    ]


def test_the_table_leaves_out_what_the_ablation_did_not_change(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-heads", page=True)
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert f"test_logic[{MAX}]" in page
    assert f"test_logic[{MAX}-{CARRIER}]" in page
    assert f"test_logic[{MAX}-L0H0]" not in page


def test_a_page_that_the_user_names_wins(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-heads", "--html=mine/page.html", "--self-contained-html", page=True)
    assert "<svg" in (project.path / "mine" / "page.html").read_text(encoding="utf-8")
    assert not (project.path / "reports" / "report.html").exists()
    assert (project.path / "reports" / "run.json").exists()


def test_without_pytest_html_there_is_no_page(project: Project) -> None:
    project.probe("logic")
    result = project.run("--ablate-heads", page=False)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (project.path / "reports" / "report.html").exists()
    assert (project.path / "reports" / "run.json").exists()


def test_junit_xml_stays_plain(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads", CARRIER, "--junitxml=junit.xml")
    suite = ET.parse(project.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("errors")) == (
        "8",
        "1",
        "3",
        "0",
    )
    # xunit2's schema knows no other elements in a test case; properties are not among them
    assert {element.tag for case in suite.iter("testcase") for element in case} == {"failure", "skipped"}


@pytest.mark.parametrize("interrupt", ["KeyboardInterrupt", "pytest.exit('enough')"])
def test_what_was_computed_before_an_interruption_is_written(project: Project, interrupt: str) -> None:
    project.write("colours.jsonl", COLOURS)
    body = f"import pytest\n    if answer.item == 'grass': {interrupt if '(' in interrupt else 'raise ' + interrupt}"
    project.write("test_colours.py", COLOUR_PROBE.replace("assert answer.correct", body))
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert {("sky", "baseline"), ("grass", "baseline")} <= project.computed()
    assert project.summary()["datasets"]["colours"]["items"] == len(project.outcomes())


def test_an_interruption_within_the_sweep_keeps_what_came_before(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    run = ProbeSession._run

    def interrupted(self: ProbeSession, cases: Sequence[Case]) -> Iterator[list[Outcome]]:
        batches.append(next(run(self, cases)))
        yield batches[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(ProbeSession, "_run", interrupted)
    project.probe("logic", "arithmetic")
    assert project.run("--probe-heads", CARRIER).ret == pytest.ExitCode.INTERRUPTED
    assert len(project.outcomes()) == len(batches[0]) > 0


# -- sessions without a probe -----------------------------------------------------------------------------------------


def test_a_session_without_probes_pays_nothing(project: Project) -> None:
    """It imports nothing heavy, prints no line and makes no folder."""
    project.write("test_plain.py", "def test_plain(): pass\n")
    project.write(
        "conftest.py",
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    heavy = {'torch', 'transformers', 'matplotlib', 'scipy', 'numpy', 'pandas', 'tqdm'} & set(sys.modules)\n"
        "    print('imported:', sorted(heavy))\n",
    )
    result = project.run_anew(page=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["imported: []"])
    result.stdout.no_fnmatch_line("*reasoning-probe: *")
    result.stdout.no_fnmatch_line("*= reasoning-probe =*")
    assert not (project.path / "reports").exists()


def test_importing_the_package_imports_nothing_heavy(project: Project) -> None:
    code = (
        "import sys, reasoning_probe, reasoning_probe.pytest_plugin.plugin\n"
        "print(sorted({'torch', 'transformers', 'matplotlib', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    assert project.pytester.run(sys.executable, "-c", code).outlines == ["[]"]


def test_a_dataset_that_is_deselected_does_not_load_the_model(project: Project, tmp_path: Path) -> None:
    project.probe("logic")
    project.write("test_plain.py", "def test_plain(): pass\n")
    project.run("-k", "plain", "--model", "no/such-model").assert_outcomes(passed=1, deselected=4)
    assert not (project.path / "reports").exists()


# -- several processes --------------------------------------------------------------------------------------------


def test_xdist_gives_the_same_files(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads", "L1H2,L0").assert_outcomes(passed=7, failed=1, xfailed=4)

    def by_case() -> list[dict[str, Any]]:
        return sorted(project.outcomes(), key=lambda outcome: (outcome["item"], outcome["target"]))

    alone, datasets = by_case(), project.summary()["datasets"]
    result = project.run_apart("--probe-heads", "L1H2,L0", "-n", "2", page=True)
    result.assert_outcomes(passed=7, failed=1, xfailed=4)
    assert project.summary()["datasets"] == datasets
    for outcome, single in zip(by_case(), alone, strict=True):
        assert outcome.pop("answer_logprob") == pytest.approx(single.pop("answer_logprob"), abs=1e-4)
        assert outcome == single
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert f"test_logic[{MAX}]" in page
