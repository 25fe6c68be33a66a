"""What a screened session measures, and what it reports of the heads that it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_probe.analyses import screening
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.report.sentences import screening_sentences
from reasoning_probe.results.run import Run
from reasoning_probe.results.stats import finite_interval, flips_needed_by_holm
from tests.helpers.known_circuits import ALL, COPIERS, DECIDER, save_circuit
from tests.helpers.project import Project


@pytest.fixture
def options(project: Project, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(screening, "SAMPLE", 2)
    return (*save_circuit(project, items=24), "--probe-screen=4")


def test_only_the_chosen_heads_are_computed(project: Project, options: tuple[str, ...]) -> None:
    result = project.run(*options, "-rs", "-v")  # which prints the seconds of each part, too
    summary = project.summary()
    (entry,) = summary["screening"]
    measured = {score["target"] for score in entry["scores"] if score["measured"]}
    assert len(measured) == 6
    assert {*COPIERS, DECIDER} <= {score["target"] for score in entry["scores"] if score["measured"] == "ranked"}
    assert {outcome["target"] for outcome in project.outcomes()} == {"baseline", *measured}
    assert summary["engine"]["rows"] == 24 * 6
    assert result.parseoutcomes()["skipped"] == 24 * 6
    result.stdout.fnmatch_lines(["SKIPPED [[]144] *not among the heads that --probe-screen 4 measures: --probe-heads*"])
    assert (entry["ranked"], entry["rest"], entry["sampled"], entry["missed"]) == (4, 8, 2, 0)
    assert entry["ci95"] == list(finite_interval(0, 2, 8))
    assert summary["timing"]["screen_s"] > 0
    assert "partial" not in summary
    output = " ".join(line.strip() for line in result.outlines)
    assert "3 of 6 measured heads matter for arithmetic" in output
    assert (
        "of 12 heads the first 4 by first-order attribution were measured. Of 2 drawn at random from the other 8"
        in output
    )
    assert " screen " in output


def test_integrated_gradients_rank_where_they_are_asked_for(project: Project, options: tuple[str, ...]) -> None:
    result = project.run(*options[:-1], "--probe-screen=4:ig5")
    (entry,) = project.summary()["screening"]
    assert entry["method"] == "ig5"
    assert {*COPIERS, DECIDER} <= {score["target"] for score in entry["scores"] if score["measured"] == "ranked"}
    output = " ".join(line.strip() for line in result.outlines)
    assert "of 12 heads the first 4 by integrated gradients were measured" in output
    project.run(*options, "--probe-dir=attribution")
    (other,) = project.summary("attribution")["screening"]
    assert other["method"] == "attribution"
    assert other["scores"] != entry["scores"]


def test_the_corrections_count_every_candidate(project: Project, options: tuple[str, ...]) -> None:
    """The same items choose and test the heads, so Holm's family is all twelve although only six are tested."""
    project.run(*options)
    summary = project.summary()
    rows = sorted(summary["targets"], key=lambda row: row["p_value"])
    assert len(rows) == 6
    (family,) = summary["families"]
    assert (family["targets"], family["unmeasured"]) == (6, 6)
    assert summary["datasets"]["arithmetic"]["power"] == {
        "targets": 12,
        "flips_needed": family["flips_needed"],
        "flips_needed_holm": flips_needed_by_holm(12),
    }
    largest = 0.0
    for index, row in enumerate(rows):
        largest = max(largest, min(1.0, (12 - index) * row["p_value"]))
        assert row["p_adjusted"] == pytest.approx(largest)


def test_the_curve_goes_over_all_heads(project: Project, options: tuple[str, ...]) -> None:
    project.run(*options)
    summary = project.summary()
    (scores,) = (entry["scores"] for entry in summary["screening"])
    unknown = [score["target"] for score in scores if not score["measured"]]
    for entry in summary["curves"]:
        assert sorted(entry["order"]) == sorted(ALL)
        assert [name for name in entry["order"] if name in unknown] == unknown
        assert entry["points"][-1]["heads"] == 12
        assert not entry["held_out"]  # the scores that ordered these heads come from measured items, too
    assert len(summary["curves"]) == 2


def test_the_page_shows_the_screening(project: Project, options: tuple[str, ...]) -> None:
    project.run(*options, page=True)
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "Screening of arithmetic (zero ablation): of 12 heads the first 4 by first-order attribution" in page
    assert "Hatched: not measured." in page
    assert page.count("-L0H0]") <= 24  # no row for what was left out


def test_the_choice_hangs_on_no_selection(project: Project, options: tuple[str, ...]) -> None:
    """In a shard and under -k the same heads are chosen; others are skipped and not computed."""
    project.run(*options)
    (whole,) = project.summary()["screening"]
    left_out = next(score["target"] for score in whole["scores"] if not score["measured"])
    for selection in (["--probe-shard=2/3"], ["-k", f"{left_out} or {DECIDER}"]):
        result = project.run(*options, *selection, "--probe-dir=part")
        (part,) = project.summary("part")["screening"]
        assert part["scores"] == whole["scores"]
        assert left_out not in {outcome["target"] for outcome in project.outcomes("part")}
    assert result.parseoutcomes()["skipped"] == 24
    result = project.run(*options, "-k", f"{left_out}", "--probe-dir=none")
    assert result.parseoutcomes() == {"skipped": 24, "deselected": 24 * 12}


def test_a_sample_that_is_the_whole_rest_leaves_no_doubt(project: Project) -> None:
    project.run(*save_circuit(project, items=12), "--probe-screen=3")
    (entry,) = project.summary()["screening"]
    assert (entry["sampled"], entry["rest"], entry["ci95"]) == (9, 9, [0.0, 0.0])
    assert len(project.outcomes()) == 12 * 13
    assert "and all 9 others, of which 0 matter" in screening_sentences(Run(project.summary(), []))[0]


def test_several_processes_agree_on_the_heads(project: Project) -> None:
    options = (*save_circuit(project, items=12), "--probe-screen=2")
    project.write("conftest.py", "from reasoning_probe.analyses import screening\nscreening.SAMPLE = 2\n")
    result = project.run_apart(*options, "-n2")
    (entry,) = project.summary()["screening"]
    assert result.parseoutcomes()["skipped"] == 12 * 8
    assert {row["target"] for row in project.summary()["targets"]} == {
        score["target"] for score in entry["scores"] if score["measured"]
    }


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--probe-screen=4"], "--probe-screen chooses among all heads: add --ablate-heads"),
        (["--probe-screen=4", "--probe-heads=L0"], "--probe-screen chooses heads by itself: leave out --probe-heads"),
        (["--ablate-heads", "--probe-screen=0"], "argument --probe-screen: '0' is not a whole number from 1 on"),
        (
            ["--ablate-heads", "--probe-screen=4:x"],
            "'x' is not a ranking of heads: write attribution or ig5 after the number",
        ),
        (
            ["--ablate-heads", "--probe-screen=4:"],
            "'' is not a ranking of heads: write attribution or ig5 after the number",
        ),
    ],
)
def test_a_screening_of_nothing_is_refused(project: Project, args: list[str], line: str) -> None:
    project.probe("logic")
    result = project.run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{line}*"])


def test_in_the_ini_file_it_waits_for_ablation(project: Project) -> None:
    project.pytester.makeini("[pytest]\nprobe_screen = 1\n")
    project.probe("logic")
    project.run().assert_outcomes(passed=3, failed=1)
    project.run("--probe-heads=L0H0").assert_outcomes(passed=6, failed=1, xfailed=1)
    assert project.summary()["screening"] == []


def test_a_model_that_cannot_be_screened_ends_the_session_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasoning_probe.analyses import attribution

    def failing(*args: Any) -> Any:
        raise HeadError("its heads cannot be screened: run it without --probe-screen")

    monkeypatch.setattr(attribution, "estimates", failing)
    project.probe("logic")
    result = project.run("--ablate-heads", "--probe-screen=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*its heads cannot be screened: run it without --probe-screen*"])
