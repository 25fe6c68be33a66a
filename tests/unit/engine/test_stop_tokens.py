"""An answer ends at every token that any of the configs names; its end is located in linear time, without warnings."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any, overload

import pytest
import torch
from transformers import GenerationConfig
from transformers.utils import logging as transformers_logging

import reasoning_probe as rp
from reasoning_probe.analyses.attribution import estimates
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.tokenization import TokenCodec
from reasoning_probe.models.ablation import ZERO, Replacement, mean_output
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edit

TURN, WORD = 60, 61  # printable tokens, so that random models generate them


class Special(Letters):
    """A tokenizer with a special token for the end of a turn."""

    all_special_ids = (0, 1, 2, TURN)


def eos_of(generation: Any, config: Any, tokenizer: Any) -> frozenset[int]:
    model = build("llama")
    model.generation_config = None if generation == "absent" else GenerationConfig(eos_token_id=generation)
    model.config.eos_token_id = config
    letters = Special()
    letters.eos_token_id = tokenizer
    return TokenCodec(model, letters).eos


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer", "ends"),
    [
        (2, 2, 2, {2}),
        ([2, TURN], 2, 2, {2, TURN}),
        (2, 2, TURN, {2, TURN}),  # Qwen's early chat models
        (2, TURN, 2, {2, TURN}),  # special to the tokenizer
        (2, [TURN, WORD], 2, {2, TURN}),  # WORD is a letter: a class's default, say
        (None, WORD, None, {WORD}),  # as generate has it where there is nothing else
        ("absent", [2, WORD], TURN, {2, WORD, TURN}),
        (None, None, TURN, {TURN}),
        (None, None, None, set()),
    ],
)
def test_an_answer_ends_at_any_token_that_is_named_for_it(
    generation: Any, config: Any, tokenizer: Any, ends: set[int]
) -> None:
    assert eos_of(generation, config, tokenizer) == ends


def test_the_config_of_the_text_is_asked() -> None:
    model = build("llama")
    config = model.config
    model.generation_config = None
    model.config = type("Whole", (), {"get_text_config": lambda self, **_: config, "eos_token_id": None})()
    assert TokenCodec(model, Letters()).eos == {2}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_turn_that_only_the_tokenizer_ends_is_cut_as_generate_cuts_it(family: str) -> None:
    model, item = build(family), rp.Item(question="What is 5 + 3?", answer="8", id="a")
    ids = Letters()(query("items", item, Generation()).prompt)["input_ids"]

    def generated(target: str, ends: list[int]) -> str:
        twin = copy.deepcopy(model)
        if target != "baseline":
            site = find_heads(model).attention_layers[int(target[1])]
            edit(twin, site.path, site.heads, [int(target[3])])
        prompt = torch.tensor([ids])
        config = GenerationConfig(do_sample=False, max_new_tokens=16, eos_token_id=ends, pad_token_id=0)
        out = twin.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
        return Letters().decode(out[0, len(ids) :].tolist(), skip_special_tokens=True).rstrip(chr(32 + TURN))

    response = generated("baseline", [2])
    turn = ord(response[3]) - 32  # a letter that the model generates, as the end of a turn

    class Chat(Letters):
        eos_token_id = turn

        def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
            return super().decode([token for token in ids if token != turn], skip_special_tokens)

    outcomes = rp.sweep(model, Chat(), [item], "L0H1,L1H0,L2H3", max_new_tokens=16, stop=())
    letter = chr(32 + turn)
    assert len(outcomes[0].response) <= 3
    for outcome in outcomes:
        assert outcome.response == generated(outcome.target, [2, turn]).split(letter)[0], outcome.target


class Counted(list[int]):
    """A list that counts how many of its tokens are read."""

    read = 0

    @overload
    def __getitem__(self, index: Any) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        value = super().__getitem__(index)
        Counted.read += len(value) if isinstance(value, list) else 1
        return value

    def __iter__(self) -> Iterator[int]:
        Counted.read += len(self)
        return super().__iter__()


@pytest.mark.parametrize("length", [100, 3000])
def test_the_end_of_a_long_answer_is_found_by_reading_each_token_a_few_times(length: int) -> None:
    codec = TokenCodec(build("llama"), Letters())
    stop = ("\nQuestion:",)
    tokens = Counted([10 + index % 70 for index in range(length)] + [2, 0, 0])
    Counted.read = 0
    assert codec.cut(tokens, stop) == tuple(list.__iter__(tokens))[: length + 1]
    window = codec.stop_window(stop)
    assert Counted.read <= (2 * window + 4) * (length + 3)
    answer = Counted()
    Counted.read = 0
    for token in range(length):  # decoding calls it after each token
        answer.append(10 + token % 70)
        codec.ended(answer, stop)
    assert Counted.read <= (window + 2) * length


def test_a_stop_string_of_many_bytes_a_letter_is_found() -> None:
    class Bytes(Letters):
        def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
            return bytes(ids).decode("utf-8", "replace")

    word = "\u3002" * 9  # 27 bytes
    model = build("llama")
    codec = TokenCodec(model, Bytes())
    tokens = [97, 98, *word.encode(), 99]
    assert codec.cut(tokens, (word,)) == tuple(tokens[:-1])


@pytest.fixture
def advice() -> Iterator[list[str]]:
    """Collect transformers' warnings, including those that it logs only once."""
    transformers_logging.get_logger("transformers").warning_once.cache_clear()  # type: ignore[attr-defined]
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    collector = Collector(logging.WARNING)
    logging.getLogger("transformers").addHandler(collector)
    yield messages
    logging.getLogger("transformers").removeHandler(collector)


def test_transformers_gives_no_advice_on_padding_that_is_none(advice: list[str]) -> None:
    model, item = build("gpt2"), rp.Item(question="What is 5 + 3?", answer="8", id="a")
    prompt_query = query("items", item, Generation())
    letters = Letters()
    ids = letters(prompt_query.prompt)["input_ids"]
    model.config.pad_token_id = ids[0]  # a prompt that begins with the padding token
    model(input_ids=LocalEngine(model, letters, find_heads(model)).prompt_ids(prompt_query.prompt))
    assert "attention_mask" in " ".join(advice), "transformers no longer warns: nothing was tested"
    transformers_logging.get_logger("transformers").warning_once.cache_clear()  # type: ignore[attr-defined]
    advice.clear()
    rp.sweep(model, letters, [item], "L0H1,L2", "zero,mean", max_new_tokens=4)
    engine = LocalEngine(model, letters, find_heads(model))
    encoded = engine.codec.encode(prompt_query)
    engine.plain.baseline(encoded, prompt_query.generation.stop)
    engine.plain.logprobs(encoded, every_head(engine.head_map)[:2], ZERO)
    mean = mean_output(model, engine.head_map, [encoded.prompt])
    estimates(model, engine.head_map, encoded, [Replacement(mean)])
    assert advice == []
