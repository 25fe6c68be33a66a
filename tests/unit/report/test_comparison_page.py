"""Two runs side by side, and several in their order: as pages, as Markdown and in the terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_probe.cli import main
from reasoning_probe.report.ci.comparison import comparison_markdown, history_markdown
from reasoning_probe.report.history import accuracy_history, head_history, history_sentences, run_names
from reasoning_probe.report.html.comparison import comparison_page, history_page
from reasoning_probe.results.compare import compare
from reasoning_probe.results.history import history
from reasoning_probe.results.run import Run, write_run
from tests.helpers.fake_runs import as_run, fake_outcomes, outcome
from tests.helpers.html_pages import HOSTILE, Page

SIZES = {"arithmetic": 60, "logic": 4}
A, B, C = Path("checks/a"), Path("checks/b"), Path("checks/c")


def with_mistakes(run: Run, most: int) -> Run:
    """Return *run* with *most* of its right baseline answers wrong."""
    changed = 0
    outcomes = []
    for each in run.outcomes:
        if each.ablation is None and each.correct and changed < most:
            each = replace(each, correct=False, answer="7", response=" it is 7", category="off_by_one")
            changed += 1
        outcomes.append(each)
    return as_run(outcomes)


@pytest.fixture(scope="module")
def first() -> Run:
    return as_run(fake_outcomes(SIZES))


@pytest.fixture(scope="module")
def second(first: Run) -> Run:
    return with_mistakes(first, 9)


# -- two runs -----------------------------------------------------------------------------------------------------


def test_the_page_holds_maps_side_by_side_and_answers_side_by_side(first: Run, second: Run) -> None:
    html = comparison_page(compare((A, first), (B, second)), (A, first), (B, second))
    page = Page(html)
    assert page.tags["svg"] == 3 * len(SIZES)  # A, B and the difference, a row a dataset
    assert "arithmetic: 9 lost and 0 won of 60 items, -15 points" in page.text
    assert page.text.count("it is 7") == 9
    assert html.count("<mark>") >= 9
    assert not page.tags["script"]
    assert 'http-equiv="Content-Security-Policy"' in html
    assert page.headings[:3] == [1, 2, 3]


def test_maps_of_a_row_have_one_scale(first: Run, second: Run) -> None:
    html = comparison_page(compare((A, first), (B, second)), (A, first), (B, second))
    row = html[html.index("<h4>") : html.index("</section>", html.index("<h4>"))].split("<h4>")[1]
    ticks = [re.findall(r">([+−-]\d+)<", svg) for svg in row.split("<svg")[1:]]
    assert len(ticks) == 3
    assert ticks[0] == ticks[1] == ticks[2] != []


def test_what_others_wrote_is_text(first: Run) -> None:
    outcomes = [
        outcome("arithmetic", item=f"i{number}", question=text, prompt=text, response=text, answer=text, expected=text)
        for number, text in enumerate(HOSTILE)
    ]
    changed = [replace(each, correct=False, response=each.response[::-1], answer=None) for each in outcomes]
    runs = (Path(HOSTILE[0]), as_run(outcomes)), (Path(HOSTILE[4]), as_run(changed))
    comparison = compare(*runs)
    page = Page(comparison_page(comparison, *runs))
    assert not page.tags["script"]
    assert not page.tags["img"]
    markdown = comparison_markdown(comparison, *runs)
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert not Page(history_page(history([*runs, runs[0]]))).tags["script"]


def test_markdown_fits_a_comment(first: Run, second: Run) -> None:
    text = comparison_markdown(compare((A, first), (B, second)), (A, first), (B, second))
    assert text.startswith("## reasoning-probe: tiny-reasoner against tiny-reasoner\n")
    right = [
        sum(each.correct for each in run.outcomes if each.ablation is None and each.dataset == "arithmetic")
        for run in (first, second)
    ]
    assert (
        "| arithmetic | " + " | ".join(f"{count / 60:.0%}".replace("%", " %") for count in right) + " | -15 |" in text
    )
    assert len(text.encode()) < 60_000


# -- several runs -------------------------------------------------------------------------------------------------


def test_accuracies_and_named_heads_follow_the_order_of_the_runs(first: Run, second: Run) -> None:
    view = history([(A, first), (B, second), (C, first)])
    line = view.accuracies["arithmetic"]
    right = [
        sum(each.correct for each in run.outcomes if each.ablation is None and each.dataset == "arithmetic")
        for run in (first, second, first)
    ]
    assert [point and point.correct for point in line] == right
    carrier = view.heads[0]
    assert (carrier.target, carrier.dataset, carrier.named) == ("L1H3", "arithmetic", (True, True, True))
    assert all(delta is not None and delta < -0.4 for delta in carrier.deltas)
    assert view.notes == ()


def test_runs_of_other_items_are_said_to_be(first: Run) -> None:
    fewer = as_run([each for each in first.outcomes if each.item != "arithmetic-3"])
    view = history([(A, first), (B, fewer), (C, first)])
    assert view.notes == ("The runs did not ask the same items of arithmetic: a change may be one of the questions",)


def test_a_dataset_that_one_run_did_not_ask_leaves_a_gap(first: Run) -> None:
    alone = as_run([each for each in first.outcomes if each.dataset == "arithmetic"])
    view = history([(A, first), (B, alone), (C, first)])
    assert view.accuracies["logic"][1] is None
    assert accuracy_history(view).rows[1][2] == "-"
    assert "logic" in Page(history_page(view)).text


def test_names_are_folders_from_where_they_differ(first: Run) -> None:
    folders = [Path("/ci/runs/1/reports"), Path("/ci/runs/2/reports"), Path("/ci/runs/10/reports")]
    assert run_names(history([(folder, first) for folder in folders])) == ["1/reports", "2/reports", "10/reports"]


def test_a_peak_between_the_ends_is_named(first: Run, second: Run) -> None:
    rising = history([(A, second), (B, first), (C, second)])
    (sentence,) = [each for each in history_sentences(rising) if each.startswith("arithmetic")]
    assert ", highest " in sentence
    assert "in b." in sentence
    assert ", highest " not in history_sentences(history([(A, first), (B, second), (C, first)]))[0]


def test_the_history_page_draws_a_line_a_dataset(first: Run, second: Run) -> None:
    view = history([(A, first), (B, second), (C, first)])
    html = history_page(view)
    page = Page(html)
    assert page.tags["svg"] == 1
    assert all(name in html[html.index("<svg") : html.index("</svg>")] for name in SIZES)
    assert head_history(view).rows[0][0] in page.text
    assert history_markdown(view).startswith("## reasoning-probe: 3 runs\n")


# -- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("suffix", [".html", ".md"])
def test_the_command_writes_the_file(
    first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, count: int
) -> None:
    for name in "abc"[:count]:
        write_run(tmp_path / name, first)
    file = tmp_path / f"diff{suffix}"
    assert main(["compare", *(str(tmp_path / name) for name in "abc"[:count]), "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert ("<!DOCTYPE html>" in file.read_text()) is (suffix == ".html")


def test_another_kind_of_file_is_refused_in_a_line(
    first: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", first)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "a"), "-o", "diff.txt"]) == 2
    assert capsys.readouterr().err == (
        "reasoning-probe: diff.txt is neither a page nor Markdown: name a file that ends in .html or .md\n"
    )


def test_help_says_which_run_came_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert "Compare run B with the earlier run A" in " ".join(capsys.readouterr().out.split())
