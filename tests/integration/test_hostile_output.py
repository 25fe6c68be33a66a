"""What a session and its commands print is obeyed by no terminal and by no CI system, whoever wrote the texts in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reasoning_probe import cli
from reasoning_probe.data.items import Item
from reasoning_probe.pytest_plugin.safe_reports import make_printable
from reasoning_probe.report.ci.markdown import markdown_summary
from reasoning_probe.results.run import write_run
from reasoning_probe.session.plan import Case
from tests.helpers.fake_runs import as_run, outcome
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project

EVIL = (
    "##[set-output name=a]b",
    "##[stop-commands]pause",
    "::error::gone",
    " ::stop-commands::pause",
    "\xa0::add-mask::e",
    "##vso[task.setvariable variable=a]b",
    "##teamcity[buildStatus status='SUCCESS']",
    "section_start:1700000000:a\r\x1b[0K",
    "a\r::warning::b",
    "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnorw",
    "x " * 30 + "::debug::wrapped " + "y" * 60 + " ::notice::z",
)


def obeyed(text: str) -> list[str]:
    """Return the lines of *text* that GitHub's runner, Azure's agent, TeamCity, GitLab or a terminal would obey.

    The rules are theirs: the runner looks for ``##[`` anywhere and for ``::`` after leading white space, in lines that
    end with a line feed, a carriage return or both.
    """
    lines = re.split("\r\n|\r|\n", text)
    rules = (r"##\[", r"##vso\[", r"##teamcity\[", r"^\s*::", r"section_(start|end):\d+:")
    commands = [line for line in lines if any(re.search(rule, line) for rule in rules)]
    return commands + re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text.replace("\r\n", "\n"))


def test_the_rules_find_what_is_obeyed() -> None:
    assert all(map(obeyed, EVIL[:-1]))
    assert obeyed("test_a.py::test_b PASSED ##\\[debug] a ::b #[c] \\::d") == []


PROBE = """
import reasoning_probe as rp


@rp.probe('evil.jsonl', name={name!r})
def test_evil(answer):
    print(answer.question)
    assert answer.correct


@rp.probe('evil.jsonl', name={name!r})
def test_error(answer):
    raise ValueError(answer.question)


@rp.probe('evil.jsonl', name={name!r})
def test_skip(answer):
    import pytest
    pytest.skip(answer.question)
"""


@pytest.fixture
def hostile(project: Project) -> Project:
    """A project whose items, names and hooks try to give commands."""
    items = [{"id": f"{index} {evil}", "question": evil, "answer": evil} for index, evil in enumerate(EVIL)]
    project.write("evil.jsonl", "".join(json.dumps(item) + "\n" for item in items))
    project.write("test_evil.py", PROBE.format(name=EVIL[0]))
    judgement = f"rp.Judgement(None, False, {EVIL[0]!r}, {EVIL[2]!r}, {EVIL[2]!r})"
    hook = f"    import reasoning_probe as rp\n    return {judgement}\n"
    project.write("conftest.py", f"def pytest_reasoning_probe_judge(item, response, truncated):\n{hook}")
    return project


@pytest.mark.parametrize("flags", [["-v", "-rA"], ["-q"], ["-vv", "--tb=short", "-n2"]], ids=" ".join)
def test_a_session_prints_no_command(
    hostile: Project, flags: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COLUMNS", "60")
    run = hostile.run_apart if "-n2" in flags else hostile.run
    result = run("--probe-heads", CARRIER, "--probe-min-accuracy=0.5", "--junitxml=junit.xml", *flags)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "set-output" in result.stdout.str()
    assert obeyed(result.stdout.str() + result.stderr.str()) == []
    junit = (hostile.path / "junit.xml").read_text(encoding="utf-8")
    assert "set-output" in junit
    assert obeyed(junit) == []


def test_under_github_the_only_commands_are_our_annotations(hostile: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = hostile.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = hostile.run("--probe-min-accuracy=0.5")
    assert {line.split("::")[1].split(" ")[0] for line in obeyed(result.stdout.str())} == {"error"}
    assert obeyed(summary.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "command",
    [["show", "run"], ["compare", "run", "other"], ["gate", "run", "--min-accuracy", "0.9"]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("width", ["20", "40", "80", None])
def test_the_commands_print_no_command(
    tmp_path: Path,
    command: list[str],
    width: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, response in (("run", "a"), ("other", "b")):
        outcomes = []
        for index, evil in enumerate(EVIL):
            values = dict.fromkeys(("question", "response", "expected", "answer", "category", "kind", "reason"), evil)
            outcomes.append(outcome(evil, evil, correct=index % 2 == (response == "a"), **values))
            outcomes.append(outcome(evil, evil, f"L0H0 {evil}", correct=False, ablation=evil, **values))
        evil = " ".join(EVIL)
        model = {"name": evil, "architecture": evil, "layers": 1, "heads": 1, "dtype": evil, "device": evil}
        skipped = [{"dataset": evil, "item": f"{evil} too", "reason": evil} for evil in EVIL]
        engine = {
            "rows": 1,
            "verified": 1,
            "decoded": 0,
            "settled_singly": 0,
            "path": evil,
            "notes": evil,
            "store": evil,
        }
        run = as_run(outcomes, model=model, skipped=skipped, engine=engine, versions={evil: evil + response})
        write_run(tmp_path / name, run)
    monkeypatch.chdir(tmp_path)
    if width is not None:
        monkeypatch.setenv("COLUMNS", width)
    assert cli.main(command) in (0, 1)
    output = capsys.readouterr()
    assert len(output.out) > 200
    assert obeyed(output.out + output.err) == []


@pytest.mark.parametrize("evil", EVIL[:-1])
def test_an_error_of_a_command_is_no_command(tmp_path: Path, evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / evil.replace("/", "-")
    assert cli.main(["show", str(folder)]) == 2
    write_run(folder, as_run([outcome(evil)]))
    assert cli.main(["gate", str(folder), "--min-accuracy", "x=1"]) == 2
    assert cli.main(["report", str(folder)]) == 0
    output = capsys.readouterr()
    assert len(output.err.splitlines()) == 2
    assert obeyed(output.out + output.err) == []


@pytest.mark.parametrize("evil", EVIL[:-1])
def test_an_error_of_a_chat_template_is_no_command(project: Project, evil: str) -> None:
    import shutil

    shutil.copytree(project.model, project.path / "model")
    template = "{{ raise_exception(" + json.dumps("x\n" + evil) + ") }}"
    path = project.path / "model" / "tokenizer_config.json"
    (project.path / "model" / "chat_template.jinja").unlink(missing_ok=True)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"chat_template": template}), "utf-8")
    project.write("evil.jsonl", json.dumps({"question": "Why?", "answer": "x"}))
    project.write("test_evil.py", PROBE.format(name="evil"))
    result = project.run("--model=model", "--probe-chat=on")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the chat template cannot be used" in result.stdout.str() + result.stderr.str()
    assert obeyed(result.stdout.str() + result.stderr.str()) == []


HOOKS = {
    "source": "def pytest_reasoning_probe_source(source):\n    raise ValueError({evil!r})\n",
    "judge": "def pytest_reasoning_probe_judge(item, response, truncated):\n    raise ValueError({evil!r})\n",
    "section": "def pytest_reasoning_probe_section(run):\n    raise ValueError({evil!r})\n",
}


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_of_a_hook_is_no_command(project: Project, hook: str) -> None:
    project.write("evil.jsonl", json.dumps({"question": "Why?", "answer": "x"}))
    project.write(
        "test_evil.py", PROBE.format(name="evil").replace("evil.jsonl", "mine:x" if hook == "source" else "evil.jsonl")
    )
    project.write("conftest.py", HOOKS[hook].format(evil="\n".join(EVIL)))
    result = project.run()
    assert "gone" in result.stdout.str() + result.stderr.str()
    assert obeyed(result.stdout.str() + result.stderr.str()) == []


def test_a_case_as_setup_show_prints_it_is_no_command() -> None:
    assert obeyed("\n".join(repr(Case(evil, Item(question="Why?", answer="x", id=evil))) for evil in EVIL)) == []


def test_a_warning_is_no_command(project: Project) -> None:
    """A library may quote a model's or a dataset's files in a warning."""
    project.write("evil.jsonl", json.dumps({"question": "Why?", "answer": "x"}))
    warn = f"    import warnings\n    for text in {EVIL!r}:\n        warnings.warn(text)\n"
    project.write("test_evil.py", f"import reasoning_probe as rp\n@rp.probe('evil.jsonl')\ndef test_x(answer):\n{warn}")
    result = project.run()
    result.stdout.fnmatch_lines([r"*UserWarning: \::error::gone"])
    assert obeyed(result.stdout.str()) == []


def test_what_a_test_has_printed_keeps_its_colours_and_nothing_else() -> None:
    report = pytest.TestReport("x", ("x", 1, "x"), {}, "failed", None, "call")
    report.sections = [("Captured stdout call", "\n".join([*EVIL, "\x1b[31mred\x1b[0m", "\x1b[2J\x1b]52;c;AA\x07"]))]
    make_printable(report)
    (_, text) = report.sections[0]
    assert "\x1b[31mred\x1b[0m" in text
    assert obeyed(re.sub(r"\x1b\[[0-9;]*m", "", text)) == []


def test_the_job_summary_links_to_nothing_and_shows_no_picture() -> None:
    evil = (
        "https://evil.example www.evil.example [a](https://evil.example) ![b](https://evil.example/x.png)"
        " <img src=x> <https://evil.example> @somebody #1 GH-2 a@evil.example <a href=x>y</a> `c` ~~~ http://evil.example"
    )
    values = dict.fromkeys(("question", "response", "expected", "answer", "category", "kind", "reason"), evil)
    model = {"name": evil, "architecture": evil, "layers": 1, "heads": 1}
    outcomes = [outcome(evil, evil, correct=False, **values), outcome(evil, evil, evil, correct=False, **values)]
    section = {"title": evil, "text": evil, "head": [evil], "rows": [[evil]]}
    run = as_run(outcomes, model=model, skipped=[{"dataset": evil, "item": evil, "reason": evil}])
    run.summary["sections"] = [section]
    text = markdown_summary(run)
    assert "evil" in text
    assert re.findall(r"://|www\.|[<>!]|\]\(|@\w", text.replace("<br>", "")) == []
