"""Exports for other tools, read by the tools themselves: Inspect, lm-evaluation-harness, Every Eval Ever."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import pytest

from reasoning_probe.cli import main
from reasoning_probe.results.interop.every_eval_ever import every_eval_ever_files
from reasoning_probe.results.interop.inspect_log import inspect_files
from reasoning_probe.results.interop.lm_eval_files import lm_eval_files
from reasoning_probe.results.interop.selection import select
from reasoning_probe.results.outcome import Choice, Outcome
from reasoning_probe.results.run import Run, RunError, write_run
from reasoning_probe.results.samples import case_of
from tests.helpers.fake_runs import as_run, fake_outcomes, outcome
from tests.helpers.html_pages import HOSTILE

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
FORMATS = {"inspect": inspect_files, "lm-eval": lm_eval_files, "eee": every_eval_ever_files}


def everything() -> list[Outcome]:
    """Answers of every shape: right and wrong, cut off, empty, without an answer, multiple choice, hostile."""
    choices = (Choice("red", -1.0), Choice("blue", -0.5))
    return [
        *fake_outcomes({"arithmetic": 12, "logic": 4}, ["L1H3", "L2H0"]),
        outcome("sky", "choice", choices=choices, expected="blue", answer="blue"),
        outcome("sky", "empty", response="", answer=None, correct=False, category="incomplete", truncated=True),
        *(
            outcome("a/b: ü", f"q{place}", question=text, prompt=text, response=text, answer=text, expected=text)
            for place, text in enumerate(HOSTILE)
        ),
        outcome("a-b- -", "alone", answer_logprob=None),
    ]


@pytest.fixture(scope="module")
def run() -> Run:
    return as_run(everything())


def written(folder: Path, run: Run, name: str) -> Path:
    write_run(folder / "run", run)
    os.utime(folder / "run" / "run.json", (TIME.timestamp(), TIME.timestamp()))
    assert main(["export", str(folder / "run"), "--format", name, "-o", str(folder / "out")]) == 0
    return folder / "out"


def test_inspect_reads_its_logs(run: Run, tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="needs inspect-ai")
    logs = {
        entry.eval.task: entry for entry in map(log.read_eval_log, sorted(written(tmp_path, run, "inspect").iterdir()))
    }
    datasets = run.summary["datasets"]
    assert logs.keys() == datasets.keys()
    for name, entry in logs.items():
        assert entry.status == "success"
        assert entry.eval.created.startswith("2026-01-02T03:04:05")
        assert entry.results.scores[0].metrics["accuracy"].value == datasets[name]["accuracy"]
        right = [sample.scores["reasoning_probe"].value == "C" for sample in entry.samples]
        assert sum(right) == datasets[name]["correct"]
    choice, empty = logs["sky"].samples
    assert choice.choices == ["red", "blue"]
    assert (empty.output.stop_reason, empty.output.completion) == ("max_tokens", "")
    first = next(each for each in run.outcomes if each.dataset == "arithmetic")
    sample = logs["arithmetic"].samples[0]
    assert (sample.input, sample.target, sample.output.completion) == (first.prompt, first.expected, first.response)


def test_lm_evaluation_harness_makes_its_table(run: Run, tmp_path: Path) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason="needs lm-eval")
    folder = written(tmp_path, run, "lm-eval") / "tiny-reasoner"
    (results_file,) = folder.glob("results_*.json")
    results = json.loads(results_file.read_text("utf-8"))
    table = utils.make_table(results)
    arithmetic = run.summary["datasets"]["arithmetic"]
    row = next(line for line in table.splitlines() if line.startswith("|arithmetic"))
    assert float(row.split("|")[7]) == pytest.approx(arithmetic["accuracy"], abs=1e-4)
    samples = sorted(folder.glob("samples_*.jsonl"))
    lines = [json.loads(line) for file in samples for line in file.read_text("utf-8").splitlines()]
    assert len(lines) == sum(entry["items"] for entry in run.summary["datasets"].values())
    for line in lines:
        assert line["prompt_hash"] == utils.hash_string(line["arguments"]["gen_args_0"]["arg_0"])
        assert line["doc_hash"] == utils.hash_string(json.dumps(line["doc"], indent=2, ensure_ascii=False))
    hashes = "".join(
        line["doc_hash"] + line["prompt_hash"] + line["target_hash"]
        for line in lines
        if line["doc"]["id"].startswith("logic")
    )
    assert results["task_hashes"]["logic"] == utils.hash_string(hashes)


def test_every_eval_ever_validates_its_record(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate = pytest.importorskip("every_eval_ever.validator.validate", reason="needs every-eval-ever")
    monkeypatch.chdir(written(tmp_path, run, "eee"))
    reports = [str(file) for file in Path("data").rglob("*.json*")]
    assert len(reports) == 2
    assert validate.main([*reports, "--format", "json"]) == 0  # 2 where there are warnings


# -- sampled answers ----------------------------------------------------------------------------------------------

SAMPLING = {"samples": 4, "temperature": 0.7, "top_p": 0.9, "top_k": 0, "verdict": "majority", "seed": 0}


def sampled_run() -> Run:
    """Return a run of three items with four answers each, of which three, one and none are right."""
    answers = {"a": ["8", "8", "7", "8"], "b": ["7", "8", "6", "5"], "c": ["7", "6", "5", "4"]}
    cases = [
        [
            outcome(item=item, response=f" {answer}", answer=answer, correct=answer == "8", sample=number)
            for number, answer in enumerate(of_item)
        ]
        for item, of_item in answers.items()
    ]
    return as_run([case_of(samples, "majority") for samples in cases], sampling=SAMPLING)


def test_inspect_reads_samples_as_epochs(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="needs inspect-ai")
    (file,) = written(tmp_path, sampled_run(), "inspect").iterdir()
    entry = log.read_eval_log(file)
    assert (entry.eval.config.epochs, len(entry.samples)) == (4, 12)
    assert [(sample.id, sample.epoch) for sample in entry.samples[:5]] == [*(("a", n) for n in (1, 2, 3, 4)), ("b", 1)]
    assert (entry.eval.model_generate_config.temperature, entry.eval.model_generate_config.top_p) == (0.7, 0.9)
    right = [sample.scores["reasoning_probe"].value == "C" for sample in entry.samples]
    assert entry.results.scores[0].metrics["accuracy"].value == sum(right) / 12 == 4 / 12


def test_lm_evaluation_harness_makes_its_table_of_repeats(tmp_path: Path) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason="needs lm-eval")
    folder = written(tmp_path, sampled_run(), "lm-eval") / "tiny-reasoner"
    (results_file,) = folder.glob("results_*.json")
    results = json.loads(results_file.read_text("utf-8"))
    row = next(line for line in utils.make_table(results).splitlines() if line.startswith("|arithmetic"))
    assert float(row.split("|")[7]) == pytest.approx(4 / 12, abs=1e-4)
    assert results["configs"]["arithmetic"]["repeats"] == 4
    assert results["configs"]["arithmetic"]["generation_kwargs"]["temperature"] == 0.7
    (samples,) = folder.glob("samples_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    assert lines[0]["resps"][0] == [" 8", " 8", " 7", " 8"]
    assert [line["exact_match"] for line in lines] == [0.75, 0.25, 0.0]


def test_every_eval_ever_validates_a_record_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate = pytest.importorskip("every_eval_ever.validator.validate", reason="needs every-eval-ever")
    monkeypatch.chdir(written(tmp_path, sampled_run(), "eee"))
    reports = [str(file) for file in Path("data").rglob("*.json*")]
    assert validate.main([*reports, "--format", "json"]) == 0  # 2 where there are warnings


# -- without the tools --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_the_same_for_the_same_run_and_differ_by_target(run: Run, name: str) -> None:
    files = FORMATS[name](select(run, TIME))
    assert files == FORMATS[name](select(run, TIME))
    assert files != FORMATS[name](select(run, TIME, "L1H3"))
    for path, text in files.items():
        assert not Path(path).is_absolute()
        assert ".." not in Path(path).parts
        for line in [text] if path.endswith(".json") else text.splitlines():
            json.loads(line)


def test_the_answers_of_a_target_are_those_with_it_off(run: Run) -> None:
    selection = select(run, TIME, "L1H3")
    assert (selection.ablation, list(selection.by_dataset)) == ("zero", ["arithmetic", "logic"])
    assert all(each.target == "L1H3" for each in selection.by_dataset["arithmetic"])
    assert selection.metadata["target"] == "L1H3"


def test_a_target_that_was_off_in_several_ways_wants_a_name() -> None:
    outcomes = [outcome(), outcome(target="L0H0"), outcome(target="L0H0", ablation="mean", correct=False)]
    run = as_run(outcomes)
    with pytest.raises(RunError, match="L0H0 was off by mean and zero: name one with --ablation"):
        select(run, TIME, "L0H0")
    with pytest.raises(RunError, match="L0H0 was not off by 'patch', but by mean and zero"):
        select(run, TIME, "L0H0", "patch")
    assert not select(run, TIME, "L0H0", "mean").by_dataset["arithmetic"][0].correct


def test_a_target_that_is_not_there_is_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, run)
    assert main(["export", str(tmp_path), "--format", "eee", "--target", "L9"]) == 2
    assert capsys.readouterr().err == ("reasoning-probe: the run has no target 'L9': it has baseline, L1H3 and L2H0\n")


def test_the_checksum_is_that_of_the_written_samples(run: Run, tmp_path: Path) -> None:
    folder = written(tmp_path, run, "eee")
    (record,) = folder.rglob("*.json")
    details = json.loads(record.read_text("utf-8"))["detailed_evaluation_results"]
    content = (folder / details["file_path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == details["checksum"]
    assert content.count(b"\n") == details["total_rows"]


@pytest.mark.parametrize(
    ("model", "folder"),
    [("gpt2", "local/gpt2"), ("meta-llama/Llama-3@main", "meta-llama/Llama-3"), ("/home/me/ck pt/", "me/ck-pt")],
)
def test_a_model_is_filed_under_its_developer(run: Run, model: str, folder: str) -> None:
    named = Run(run.summary | {"model": run.summary["model"] | {"name": model}}, run.outcomes)  # type: ignore[operator]
    (record, _) = every_eval_ever_files(select(named, TIME))
    assert record.startswith(f"data/reasoning-probe/{folder}/")


@pytest.mark.parametrize(
    ("form", "link"),
    [
        ("inspect", "inspect"),
        ("lm-eval", "lm-eval"),
        ("lm-eval", "lm-eval/tiny-reasoner"),
        ("eee", "eee"),
        ("eee", "eee/data"),
        ("eee", "eee/data/reasoning-probe"),
        ("eee", "eee/data/reasoning-probe/local"),
    ],
)
def test_no_file_goes_through_a_link_that_lies_in_the_runs_folder(
    run: Run, tmp_path: Path, form: str, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", run)
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "run" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / "elsewhere")
    assert main(["export", str(tmp_path / "run"), "--format", form]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{link}: it is a link, which is not followed: remove it, or name another folder")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("form", ["inspect", "lm-eval", "eee"])
def test_a_folder_that_is_named_may_be_a_link(run: Run, tmp_path: Path, form: str) -> None:
    write_run(tmp_path / "run", run)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert main(["export", str(tmp_path / "run"), "--format", form, "-o", str(tmp_path / "link")]) == 0
    assert list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("seconds", [2**40, 2**60, -(2**40)])
def test_a_run_of_a_time_that_no_calendar_has_is_one_line(
    run: Run, seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no file system in memory, which keeps such times")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        write_run(folder, run)
        os.utime(f"{folder}/run.json", (seconds, seconds))
        assert main(["export", folder, "--format", "eee"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was changed in a year that no calendar has: touch it" in line or "cannot read" in line


@pytest.mark.parametrize("form", ["inspect", "lm-eval", "eee"])
def test_names_with_half_a_surrogate_pair_are_written_as_escapes(tmp_path: Path, form: str) -> None:
    model = {"name": "a/\ud800", "architecture": "\ud800", "layers": 1, "heads": 1, "fingerprint": "\ud800"}
    write_run(tmp_path, as_run([outcome("\ud800", "\ud800", response="\ud800")], model=model))
    assert main(["export", str(tmp_path), "--format", form, "-o", str(tmp_path / "out")]) == 0
    texts = [path.read_text("utf-8") for path in (tmp_path / "out").rglob("*.json*")]
    assert any("\\\\ud800" in text for text in texts)


@pytest.mark.parametrize("form", ["inspect", "lm-eval", "eee"])
def test_a_run_that_does_not_say_how_answers_end_is_one_line(
    run: Run, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, Run({**run.summary, "generation": {}}, run.outcomes))  # type: ignore[typeddict-item]
    assert main(["export", str(tmp_path), "--format", form]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run.json does not say where answers to" in line
