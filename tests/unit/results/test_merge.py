"""Runs put together from their files: the shards of a sweep are the sweep, and what is no part of it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from reasoning_probe.cli import main
from reasoning_probe.report.sentences import sentences
from reasoning_probe.results.merge import merge_runs
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.results.run import Run, RunError, read_run, write_run
from reasoning_probe.utils.files import to_json_types
from tests.helpers.corrupt_json import damaged
from tests.helpers.fake_runs import as_run, fake_outcomes, full_run, outcome
from tests.helpers.project import Project

TARGETS = ["--probe-heads", "L1H2,L0", "--ablation", "zero,mean"]


def near(actual: Any, expected: Any) -> Any:
    """*actual* with the numbers of *expected* in place of its own where they are the same but for rounding."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: near(value, expected.get(key)) for key, value in actual.items()}
    if isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        return [near(value, other) for value, other in zip(actual, expected, strict=True)]
    if isinstance(actual, float) and isinstance(expected, float) and actual == pytest.approx(expected, abs=1e-4):
        return expected
    return actual


def settled(run: Run) -> dict[str, Any]:
    of_one_session = ("timing", "engine", "invocation")  # a merged run was started by several commands
    return {key: value for key, value in run.summary.items() if key not in of_one_session}


def test_shards_of_the_bundled_model_are_the_whole(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.probe("arithmetic", "logic")
    project.write(
        "test_one.py",  # two shards have none of it
        "import reasoning_probe as rp\n"
        "@rp.probe([rp.Item(question='What is 5 + 3?', answer='8')], name='one')\n"
        "def test_one(answer):\n    assert answer.correct\n",
    )
    options = [*TARGETS, "--model=tiny-reasoner", "--probe-cache=off"]
    project.run(*options, "--probe-dir", "whole")
    whole = read_run(project.path / "whole")
    assert len(whole.outcomes) == 13 * 5
    parts = [project.path / f"part-{number}" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        project.run(*options, f"--probe-shard={number}/3", "--probe-dir", part.name)
    capsys.readouterr()

    together = project.path / "together"
    assert main(["merge", *map(str, [parts[2], parts[0], parts[1]]), "-o", str(together)]) == 0
    assert capsys.readouterr() == (f"{together / 'report.html'}\n", "")
    merged = read_run(together)
    assert near(settled(merged), settled(whole)) == settled(whole)
    assert list(merged.summary["datasets"]) == list(whole.summary["datasets"])
    assert [
        near(one.as_dict(), other.as_dict()) for one, other in zip(merged.outcomes, whole.outcomes, strict=True)
    ] == [other.as_dict() for other in whole.outcomes]
    assert merged.summary["engine"]["rows"] == whole.summary["engine"]["rows"]
    assert "merge combines" not in (together / "report.html").read_text("utf-8")

    # Without one of them: what is there, and what is missing; with it later, the whole again.
    some = project.path / "some"
    assert main(["merge", str(parts[0]), str(parts[2]), "-o", str(some)]) == 0
    assert capsys.readouterr().err == "reasoning-probe: 1 shard missing: 2/3\n"
    known = read_run(some)
    assert known.summary["shard"] == "1,3/3"
    assert len(known.outcomes) == len(whole.outcomes) - len(read_run(parts[1]).outcomes)
    assert sentences(known)[0].startswith("These are shards 1,3/3 of the items: reasoning-probe merge")
    again = merge_runs({some: known, parts[1]: read_run(parts[1])})
    assert near(settled(again), settled(whole)) == settled(whole)
    assert [one.item for one in again.outcomes] == [one.item for one in whole.outcomes]


FIRST, SECOND = Path("first"), Path("second")
OUTCOMES = [outcome(item=item, target=target) for item in "abc" for target in ("baseline", "L0H0", "L0H1")]


def merged(one: Run, other: Run) -> Run:
    return merge_runs({FIRST: one, SECOND: other})


def with_model(**values: object) -> Run:
    run = as_run(OUTCOMES)
    return Run(run.summary | {"model": run.summary["model"] | values}, run.outcomes)


def test_what_two_parts_have_counts_once_and_other_targets_join_their_items() -> None:
    heads = as_run([entry for entry in OUTCOMES if entry.target != "L0H1"])
    rest = as_run([entry for entry in OUTCOMES if entry.target != "L0H0"])
    whole = merged(heads, rest)
    assert sorted(map(repr, whole.outcomes)) == sorted(map(repr, OUTCOMES))
    assert [entry.item for entry in whole.outcomes] == [entry.item for entry in OUTCOMES]
    assert {row["target"] for row in whole.summary["targets"]} == {"L0H0", "L0H1"}
    assert whole.summary["timing"]["total_s"] == 2 * heads.summary["timing"]["total_s"]
    nearly = replace(OUTCOMES[0], answer_logprob=-0.50004)
    assert merged(heads, as_run([nearly])).outcomes == heads.outcomes


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            as_run([replace(OUTCOMES[0], response=" 9")]),
            "first and second have different outcomes of arithmetic a under",
        ),
        (as_run([replace(OUTCOMES[0], answer_logprob=-0.6)]), "have different outcomes of arithmetic a under baseline"),
        (with_model(fingerprint="other"), r"second has another model than first \(fingerprint: other and sha256:"),
        (with_model(heads=12), "another model"),
        (with_model(dtype="bfloat16"), "another model"),
        (with_model(device="cuda:0"), "another kind of device"),
        (as_run(OUTCOMES, ablation="mean"), r"another ablation than first \(ablation: mean and zero\)"),
        (as_run(OUTCOMES, generation={"arithmetic": {"max_new_tokens": 9, "stop": []}}), "another generation setting"),
        (as_run(OUTCOMES, versions={"torch": "2.6.0"}), "another version than first"),
        (as_run(OUTCOMES, prompting={"cot": True}), r"another prompting than first \(cot: yes and none\)"),
    ],
)
def test_what_is_no_part_of_one_sweep_is_refused(other: Run, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        merged(as_run(OUTCOMES), other)
    assert "\n" not in str(caught.value)


def cut(shard: str, outcomes: list[Outcome], places: dict[str, int]) -> Run:
    run = as_run(outcomes)
    return Run(run.summary | {"shard": shard, "places": {"arithmetic": places}}, outcomes)


def test_shards_of_other_cuts_are_refused() -> None:
    one = cut("1/2", [outcome(item="a")], {"a": 0})
    for other, message in [
        (cut("2/3", [outcome(item="b")], {"b": 1}), "second is a shard of 3, first one of 2"),
        (cut("2/2", [outcome(item="b")], {"b": 0}), "cut from other data: arithmetic b stands elsewhere"),
        (cut("2/2\n!", [outcome(item="b")], {"b": 1}), "second: cannot read the shard"),
        (cut("3,1/2", [outcome(item="b")], {"b": 1}), "second: cannot read the shard"),
    ]:
        with pytest.raises(RunError, match=message) as caught:
            merged(one, other)
        assert "\n" not in str(caught.value)


def test_reference_prompts_must_be_the_same_and_join_by_dataset() -> None:
    def referring(dataset: str, sha256: str) -> Run:
        entry = {"averaged": "positions", "seed": None, "datasets": {dataset: {"prompts": 2, "sha256": sha256}}}
        return as_run([outcome(dataset=dataset)], reference={"mean": entry})

    datasets = merged(referring("a", "1"), referring("b", "2")).summary["reference"]["mean"]["datasets"]
    assert datasets == {"a": {"prompts": 2, "sha256": "1"}, "b": {"prompts": 2, "sha256": "2"}}
    with pytest.raises(RunError, match="another set of reference prompts of 'a'"):
        merged(referring("a", "1"), referring("a", "2"))


def test_skipped_items_are_told_once_and_in_order() -> None:
    skips = [{"dataset": "arithmetic", "item": item, "reason": "too long"} for item in "xy"]
    one, other = (cut(f"{number}/2", [outcome(item=item)], {}) for number, item in ((1, "a"), (2, "b")))
    one = Run(one.summary | {"skipped": skips[1:], "places": {"arithmetic": {"a": 0, "y": 3}}}, one.outcomes)
    other = Run(other.summary | {"skipped": skips[:1], "places": {"arithmetic": {"b": 2, "x": 1}}}, other.outcomes)
    assert merged(one, other).summary["skipped"] == merged(other, one).summary["skipped"] == skips


def test_examples_join_by_dataset() -> None:
    def shown(dataset: str, question: str) -> Run:
        return as_run([outcome(dataset)], prompting={"shots": 1, "shot_questions": {dataset: [question]}})

    together = merged(shown("a", "1?"), shown("b", "2?")).summary["prompting"]
    assert together == {"shots": 1, "shot_questions": {"a": ["1?"], "b": ["2?"]}}
    with pytest.raises(RunError, match="another set of examples for 'a'"):
        merged(shown("a", "1?"), shown("a", "2?"))


def test_sections_of_the_users_code_say_of_which_part_they_speak() -> None:
    def saying(text: str) -> Run:
        run = as_run(OUTCOMES)
        section = {"title": "Mine", "text": text, "head": [], "rows": []}
        return Run(run.summary | {"sections": [section]}, run.outcomes)

    assert [one["title"] for one in merged(saying("a"), saying("b")).summary["sections"]] == [
        "Mine (first)",
        "Mine (second)",
    ]
    assert merged(saying("a"), saying("a")).summary["sections"] == saying("a").summary["sections"]


def test_a_part_that_ended_early_makes_the_whole_partial() -> None:
    early = as_run(OUTCOMES[:4])
    early = Run(early.summary | {"partial": {"planned": 6, "done": 4}}, early.outcomes)
    assert merged(early, as_run(OUTCOMES[6:])).summary["partial"] == {"planned": 9, "done": 7}


def test_the_command_line_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, run in {"a": as_run(OUTCOMES), "b": with_model(fingerprint="other")}.items():
        write_run(tmp_path / name, run)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    (tmp_path / "file").write_text("")
    assert main(["merge", a, b, "-o", str(tmp_path / "c")]) == 2
    assert main(["merge", a, b, "-o", a]) == 2
    assert main(["merge", a, str(tmp_path / "none"), "-o", str(tmp_path / "c")]) == 2
    assert main(["merge", a, "-o", str(tmp_path / "file" / "c")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 1)[1].replace(str(tmp_path), "") for line in lines] == [
        "/b has another model than /a (fingerprint: other and sha256:0f1e2d3c4b5a6978): merge parts of one sweep",
        "/a is one of the parts: name another folder for the whole",
        "cannot read /none/run.json: No such file or directory; a run's folder holds run.json",
        "/file is not a folder: name another one",
    ]
    assert not (tmp_path / "c").exists()
    with pytest.raises(SystemExit):
        main(["merge", a])


SMALL = full_run(layers=1, heads=2, items=3)
OTHER = as_run(fake_outcomes({"new": 2}, ["L0H0"]), layers=1, heads=2)


@settings(deadline=None, max_examples=60)
@given(damaged(to_json_types(SMALL.summary)))
def test_any_damage_is_merged_or_one_line(tmp_path_factory: pytest.TempPathFactory, summary: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder, SMALL)
    (folder / "run.json").write_text(json.dumps(summary), "utf-8")
    try:
        whole = merge_runs({folder: read_run(folder), FIRST: OTHER})
    except RunError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        write_run(folder, whole)
        assert read_run(folder) == whole
