"""``--probe-granularity head``: one test for all items under a target, and the files of one test for each."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.pytest_plugin.gc_freeze import GcFreeze
from reasoning_probe.pytest_plugin.head_granularity import failed_baseline_text
from reasoning_probe.results.answer import Answer, judge_answer
from reasoning_probe.results.outcome import Outcome
from tests.helpers.planted_model import CARRIER
from tests.helpers.project import Project

HEAD = "--probe-granularity=head"
COLOURS = [("sky", "blue"), ("grass", "green"), ("snow", "white")]
PROBE = """
import reasoning_probe as rp

@rp.probe("colours.jsonl")
def test_colours(answer, item):
    assert answer.item == item.id
    assert answer.correct
"""


def lasting(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what of run.json is the same in each run: all but times, the command and the peak of memory."""
    engine = {key: value for key, value in summary["engine"].items() if key != "peak_bytes"}
    return {key: value for key, value in summary.items() if key not in ("timing", "invocation")} | {"engine": engine}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the keys at which two summaries differ."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def both(project: Project, *options: str) -> tuple[pytest.RunResult, pytest.RunResult]:
    """Run with both granularities and without a cache, into the folders ``case`` and ``head``."""
    one = project.run(*options, "--probe-cache=off", "--probe-dir=case")
    return one, project.run(*options, HEAD, "--probe-cache=off", "--probe-dir=head")


def test_a_case_is_a_target_with_all_items(project: Project) -> None:
    project.probe("logic")
    result = project.run("--co", "-q", HEAD, "--probe-heads", "L1H2,L0")
    node_ids = [line for line in result.outlines if "::" in line]
    assert node_ids == [f"test_logic.py::test_logic[{name}]" for name in ("baseline", "L1H2", "L0")]
    result = project.run("--co", "-q", HEAD, "--probe-heads", "L1H2", "--ablation", "zero,mean")
    assert [line[line.index("[") :] for line in result.outlines if "::" in line] == [
        "[baseline]",
        "[L1H2-zero]",
        "[L1H2-mean]",
    ]


def test_a_baseline_lists_what_is_wrong_and_an_ablated_case_what_changed(project: Project) -> None:
    project.probe("logic")
    result = project.run(HEAD, "--probe-heads", f"L0H0,{CARRIER}", "-v", "-rx")
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        ["1 of 4 items wrong", "converse-leo-poet  wrong_label: answered yes, expected Unknown"]
    )
    result.stdout.fnmatch_lines(
        ["*[[]L0H0] PASSED*", f"XFAIL *[[]{CARRIER}] - *{CARRIER} off: 4 of 4 items changed, 3 flips to wrong"]
    )
    result.stdout.no_fnmatch_line("*Error*")


@pytest.mark.parametrize(
    "options",
    [
        ["--ablate-heads", "--ablate-layers", "--ablation", "zero,mean"],
        ["--ablate-heads", "-k", "L1H2"],
        ["--ablate-heads", "-m", "not ablated"],
        ["--ablate-layers", "--probe-shard", "1/2"],
        ["--ablate-layers", "--probe-min-accuracy", "0.1"],
    ],
)
def test_files_are_the_same(project: Project, options: list[str]) -> None:
    project.probe("logic", "arithmetic")
    both(project, *options)
    texts = [(project.path / name / "outcomes.jsonl").read_text(encoding="utf-8") for name in ("case", "head")]
    assert texts[0] == texts[1]
    assert texts[0].count("\n") > 2
    one, other = (lasting(project.summary(name)) for name in ("case", "head"))
    assert differing(one, other) == []


def test_a_gate_decides(project: Project) -> None:
    project.probe("logic")
    one, other = both(project, "--probe-min-accuracy", "0.5")
    assert one.ret == other.ret == pytest.ExitCode.OK
    other.assert_outcomes(xfailed=1)
    one, other = both(project, "--probe-min-accuracy", "0.9")
    assert one.ret == other.ret == pytest.ExitCode.TESTS_FAILED


def test_x_stops_and_lf_asks_again(project: Project) -> None:
    project.probe("logic", "arithmetic")
    project.run(HEAD, "-x", "test_logic.py", "--probe-heads", "L0H0,L0H1").assert_outcomes(failed=1)
    project.run(HEAD, "--lf", "test_logic.py", "--probe-heads", "L0H0,L0H1").assert_outcomes(failed=1)
    assert {target for _, target in project.computed()} == {"baseline"}


def test_xdist_and_the_page(project: Project) -> None:
    pytest.importorskip("xdist")
    project.probe("logic")
    project.run("--ablate-heads", "--probe-cache=off", "--probe-dir=case")
    result = project.run_apart(HEAD, "-n", "2", "--ablate-heads", "--probe-cache=off", "--probe-dir=head", page=True)
    result.assert_outcomes(passed=7, failed=1, xfailed=1)
    assert project.outcomes("head") == project.outcomes("case")
    page = (project.path / "head" / "report.html").read_text(encoding="utf-8")
    assert "test_logic[baseline]" in page
    assert f"test_logic[{CARRIER}]" in page
    assert "test_logic[L0H0]" not in page  # it changed nothing


def colours(project: Project, body: str = PROBE, *more: tuple[str, str]) -> None:
    lines = [
        json.dumps({"id": id, "question": f"What colour is the {id}?", "answer": answer}) for id, answer in COLOURS
    ]
    lines += [json.dumps({"id": id, "question": question, "answer": "blue"}) for id, question in more]
    project.write("colours.jsonl", "\n".join(lines))
    project.write("test_colours.py", body)


def test_the_body_runs_for_each_item_with_its_own_answer(project: Project) -> None:
    colours(project)
    result = project.run(HEAD, "--probe-heads", CARRIER)
    result.assert_outcomes(failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["1 of 3 items wrong"])


def test_an_item_that_does_not_fit_is_left_out(project: Project) -> None:
    colours(project, PROBE, ("long", "What is the " + "sky " * 60 + "?"))
    both(project, "--probe-heads", CARRIER)
    for name in ("case", "head"):
        assert [skip["item"] for skip in project.summary(name)["skipped"]] == ["long"]
    assert project.outcomes("head") == project.outcomes("case")


def test_any_other_error_fails_and_a_skipped_item_is_no_verdict(project: Project) -> None:
    colours(project, PROBE.replace("assert answer.correct", "1 / 0"))
    project.run(HEAD, "--probe-heads", CARRIER).assert_outcomes(failed=2)
    wrong = "import pytest\nWRONG = None\n" + PROBE.replace(
        "    assert answer.correct",
        "    if not answer.correct:\n        pytest.skip('known')\n    assert answer.correct",
    )
    colours(project, wrong)
    project.run(HEAD).assert_outcomes(passed=1)


def test_a_fixture_that_holds_on_to_one_answer_is_refused(project: Project) -> None:
    body = PROBE.replace("item)", "item, mine)")
    fixture = "import pytest\n\n@pytest.fixture\ndef mine(answer):\n    return answer\n"
    colours(project, fixture + body)
    result = project.run(HEAD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "--probe-granularity head: the fixture 'mine' asks for 'answer', which*"
    result.stderr.fnmatch_lines([f"ERROR: {message}"])

    colours(project, body)
    project.write("conftest.py", fixture)
    assert project.run(HEAD).ret == pytest.ExitCode.USAGE_ERROR
    project.write(
        "conftest.py", fixture.replace("fixture\n", "fixture(name='mine')\n").replace("def mine", "def other")
    )
    result = project.run(HEAD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"!*{message}"])


def test_a_fixture_that_the_probe_does_not_ask_for_is_none_of_ours(project: Project) -> None:
    colours(project, PROBE.replace("item)", "item, mine)"))
    project.write("conftest.py", "import pytest\n\n@pytest.fixture\ndef mine():\n    return 1\n")
    project.write("other/conftest.py", "import pytest\n\n@pytest.fixture\ndef mine(item):\n    return item\n")
    project.write(
        "other/test_other.py",
        "import pytest\n\n@pytest.fixture\ndef item():\n    return 1\n\ndef test_mine(mine):\n    assert mine == 1\n",
    )
    project.run(HEAD).assert_outcomes(passed=1, failed=1)


def test_a_long_list_is_cut() -> None:
    def outcome(number: int) -> Outcome:
        query = Query(
            "sums", Item(id=f"q{number}", question="What is 1 + 1?", answer="2"), "1 + 1 =", Generation(4, ())
        )
        answer = Answer(
            query=query, target="baseline", ablation=None, response=" 3", truncated=False, answer_logprob=None
        )
        return answer.judged(judge_answer(answer))

    lines = failed_baseline_text([outcome(number) for number in range(30)], 40).splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[0] == "30 of 40 items wrong"
    assert lines[-1] == "and 10 more: outcomes.jsonl has them all"


def test_calm_takes_back_what_it_set_aside_and_leaves_others_alone() -> None:
    gc.unfreeze()  # what the suite itself has set aside
    before = gc.get_freeze_count()  # Python 3.12 freezes some hundred objects itself
    gc_freeze = GcFreeze()
    gc_freeze.freeze()
    assert gc.get_freeze_count() > before + 10_000
    gc_freeze.unfreeze()
    assert gc.get_freeze_count() <= before
    gc.freeze()
    try:
        gc_freeze.freeze()
        gc_freeze.unfreeze()
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
        gc.freeze()


def test_a_dataset_of_which_a_shard_has_nothing_is_left_out(project: Project) -> None:
    project.write("colours.jsonl", json.dumps({"id": "sky", "question": "What colour is the sky?", "answer": "blue"}))
    project.write("test_colours.py", PROBE)
    runs = [project.run(HEAD, "--probe-heads", "L0H0", "--probe-shard", shard) for shard in ("1/2", "2/2")]
    assert sorted(result.parseoutcomes().get("deselected", 0) for result in runs) == [0, 2]
    assert sorted(result.parseoutcomes().get("passed", 0) for result in runs) == [0, 2]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_does_not_run_while_it_is_paused(*, enabled: bool) -> None:
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with GcFreeze.paused():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
