"""The summary in the terminal: it fits, its colours are the terminal's, and -q and -v do what people expect."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from reasoning_probe.report.terminal.summary import Line, Piece, gate_word, plain, summary
from reasoning_probe.results.run import Run
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, full_run, outcome
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project
from tests.helpers.terminal_lines import summary_lines

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(scope="module")
def run() -> Run:
    return full_run()


def section(result: pytest.RunResult) -> list[str]:
    """Return the lines under the heading ``reasoning-probe`` as they were printed."""
    bare = [ESCAPE.sub("", line) for line in result.outlines]
    first = next((index for index, line in enumerate(bare) if re.fullmatch("=+ reasoning-probe =+", line)), len(bare))
    rest = bare[first + 1 :]
    last = next((index for index, line in enumerate(rest) if re.match(r"[=-]+ |\d+ (failed|passed)", line)), 0)
    return result.outlines[first + 1 : first + 1 + last]


# -- width --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("verbosity", [-2, -1, 0, 1, 3])
def test_every_line_fits(run: Run, width: int, verbosity: int) -> None:
    lines = summary_lines(run, width, verbosity)
    assert lines
    assert all(line and len(line) <= width and line.isascii() and "\n" not in line for line in lines)


@pytest.mark.parametrize("width", [40, 80])
def test_what_matters_is_there_however_narrow_the_terminal(run: Run, width: int) -> None:
    lines = summary_lines(run, width)
    for name, entry in run.summary["datasets"].items():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert f"{entry['correct']} of {entry['items']}" in line
        assert " %" in line
    strongest = [line for line in lines if re.match(r"L\dH\d  ", line)]
    assert [line.split()[:2] for line in strongest[:2]] == [["L1H3", "-64*"], ["L2H0", "-32*"]]
    assert all("arithmetic" in line for line in strongest[:2])
    text = " ".join(line.strip() for line in lines)
    assert "2 of 16 measured heads matter for arithmetic: L1H3 (-64 points) and L2H0 (-32)." in text
    assert "No head can be judged on gsm8k: the baseline is 0 %." in text
    assert "gate FAILED: multi_step: accuracy dropped by 40 points, at most 5 allowed, p 0.031" in text


def test_a_wide_terminal_shows_bars_intervals_and_flips() -> None:
    run = as_run(fake_outcomes({"arithmetic": 200}))
    accuracy, strongest, *_ = summary_lines(run, 80)
    assert re.fullmatch(r"arithmetic  +\d+ %  #+\.*  \d+ of 200 \(\d+ % to \d+ %\)", accuracy)
    assert re.fullmatch(r"L1H3 +-\d+\* -{10} +arithmetic, \d+ lost, \d+ won, p < 0.001", strongest)
    accuracy, strongest, *_ = summary_lines(run, 40)
    assert re.fullmatch(r"arithmetic  +\d+ %  #+\.*  \d+ of 200", accuracy)
    assert re.fullmatch(r"L1H3 +-\d+\* -+ +arithmetic", strongest)


def test_a_bar_is_as_long_as_the_effect_and_points_its_way() -> None:
    outcomes = [
        outcome(item=str(number), correct=number < 10, category=None if number < 10 else "off_by_one")
        for number in range(20)
    ]
    outcomes += [
        replace(baseline, target="L0H0", ablation="zero", correct=True, category=None) for baseline in outcomes[:20]
    ]
    outcomes += [
        replace(baseline, target="L0H1", ablation="zero", correct=False, category="off_by_one")
        for baseline in outcomes[:20]
    ]
    lines = summary_lines(as_run(outcomes), 80)
    bars = {line.split()[0]: line.split()[2] for line in lines if line.startswith("L0")}
    assert bars == {"L0H0": "+" * 8, "L0H1": "-" * 8}


# -- verbosity ----------------------------------------------------------------------------------------------------


def test_q_leaves_accuracy_warnings_and_gate(run: Run) -> None:
    lines = summary_lines(run, 80, -1)
    text = "\n".join(lines)
    assert [line.split()[0] for line in lines[:4]] == ["arithmetic", "logic", "multi_step", "gsm8k"]
    assert "No head can be judged on gsm8k" in text
    assert "gate FAILED" in text
    assert not re.search(r"matter for|mistakes|^L\dH\d|rows repeat", text, re.MULTILINE)
    assert all(line.startswith(("gate ", "  ")) for line in summary_lines(run, 80, -2))


def test_v_lists_more_targets_more_datasets_and_kinds_of_mistakes() -> None:
    run = as_run(fake_outcomes({f"set-{number}": 20 for number in range(12)}, every_head(1, 2), noise=0.5))
    by_default, verbose = summary_lines(run, 80), summary_lines(run, 80, 1)
    assert sum(line.startswith("set-") and " of 20" in line for line in by_default) == 8
    assert "and 4 more datasets" in by_default
    assert sum(line.startswith("set-") and " of 20" in line for line in verbose) == 12
    effects = [sum(bool(re.match(r"L\dH\d ", line)) for line in lines) for lines in (by_default, verbose)]
    assert effects[0] == 3 < effects[1]
    assert any(re.match(r"set-0: .*\((above|subtracted|from_nowhere|cut_off)\) \d", line) for line in verbose)


# -- colour -------------------------------------------------------------------------------------------------------


def styled(lines: list[Line], style: str) -> str:
    return " ".join(piece.text for line in lines for piece in line if piece.style == style)


def test_styles_say_what_the_text_says(run: Run) -> None:
    lines = summary(run, 80)
    assert [plain(line) for line in lines] == summary_lines(run, 80)
    assert "gate FAILED" in styled(lines, "bad")
    assert "gate passed" in styled(lines, "good")
    assert "No head can be judged on gsm8k: the baseline is 0 %." in styled(lines, "warning")
    assert "L1H3" in styled(lines, "strong")
    assert gate_word(None) == ("undecided", "warning")


def test_nothing_beyond_the_width_is_kept_whatever_its_style() -> None:
    assert plain((Piece("ab", "bad"), Piece("cd"))) == "abcd"
    run = as_run([outcome("n" * 99, "q", expected="x" * 99)])
    assert all(len(plain(line)) <= 40 for line in summary(run, 40))


@pytest.mark.parametrize(("colour", "coloured"), [("yes", True), ("no", False), ("auto", False)])
def test_colour_is_pytests_to_give(project: Project, colour: str, coloured: bool) -> None:
    project.probe("logic")
    result = project.run("--probe-heads", CARRIER, "--probe-min-accuracy=0.9", f"--color={colour}")
    lines = section(result)
    assert any(ESCAPE.search(line) for line in lines) is coloured
    assert "gate FAILED: logic: 3 of 4 right (75 %), at least 90 % required" in [ESCAPE.sub("", line) for line in lines]
    if coloured:
        assert any(line.startswith("\x1b[31mgate FAILED\x1b[0m: ") for line in lines)


# -- a session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80])
def test_the_summary_fits_the_terminal(project: Project, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    project.probe("logic")
    lines = section(project.run("--ablate-heads", "--probe-min-accuracy=0.9"))
    assert all(len(line) <= columns for line in lines if not line.startswith("files: "))  # a path is whole
    assert any(line.startswith("logic ") for line in lines)
    assert any(line.startswith(f"{CARRIER} ") for line in lines)
    assert any(line.startswith("gate FAILED: logic") for line in lines)


def test_where_the_page_is(project: Project) -> None:
    project.probe("logic")
    assert "page: mine/report.html" in section(project.run("--probe-dir=mine", page=True))
    assert "files: run.json and outcomes.jsonl in mine" in section(project.run("--probe-dir=mine", page=False))
    elsewhere = project.path.parent / "elsewhere"
    assert f"page: {elsewhere}/report.html" in section(project.run(f"--probe-dir={elsewhere}", page=True))


def test_verbosity_is_pytests(project: Project) -> None:
    project.probe("logic")
    sections = {
        flag: "\n".join(section(project.run("--ablate-heads", *flag.split()))) for flag in ("", "-q", "-v", "-q -q")
    }
    assert CARRIER in sections[""]
    assert CARRIER not in sections["-q"]
    assert "logic " in sections["-q"]
    assert "logic: wrong_label" in sections["-v"]
    assert "logic: wrong_label" not in sections[""]
    assert sections["-q -q"] == ""


# -- a probe's cases ----------------------------------------------------------------------------------------------

COLOURS = "".join(
    json.dumps({"id": f"sky-{number}", "question": f"What colour is sky {number}?", "answer": "mauve"}) + "\n"
    for number in range(14)
)


@pytest.fixture
def wrong_answers(project: Project) -> Project:
    """A project whose model answers fourteen questions wrong."""
    project.write("colours.jsonl", COLOURS)
    project.write(
        "test_colours.py",
        "import reasoning_probe as rp\n\n"
        'PROBE = rp.probe("colours.jsonl")\n\n'
        "@PROBE\ndef test_colour(answer):\n    assert answer.correct\n",
    )
    return project


def test_the_findings_are_the_last_thing_printed(wrong_answers: Project) -> None:
    lines = wrong_answers.run("--probe-heads", "L0", page=True).outlines
    headings = [line.strip("=- ") for line in lines if re.match("[=-]{3,} ", line)]
    assert headings[-2:-1] == ["reasoning-probe"]
    assert re.match("14 failed, .*14 xfailed", headings[-1])
    assert len(lines) < 45


def test_six_hundred_wrong_answers_take_less_than_a_screen(wrong_answers: Project) -> None:
    item = '{{"id": "sky-{n}", "question": "What colour is sky {n}?", "answer": "mauve"}}\n'
    wrong_answers.write("colours.jsonl", "".join(item.format(n=n) for n in range(605)))
    result = wrong_answers.run(page=True)
    result.assert_outcomes(failed=605)
    assert len(result.outlines) < 45


@pytest.mark.parametrize(("options", "most"), [([], 10), (["--probe-heads", "L0"], 5)], ids=["answers", "sweep"])
def test_many_wrong_answers_have_a_line_each_ten_of_them_and_no_dot(
    wrong_answers: Project, options: list[str], most: int
) -> None:
    result = wrong_answers.run(*options)
    result.assert_outcomes(failed=14, xfailed=14 if options else 0)
    start = result.outlines.index(next(line for line in result.outlines if "= wrong answers =" in line))
    listed = result.outlines[start + 1 : start + 1 + most]
    assert [line.split("  ")[0] for line in listed] == [f"test_colour[sky-{number}]" for number in range(most)]
    assert all("expected mauve" in line and len(line) <= 80 for line in listed)
    assert result.outlines[start + 1 + most] == f"and {14 - most} more; -v prints all with their questions"
    assert not any(re.search("FAILURES|^FAILED|^[.xF]{4}", line) for line in result.outlines)
    assert re.search(r"^test_colours.py +\[100%\]$", result.stdout.str(), re.MULTILINE)


def test_v_prints_every_case_and_every_question(wrong_answers: Project) -> None:
    text = wrong_answers.run("--probe-heads", "L0", "-v").stdout.str()
    assert text.count("XFAIL") == 14
    assert all(f"question  What colour is sky {number}?" in text for number in range(14))
    assert "wrong answers" not in text


def test_a_test_that_fails_otherwise_is_no_wrong_answer(wrong_answers: Project) -> None:
    file = wrong_answers.path / "test_colours.py"
    file.write_text(file.read_text() + "\ndef test_mine():\n    raise KeyError('mine')\n")
    result = wrong_answers.run()
    result.stdout.fnmatch_lines(["test_colours.py F *", "*= FAILURES =*", "*KeyError: 'mine'", "FAILED *::test_mine *"])
    result.stdout.no_fnmatch_line("FAILED *::test_colour*")


def test_no_summary_and_report_characters_are_pytests(wrong_answers: Project) -> None:
    for options in (["--no-summary"], ["-rN"]):
        assert "wrong answers" not in wrong_answers.run(*options).stdout.str()


def test_rows_name_their_ablation_where_there_are_several(project: Project) -> None:
    project.probe("logic")
    rows = [
        line
        for line in section(project.run("--probe-heads", CARRIER, "--ablation=zero,mean"))
        if line.startswith(f"{CARRIER} ")
    ]
    assert sorted(re.findall(r"logic \((zero|mean)\)", "\n".join(rows))) == ["mean", "zero"]


def test_what_the_plan_leaves_out_has_no_letter_and_what_a_user_skips_has_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning_probe.analyses.screening.SAMPLE", 2)  # the model has eight heads
    project.probe("logic")
    options = ("--ablate-heads", "--probe-screen=1", "--probe-cache=off")
    result = project.run(*options)
    assert result.parseoutcomes()["skipped"] > 10
    (line,) = (line for line in result.outlines if line.startswith("test_logic.py"))
    assert line.split() == ["test_logic.py", "[100%]"]
    assert sum("SKIPPED" in line for line in project.run(*options, "-v").outlines) > 10
    lines = ("import pytest", "import reasoning_probe as rp", "@pytest.mark.skip", "@rp.probe('logic')")
    project.write("test_logic.py", "\n".join((*lines, "def test_logic(answer):", "    pass", "")))
    (line,) = (line for line in project.run().outlines if line.startswith("test_logic.py"))
    assert set(line.split()[1]) == {"s"}
