"""Rendered prompts: examples, chat templates, chains of thought, user templates, and the continuation of a prompt."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig

from reasoning_probe.data.datasets import Dataset, builtin, from_items, read
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.few_shot import few_shot_examples
from reasoning_probe.data.prompts.prompting import Generation, PromptError, Prompting, default_generation, read_template
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.data.prompts.render import PromptRenderer, worked_answer
from reasoning_probe.data.sources.base import DatasetError
from reasoning_probe.engine.cache.cached_engine import CachedEngine
from reasoning_probe.engine.tokenization import TokenCodec
from tests.helpers.chat_tokenizer import CHATML, SPACED, chat_tokenizer
from tests.helpers.project import Project

ITEM = Item(question="What is 5 + 3?", answer="8", id="sum")
SOLVED = Item(question="And 6 + 2?", answer="8", operands=("6", "2"), operation="+")
GSM8K = Item(question="How many?", answer="7", solution="4 + 3 = <<4+3=7>>7 in all\n#### 7")


class Bare:
    """The parts of a model that the codec uses."""

    device = "cpu"
    config = PretrainedConfig(eos_token_id=1)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return torch.nn.Embedding(1000, 1)


def sent(prompting: Prompting, item: Item = ITEM, tokenizer: Any = None, shots: tuple[Item, ...] = ()) -> Query:
    return PromptRenderer(prompting, tokenizer, {"sums": shots}).query("sums", item, Generation())


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_without_options_the_prompt_is_the_plain_one() -> None:
    assert sent(Prompting()) == query("sums", ITEM, Generation())
    assert sent(Prompting(), tokenizer=chat_tokenizer(CHATML)).prompt == "Question: What is 5 + 3?\nAnswer:"


@pytest.mark.parametrize(
    ("prompting", "prompt", "continuation"),
    [
        (Prompting(), "Question: And 6 + 2?\nAnswer: 8\n\nQuestion: What is 5 + 3?\nAnswer:", " 8"),
        (
            Prompting(cot=True),
            "Question: And 6 + 2?\nAnswer: Let's think step by step. 6 + 2 = 8. The answer is 8.\n\n"
            "Question: What is 5 + 3?\nAnswer: Let's think step by step.",
            " The answer is 8",
        ),
        (Prompting(template="{question} ->\n"), "And 6 + 2? ->\n8\n\nWhat is 5 + 3? ->\n", "8"),
        (Prompting(template="{{x}} Q {question}\nA:"), "{{x}} Q And 6 + 2?\nA: 8\n\n{{x}} Q What is 5 + 3?\nA:", " 8"),
        (
            Prompting(chat="on"),
            "<|user|>And 6 + 2?<|end|><|assistant|>8<|end|><|user|>What is 5 + 3?<|end|><|assistant|>",
            "8",
        ),
        (
            Prompting(chat="auto", cot=True, template="Think. {question}"),
            "<|user|>Think. And 6 + 2?\n\nLet's think step by step.<|end|>"
            "<|assistant|>6 + 2 = 8. The answer is 8.<|end|>"
            "<|user|>Think. What is 5 + 3?\n\nLet's think step by step.<|end|><|assistant|>",
            "The answer is 8",
        ),
    ],
    ids=["shots", "cot", "template", "braces", "chat", "all"],
)
def test_what_is_sent_and_what_continues_it(prompting: Prompting, prompt: str, continuation: str) -> None:
    rendered = sent(prompting, tokenizer=chat_tokenizer(CHATML), shots=(SOLVED,))
    assert (rendered.prompt, rendered.continuation) == (prompt, continuation)


def test_a_question_that_looks_like_a_template_is_no_template() -> None:
    rendered = sent(
        Prompting(template="Q: {question}\nA:"), replace(ITEM, question="What is {question} {0.__class__}?")
    )
    assert rendered.prompt == "Q: What is {question} {0.__class__}?\nA:"


def test_an_item_may_bring_its_own_prompt() -> None:
    rendered = sent(Prompting(), replace(ITEM, prompt="5 + 3 ="))
    assert (rendered.prompt, rendered.continuation) == ("5 + 3 =", " 8")


def test_an_example_shows_how_to_answer() -> None:
    assert worked_answer(GSM8K, cot=False) == GSM8K.solution  # as lm-eval's task gives it
    assert worked_answer(GSM8K, cot=True) == "4 + 3 = 7 in all. The answer is 7."
    assert worked_answer(ITEM, cot=True) == "The answer is 8."
    assert worked_answer(SOLVED, cot=False) == "8"


# -- chat templates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [CHATML, SPACED], ids=["chatml", "spaced"])
def test_a_chat_is_encoded_as_the_tokenizer_itself_encodes_it(template: str) -> None:
    """There is no second beginning-of-sequence token, and the answer's tokens are those of an assistant's turn."""
    tokenizer = chat_tokenizer(template)
    rendered = sent(Prompting(chat="on"), tokenizer=tokenizer, shots=(SOLVED,))
    turns = [
        {"role": "user", "content": SOLVED.question},
        {"role": "assistant", "content": "8"},
        {"role": "user", "content": ITEM.question},
    ]
    alone = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": "8"}], return_dict=False)
    encoded = TokenCodec(Bare(), tokenizer).encode(rendered)
    assert encoded.prompt.tolist() == [alone]
    assert [*alone, *encoded.answer, 1] == whole  # 1 ends the turn


def test_a_plain_prompt_keeps_the_beginning_of_sequence_token() -> None:
    tokenizer = chat_tokenizer(CHATML)
    encoded = TokenCodec(Bare(), tokenizer).encode(sent(Prompting(), tokenizer=tokenizer))
    assert encoded.prompt.tolist() == [tokenizer("Question: What is 5 + 3?\nAnswer:")["input_ids"]]
    assert encoded.prompt[0, :2].tolist() == [0, tokenizer.convert_tokens_to_ids("Q")]
    assert tokenizer.convert_ids_to_tokens(encoded.answer) == [" ", "8"]


def test_auto_is_a_chat_where_there_is_a_template() -> None:
    assert PromptRenderer(Prompting(chat="auto"), chat_tokenizer(CHATML)).chat
    assert not PromptRenderer(Prompting(chat="auto"), chat_tokenizer(None)).chat
    assert PromptRenderer(Prompting(), chat_tokenizer(CHATML)).template_unused
    with pytest.raises(PromptError, match="no chat template: use --probe-chat auto or off"):
        PromptRenderer(Prompting(chat="on"), chat_tokenizer(None))


def test_a_chat_template_that_fails_is_one_line() -> None:
    broken = chat_tokenizer("{{ raise_exception('roles must\nalternate') }}")
    with pytest.raises(PromptError, match=r"cannot be used \(roles must alternate\): use --probe-chat off"):
        sent(Prompting(chat="on"), tokenizer=broken)


def test_outcomes_of_other_tokens_have_other_keys() -> None:
    """Special tokens change the outcome of a chat's prompt but not its text."""
    rendered = sent(Prompting(chat="on"), tokenizer=chat_tokenizer(CHATML))

    def key(sent_query: Query) -> bytes:
        resumer = object.__new__(CachedEngine)
        resumer._context = ""
        return next(resumer._keys(sent_query, ()))[1]

    variants = [
        rendered,
        replace(rendered, special_tokens=True),
        replace(rendered, answer_prefix=" "),
        replace(rendered, prompt="<|user|>"),
    ]
    assert len({key(variant) for variant in variants}) == 4
    assert key(query("a", ITEM, Generation())) == key(query("b", replace(ITEM, id="other"), Generation()))


# -- where an answer ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompting", "limit", "stop"),
    [
        (Prompting(), 32, ("Question:",)),
        (Prompting(cot=True), 256, ("Question:",)),
        (Prompting(chat="on"), 32, ()),
        (Prompting(template="Solve.\nProblem: {question}\n"), 32, ("\nProblem:",)),
        (Prompting(template="{question}\n"), 32, ()),
    ],
)
def test_where_an_answer_ends(prompting: Prompting, limit: int, stop: tuple[str, ...]) -> None:
    assert default_generation("arithmetic", prompting=prompting) == Generation(limit, stop)


# -- examples ---------------------------------------------------------------------------------------------------------


def questions(items: tuple[Item, ...]) -> set[str]:
    return {item.question for item in items}


@pytest.mark.parametrize("name", ["arithmetic", "multi_step", "logic", "logic:steps=3", "arithmetic:digits=1"])
@pytest.mark.parametrize("limit", [None, 40])
def test_examples_of_generated_data_are_never_asked(name: str, limit: int | None) -> None:
    dataset = read("x", name, limit)
    shots = few_shot_examples(dataset, Prompting(shots=12), seed=0)
    assert len(questions(shots)) == 12
    assert not questions(shots) & questions(dataset.items)
    assert {shot.kind for shot in shots} == {item.kind for item in dataset.items if item.kind != "text"}
    assert (
        few_shot_examples(dataset, Prompting(shots=12), seed=0)
        == shots
        != few_shot_examples(dataset, Prompting(shots=12), seed=1)
    )


def test_examples_of_all_there_is_cannot_be_had() -> None:
    dataset = read("x", "arithmetic:digits=1", 100)
    with pytest.raises(DatasetError, match="9999 shots of arithmetic:digits=1: cannot generate"):
        few_shot_examples(dataset, Prompting(shots=9999), seed=0)


def of_words(*words: str) -> Dataset:
    return from_items("words", [Item(question=f"{word}?", answer="yes") for word in words])


def test_examples_of_a_file_are_those_of_its_items_that_are_not_asked() -> None:
    unused_items = of_words("b", "A", "c", "d").items
    shots = few_shot_examples(of_words("a"), Prompting(shots=3), 0, unused_items)
    assert questions(shots) == {"b?", "c?", "d?"}  # "A?" is asked
    with pytest.raises(DatasetError, match=r"words has 3 that are not asked: ask fewer.*--probe-shots 4:FILE\.jsonl"):
        few_shot_examples(of_words("a"), Prompting(shots=4), 0, unused_items)


def test_examples_may_come_from_a_named_source(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps({"question": f"{n}?", "answer": n}) + "\n" for n in range(9)))
    shots = few_shot_examples(
        from_items("x", [Item(question="3?", answer="3")]), Prompting(shots=8, shots_from=str(file)), 0
    )
    assert questions(shots) == {f"{n}?" for n in range(9)} - {"3?"}
    with pytest.raises(DatasetError, match="has 9 that are not asked: name another source"):
        few_shot_examples(builtin("logic"), Prompting(shots=10, shots_from=str(file)), 0)


def test_gsm8k_without_items_to_spare_gets_word_problems_in_its_format() -> None:
    shots = few_shot_examples(builtin("gsm8k"), Prompting(shots=5), 0)
    assert len(questions(shots)) == 5
    assert all(
        "<<" in worked_answer(shot, cot=False) and f"\n#### {shot.answer}" in worked_answer(shot, cot=False)
        for shot in shots
    )
    spare = few_shot_examples(builtin("gsm8k", 2), Prompting(shots=3), 0, builtin("gsm8k").items[2:])
    assert questions(spare) == questions(builtin("gsm8k").items[2:])


# -- a template file --------------------------------------------------------------------------------------------------


def test_a_template_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes("\ufeffFrage: {question}\r\nAntwort:\n".encode())
    assert read_template(file) == "Frage: {question}\nAntwort:"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no place", "holds {question} 0 times: write it once"),
        (b"{question} {question}", "holds {question} 2 times"),
        (b"\xff{question}", "is not UTF-8: save it as UTF-8"),
        (b"{question}" + b" " * 100_000, "is longer than 100,000 bytes"),
        (None, "cannot read the template"),
    ],
    ids=["none", "two", "bytes", "long", "absent"],
)
def test_a_bad_template_is_one_line(project: Project, content: bytes | None, message: str) -> None:
    if content is not None:
        (project.path / "mine.txt").write_bytes(content)
    result = project.run("--probe-template=mine.txt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert "--probe-template: " in line
    assert message in line


# -- in a session -----------------------------------------------------------------------------------------------------


def test_examples_are_in_every_prompt_and_named_in_the_run(project: Project) -> None:
    project.probe("arithmetic")
    project.run("--probe-shots=1", "--probe-heads=L0H0", "-k", "add", "--probe-cache=off")
    prompts = [outcome["prompt"] for outcome in project.outcomes()]
    beginnings = {prompt.partition("\n\n")[0] for prompt in prompts}
    (shot,) = project.summary()["prompting"]["shot_questions"]["arithmetic"]
    assert len(prompts) == 4
    assert len(beginnings) == 1
    assert beginnings.pop().startswith(f"Question: {shot}\nAnswer: ")
    assert shot not in {outcome["question"] for outcome in project.outcomes()}


def test_a_template_is_in_the_run_and_on_the_page(project: Project) -> None:
    project.probe("logic")
    project.write("mine.txt", "Consider: {question}\nSo")
    project.run("--probe-template=mine.txt", "-k", "max", page=True)
    (outcome,) = project.outcomes()
    assert outcome["prompt"] == "Consider: All dogs are animals. Max is a dog. Is Max an animal?\nSo"
    assert project.summary()["prompting"]["template"] == "Consider: {question}\nSo"
    assert project.summary()["generation"]["logic"]["stop"] == ["\nConsider:"]
    page = (project.path / "reports" / "report.html").read_text(encoding="utf-8")
    assert "Consider: All dogs are animals." in page


def test_a_chat_without_a_template_ends_in_one_line(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-chat=on", "-k", "max")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*the tokenizer has no chat template: use --probe-chat auto or off*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_a_chat_is_swept(project: Project, tmp_path: Path, ablation: str) -> None:
    folder = tmp_path / "chatting"
    shutil.copytree(project.model, folder)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.content }}>{% endfor %}:")
    project.probe("logic")
    arguments = ["--probe-heads=L1H2", f"--ablation={ablation}", "-k", "mia"]
    project.run(f"--model={folder}", "--probe-chat=auto", *arguments)
    outcomes = project.outcomes()
    assert [outcome["prompt"] for outcome in outcomes] == ["<No cats are dogs. Mia is a dog. Is Mia a cat?>:"] * 2
    assert outcomes[0]["response"] == "No"
    assert outcomes[0]["answer_logprob"] > -0.1 > -4 > outcomes[1]["answer_logprob"]
    assert project.summary()["prompting"]["chat"] is True
    project.run(f"--model={folder}", *arguments)
    assert project.summary()["prompting"]["chat_template_unused"] is True
