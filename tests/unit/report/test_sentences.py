"""What is said of the parts of a run that few runs have: screening, curves, clusters, items that were left out."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_probe.cli import main
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.sentences import curve_sentences, screening_sentences
from reasoning_probe.report.terminal.summary import engine_lines
from reasoning_probe.results.run import Run, write_run
from tests.helpers.fake_runs import full_run
from tests.helpers.terminal_lines import summary_lines


@pytest.fixture(scope="module")
def run() -> Run:
    return full_run(items=20)


def with_parts(run: Run, **parts: Any) -> Run:
    return Run(run.summary | parts, run.outcomes)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"rest": 0, "sampled": 0, "missed": 0}, "were measured: all of them."),
        ({"rest": 9, "sampled": 9, "missed": 1}, "and all 9 others, of which 1 matters."),
        ({"rest": 9, "sampled": 9, "missed": 2}, "and all 9 others, of which 2 matter."),
        ({"rest": 9, "sampled": 0, "missed": 0}, "and none of the other 9: it is not known how many of these matter."),
        (
            {"rest": 90, "sampled": 10, "missed": 1, "miss_rate": 0.1, "ci95": [0.02, 0.4]},
            "Of 10 drawn at random from the other 90, 1 matters: a miss rate of 10 % (2 % to 40 %).",
        ),
    ],
)
def test_how_much_a_screening_may_have_missed(run: Run, found: dict[str, Any], says: str) -> None:
    entry = {"dataset": "arithmetic", "ablation": "zero", "candidates": 16, "ranked": 4, "miss_rate": None} | found
    (said,) = screening_sentences(with_parts(run, screening=[entry]))
    assert said.startswith(
        "Screening of arithmetic (zero ablation): of 16 heads the first 4 by first-order attribution"
    )
    assert said.endswith(says)


def curves(run: Run, **changes: Any) -> list[dict[str, Any]]:
    """The curves of *run*, those of the kept heads with *changes*."""
    return [entry | (changes if entry["kind"] == "kept" else {}) for entry in run.summary["curves"]]


def test_how_many_heads_keep_a_task_is_said_with_its_range(run: Run) -> None:
    carried = {"heads": 2, "range95": [1, 8]}
    notes = curve_sentences(with_parts(run, curves=curves(run, carried=carried)))
    assert notes == [
        "With only the strongest 2 of 8 heads on, at least 90 % of the accuracy on arithmetic is left; no smaller"
        " measured size leaves as much (95 % range 1 to 8; 20 items)."
    ]
    assert curve_sentences(with_parts(run, curves=curves(run, carried=None))) == []


def test_an_order_chosen_by_the_measured_items_is_said_to_flatter(run: Run) -> None:
    warning = "the strongest heads look stronger than they are"
    assert warning not in standalone_page(run)
    entries = [entry | {"held_out": False, "orders": 2} for entry in run.summary["curves"]]
    page = standalone_page(with_parts(run, curves=entries))
    assert warning in page
    assert "Order (approximate: each of 2 parts of the run used its own): " in page


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"replicas": 3, "nodes": 2, "chunks": 12}, "3 replicas on 2 nodes, 12 chunks"),
        (
            {"replicas": 1, "nodes": 1, "chunks": 1, "lost": 1, "notes": "node b was\nleft out"},
            "1 replica on 1 node, 1 chunk, 1 replica lost; node b was left out",
        ),
    ],
)
def test_where_a_cluster_ran_is_told(run: Run, engine: dict[str, Any], says: str) -> None:
    assert says in engine_lines(with_parts(run, engine=run.summary["engine"] | engine))
    assert not any("replica" in line for line in engine_lines(run))


def test_items_that_were_left_out_are_listed_and_then_counted(
    run: Run, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = [{"dataset": "logic", "item": f"long-{index}", "reason": "it does not fit"} for index in range(5)]
    write_run(tmp_path, with_parts(run, skipped=skipped))
    assert main(["show", str(tmp_path), "--most", "3"]) == 0
    shown = capsys.readouterr().out
    assert [f"skipped: logic long-{index}: it does not fit" in shown for index in range(5)] == [True] * 3 + [False] * 2
    assert "skipped: 2 more items" in shown


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (1, "Skipped 1 item, logic long-0: it does not fit"),
        (5, "Skipped 5 items: it does not fit (5)"),
    ],
)
def test_terminal_and_page_say_how_many_items_were_left_out_and_why(run: Run, number: int, says: str) -> None:
    skipped = [{"dataset": "logic", "item": f"long-{index}", "reason": "it does not fit"} for index in range(number)]
    left_out = with_parts(run, skipped=skipped)
    assert any(says in line for line in summary_lines(left_out, 120))
    assert says in standalone_page(left_out)
    assert "Skipped" not in standalone_page(run)
