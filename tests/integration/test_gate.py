"""The gate in a session: limits decide, single wrong answers do not. See ``planted_model`` for the model's answers."""

from __future__ import annotations

import pytest

from tests.helpers.project import Project, gate_lines


def test_with_a_gate_a_wrong_answer_is_xfailed_and_the_gate_decides(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-min-accuracy=0.7", "-rx")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL *leo-poet] - wrong_label: answered yes, expected Unknown"])
    assert gate_lines(result) == ["gate passed: logic: 3 of 4 right (75 %), at least 70 % required"]
    gate = project.summary()["gate"]
    assert (gate["passed"], len(gate["checks"])) == (True, 1)
    assert gate["checks"][0] == {
        "dataset": "logic",
        "rule": "min-accuracy",
        "limit": 0.7,
        "value": 0.75,
        "passed": True,
        "line": "logic: 3 of 4 right (75 %), at least 70 % required",
        "p_value": None,
        "right": 3,
        "was_right": None,
        "items": 4,
    }


def test_a_gate_that_fails_ends_with_exit_code_1_and_a_line(project: Project) -> None:
    project.probe("logic", "arithmetic")
    result = project.run("--probe-min-accuracy", "arithmetic=0.9,logic=0.75")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=10, xfailed=2)
    assert gate_lines(result) == [
        "gate FAILED: arithmetic: 7 of 8 right (87.5 %), at least 90 % required",
        "gate passed: logic: 3 of 4 right (75 %), at least 75 % required",
    ]
    result.stdout.fnmatch_lines(["*10 passed, 2 xfailed, 1 gate failed in*"])
    assert project.summary()["gate"]["passed"] is False


def test_without_a_gate_nothing_changes(project: Project) -> None:
    project.probe("logic")
    result = project.run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1)
    assert gate_lines(result) == []
    assert "gate" not in project.summary()


def test_ablated_answers_do_not_move_the_gate(project: Project) -> None:
    project.probe("logic")
    result = project.run("--ablate-heads", "--probe-min-accuracy=0.75")
    assert result.ret == pytest.ExitCode.OK
    # the baselines are computed, too
    result = project.run("--ablate-heads", "-m", "ablated", "--probe-min-accuracy=0.75")
    assert result.ret == pytest.ExitCode.OK
    assert gate_lines(result) == ["gate passed: logic: 3 of 4 right (75 %), at least 75 % required"]


def test_an_error_in_a_test_still_fails(project: Project) -> None:
    project.probe("logic")
    project.write("test_plain.py", "def test_plain(): assert 0\n")
    result = project.run("--probe-min-accuracy=0.5")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, xfailed=1, failed=1)
    assert project.summary()["gate"]["passed"] is True


def test_runxfail_shows_wrong_answers_whatever_the_gate_says(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-min-accuracy=0.5", "--runxfail")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1)
    assert project.summary()["gate"]["passed"] is True


@pytest.mark.parametrize("verbosity", ["-v", "-q", "-qq"])
def test_the_gate_is_told_at_any_verbosity(project: Project, verbosity: str) -> None:
    project.probe("logic")
    result = project.run("--probe-min-accuracy=0.9", verbosity)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate_lines(result) == ["gate FAILED: logic: 3 of 4 right (75 %), at least 90 % required"]


def test_x_goes_on_since_a_wrong_answer_is_no_failure(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-min-accuracy=0.5", "-x")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, xfailed=1)


def test_a_run_that_x_ended_is_not_judged(project: Project) -> None:
    project.probe("logic")
    text = (project.path / "test_logic.py").read_text(encoding="utf-8")
    project.write("test_logic.py", text.replace("assert", "assert answer.item != 'exclusion-mia-cat', 1\n    assert"))
    result = project.run("--probe-min-accuracy=0.5", "-x")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (line,) = gate_lines(result)
    assert line.startswith("gate undecided: logic: not judged, the run ended early, with 2 of 4 outcomes")
    assert project.summary()["gate"]["passed"] is None


@pytest.mark.parametrize("code", [0, 2])
def test_an_interrupted_run_never_passes(project: Project, code: int) -> None:
    project.write(
        "colours.jsonl", "".join(f'{{"question": "What colour is {word}?", "answer": "blue"}}\n' for word in "abc")
    )
    project.write(
        "test_colours.py",
        "import pytest\nimport reasoning_probe as rp\n\n@rp.probe('colours.jsonl')\ndef test_colours(item, request):\n"
        f"    if item.id == 'q2': pytest.exit('enough', returncode={code})\n    request.getfixturevalue('answer')\n",
    )
    result = project.run("--probe-min-accuracy=0", "-x")  # with -x the sweep goes only as far as the tests do
    assert result.ret == (code or pytest.ExitCode.TESTS_FAILED)
    (line,) = gate_lines(result)
    assert line.startswith("gate undecided: colours: not judged, the run ended early, with 1 of 3 outcomes")


def test_of_a_part_of_a_dataset_each_answer_stands_for_itself(project: Project) -> None:
    """The gate cannot judge a part, so a wrong answer would be passed over."""
    project.probe("logic")
    result = project.run("--probe-min-accuracy=0.5", "-k", "leo or max")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    assert gate_lines(result) == ["gate undecided: logic: not judged, 2 of 4 items selected; at least 50 % required"]
    result = project.run("--probe-min-accuracy=0.5", "-k", "max")
    assert result.ret == pytest.ExitCode.OK
    assert gate_lines(result) == ["gate undecided: logic: not judged, 1 of 4 items selected; at least 50 % required"]


def test_lf_repeats_what_failed_by_itself(project: Project) -> None:
    project.probe("logic")
    project.run().assert_outcomes(passed=3, failed=1)
    result = project.run("--lf", "--probe-min-accuracy=0.5")
    result.assert_outcomes(failed=1)
    assert gate_lines(result)[0].startswith("gate undecided: logic: not judged, 1 of 4 items selected")


def test_a_whole_dataset_is_judged_beside_a_part(project: Project) -> None:
    project.probe("logic", "arithmetic")
    result = project.run("--probe-min-accuracy=0.5", "-k", "logic or add")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=5, xfailed=1, deselected=6)
    assert [line.split(":")[0] for line in gate_lines(result)] == ["gate undecided", "gate passed"]


def test_where_no_limit_applies_there_is_no_gate(project: Project) -> None:
    project.probe("logic", "arithmetic")
    result = project.run("--probe-min-accuracy=arithmetic=0.5", "-k", "logic")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3, failed=1, deselected=8)
    assert gate_lines(result) == ["gate: No limit for logic.", "gate: No item of arithmetic was asked."]


def test_a_shard_leaves_the_verdict_to_the_merged_run(project: Project) -> None:
    project.probe("logic")
    for number in (1, 2):
        result = project.run("--probe-min-accuracy=1", f"--probe-shard={number}/2", "--probe-dir", f"part-{number}")
        assert result.ret == pytest.ExitCode.OK
        (line,) = gate_lines(result)
        assert line.startswith(f"gate undecided: logic: not judged, this is shard {number}/2 of the items")
        assert project.summary(f"part-{number}")["gate"]["passed"] is None


def test_items_that_are_skipped_are_told_and_not_counted(project: Project) -> None:
    project.probe("gsm8k", "logic")  # two of gsm8k's items do not fit the planted model
    result = project.run("--probe-min-accuracy=0.5")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate_lines(result) == [
        "gate FAILED: gsm8k: 0 of 3 right (0 %, 2 skipped), at least 50 % required",
        "gate passed: logic: 3 of 4 right (75 %), at least 50 % required",
    ]


def test_a_session_in_which_nothing_was_asked_says_so(project: Project) -> None:
    project.probe("logic")
    project.write(
        "conftest.py", "import pytest\n@pytest.fixture(autouse=True)\ndef skips(): pytest.skip('not today')\n"
    )
    result = project.run("--probe-min-accuracy=0.5")
    result.stdout.fnmatch_lines(["reasoning-probe: the gate judged nothing, since no question was asked"])


def test_the_page_and_show_tell_the_gate(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from reasoning_probe.cli import main

    project.probe("logic")
    result = project.run("--probe-min-accuracy=0.9", page=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "✗ Gate failed" in page
    assert "✗ logic: 3 of 4 right (75\N{NO-BREAK SPACE}%), at least 90\N{NO-BREAK SPACE}% required" in page
    capsys.readouterr()
    assert main(["show", str(project.path / "reports")]) == 0
    assert "gate FAILED: logic: 3 of 4 right (75 %), at least 90 % required" in capsys.readouterr().out


# -- no verdict is no pass ----------------------------------------------------------------------------------------

LONG = '{{"id": "{id}", "question": "What is the {words}?", "answer": "blue"}}\n'
COLOURS_PROBE = """
import reasoning_probe as rp

@rp.probe("colours.jsonl")
def test_colours(answer):
    assert answer.correct
"""


def too_long(project: Project, *ids: str) -> None:
    project.write("test_colours.py", COLOURS_PROBE)
    project.write("colours.jsonl", "".join(LONG.format(id=id, words="sky " * 5000) for id in ids or ("sky",)))


@pytest.mark.parametrize("options", [(), ("-n2",), ("--probe-granularity=head",), ("-x",), ("--ablate-heads",)])
def test_a_run_whose_items_are_all_too_long_fails(project: Project, options: tuple[str, ...]) -> None:
    too_long(project)
    run = project.run_apart if "-n2" in options else project.run
    for limit in ("0.9", "colours=0.9", "0"):
        result = run(f"--probe-min-accuracy={limit}", *options)
        assert result.ret == pytest.ExitCode.TESTS_FAILED, result.stdout.str()
        (line,) = gate_lines(result)
        assert line.startswith("gate FAILED: colours: no item was answered, 1 skipped; at least ")
        result.stdout.fnmatch_lines(["*1 gate failed in*"])
    summary = project.summary()
    assert (summary["datasets"], summary["gate"]["passed"]) == ({}, False)
    assert [skip["item"] for skip in summary["skipped"]] == ["sky"]
    assert project.outcomes() == []


def test_a_run_of_too_long_items_replaces_the_earlier_one(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from reasoning_probe.cli import main

    project.write("test_colours.py", COLOURS_PROBE)
    project.write("colours.jsonl", '{"id": "sky", "question": "What colour is the sky?", "answer": "blue"}\n')
    assert project.run("--probe-min-accuracy=0.9", page=True).ret == pytest.ExitCode.OK
    too_long(project)
    assert project.run("--probe-min-accuracy=0.9", page=True).ret == pytest.ExitCode.TESTS_FAILED
    capsys.readouterr()
    for limit, code in (("0.9", 1), ("0", 1), ("colours=0.9", 2)):
        assert main(["gate", "reports", "--min-accuracy", limit]) == code
    output = capsys.readouterr()
    assert "gate FAILED: colours: no item was answered, 1 skipped; at least 90 % required" in output.out
    assert "has no dataset 'colours': it has none" in output.err
    for command in ("show", "report"):
        assert main([command, "reports"]) == 0


def test_a_reference_does_not_pass_over_items_that_are_too_long(project: Project) -> None:
    project.write("test_colours.py", COLOURS_PROBE)
    good = '{"id": "sky", "question": "What colour is the sky?", "answer": "blue"}\n'
    project.write("colours.jsonl", good)
    reference = "--probe-reference=reference.jsonl"
    assert project.run(reference, "--probe-update-reference").ret == pytest.ExitCode.OK
    assert project.run(reference, "--probe-template=long.txt").ret == pytest.ExitCode.USAGE_ERROR
    project.write("long.txt", "the " * 100 + "{question}")
    result = project.run(reference, "--probe-template=long.txt")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert gate_lines(result)[0].startswith("gate FAILED: colours: no item was answered, so nothing compares")
    kept = (project.path / "reference.jsonl").read_bytes()
    result = project.run(reference, "--probe-update-reference", "--probe-template=long.txt")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["reasoning-probe: *reference.jsonl was not updated: no item was answered"])
    assert (project.path / "reference.jsonl").read_bytes() == kept


def test_a_reference_made_with_an_item_that_is_too_long_serves(project: Project) -> None:
    too_long(project, "long")
    text = (project.path / "colours.jsonl").read_text(encoding="utf-8")
    project.write("colours.jsonl", '{"id": "sky", "question": "What colour is the sky?", "answer": "blue"}\n' + text)
    for reference in ("reference.jsonl", "reference"):
        assert project.run(f"--probe-reference={reference}", "--probe-update-reference").ret == pytest.ExitCode.OK
        result = project.run(f"--probe-reference={reference}")
        assert result.ret == pytest.ExitCode.OK, result.stdout.str() + result.stderr.str()
        assert gate_lines(result)[0].startswith("gate passed: colours: accuracy did not drop (0 lost, 0 won of 1 item)")


def test_a_typed_limit_for_a_dataset_that_was_not_asked_fails(project: Project) -> None:
    project.probe("logic", "arithmetic")
    result = project.run("--probe-min-accuracy=arithmetic=0.5", "-k", "max")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, deselected=11)
    result.stdout.fnmatch_lines(
        ["reasoning-probe: the gate judged no item of arithmetic, for which there is a limit", "*1 gate failed in*"]
    )


def test_a_wrong_answer_of_a_part_is_not_passed_over_where_only_ablated_ones_are_tested(project: Project) -> None:
    project.probe("logic")
    options = ["--probe-heads=L1H2", "--probe-min-accuracy=0.5", "-k"]
    result = project.run(*options, "max or (leo and L1H2)")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    line = (
        "the gate judged no part of logic, and no selected test judged the wrong baseline answer to converse-leo-poet"
    )
    result.stdout.fnmatch_lines([f"reasoning-probe: {line}"])
    assert project.run(*options, "max and L1H2").ret == pytest.ExitCode.OK
    project.pytester.makeini("[pytest]\nprobe_min_accuracy = 0.5\n")
    assert project.run("--probe-heads=L1H2", "-k", "leo and L1H2").ret == pytest.ExitCode.OK  # the limit is no command


def test_a_limit_of_the_ini_file_holds_for_what_is_selected(project: Project) -> None:
    project.probe("logic", "arithmetic")
    project.pytester.makeini("[pytest]\nprobe_min_accuracy = arithmetic=0.5\n")
    assert project.run("-k", "max").ret == pytest.ExitCode.OK
    skips = "import pytest\ndef pytest_runtest_setup(item):\n    if 'arith' in item.nodeid: pytest.skip('x')\n"
    project.write("conftest.py", skips)
    result = project.run("-k", "max or arithmetic")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["reasoning-probe: the gate judged no item of arithmetic, for which there is a limit"])


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_typed_gate_whose_probes_are_all_deselected_fails(project: Project, options: tuple[str, ...]) -> None:
    project.probe("logic")
    project.write("test_plain.py", "def test_plain(): pass\n")
    run = project.run_apart if options else project.run
    result = run("--probe-min-accuracy=0.5", "-k", "plain", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["reasoning-probe: the gate judged nothing, since no question was asked"])


def test_a_session_without_probes_has_no_gate(project: Project) -> None:
    project.write("test_plain.py", "def test_plain(): pass\n")
    assert project.run("--probe-min-accuracy=0.5").ret == pytest.ExitCode.OK
    project.pytester.makeini("[pytest]\nprobe_min_accuracy = 0.5\n")
    project.probe("logic")
    assert project.run("-k", "plain").ret == pytest.ExitCode.OK


def test_an_earlier_run_is_said_to_be_one_where_none_was_written(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-min-accuracy=0.5")
    project.write("conftest.py", "import pytest\ndef pytest_runtest_setup(item): pytest.skip('not today')\n")
    result = project.run("--probe-min-accuracy=0.5")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["reasoning-probe: no run was written: reports/run.json is from an earlier session"])
