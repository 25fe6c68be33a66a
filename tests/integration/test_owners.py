"""Who owns a probe: by its argument or by CODEOWNERS, in the run's file and where answers got worse."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from reasoning_probe.pytest_plugin.code_owners import PLACES, owners_of, parse_owners
from reasoning_probe.results.run import read_run, write_run
from tests.helpers.junit_schema import check
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project, gate_lines
from tests.helpers.usage_errors import refused

OF_GITHUB_DOCS = """
# This is a comment.
*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs@example.com
apps/ @octocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/github
/private/ @doctocat
"""
"""The example of "About code owners" in GitHub's documentation."""

EVERY_ANSWER = """
import reasoning_probe as rp


@rp.probe("logic", owner="@octo-org/logic")
def test_logic(answer: rp.Outcome) -> None:
    assert answer.correct
"""


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("README.md", ["@global-owner1", "@global-owner2"]),
        ("src/main.js", ["@js-owner"]),
        ("cmd/main.go", ["docs@example.com"]),
        ("notes.txt", ["@octo-org/octocats"]),
        ("docs/getting-started.md", ["docs@example.com"]),
        ("docs/build-app/troubleshooting.md", ["@global-owner1", "@global-owner2"]),
        ("deep/apps/main.js", ["@octocat"]),
        ("scripts/run.go", ["@doctocat", "@octocat"]),
        ("build/logs/today", ["@octocat"]),
        ("deeply/nested/logs/today", ["@octocat"]),
        ("apps/github/main.js", []),
        ("sub/private/key", ["@global-owner1", "@global-owner2"]),
    ],
)
def test_patterns_mean_what_the_documentation_of_github_says(path: str, owners: list[str]) -> None:
    assert parse_owners(OF_GITHUB_DOCS, path) == owners


@pytest.mark.parametrize("line", ["[ab @x", "tests/[z-a].py @x", "", "#", "\\", "!tests @x"])
def test_a_line_that_github_cannot_read_is_passed_over(line: str) -> None:
    assert parse_owners(f"* @ada\n{line}\n", "tests/test_logic.py") == ["@ada"]


@pytest.mark.parametrize(
    "line",
    ["* " + "@x " * 900_000, "a" * 2_900_000 + " @x", "**/" * 3000 + "x @x", "*a" * 22 + "b @x", "/**" * 40 + "/x @x"],
    ids=["owners", "a name", "folders", "stars", "other folders"],
)
def test_a_line_that_takes_for_ever_is_passed_over(line: str) -> None:
    started = time.monotonic()
    assert parse_owners(f"* @somebody\n{line}\n", "a/" * 12 + "a" * 60 + ".py") == ["@somebody"]
    assert time.monotonic() - started < 2


def test_repeated_stars_for_folders_are_one() -> None:
    assert parse_owners("**/**/**/**/**/logs @x\n", "a/b/logs/c.py") == ["@x"]


def test_the_first_place_of_github_counts_in_the_nearest_repository(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    file = inner / "probes" / "test_logic.py"
    file.parent.mkdir(parents=True)
    (tmp_path / "outer" / "CODEOWNERS").write_text("* @outer", encoding="utf-8")
    assert owners_of(file, tmp_path / "outer") == ["@outer"]
    (inner / ".git").mkdir()
    assert owners_of(file, tmp_path / "outer") == []
    for place in reversed(PLACES):
        (inner / place).parent.mkdir(exist_ok=True)
        (inner / place).write_text(f"/probes/ @{place}", encoding="utf-8")
        assert owners_of(file, tmp_path / "outer") == [f"@{place}"]
    assert owners_of(Path("/elsewhere/test_logic.py"), inner) == []


def test_what_is_no_file_or_is_too_long_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "CODEOWNERS").mkdir()
    assert owners_of(tmp_path / "test_logic.py", tmp_path) == []
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "CODEOWNERS").write_text("* @ada\n" + "#" * 3_000_000, encoding="utf-8")
    assert owners_of(tmp_path / "test_logic.py", tmp_path) == []


def reference_in_which_all_is_right(project: Project) -> None:
    project.run("--probe-reference=reference.jsonl", "--probe-update-reference", "--probe-dir=first")
    file = project.path / "reference.jsonl"
    right = [json.loads(line) | {"correct": True} for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in right), encoding="utf-8")


def test_the_owner_is_named_wherever_an_answer_got_worse(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))
    project.probe("logic", "arithmetic")
    project.write(".github/CODEOWNERS", "* @everyone\ntest_logic.py @octo-org/logic @ada\n")
    reference_in_which_all_is_right(project)
    result = project.run("--probe-reference=reference.jsonl", "--junitxml=junit.xml", page=True)
    assert project.summary()["owners"] == {"arithmetic": ["@everyone"], "logic": ["@octo-org/logic", "@ada"]}
    owner = "@octo-org/logic and @ada"
    line = f"gate: 1 answer to logic got worse: converse-leo-poet. Owner: {owner}."
    assert line in gate_lines(result)
    assert any(line.startswith("::notice") and line.endswith(f"; owner {owner}") for line in result.outlines)
    summary = (project.path / "summary.md").read_text(encoding="utf-8")
    assert "instead of Unknown, owner &#64;octo-org/logic and &#64;ada" in summary
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "owner</th>" in page
    assert owner in page
    suite = check((project.path / "junit.xml").read_text(encoding="utf-8"))
    values = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert values["reasoning_probe.owner.logic"] == owner


def test_the_argument_of_a_probe_is_its_owner_whatever_codeowners_says(project: Project) -> None:
    project.write("CODEOWNERS", "* @everyone\n")
    project.write("test_mine.py", EVERY_ANSWER)
    project.run()
    assert project.summary()["owners"] == {"logic": ["@octo-org/logic"]}


def test_two_probes_of_a_dataset_have_both_their_owners(project: Project) -> None:
    project.probe("logic")
    project.write("CODEOWNERS", "test_logic.py @ada\n")
    project.write("test_mine.py", EVERY_ANSWER)
    project.run()
    assert project.summary()["owners"] == {"logic": ["@ada", "@octo-org/logic"]}


def test_a_run_without_owners_holds_none_and_is_told_without_them(project: Project) -> None:
    project.probe("logic")
    reference_in_which_all_is_right(project)
    result = project.run("--probe-reference=reference.jsonl")
    assert "owners" not in project.summary()
    assert gate_lines(result)[-1] == "gate: 1 answer to logic got worse: converse-leo-poet."


def test_owners_come_through_xdist_and_a_merge(project: Project) -> None:
    project.probe("logic", "arithmetic")
    project.write("CODEOWNERS", "test_logic.py @ada\n")
    project.run_apart("-n2", "--probe-heads", CARRIER)
    assert project.summary()["owners"] == {"logic": ["@ada"]}
    from reasoning_probe.results.merge import merge_runs

    run = read_run(project.path / "reports")
    write_run(project.path / "other", run)
    other = read_run(project.path / "other")
    other.summary["owners"] = {"logic": ["@bob"], "arithmetic": ["@carl"]}
    merged = merge_runs({project.path / "reports": run, project.path / "other": other})
    assert merged.summary["owners"] == {"logic": ["@ada", "@bob"], "arithmetic": ["@carl"]}


@pytest.mark.parametrize("owner", ["3", "' '", "['@ada']"])
def test_an_owner_that_is_no_text_ends_the_session_in_one_line(project: Project, owner: str) -> None:
    project.write("test_mine.py", EVERY_ANSWER.replace('"@octo-org/logic"', owner))
    assert re.fullmatch("the probe test_logic: owner=.* is not a text: give a name", refused(project.run()))
