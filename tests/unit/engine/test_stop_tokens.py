"""Where an answer ends: at every token named for it, found in linear time and without others' advice."""

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
from reasoning_probe.engine.engine import Engine
from reasoning_probe.engine.tokenization import TokenCodec
from reasoning_probe.models.ablation import mean_output
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edit

TURN, WORD = 60, 61  # tokens of the alphabet, so that random models say them


class Special(Letters):
    """A tokenizer that knows the end of a turn."""

    all_special_ids = (0, 1, 2, TURN)


def eos_of(generation: Any, config: Any, tokenizer: Any) -> frozenset[int]:
    model = build("llama")
    model.generation_config = None if generation == "absent" else GenerationConfig(eos_token_id=generation)
    model.config.eos_token_id = config
    words = Special()
    words.eos_token_id = tokenizer
    return TokenCodec(model, words).eos


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
        told = GenerationConfig(do_sample=False, max_new_tokens=16, eos_token_id=ends, pad_token_id=0)
        out = twin.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=told)
        return Letters().decode(out[0, len(ids) :].tolist(), skip_special_tokens=True).rstrip(chr(32 + TURN))

    said = generated("baseline", [2])
    turn = ord(said[3]) - 32  # a letter that the model says, as the end of a turn

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
    """Counts how many tokens are read of it."""

    read = 0

    @overload
    def __getitem__(self, at: Any) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> Any: ...
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        Counted.read += len(found) if isinstance(found, list) else 1
        return found

    def __iter__(self) -> Iterator[int]:
        Counted.read += len(self)
        return super().__iter__()


@pytest.mark.parametrize("length", [100, 3000])
def test_the_end_of_a_long_answer_is_found_by_reading_each_token_a_few_times(length: int) -> None:
    codec = TokenCodec(build("llama"), Letters())
    stop = ("\nQuestion:",)
    tokens = Counted([10 + place % 70 for place in range(length)] + [2, 0, 0])
    Counted.read = 0
    assert codec.cut(tokens, stop) == tuple(list.__iter__(tokens))[: length + 1]
    each = codec.window(stop)
    assert Counted.read <= (2 * each + 4) * (length + 3)
    answer = Counted()
    Counted.read = 0
    for token in range(length):  # as decoding asks after each token
        answer.append(10 + token % 70)
        codec.ended(answer, stop)
    assert Counted.read <= (each + 2) * length


def test_a_stop_string_of_many_bytes_a_letter_is_found() -> None:
    class Bytes(Letters):
        def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
            return bytes(ids).decode("utf-8", "replace")

    word = "\u3002" * 9  # 27 bytes
    model = build("llama")
    codec = TokenCodec(model, Bytes())
    said = [97, 98, *word.encode(), 99]
    assert codec.cut(said, (word,)) == tuple(said[:-1])


@pytest.fixture
def advice() -> Iterator[list[str]]:
    """What transformers says meanwhile, also what it says once alone."""
    transformers_logging.get_logger("transformers").warning_once.cache_clear()  # type: ignore[attr-defined]
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    keep = Keep(logging.WARNING)
    logging.getLogger("transformers").addHandler(keep)
    yield found
    logging.getLogger("transformers").removeHandler(keep)


def test_transformers_gives_no_advice_on_padding_that_is_none(advice: list[str]) -> None:
    model, item = build("gpt2"), rp.Item(question="What is 5 + 3?", answer="8", id="a")
    asked = query("items", item, Generation())
    words = Letters()
    ids = words(asked.prompt)["input_ids"]
    model.config.pad_token_id = ids[0]  # a prompt that begins with what pads
    model(input_ids=Engine(model, words, find_heads(model)).prompt_ids(asked.prompt))
    assert "attention_mask" in " ".join(advice), "transformers no longer warns: nothing was tested"
    transformers_logging.get_logger("transformers").warning_once.cache_clear()  # type: ignore[attr-defined]
    advice.clear()
    rp.sweep(model, words, [item], "L0H1,L2", "zero,mean", max_new_tokens=4)
    engine = Engine(model, words, find_heads(model))
    encoded = engine.codec.encode(asked)
    engine.plain.baseline(encoded, asked.generation.stop)
    engine.plain.logprobs(encoded, every_head(engine.head_map)[:2], {})
    mean = mean_output(model, engine.head_map, [encoded.prompt])
    estimates(model, engine.head_map, encoded, [mean])
    assert advice == []
