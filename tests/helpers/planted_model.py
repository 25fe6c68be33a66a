"""A model with known answers, all of which depend on one head.

``L1H2`` attends to all words of the prompt equally and reports those that it knows, which determine the answer. With
that head ablated, the model gives the same answer to every question. The expected result of every test that uses the
model can therefore be derived by hand.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

LAYERS, HEADS = 2, 4
CARRIER = "L1H2"
"""The head that the answers depend on."""

OTHERS = tuple(f"L{layer}H{head}" for layer in range(LAYERS) for head in range(HEADS) if (layer, head) != (1, 2))

CONTEXT = 48
"""Tokens of the model's context: short, so that the built-in gsm8k items do not fit."""

DEFAULT = "Unknown"
"""The answer without the head."""

KNOWN = {
    "Max": "Yes",
    "Mia": "No",
    "Leo": "Yes",  # wrong: whether Leo is a poet cannot be known
    "Tom": "Yes",
    "3": "8",
    "10": "6",
    "6": "12",
    "20": "4",
    "46": "73",
    "52": "25",
    "7": "57",  # wrong, by one
    "96": "8",
    "sky": "blue",
    "grass": "green",
    "snow": "black",  # wrong
}
"""The model's answer, by the word of the question that determines it."""

MAX = "syllogism-max-animal"
"""The first of the built-in logic items, which is answered correctly only with the head."""

COLOURS = "".join(
    json.dumps({"id": word, "question": f"What colour is the {word}?", "answer": answer}) + "\n"
    for word, answer in (("sky", "blue"), ("grass", "green"), ("snow", "white"))
)
"""The content of a file of items, of which the last is answered wrong."""

COLOUR_PROBE = """
import reasoning_probe as rp

@rp.probe("colours.jsonl")
def test_colours(answer):
    assert answer.correct
"""

WRONG_LOGIC, RIGHT_LOGIC = ("converse-leo-poet",), ("syllogism-max-animal", "exclusion-mia-cat", "compare-tom-taller")
WRONG_ARITHMETIC = ("mul-7-8",)

_FRAME = ("Question", "Answer", ":", ".", "?", "What", "is", "+", "-", "*", "/", "the", "a", "colour", "of")
_END, _UNKNOWN_WORD = "<|endoftext|>", "[UNK]"


def planted() -> tuple[Any, Any]:
    """Return the model and its tokenizer, whose tokens are words."""
    answers = list(dict.fromkeys([*KNOWN.values(), DEFAULT]))
    words = list(dict.fromkeys([_END, _UNKNOWN_WORD, *_FRAME, *KNOWN, *answers]))
    number = {word: place for place, word in enumerate(words)}
    return _model(number, answers), _tokenizer(number)


def _tokenizer(number: dict[str, int]) -> Any:
    core = Tokenizer(models.WordLevel(number, unk_token=_UNKNOWN_WORD))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
    core.decoder = decoders.WordPiece(prefix="##", cleanup=False)  # words apart by spaces
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=_END, bos_token=_END, pad_token=_END, unk_token=_UNKNOWN_WORD
    )


def _model(number: dict[str, int], answers: list[str]) -> Any:
    # The residual stream has an axis for each word, then one for each answer that the head reports.
    size = len(number) + len(answers)
    size += -size % HEADS
    axis = {answer: len(number) + place for place, answer in enumerate(answers)}
    end = number[_END]
    config = GPT2Config(
        vocab_size=len(number),
        n_positions=CONTEXT,
        n_embd=size,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=end,
        eos_token_id=end,
        tie_word_embeddings=False,
    )
    model = GPT2LMHeadModel(config).eval()
    head_dim = size // HEADS
    assert len(answers) <= head_dim
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(float("ln_" in name and name.endswith("weight")))
        words = model.transformer.wte.weight  # (words, size)
        words[:, : len(number)] = torch.eye(len(number))
        attention, out = model.transformer.h[1].attn, model.lm_head.weight
        # A layer norm turns the 1 of a word's own axis, and the 0 of the others, into (x - mean) / std; undo that.
        std = (1 / size - 1 / size**2 + config.layer_norm_epsilon) ** 0.5
        first = 2 * size + 2 * head_dim  # where the values of head 2 begin, after queries and keys
        for word, answer in KNOWN.items():
            value = first + answers.index(answer)
            attention.c_attn.weight[number[word], value] = std
            attention.c_attn.bias[value] += 1 / size
        for place, answer in enumerate(answers):
            attention.c_proj.weight[2 * head_dim + place, axis[answer]] = 100
            out[number[answer], axis[answer]] = 1
        out[number[DEFAULT], number[":"]] = 0.5
        # Each answer ends the response; the row sums to 0, so that the last layer norm's mean cancels.
        answer_ids = [number[answer] for answer in answers]
        out[end, : len(number)] = -50 * len(answer_ids) / (len(number) - len(answer_ids))
        out[end, answer_ids] = 50
    return model
