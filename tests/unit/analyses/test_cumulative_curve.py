"""Tests the cumulative curve on known circuits, against edited weights, and as a stage after the sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.analyses import cumulative_curve
from reasoning_probe.analyses.cumulative_curve import (
    FEWEST,
    HELD_OUT,
    MOST_ITEMS,
    CurveSpec,
    measured_items,
    plan_curves,
    rank_heads,
    steps,
)
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target
from reasoning_probe.report.sentences import curve_sentences
from reasoning_probe.results.curves import merged_curves
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run
from reasoning_probe.session.api import sweep
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.fake_runs import as_run, outcome
from tests.helpers.known_circuits import ALL, BACKUP, COPIERS, DECIDER, circuit, save_circuit, sums
from tests.helpers.project import Project
from tests.helpers.weight_edit_oracle import edit


def lines_of(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert {(entry["dataset"], entry["ablation"]) for entry in summary["curves"]} == {("arithmetic", "zero")}
    return {entry["kind"]: entry for entry in summary["curves"]}


def right(entry: dict[str, Any]) -> dict[int, float]:
    return {point["heads"]: point["accuracy"] for point in entry["points"]}


# -- results ----------------------------------------------------------------------------------------------------------


def swept(**options: Any) -> Run:
    """Return the run of a whole session on a circuit, without pytest."""
    session = ProbeSession(Settings(ablate_heads=True, max_new_tokens=4))
    session.model_runner.use(circuit(**options))
    cases = session.cases(session.dataset("arithmetic", sums(40)))
    session.select(cases)
    session.outcome(cases[0])
    session.run_post_sweep()
    run = session.finish()
    assert run is not None
    return run


@pytest.fixture(scope="module")
def measured() -> Run:
    return swept()


def test_the_planted_heads_carry_the_task(measured: Run) -> None:
    lines = lines_of(measured.summary)
    assert set(lines["kept"]["order"][:3]) == {*COPIERS, DECIDER}
    only, off = right(lines["kept"]), right(lines["off"])
    assert list(only) == list(off) == [0, 1, 2, 3, 4, 6, 8, 12]
    assert off[0] == only[12] > 0.6
    assert only[3] > 0.5 > 0.2 > max(only[2], only[1], only[0])
    assert off[12] == only[0]
    assert max(off[count] for count in (1, 2, 3, 4, 6, 8, 12)) < 0.2
    (sentence,) = curve_sentences(measured)
    carried = lines_of(measured.summary)["kept"]["carried"]
    assert carried["heads"] in (3, 4)
    assert carried["range95"][0] >= 3  # no sample of the items makes two heads enough
    assert f"With only the strongest {carried['heads']} of 12 heads on, at least 90 % of the accuracy" in sentence
    assert "(95 % range " in sentence


def test_a_point_is_what_edited_weights_answer(measured: Run) -> None:
    """The reference removes all but the four strongest heads from the weights and calls transformers' ``generate``."""
    entry = lines_of(measured.summary)["kept"]
    (point,) = (point for point in entry["points"] if point["heads"] == 4)
    ids = [outcome.item for outcome in measured.outcomes if outcome.target == BASELINE]
    _, items = measured_items(ids, "arithmetic", len(ALL))
    assert (entry["held_out"], entry["ranked_on"], point["items"]) == (True, 20, 20)
    model, tokenizer = circuit()
    sites = {site.layer: site for site in find_heads(model).attention_layers}
    for name in entry["order"][4:]:
        layer, head = int(name[1]), int(name[3])
        edit(model, sites[layer].path, sites[layer].heads, [head])
    measured_questions = [item for item in sums(40) if item.id in items]
    outcomes = sweep(model, tokenizer, measured_questions, (), max_new_tokens=4)
    assert point["correct"] == sum(outcome.correct for outcome in outcomes)
    logprobs = [outcome.answer_logprob for outcome in outcomes if outcome.answer_logprob is not None]
    assert point["mean_answer_logprob"] == pytest.approx(sum(logprobs) / 20, abs=1e-2)


def test_the_items_that_chose_the_order_are_not_those_measured(measured: Run) -> None:
    outcomes = {(outcome.item, outcome.target): outcome for outcome in measured.outcomes}
    ranking, items = measured_items([id for id, target in outcomes if target == BASELINE], "arithmetic", len(ALL))
    assert not set(ranking) & set(items)

    def lost(head: str) -> float:
        pairs = [(outcomes[id, head].answer_logprob, outcomes[id, BASELINE].answer_logprob) for id in ranking]
        return sum(off - base for off, base in pairs if off is not None and base is not None)

    assert lines_of(measured.summary)["off"]["order"] == sorted(ALL, key=lost)
    first, strongest = (lines_of(measured.summary)["off"][key][index] for key, index in (("points", 1), ("order", 0)))
    assert first["correct"] == sum(outcomes[id, strongest].correct for id in items)
    assert first["if_added"] == pytest.approx(first["mean_answer_logprob"])


def test_a_backup_shows_where_heads_cost_more_together() -> None:
    """Neither the decider nor its backup has an effect alone, so both rank low; without both the task fails."""
    run = swept(backup=True)
    entry = lines_of(run.summary)["kept"]
    assert set(entry["order"][:2]) == set(COPIERS)
    points = [point for point in entry["points"] if not {DECIDER, BACKUP} & set(entry["order"][: point["heads"]])]
    gone, whole = points[-1], entry["points"][-1]
    assert gone["heads"] > 2
    assert gone["accuracy"] < 0.2 < whole["accuracy"]
    start = whole["mean_answer_logprob"]
    assert start - gone["if_added"] < 1 < start - gone["mean_answer_logprob"]
    sentences = [sentence for sentence in curve_sentences(run) if "back each other up" in sentence]
    assert len(sentences) == 1
    last = len(ALL) - max(point["heads"] for point in points)
    assert sentences[0].startswith(f"The last {last} heads of the order back each other up on arithmetic: ")
    assert gone["excess"]["falls"] == gone["excess"]["items"]


# -- as a stage after the sweep -----------------------------------------------------------------------------------


def test_a_repeated_run_computes_no_curve_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    options = save_circuit(project, items=HELD_OUT)
    result = project.run(*options, "-v")
    assert ", curve " in " ".join(line.strip() for line in result.outlines)  # the terminal wraps its line
    first, engine = project.summary(), project.summary()["engine"]
    assert engine["rows"] == HELD_OUT * len(ALL)  # the sweep's alone
    assert first["timing"]["curve_s"] > 0
    request_counts: list[int] = []
    run = LocalEngine.run
    monkeypatch.setattr(
        LocalEngine, "run", lambda self, requests: request_counts.append(len(requests)) or run(self, requests)
    )
    project.run(*options)
    again = project.summary()
    assert sum(request_counts) == 0
    assert again["curves"] == first["curves"]
    assert again["engine"]["recalled"] == len(project.outcomes())


@pytest.mark.parametrize("options", [("-k", "not L0H0"), ("--maxfail=1",), ("--ablate-layers", "-m", "not ablated")])
def test_what_is_not_the_whole_sweep_has_no_curve(project: Project, options: tuple[str, ...]) -> None:
    project.run(*save_circuit(project, items=12), *options)
    assert project.summary()["curves"] == []


def test_named_heads_and_few_or_wrong_items_have_no_curve(project: Project) -> None:
    options = save_circuit(project, items=FEWEST - 1)
    project.run(*options)
    assert project.summary()["curves"] == []
    wrong = [{"question": item.question, "answer": "77"} for item in sums(FEWEST)]
    project.write("sums.jsonl", "\n".join(map(json.dumps, wrong)))
    project.run(*options)
    assert (project.summary()["curves"], project.summary()["datasets"]["arithmetic"]["correct"]) == ([], 0)
    save_circuit(project, items=FEWEST)
    project.run(*(option for option in options if option != "--ablate-heads"), "--probe-heads=L0,L1H2")
    assert project.summary()["curves"] == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the model\nraised")])
def test_what_goes_wrong_in_the_curve_costs_the_curve_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def failing(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(cumulative_curve, "cumulative_curves", failing)
    result = project.run(*save_circuit(project, items=12))
    summary = project.summary()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(project.outcomes()) == 12 * (1 + len(ALL))
    assert summary["control"] is not None
    assert summary["curves"] == []
    assert "partial" not in summary
    expected = "interrupted" if isinstance(error, KeyboardInterrupt) else "RuntimeError: the model raised"
    assert expected in summary["engine"]["afterwards"]
    assert expected in " ".join(result.outlines)


def test_several_processes_measure_the_curve_once(project: Project) -> None:
    options = save_circuit(project, items=24)
    project.run(*options, "--probe-cache=off", "--probe-dir=alone")
    project.run_apart(*options, "-n2", "--probe-cache=off", "--probe-dir=shared")
    alone, shared = lines_of(project.summary("alone")), lines_of(project.summary("shared"))
    assert {kind: right(entry) for kind, entry in shared.items()} == {
        kind: right(entry) for kind, entry in alone.items()
    }
    assert shared["off"]["orders"] == 1


def test_the_parts_of_a_run_are_pooled() -> None:
    def entry(order: list[str], correct: int, items: int, logprob: float | None) -> dict[str, Any]:
        point = {"heads": 1, "items": items, "correct": correct, "logprobs": items if logprob else 0}
        values = {"mean_answer_logprob": logprob, "if_added": logprob, "accuracy": 0.0, "ci95": [0, 1]}
        line = {"dataset": "d", "ablation": "zero", "kind": "off", "order": order, "held_out": True, "ranked_on": 20}
        return line | {"orders": 1, "points": [point | values]}

    parts = [
        entry(["a", "b", "c"], 3, 10, -1.0),
        entry(["a", "c", "b"], 9, 30, -2.0),
        entry(["c", "a", "b"], 0, 10, None),
    ]
    parts[0]["points"].append(parts[0]["points"][0] | {"heads": 24})  # which the other parts did not measure
    (pooled,) = merged_curves([[part] for part in parts] + [None])
    (point,) = pooled["points"]
    assert (point["items"], point["correct"], point["accuracy"]) == (50, 12, 0.24)
    assert point["mean_answer_logprob"] == pytest.approx((-1.0 * 10 - 2.0 * 30) / 40)
    assert (pooled["order"], pooled["orders"], pooled["ranked_on"]) == (["a", "c", "b"], 3, 60)
    assert merged_curves([None, None]) == []


# -- the parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (2, [1]),
        (3, [1, 2]),
        (4, [1, 2, 3]),
        (12, [1, 2, 3, 4, 6, 8]),
        (144, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]),
    ],
)
def test_the_points_get_sparser(heads: int, expected: list[int]) -> None:
    assert steps(heads) == expected


@pytest.mark.parametrize(
    ("heads", "expected"), [(0, []), (12, [0, 1, 2, 4, 8, 12]), (270, [0, 16, 32, 64, 128, 256, 270])]
)
def test_in_the_order_of_size_powers_of_two_are_measured_from_a_32nd_of_the_heads_on(
    heads: int, expected: list[int]
) -> None:
    order = tuple(Target(f"L{index}H0", frozenset({(index, 0)})) for index in range(heads))
    assert CurveSpec("arithmetic", "zero", order, (), (), by_size=order).sizes() == expected


@pytest.mark.parametrize(("items", "heads"), [(19, 144), (20, 144), (200, 144), (1000, 1024), (1000, 16), (45, 8)])
def test_how_many_items_are_measured(items: int, heads: int) -> None:
    ids = [f"item-{index}" for index in range(items)]
    ranking, measured = measured_items(ids, "d", heads)
    if items < HELD_OUT:
        assert ranking == measured == ids
        return
    assert sorted([*ranking, *measured]) == sorted(ids)
    assert HELD_OUT // 2 <= len(measured) <= min(MOST_ITEMS, items // 2)
    assert len(measured) <= HELD_OUT or len(measured) * 2 * len(steps(heads)) <= 0.25 * items * heads + 1
    assert measured_items(ids[::-1], "d", heads)[1] == measured


def head(name: str) -> Target:
    return Target(name, frozenset({(int(name[1]), int(name[3]))}))


def outcomes_of(**logprobs: list[float | None]) -> dict[tuple[str, str, str, str | None], Outcome]:
    """Return outcomes with the log-probabilities of item 0, 1, ... by target, baseline first."""
    return {
        ("arithmetic", str(item), target, None if target == BASELINE else "zero"): outcome(
            item=str(item), target=target, answer_logprob=value
        )
        for target, values in logprobs.items()
        for item, value in enumerate(values)
    }


def test_heads_that_were_only_estimated_come_between_those_that_help_and_those_that_do_not() -> None:
    outcomes = outcomes_of(
        baseline=[-1.0, -1.0], L0H0=[-1.5, -0.4], L0H1=[-2.0, -1.5], L0H2=[-1.0, None], L0H3=[-1.1, -1.0]
    )
    heads = [head(f"L0H{index}") for index in range(6)]
    scores = {"L0H4": 0.2, "L0H5": 0.3, "L0H1": 9.0}
    order = rank_heads(heads, "arithmetic", "zero", ["0", "1"], outcomes, scores)
    assert order is not None
    assert [target.name for target in order] == ["L0H1", "L0H3", "L0H5", "L0H4", "L0H2", "L0H0"]
    assert rank_heads(heads, "arithmetic", "zero", ["0", "1"], outcomes, {}) is None


def test_without_log_probabilities_accuracy_orders() -> None:
    outcomes = outcomes_of(baseline=[None, None], L0H0=[None, None], L0H1=[None, None])
    outcomes["arithmetic", "1", "L0H1", "zero"] = outcome(item="1", target="L0H1", correct=False, answer_logprob=None)
    order = rank_heads([head("L0H0"), head("L0H1")], "arithmetic", "zero", ["0", "1"], outcomes, {})
    assert [target.name for target in order or ()] == ["L0H1", "L0H0"]


def test_several_ablations_have_a_curve_each_and_a_head_alone_none() -> None:
    ids = [str(index) for index in range(FEWEST)]
    heads, values = [head("L0H0"), head("L0H1")], [-1.0] * FEWEST
    outcomes = outcomes_of(baseline=values, L0H0=values, L0H1=values)
    outcomes |= {(*key[:3], "mean"): value for key, value in outcomes.items() if key[3]}
    groups = plan_curves(heads, [("arithmetic", id) for id in ids], ["zero", "mean"], outcomes, {})
    assert [group.ablation for group in groups] == ["zero", "mean"]
    assert [target.name for target in groups[0].joint_targets(outcomes)] == ["every head"]
    assert plan_curves(heads[:1], [("arithmetic", id) for id in ids], ["zero"], outcomes, {}) == []


def test_of_many_heads_a_size_between_two_powers_of_two_is_measured_where_they_differ() -> None:
    heads = tuple(Target(f"L{index}H0", frozenset({(index, 0)})) for index in range(70))
    spec = CurveSpec("arithmetic", "zero", heads, (), ("0", "1"))
    first = [0, 1, 2, 4, 8, 16, 32, 64, 70]
    outcomes = outcomes_of(baseline=[-1.0, -1.0])
    assert spec.counts("off", outcomes) == spec.counts("kept", outcomes) == first
    assert "first 24 off" not in [target.name for target in spec.joint_targets(outcomes)]
    for target in spec.joint_targets(outcomes):  # with 32 heads off, item 1 is wrong; kept, no number is enough
        for item in spec.items:
            right = {"first 32 off": item == "0", "first 64 off": False}.get(target.name, " off" in target.name)
            outcomes["arithmetic", item, target.name, "zero"] = outcome(
                item=item, target=target.name, correct=right, answer_logprob=-1.0
            )
    assert spec.counts("kept", outcomes) == first
    assert spec.counts("off", outcomes) == [0, 1, 2, 4, 8, 16, 24, 32, 48, 64, 70]
    assert [target.name for target in spec.joint_targets(outcomes)] == ["first 24 off", "first 48 off"]


def test_old_runs_without_curves_say_nothing(tmp_path: Path) -> None:
    assert curve_sentences(as_run([outcome()])) == []
    assert curve_sentences(Run({}, [])) == []
