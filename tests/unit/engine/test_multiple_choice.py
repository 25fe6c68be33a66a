"""Multiple choice: every choice's log-probability, and the scores that lm-eval derives from them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reasoning_probe.data.items import Item, ItemError
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.engine.multiple_choice import combine_choices
from reasoning_probe.results.answer import Answer, judge_answer
from reasoning_probe.results.outcome import Choice, Outcome, accuracy, likeliest
from reasoning_probe.results.run import read_run
from reasoning_probe.scoring.extraction.choices import read_choice
from tests.helpers.planted_model import CARRIER, COLOUR_PROBE, planted
from tests.helpers.project import Project
from tests.helpers.weight_edit_oracle import edited, logprob

ROWS = [
    {"id": "sky", "question": "What colour is the sky?", "choices": ["green", "blue", "black"], "answer": "B"},
    {"id": "grass", "question": "What colour is the grass?", "choices": ["green", "blue", "black"], "answer": 0},
    {"id": "snow", "question": "What colour is the snow?", "choices": ["green", "black", "blue"], "answer": "blue"},
]


def outcome(expected: str, **logprobs: float) -> Outcome:
    choices = tuple(Choice(text, value) for text, value in logprobs.items())
    values: dict[str, Any] = dict.fromkeys(("dataset", "item", "target", "question", "prompt", "response"), "x")
    values |= dict.fromkeys(("ablation", "answer", "category", "kind", "reason", "answer_logprob"))
    return Outcome(**values, expected=expected, correct=False, truncated=False, choices=choices)


# -- scores -----------------------------------------------------------------------------------------------------------


def lm_eval_scores(lls: list[float], choices: list[str], gold: int) -> tuple[bool, bool]:
    """Return ``acc`` and ``acc_norm`` of one item as lm-evaluation-harness's ``process_results`` defines them."""
    import numpy as np

    lengths = np.array([float(len(choice)) for choice in choices])
    return bool(np.argmax(lls) == gold), bool(np.argmax(np.array(lls) / lengths) == gold)


@pytest.mark.parametrize(
    ("logprobs", "gold"),
    [
        ({"no": -2.0, "certainly": -5.0}, "no"),  # -1.0 and -0.56 a character
        ({"no": -2.0, "certainly": -5.0}, "certainly"),
        ({"a": -1.0, "b": -1.0}, "a"),  # the first of equals
        ({"a": -1.0, "b": -1.0}, "b"),
        ({"größe": -9.0, "x": -2.0, "yy": -3.0}, "yy"),
    ],
)
def test_the_scores_are_those_of_lm_eval(logprobs: dict[str, float], gold: str) -> None:
    outcomes = [outcome(gold, **logprobs)]
    wanted = lm_eval_scores(list(logprobs.values()), list(logprobs), list(logprobs).index(gold))
    assert (accuracy(outcomes) == 1, accuracy(outcomes, normalised=True) == 1) == wanted


def test_choices_that_are_not_known_decide_nothing() -> None:
    assert likeliest([Choice("a", None), Choice("b", -1.0)]) is None
    assert accuracy([]) is None
    assert accuracy([outcome("a", a=-1.0), outcome("a", a=-2.0, b=-1.0)]) == 0.5


@pytest.mark.parametrize(
    ("response", "read"),
    [
        (" B", "B"),
        (" (B) because", "B"),
        (" (B)", "B"),
        (" B. rain", "B"),
        (" B) rain falls", "B"),
        (" rain", "B"),
        ("Rain.\nIt is wet.", "B"),
        (" A cloud is wet, so the answer is B.", "B"),
        (" The answer is: B", "B"),
        (" The answer is A. No, the answer is B.", "B"),
        (" A cloud is wet", None),
        (" D", None),
        (" The answer is D.", None),
        ("", None),
    ],
)
def test_which_letter_a_response_gives(response: str, read: str | None) -> None:
    assert read_choice(response, "Which is wet?\nA. sand\nB. rain\nC. a stone", "ABC") == read


@pytest.mark.parametrize(
    ("response", "truncated", "kind", "reason"),
    [
        (" It is hard to say.", False, "no_answer", "it names none of the choices"),
        (" Let me think about", True, "cut_off", "it names none of the choices"),
        (" \n", False, "empty", "the response is empty"),
    ],
)
def test_a_response_that_names_no_choice_is_incomplete(response: str, truncated: bool, kind: str, reason: str) -> None:
    item = Item(id="wet", question="Which is wet?\nA. sand\nB. rain", answer="B", choices=("A", "B"))
    query = Query("wet", item, "", Generation(4, ()))
    answer = Answer(
        query=query, target="baseline", ablation=None, response=response, truncated=truncated, answer_logprob=-1.0
    )
    judged = judge_answer(combine_choices(query, dict.fromkeys(range(2), answer)), listed=True)
    assert (judged.correct, judged.answer, judged.category) == (False, None, "incomplete")
    assert (judged.kind, judged.reason) == (kind, reason)


@pytest.mark.parametrize(
    "choices", [("blue",), ("blue", "blue"), ("blue", " "), ("red", "green"), tuple(map(str, range(27)))]
)
def test_what_is_no_question_with_choices(choices: tuple[str, ...]) -> None:
    with pytest.raises(ItemError):
        Item(question="What?", answer="blue", choices=choices)


# -- in a session: the planted model says black for snow, and nothing of colours with its carrier off -----------------


@pytest.fixture
def colours(project: Project) -> Project:
    project.write("colours.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    project.write("test_colours.py", COLOUR_PROBE)
    return project


def scores(prompt: str, choices: list[str], off: tuple[int, int] | None) -> list[float]:
    """Return the log-probability of each choice after *prompt*, with a head's weights edited away."""
    model, tokenizer = planted()
    if off is not None:
        model = edited(model, f"transformer.h.{off[0]}.attn.c_proj", 4, [off[1]])
    ids = tokenizer(prompt)["input_ids"]
    return [logprob(model, ids, tokenizer(choice)["input_ids"]) for choice in choices]


@pytest.mark.parametrize("cache", ["off", "kept"])
def test_choices_are_scored_under_every_target(colours: Project, cache: str) -> None:
    arguments = ["--probe-heads", f"{CARRIER},L0H0", f"--probe-cache={cache}"]
    for _ in range(2):  # the second time from the store
        assert colours.run(*arguments).parseoutcomes()["failed"] == 1
        outcomes = {(outcome["item"], outcome["target"]): outcome for outcome in colours.outcomes()}
        assert len(outcomes) == 9
        for row in ROWS:
            for target, off in (("baseline", None), (CARRIER, (1, 2)), ("L0H0", (0, 0))):
                outcome = outcomes[str(row["id"]), target]
                assert outcome["prompt"] == f"Question: {row['question']}\nAnswer:"
                assert [choice["text"] for choice in outcome["choices"]] == row["choices"]
                wanted = scores(outcome["prompt"], row["choices"], off)  # type: ignore[arg-type]
                assert [choice["logprob"] for choice in outcome["choices"]] == pytest.approx(wanted, abs=1e-3)
                right = row["choices"].index(outcome["expected"])  # type: ignore[attr-defined]
                assert outcome["answer_logprob"] == outcome["choices"][right]["logprob"]
    snow = outcomes["snow", "baseline"]
    assert (snow["answer"], snow["category"], snow["kind"]) == ("black", "wrong_label", "other_choice")
    entry = colours.summary()["datasets"]["colours"]
    assert (entry["correct"], entry["acc"], entry["acc_norm"]) == (2, 2 / 3, 2 / 3)
    assert read_run(colours.path / "reports").outcomes[0].choices[0].text == "green"  # type: ignore[index]


def test_listed_choices_are_answered_by_what_is_generated(colours: Project) -> None:
    colours.run("--probe-choices=generation", "--probe-cache=off", page=True).assert_outcomes(passed=2, failed=1)
    outcomes = {outcome["item"]: outcome for outcome in colours.outcomes()}
    sky = outcomes["sky"]
    assert sky["prompt"] == "Question: What colour is the sky?\nA. green\nB. blue\nC. black\nAnswer:"
    assert (sky["response"], sky["answer"], sky["expected"], sky["correct"]) == ("blue", "B", "B", True)
    assert [choice["text"] for choice in sky["choices"]] == ["A", "B", "C"]
    assert outcomes["snow"]["answer"] == "B"
    page = (colours.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "<small>acc\xa0" in page
    assert "acc_norm\xa0" in page
    assert "nats" in page


def test_a_chain_of_thought_lists_the_choices(colours: Project) -> None:
    colours.run("--probe-cot", "-k", "sky", "--probe-cache=off")
    (outcome,) = colours.outcomes()
    assert outcome["prompt"].endswith("\nC. black\nAnswer: Let's think step by step.")
    assert outcome["expected"] == "B"


def test_a_question_too_long_is_skipped_once(colours: Project) -> None:
    long = replace(Item(question="x", answer="y"), question="What is the " + "sky " * 60 + "?")
    row = {"id": "long", "question": long.question, "choices": ["blue", "green"], "answer": 0}
    colours.write("colours.jsonl", json.dumps(ROWS[0]) + "\n" + json.dumps(row))
    colours.run("--probe-heads=L0H0", "--probe-cache=off").assert_outcomes(passed=2, skipped=2)
    assert [skip["item"] for skip in colours.summary()["skipped"]] == ["long"]


def test_two_processes_give_the_same_choices(colours: Project) -> None:
    colours.run("--probe-heads", CARRIER, "--probe-cache=off")
    alone = sorted(json.dumps(outcome, sort_keys=True) for outcome in colours.outcomes())
    colours.run_apart("--probe-heads", CARRIER, "--probe-cache=off", "-n", "2")
    shared = sorted(colours.outcomes(), key=lambda outcome: json.dumps(outcome, sort_keys=True))
    for one, other in zip(map(json.loads, alone), shared, strict=True):
        assert [choice["text"] for choice in one["choices"]] == [choice["text"] for choice in other["choices"]]
        assert [choice["logprob"] for choice in one["choices"]] == pytest.approx(
            [choice["logprob"] for choice in other["choices"]], abs=1e-4
        )
