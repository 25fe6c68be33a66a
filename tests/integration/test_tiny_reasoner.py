"""Tests of the bundled model: its accuracy on unseen questions, its training data, its training script, its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import reasoning_probe as rp
from reasoning_probe.data.datasets import BUILTIN, builtin
from reasoning_probe.data.generators import NAMES, generate
from reasoning_probe.data.prompts.prompting import PLAIN
from reasoning_probe.models import bundled
from reasoning_probe.results.stats import is_significant
from training import corpus, measure, train

FOLDER = bundled.path()
MEASURED = json.loads((FOLDER / "measured.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def coder() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def data() -> dict[str, tuple[corpus.Example, ...]]:
    return corpus.examples(seed=0)


def replies(model: Any, coder: Any, questions: list[str]) -> list[str]:
    """Return the greedy replies by transformers' own ``generate``, which shares no code with the measurement."""
    coder.padding_side = "left"
    batch = coder([PLAIN.format(question=question) for question in questions], padding=True, return_tensors="pt")
    out = model.generate(**batch, do_sample=False, max_new_tokens=8)
    return [str(text) for text in coder.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)]


@pytest.mark.parametrize(
    ("name", "low", "high"), [("arithmetic", 0.95, 1), ("logic", 0.55, 0.8), ("multi_step", 0.2, 0.75)]
)
def test_accuracy_on_held_out_questions(model: Any, coder: Any, name: str, low: float, high: float) -> None:
    items = generate(name, 200)
    answers = replies(model, coder, [item.question for item in items])
    right = sum(reply == f" {item.answer}" for reply, item in zip(answers, items, strict=True)) / len(items)
    assert low <= right <= high
    assert right == pytest.approx(MEASURED["test"][name], abs=0.011)  # two near ties may differ between machines


def test_built_in_items_show_ceiling_and_floor(model: Any, coder: Any) -> None:
    sets = {name: builtin(name).items for name in BUILTIN}
    right = {name: round(measure.accuracy(model, coder, items) * len(items)) for name, items in sets.items()}
    assert right["arithmetic"] >= 7
    assert right["logic"] >= 3
    assert right["gsm8k"] <= 1


def test_replies_end_by_themselves(model: Any, coder: Any) -> None:
    questions = [item.question for name in (*NAMES, "gsm8k") for item in builtin(name).items]
    assert None not in measure.answers(model, coder, questions)


def test_single_heads_matter_unequally() -> None:
    drops = sorted(MEASURED["test"]["arithmetic"] - after for after in MEASURED["heads"]["arithmetic"].values())
    assert len(drops) == 16
    assert drops[-1] > 0.3
    assert drops[len(drops) // 2] < drops[-1] / 2


def test_a_head_is_switched_off_and_on_again(model: Any) -> None:
    weight = model.transformer.h[1].attn.c_proj.weight
    before = weight.clone()
    with measure.ablate_head(model, 1, 3):
        assert torch.equal(weight[:96], before[:96])
        assert not weight[96:128].any()
    assert torch.equal(weight, before)


# -- questions that it never saw --------------------------------------------------------------------------------------


def test_no_reserved_question_is_in_the_training_data(data: dict[str, tuple[corpus.Example, ...]]) -> None:
    reserved = {item.question for name in NAMES for item in generate(name, 400)}
    reserved |= {item.question for name in BUILTIN for item in builtin(name).items}
    assert len(reserved) > 1_200
    for examples in data.values():
        assert len(examples) > 1_000
        assert reserved.isdisjoint(example.question for example in examples)


def test_no_reserved_sum_is_trained_in_other_words(data: dict[str, tuple[corpus.Example, ...]]) -> None:
    questions = {example.question for example in data["arithmetic"]}
    held_out = [item for item in generate("arithmetic", 400) if item.operation in ("+", "-")]
    assert len(held_out) > 200
    for item in held_out:
        a, b = item.operands
        words = "plus" if item.operation == "+" else "minus"
        assert f"What is {a} {words} {b}?" not in questions
        assert f"Calculate {a} {item.operation} {b}." not in questions
    assert "What is 1 plus 1?" in questions or "What is 1 minus 1?" in questions


def test_training_data_is_the_same_every_time(data: dict[str, tuple[corpus.Example, ...]]) -> None:
    again = corpus.examples(seed=0, logic_examples=500, story_examples=500)
    assert again["arithmetic"] == data["arithmetic"]
    assert again["logic"] == data["logic"][: len(again["logic"])]


def test_answers_and_prompts_are_told_apart(coder: Any) -> None:
    examples = (corpus.Example("What is 2 + 3?", "5"), corpus.Example("Is it so, Max?", "Unknown"))
    rows = train.encode(examples, coder)
    tokens, answers, prompts = rows.draw(20, torch.Generator().manual_seed(0))
    seen = set()
    for row in range(20):
        answer = coder.decode(answers[row][answers[row] != train.IGNORED])
        prompt = coder.decode(prompts[row][prompts[row] != train.IGNORED])
        assert coder.decode(tokens[row]).startswith(f"Question:{prompt}")
        seen.add((prompt, answer))
    assert seen == {(f" {example.question}\nAnswer:", f" {example.answer}<|endoftext|>") for example in examples}


def test_the_prompt_weighs_only_where_asked(model: Any, coder: Any) -> None:
    rows = train.encode((corpus.Example("What is 2 + 3?", "5"),), coder)
    batch = rows.draw(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer, alone = train.losses(model, *batch, prompt=0.0)
        _, both = train.losses(model, *batch, prompt=0.5)
    assert alone == answer
    assert both > answer


# -- the script -------------------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="training needs torch 2.9 or newer")
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    data: dict[str, tuple[corpus.Example, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    some = {kind: examples[-300:] for kind, examples in data.items()}
    mix = {"logic": train.Share(4, 1.0, prompt=0.1), "premises": train.Share(4, 1.0)}
    later = {"arithmetic": train.Share(8, 1.0), "long": train.Share(2, 0.1, every=2)}
    monkeypatch.setattr(corpus, "examples", lambda seed: some)
    monkeypatch.setattr(train, "PHASES", ((0, mix), (3, later)))
    monkeypatch.setattr(train, "REPORT_EVERY", 2)
    monkeypatch.setattr(train, "validate", lambda model, coder: {})
    monkeypatch.setattr(train, "DROPOUT_PHASE", later)
    recipe = train.Recipe(steps=4, dropout_steps=2, warm_up=2, context=256)
    whole, coder, _ = train.train(recipe)
    reports = []

    def stop_at_the_second(model: Any, coder: Any) -> dict[str, float]:
        reports.append(model)
        if len(reports) == 2:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(train, "validate", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        train.train(recipe, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == 2
    resumed, again, seconds = train.train(recipe, tmp_path)
    assert same(whole, resumed)
    assert not same(whole, train.build(recipe, coder))
    assert coder.get_vocab() == again.get_vocab()
    assert seconds > 0


def test_reserved_questions_stop_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "examples", lambda seed: {"arithmetic": (corpus.Example("What is 5 + 3?", "8"),)})
    with pytest.raises(AssertionError):
        train.prepare(train.Recipe())


def test_the_script_writes_a_model_that_loads(
    model: Any, coder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "tiny-reasoner"
    monkeypatch.setattr(train, "train", lambda recipe, work: (model, coder, 90.0))
    monkeypatch.setattr(measure, "held_out", lambda name: generate(name, 3))
    monkeypatch.setattr("sys.argv", ["train", "--out", str(out), "--work", str(tmp_path / "work"), "--steps", "7"])
    threads = torch.get_num_threads()
    try:
        train.main()
    finally:
        torch.set_num_threads(threads)
    measured = json.loads((out / "measured.json").read_text(encoding="utf-8"))
    steps = 7 + train.Recipe.dropout_steps
    assert (measured["steps"], measured["minutes"]) == (steps, 1.5)
    assert len(measured["heads"]["logic"]) == 16
    assert f"\n{steps} steps of Muon" in (out.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert same(AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32), model)
    assert AutoTokenizer.from_pretrained(out).get_vocab() == coder.get_vocab()


# -- its files --------------------------------------------------------------------------------------------------------


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5_000_000
    assert (FOLDER / "model.safetensors").is_file()


@pytest.mark.parametrize("text", ["Question: Is it 47?\nAnswer: 85", "don't , stop  . \t\n", "½ größer 日本 \x00", ""])
def test_any_text_survives_the_tokenizer(coder: Any, text: str) -> None:
    assert coder.decode(coder(text)["input_ids"]) == text


def test_a_digit_is_a_token_of_its_own(coder: Any) -> None:
    assert coder.tokenize("What is 1234?")[-5:] == ["1", "2", "3", "4", "?"]
    prompt, answer = "Question: What is 47 + 38?\nAnswer:", " 85"
    assert coder(prompt)["input_ids"] + coder(answer)["input_ids"] == coder(prompt + answer)["input_ids"]


def test_the_card_is_that_of_the_measurement() -> None:
    card = (FOLDER.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == measure.card(measure.Measured(**MEASURED))
    assert f"| arithmetic | {MEASURED['test']['arithmetic']:.1%} |" in card


@pytest.mark.parametrize("seed", [0, 1])
def test_what_three_heads_lose_stands_on_their_cards(model: Any, coder: Any, seed: int) -> None:
    names = "L3H1,L1H0,L1H3"
    swept = rp.sweep(
        model, coder, generate("arithmetic", 200, seed), names, dataset="arithmetic", max_new_tokens=8, describe=names
    )
    units = swept.head("L3H1").mistakes["units_digit"]
    assert units.count > 0.45 * units.lost > 50
    assert is_significant(units.p_adjusted)
    assert "lost answers are wrong in the units digit alone" in swept.head("L3H1").sentence
    operations = {each.value: each for each in swept.head("L1H0").behaviour if each.tag == "operation"}
    assert operations["-"].lost >= 35
    assert operations["+"].lost <= 12
    assert "loses subtraction" in swept.head("L1H0").sentence
    digits = swept.head("L1H3").mistakes["number_of_digits"]
    assert digits.count > 0.4 * digits.lost > 30
    assert "are numbers with more or fewer digits" in swept.head("L1H3").sentence
