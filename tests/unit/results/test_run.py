"""The run's files: what they hold, that they come back the same, and what is said of files that are not a run's."""

from __future__ import annotations

import json
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results import run as run_module
from reasoning_probe.results import stats
from reasoning_probe.results.outcome import Choice, Outcome
from reasoning_probe.results.run import Run, RunError, check_folder, read_run, write_run
from tests.helpers import corrupt_json
from tests.helpers.fake_runs import as_run, fake_run, outcome

HOSTILE = "<script>alert(1)</script> <!-- \"'&\x00\x1b[31m\u2028\u202e\x85 \ud800 \r\n\t 😀"


@pytest.fixture(scope="module")
def run() -> Run:
    return fake_run()


def test_summary_has_the_contracts_keys(run: Run) -> None:
    summary = run.summary
    assert {
        "schema_version",
        "model",
        "generation",
        "ablation",
        "datasets",
        "targets",
        "errors",
        "timing",
        "engine",
        "versions",
    } <= set(summary)
    assert {"name", "fingerprint", "architecture", "layers", "heads", "dtype", "device"} <= set(summary["model"])
    assert {"items", "correct", "accuracy", "ci95"} <= set(summary["datasets"]["logic"])
    assert {
        "target",
        "dataset",
        "ablation",
        "items",
        "correct",
        "delta",
        "flips_to_wrong",
        "flips_to_right",
        "p_value",
        "p_adjusted",
        "delta_logprob",
    } <= set(summary["targets"][0])
    assert set(summary["errors"][0]) == {"dataset", "target", "ablation", "category", "kind", "count"}
    assert {"max_new_tokens", "stop"} == set(summary["generation"]["logic"])
    assert {"baseline_s", "sweep_s", "total_s"} == set(summary["timing"])
    assert {"rows", "verified", "decoded", "settled_singly"} == set(summary["engine"])


def test_summary_counts_what_the_outcomes_say(run: Run) -> None:
    entry = run.summary["datasets"]["arithmetic"]
    alone = [case for case in run.outcomes if case.dataset == "arithmetic" and case.target == "baseline"]
    assert entry["items"] == len(alone) == 200
    assert entry["correct"] == sum(case.correct for case in alone)
    assert entry["ci95"] == list(stats.wilson(entry["correct"], 200))
    assert entry["power"] == {"targets": 16, "flips_needed": 7, "flips_needed_holm": 10}
    row = next(row for row in run.summary["targets"] if (row["dataset"], row["target"]) == ("arithmetic", "L1H3"))
    off = {case.item: case for case in run.outcomes if case.target == "L1H3"}
    assert row["flips_to_wrong"] == sum(case.correct and not off[case.item].correct for case in alone)
    assert row["delta"] == pytest.approx((row["correct"] - entry["correct"]) / 200)
    assert row["p_adjusted"] < 0.001
    assert sum(error["count"] for error in run.summary["errors"]) == sum(not case.correct for case in run.outcomes)
    json.dumps(run.summary, allow_nan=False)


def test_a_partial_plan_pairs_what_it_has() -> None:
    outcomes = [
        outcome(item="a"),
        outcome(item="a", target="L0H0", correct=False, answer="7", category="off_by_one", answer_logprob=None),
        outcome(item="b", correct=False, answer="7", category="off_by_one"),
        outcome(item="b", target="L0H1"),
        outcome(item="b", target="L0H1", ablation="mean"),
        outcome(item="c", target="L0H1"),
    ]
    rows = {(row["target"], row["ablation"]): row for row in as_run(outcomes).summary["targets"]}
    assert {key: (row["items"], row["flips_to_wrong"], row["flips_to_right"]) for key, row in rows.items()} == {
        ("L0H0", "zero"): (1, 1, 0),
        ("L0H1", "zero"): (1, 0, 1),
        ("L0H1", "mean"): (1, 0, 1),
    }
    assert rows["L0H0", "zero"]["delta_logprob"] is None
    assert rows["L0H1", "mean"]["p_adjusted"] == rows["L0H1", "mean"]["p_value"] == 1.0
    assert as_run(outcomes).summary["datasets"]["arithmetic"]["power"]["targets"] == 2


def test_gsm8k_extractions_and_the_commonest_label() -> None:
    solved = [
        outcome("gsm8k", "a", response="9 * 2 = 18\n#### 18", expected="18"),
        outcome("gsm8k", "b", response="She makes $1,000.00", expected="1000"),
        outcome("gsm8k", "c", response="I do not know", expected="3", correct=False),
        outcome("gsm8k", "d", response="#### 4 or 5", expected="4"),
    ]
    labelled = [outcome("logic", str(index), expected=label) for index, label in enumerate(["Yes", "yes", "no"])]
    datasets = as_run(solved + labelled, formats={"gsm8k": "gsm8k", "logic": "plain"}).summary["datasets"]
    assert (datasets["gsm8k"]["strict"], datasets["gsm8k"]["flexible"]) == (0.5, 0.5)
    assert datasets["logic"]["always"] == {"answer": "yes", "accuracy": pytest.approx(2 / 3)}
    assert "strict" not in datasets["logic"]
    assert "always" not in datasets["gsm8k"]


def test_files_come_back_the_same(run: Run, tmp_path: Path) -> None:
    write_run(tmp_path / "new" / "folder", run)
    assert read_run(tmp_path / "new" / "folder") == run
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["outcomes.jsonl", "run.json"]


TEXT = st.text(st.characters(codec=None), max_size=30) | st.just(HOSTILE)


@settings(deadline=None)
@given(TEXT, st.none() | TEXT, st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_comes_back_on_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, answer: str | None, logprob: float | None
) -> None:
    folder = tmp_path_factory.mktemp("run")
    written = as_run([outcome(item=text, response=text, answer=answer, answer_logprob=logprob)])
    write_run(folder, written)
    assert read_run(folder).outcomes == written.outcomes
    assert len((folder / "outcomes.jsonl").read_text("utf-8").splitlines()) == 1


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    written = as_run(
        [outcome(answer_logprob=math.nan), outcome(item="b", answer_logprob=-math.inf)],
        timing={"baseline_s": math.inf, "sweep_s": np.float32(0.5), "total_s": np.int64(3)},
        versions={"folder": Path("x")},
    )
    write_run(tmp_path, written)
    read = read_run(tmp_path)
    assert [entry.answer_logprob for entry in read.outcomes] == [None, None]
    assert read.summary["timing"] == {"baseline_s": None, "sweep_s": 0.5, "total_s": 3}
    assert read.summary["versions"] == {"folder": "x"}


def test_a_failed_write_leaves_the_old_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, run)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_run(tmp_path, as_run([outcome()]))
    assert sorted(os.listdir(tmp_path)) == ["outcomes.jsonl", "run.json"]
    assert read_run(tmp_path) == run


def damaged(folder: Path, **changes: object) -> Path:
    write_run(folder, as_run([outcome(), outcome(target="L0H0")]))
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return folder


def without_digest(folder: Path) -> None:
    """Make the run in *folder* one of an earlier version, which wrote no digest."""
    path = folder / "run.json"
    summary = json.loads(path.read_text("utf-8"))
    del summary["engine"]["outcomes_sha256"]
    path.write_text(json.dumps(summary), "utf-8")


def nested(depth: int) -> object:
    return [] if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema version 99, this package reads 1"),
        ({"schema_version": "1"}, "schema_version"),
        ({"model": {"name": "x", "layers": "many", "heads": 4}}, "layers"),
        ({"model": None}, "model"),
        ({"datasets": {"a": {"items": 1, "correct": True, "accuracy": 1, "ci95": [0, 1]}}}, "datasets: a: correct"),
        ({"datasets": {"a": {"items": 1, "correct": 1, "accuracy": 1, "ci95": [0]}}}, "1 entries where 2 belong"),
        ({"targets": [{}]}, r"targets\[0\]: target is missing"),
        ({"errors": {}}, "errors"),
        ({"schema_version": 0}, "schema version 0, this package reads 1"),
        ({"schema_version": True}, "schema_version: true is not"),
        ({"versions": nested(60)}, "nested more than 40 deep"),
        ({"engine": {"rows": 10**400}}, "run.json is not JSON: 1000.* is too large a number"),
        ({"engine": {"rows": 1}}, "run.json: engine: verified is missing"),
        ({"skipped": [{"dataset": "a\nb", "item": 1, "reason": ""}]}, r"skipped\[0\]: item: 1 is not"),
        ({"generation": {"a\n\x1b": 1}}, r"generation: 'a\\n\\x1b': 1 is not"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        read_run(damaged(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[]", "line 2"),
        (json.dumps(outcome().as_dict() | {"dataset": 3}), "line 2: dataset: 3 is not what belongs here"),
        (json.dumps(outcome().as_dict() | {"answer": [[3]]}), "line 2: answer: a list is not what belongs here"),
        (json.dumps(outcome().as_dict() | {"correct": 1}), "line 2: correct: 1 is not"),
        (json.dumps(outcome().as_dict()).replace("-0.5", "-1e999"), "line 2 is not JSON: -1e999 is too large"),
        ('{"dataset": "x"}', "line 2: item is missing"),
    ],
)
def test_a_damaged_outcome_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_run(tmp_path, as_run([outcome()]))
    with (tmp_path / "outcomes.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=message):
        read_run(tmp_path)


@settings(deadline=None, max_examples=150)
@given(corrupt_json.damaged(outcome(choices=(Choice("a", -1.5), Choice("b", None))).as_dict()))
def test_any_damaged_outcome_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, values: object) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, as_run([outcome()]))
    without_digest(folder)
    (folder / "outcomes.jsonl").write_text(json.dumps(values) + "\n", "utf-8")
    try:
        read = read_run(folder)
    except RunError as error:
        file = str(folder / "outcomes.jsonl")  # a damaged target or dataset is another outcome: this one is missing
        parts = (", line 1", " lacks outcomes: ", " has 0 right answers to ", " and run.json contradict each other: ")
        parts += (" holds arithmetic add-5-3 under ",)
        assert str(error).startswith(tuple(f"{file}{part}" for part in parts))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        write_run(folder, read)
        assert read_run(folder) == read


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*run\.json"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="not UTF-8"):
        read_run(tmp_path)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "datasets", "targets", "name", "schema_version"]), inner, max_size=3
            )
        ),
    )
)
def test_any_json_is_a_run_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(RunError):
        read_run(folder)


def test_outcomes_hold_the_contracts_keys(tmp_path: Path) -> None:
    write_run(tmp_path, as_run([outcome()]))
    line = json.loads((tmp_path / "outcomes.jsonl").read_text("utf-8"))
    assert {
        *("dataset", "item", "target", "ablation", "prompt", "response", "expected", "answer", "correct"),
        *("category", "answer_logprob", "truncated"),
    } <= set(line)
    assert Outcome(**line) == outcome()


def test_shift_counts_how_the_mistakes_of_the_pairs_change() -> None:
    wrong = {"correct": False, "answer": "7"}
    outcomes = [
        outcome(item="a", category="off_by_one", **wrong),
        outcome(item="a", target="L0H0", category="wrong_operation", **wrong),
        outcome(item="b"),
        outcome(item="b", target="L0H0", category="wrong_operation", **wrong),
        outcome(item="c", category="hallucination", **wrong),
        outcome(item="c", target="L0H0", category="hallucination", **wrong),
        outcome(item="d", category="off_by_one", **wrong),  # not measured with the head off: no part of the shift
        outcome(item="a", target="L0H1", category=None, **wrong),
        outcome(item="b", target="L0H2"),
    ]
    shifts = {row["target"]: row["shift"] for row in as_run(outcomes).summary["targets"]}
    assert shifts == {
        "L0H0": {"off_by_one": -1, "correct": -1, "wrong_operation": 2},
        "L0H1": {"off_by_one": -1, "unclassified": 1},
        "L0H2": {},
    }


def test_shifts_sum_to_nothing_and_agree_with_the_flips(run: Run) -> None:
    for row in run.summary["targets"]:
        assert sum(row["shift"].values()) == 0
        assert row["shift"].get("correct", 0) == row["flips_to_right"] - row["flips_to_wrong"]
        assert 0 not in row["shift"].values()


# -- sizes and numbers that no run has ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("logprob", [1e308, -1e308])
def test_log_probabilities_that_no_sum_can_hold_end_in_no_overflow(tmp_path: Path, logprob: float) -> None:
    outcomes = [
        outcome(item=f"i{n}", target=target, answer_logprob=logprob if n % 2 else -logprob, correct=target != "L0H0")
        for target in ("baseline", "L0H0")
        for n in range(6)
    ]
    write_run(tmp_path, as_run(outcomes))
    run = read_run(tmp_path)
    assert run.outcomes == outcomes
    assert summarised_again(run)["targets"][0]["flips_to_wrong"] == 6
    assert "L0H0" in standalone_page(run)


def summarised_again(run: Run) -> Any:
    return as_run(run.outcomes).summary


def sparse(path: Path, size: int) -> None:
    """Make *path* a file of *size* bytes that takes no place on the disk, with what it held at its beginning."""
    with path.open("ab") as file:
        file.truncate(size)


@pytest.mark.parametrize("name", ["run.json", "outcomes.jsonl"])
def test_a_file_larger_than_the_memory_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, as_run([outcome()]))
    sparse(tmp_path / name, 2**42)
    tracemalloc.start()
    with pytest.raises(RunError, match=rf"{name} has 4,398,046,511,104 bytes, and [0-9,]+ are the most that can be"):
        read_run(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_the_bound_of_outcomes_is_a_share_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, as_run([outcome()]))
    size = (tmp_path / "outcomes.jsonl").stat().st_size
    monkeypatch.setattr(run_module, "memory_for_a_file", lambda: size)
    read_run(tmp_path)
    monkeypatch.setattr(run_module, "memory_for_a_file", lambda: size - 1)
    with pytest.raises(RunError, match=f"outcomes.jsonl has {size} bytes, and {size - 1} are the most"):
        read_run(tmp_path)


def test_a_line_of_outcomes_without_end_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, as_run([outcome()]))
    without_digest(tmp_path)
    sparse(tmp_path / "outcomes.jsonl", 200_000_000)
    with pytest.raises(RunError, match=r"outcomes.jsonl, line 2: longer than 100,000,000 bytes: no outcome is"):
        read_run(tmp_path)


def test_a_session_reads_what_it_wrote_where_texts_hold_line_separators(tmp_path: Path) -> None:
    run = as_run([outcome(response="a\x85b\u2028c\r\nd\x0be")])
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run


@pytest.mark.parametrize("folder", ["a\0b", "\ud800", 5, None, ["run"], "a\n\x1b[2J::error::x", "x" * 5000])
def test_what_is_no_folder_is_refused_in_one_line(folder: Any) -> None:
    may_be_made = folder == "a\n\x1b[2J::error::x"
    for act in (read_run,) if may_be_made else (read_run, check_folder):
        with pytest.raises(RunError) as refused:
            act(folder)
        assert str(refused.value).isprintable()
