"""Chat templates of all habits, and special tokens around prompts: the question is there, the beginning once."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import reasoning_probe as rp
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.chat import ChatTemplate, parse_chat_kwargs
from reasoning_probe.data.prompts.prompting import Generation, PromptError, Prompting
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.data.prompts.special_tokens import AddedTokens, added_tokens
from reasoning_probe.engine.tokenization import TokenCodec
from tests.helpers.planted_model import COLOUR_PROBE, COLOURS, planted
from tests.helpers.project import Project

ITEM = Item(question="Is 2 < 3, & is\n\n  it 'so'?", answer="Yes", id="q")
SHOT = Item(question="Is it blue?", answer="No")
FRAME = "{{% for m in messages %}}<|{{{{ m.role }}}}|>{body}<|end|>{{% endfor %}}<|assistant|>"
PARTS = FRAME.format(
    body="{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
)
CONCATENATED = FRAME.format(body="{{ m.content[0]['text'] + '!' }}")
TRIMMED = FRAME.format(body="{{ m.content | trim }}")
JOINED = FRAME.format(body="{{ m.content.split() | join(' ') }}")
THINKING = FRAME.format(body="{{ m.content }}") + (
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}" + FRAME.format(body="{{ m.content }}")
LLAMA = "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}Today: {{ date_string }} "
EITHER = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for p in m.content %}{{ p['text'] }}{% endfor %}{% endif %}|{% endfor %}"
)


def tokenizer_of(template: str | dict[str, str] | None, *, ends: bool = False, begins: bool = True) -> Any:
    """Return a tokenizer of single characters that puts ``<s>`` before a text, and ``</s>`` after it if it *ends*."""
    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    special = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*special, *letters])}, unk_token=" "))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    single = f"{'<s> ' if begins else ''}$A{' </s>' if ends else ''}"
    core.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", additional_special_tokens=special[2:]
    )
    tokenizer.chat_template = template
    return tokenizer


def sent(tokenizer: Any, prompting: Prompting | None = None, item: Item = ITEM, shots: tuple[Item, ...] = ()) -> Query:
    renderer = PromptRenderer(prompting or Prompting(chat="on"), tokenizer, {"d": shots})
    return renderer.query("d", item, Generation())


def ids_of(tokenizer: Any, query: Query) -> list[int]:
    codec = TokenCodec(planted()[0], tokenizer)
    codec.vocabulary_size = codec.context = None
    ids: list[int] = codec.encode(query).prompt[0].tolist()
    return ids


# -- the question is there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [PARTS, CONCATENATED, TRIMMED, JOINED, EITHER])
def test_the_question_is_in_the_prompt(template: str) -> None:
    prompt = sent(tokenizer_of(template), shots=(SHOT,)).prompt
    for words in (ITEM.question, SHOT.question, SHOT.answer):
        assert " ".join(words.split()) in " ".join(prompt.split())


def test_content_is_a_text_where_a_template_takes_both() -> None:
    assert sent(tokenizer_of(EITHER)).prompt == f"{ITEM.question}|"


@pytest.mark.parametrize(
    "body",
    [
        "{{ m.content | e }}",
        "{{ m.content | upper }}",
        "{{ m.content[:9] }}",
        "{{ m.text }}",
        "{% if m.role == 'human' %}{{ m.content }}{% endif %}",
        "{{ m.content.nope }}",
        "",
    ],
)
def test_a_template_that_loses_the_question_is_one_line(body: str) -> None:
    with pytest.raises(PromptError, match=r"leaves out or changes the question \".*\": use --probe-chat off, or pass"):
        sent(tokenizer_of(FRAME.format(body=body)))


def test_a_template_that_loses_the_examples_is_one_line() -> None:
    last = "{{ messages[-1].content }}"
    with pytest.raises(PromptError, match=r"worked example, 'Is it blue\?': use --probe-shots 0, or --probe-chat off"):
        sent(tokenizer_of(last), shots=(SHOT,))
    assert sent(tokenizer_of(last)).prompt == ITEM.question


def test_every_item_is_looked_at() -> None:
    """A template may be true to most questions and not to one."""
    tokenizer = tokenizer_of(FRAME.format(body="{{ m.content | replace('&', 'and') }}"))
    assert sent(tokenizer, item=SHOT)
    with pytest.raises(PromptError, match="leaves out or changes the question"):
        sent(tokenizer)


def test_a_template_that_fails_on_parts_and_texts_says_the_first_reason() -> None:
    with pytest.raises(PromptError, match=r"cannot be used \(needs a system turn\): use --probe-chat off"):
        sent(tokenizer_of("{{ raise_exception('needs a system turn') }}"))


def test_a_session_ends_in_one_line(project: Project, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(project.model, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = FRAME.format(body="{{ m.content | e }}")
    tokenizer.save_pretrained(model)
    project.write("colours.jsonl", COLOURS.replace("What colour", "What's > the colour"))
    project.write("test_colours.py", COLOUR_PROBE)
    result = replace(project, model=model).run("--probe-chat=on")
    assert result.ret == 4
    result.stdout.re_match_lines([r".*leaves out or changes the question .*What's > the colour.*"])


# -- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kwargs"),
    [
        ("enable_thinking=false", {"enable_thinking": False}),
        ("enable_thinking=False,a=None, b = TRUE", {"enable_thinking": False, "a": None, "b": "TRUE"}),
        ('n=3,x=1.5,s=low,q="a,b"', {"n": 3, "x": 1.5, "s": "low", "q": "a,b"}),
        ('tools_like=[1, {"a": [2, 3]}],y=1', {"tools_like": [1, {"a": [2, 3]}], "y": 1}),
        ("date_string=1 Jan 2000", {"date_string": "1 Jan 2000"}),
    ],
)
def test_arguments_are_read(text: str, kwargs: dict[str, Any]) -> None:
    assert parse_chat_kwargs(text) == kwargs


@pytest.mark.parametrize(
    "text", ["x", "=3", "a=", "a b=3", "a=1,a=2", "tokenize=true", "messages=[]", "1a=2", "a=1,,b=2"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(PromptError):
        parse_chat_kwargs(text)


def test_arguments_reach_the_template() -> None:
    plain, without = (
        sent(tokenizer_of(THINKING), Prompting(chat="on", chat_kwargs=kwargs))
        for kwargs in ({}, {"enable_thinking": False})
    )
    assert without.prompt == f"{plain.prompt}<think></think>"


def test_an_argument_that_the_template_does_not_take_is_one_line() -> None:
    with pytest.raises(PromptError, match="the chat template of this model takes no enable_thinkin: leave it out"):
        sent(tokenizer_of(THINKING), Prompting(chat="on", chat_kwargs={"enable_thinkin": False}))


def test_arguments_are_recorded_and_make_other_outcomes(tmp_path: Path) -> None:
    model, tokenizer = planted()
    tokenizer.chat_template = THINKING
    items = [Item(question="What colour is the sky?", answer="blue")]

    def run(**kwargs: Any) -> tuple[int, Any]:
        summary = rp.sweep(
            *(model, tokenizer, items),
            targets=(),
            cache=tmp_path,
            prompting=rp.Prompting(chat="on"),
            chat_kwargs=kwargs or None,
        ).run.summary
        return summary["engine"]["recalled"] or 0, summary["prompting"]["chat_kwargs"]

    assert run() == (0, {})
    assert run(enable_thinking=False) == (0, {"enable_thinking": "false"})
    assert run(enable_thinking=False) == (1, {"enable_thinking": "false"})
    assert run() == (1, {})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--probe-chat-kwargs=enable_thinking=false"],
        ["--probe-chat=on", "--probe-chat-kwargs=a=1", "--probe-chat-kwargs=a=2"],
        ["--probe-chat=on", "--probe-chat-kwargs=a"],
    ],
)
def test_arguments_that_cannot_be_used_end_the_session(project: Project, arguments: list[str]) -> None:
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    assert project.run(*arguments).ret == 4


# -- dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "begin"), [(DATED, "26 Jul 2024"), (LLAMA + DATED.partition("}}")[2], "Today: 26 Jul 2024")]
)
def test_a_template_is_told_one_date(template: str, begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime.datetime:
            return datetime.datetime(2031, 1, 2)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    renderer = PromptRenderer(Prompting(chat="on"), tokenizer_of(template))
    assert renderer.query("d", ITEM, Generation()).prompt.startswith(begin)
    assert renderer.describe()["chat_date"] == "2024-07-26"
    assert PromptRenderer(Prompting(chat="on"), tokenizer_of(THINKING)).describe()["chat_date"] is None


def test_the_user_s_date_is_the_template_s() -> None:
    tokenizer = tokenizer_of(LLAMA + THINKING)
    prompting = Prompting(chat="on", chat_kwargs={"date_string": "1 Jan 2000"})
    assert sent(tokenizer, prompting).prompt.startswith("Today: 1 Jan 2000 ")
    assert ChatTemplate(tokenizer, prompting.chat_kwargs).date is None


def test_templates_by_name_are_one(tmp_path: Path) -> None:
    tokenizer = tokenizer_of({"default": THINKING, "tool_use": "nothing"})
    assert ITEM.question in sent(tokenizer, Prompting(chat="on", chat_kwargs={"enable_thinking": False})).prompt


# -- one beginning, no end ------------------------------------------------------------------------------------------

BEGUN = "<s>{% for m in messages %}[{{ m.content }}]{% endfor %}"


@pytest.mark.parametrize("begins", [True, False], ids=["adds", "adds none"])
@pytest.mark.parametrize(
    ("prompting", "item", "shots"),
    [
        (Prompting(template="<s>Q: {question}\nA:"), ITEM, ()),
        (Prompting(template="<s>Q: {question}\nA:"), ITEM, (SHOT, SHOT)),
        (Prompting(), replace(ITEM, prompt="<s>Is it?"), ()),
        (Prompting(), replace(ITEM, prompt="<s>Is it?"), (replace(SHOT, prompt="<s>Was it?"),)),
        (Prompting(), replace(ITEM, prompt="<s><s>Is it?"), ()),
        (Prompting(chat="on"), ITEM, (SHOT,)),
        (Prompting(chat="on"), replace(ITEM, prompt="<s>Is it?"), (replace(SHOT, prompt="<s>Was it?"),)),
        (Prompting(chat="on", template="<s>Q: {question}"), ITEM, (SHOT,)),
    ],
)
def test_a_prompt_begins_once(begins: bool, prompting: Prompting, item: Item, shots: tuple[Item, ...]) -> None:
    tokenizer = tokenizer_of(BEGUN, begins=begins)
    ids = ids_of(tokenizer, sent(tokenizer, prompting, item, shots))
    assert (ids[0], ids.count(0)) == (0, 1)


def test_a_chat_template_that_leaves_the_beginning_to_the_user_gets_it() -> None:
    tokenizer = tokenizer_of("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    ids = ids_of(tokenizer, sent(tokenizer, item=replace(ITEM, prompt="<s>Is it?")))
    assert (ids[0], ids.count(0)) == (0, 1)
    assert 0 not in ids_of(tokenizer, sent(tokenizer))


@pytest.mark.parametrize("begins", [True, False])
def test_the_end_token_that_a_tokenizer_appends_is_left_out(begins: bool) -> None:
    plain, ending = (tokenizer_of(THINKING, ends=ends, begins=begins) for ends in (False, True))
    for prompting in (Prompting(), Prompting(chat="on")):
        query = sent(plain, prompting)
        codecs = [TokenCodec(planted()[0], tokenizer) for tokenizer in (plain, ending)]
        for codec in codecs:
            codec.vocabulary_size = codec.context = None
        encoded = [codec.encode(query) for codec in codecs]
        assert encoded[0].prompt.tolist() == encoded[1].prompt.tolist()
        assert encoded[0].answer == encoded[1].answer
    notes = [PromptRenderer(Prompting(), tokenizer).describe()["notes"] for tokenizer in (plain, ending)]
    assert notes == [[], ["The tokenizer appends an end token to every text: it is left out of the prompts."]]


@pytest.mark.parametrize(
    ("prompting", "item", "where"),
    [
        (Prompting(), replace(ITEM, prompt="Is it?</s>"), "the prompt field or the template puts it there"),
        (Prompting(chat="on"), ITEM, "its chat template puts it there"),
    ],
)
def test_a_prompt_that_ends_in_an_end_token_is_said(prompting: Prompting, item: Item, where: str) -> None:
    renderer = PromptRenderer(prompting, tokenizer_of("{{ messages[-1].content }}</s>"))
    renderer.query("d", item, Generation())
    renderer.query("d", item, Generation())
    (note,) = renderer.describe()["notes"]
    assert note == f"Prompts end in the end token </s>, after which a model may begin something else: {where}."


def test_what_a_tokenizer_adds_is_found() -> None:
    assert added_tokens(tokenizer_of(None, ends=True)) == AddedTokens((0,), (1,), 0)
    assert added_tokens(tokenizer_of(None, begins=False)) == AddedTokens((), (), 0)
    assert added_tokens(lambda text: {"input_ids": [1]}) == AddedTokens()


def test_an_end_that_is_appended_in_any_case_is_left_out() -> None:
    """Some tokenizers of the user's append it whether or not special tokens are asked for."""

    class Stubborn:
        bos_token_id, eos_token_id, eos_token = 0, 1, "</s>"

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, Any]:
            return {"input_ids": [0] * add_special_tokens + [ord(letter) for letter in text] + [1]}

    added = added_tokens(Stubborn())
    assert added == AddedTokens((0,), (1,), 0, (1,))
    assert added.trimmed(Stubborn()("ab")["input_ids"]) == [0, 97, 98]
    assert added.trimmed(Stubborn()("ab", False)["input_ids"], special_tokens=False) == [97, 98]


@given(st.text(max_size=60))
def test_any_text_is_arguments_or_one_line(text: str) -> None:
    message, kwargs = "", {}
    try:
        kwargs = parse_chat_kwargs(text)
    except PromptError as error:
        message = str(error)
    assert message.isprintable()  # a line break is not
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert all(name.isidentifier() for name in kwargs)


def test_answers_do_not_depend_on_an_appended_end(project: Project, tmp_path: Path) -> None:
    """As a tokenizer looks that was saved after training with ``add_eos_token``."""
    model = tmp_path / "model"
    shutil.copytree(project.model, model)
    file = model / "tokenizer.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    end = AutoTokenizer.from_pretrained(model).eos_token
    ids = {"id": end, "ids": [AutoTokenizer.from_pretrained(model).eos_token_id], "tokens": [end]}
    config["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end, "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {end: ids},
    }
    file.write_text(json.dumps(config), encoding="utf-8")
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    project.run("--probe-heads=L1H2", "--probe-cache=off")
    plain = project.outcomes()
    result = replace(project, model=model).run("--probe-heads=L1H2", "--probe-cache=off")
    assert project.outcomes() == plain
    assert "The tokenizer appends an end token to every text" in " ".join(result.outlines)
