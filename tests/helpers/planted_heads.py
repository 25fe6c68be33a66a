"""Models whose heads have known roles, because every weight is set by hand: a GPT-2 of three layers.

The residual stream has an axis for each token, each token before, each position and each token to say, and a constant
so large that the layer norms divide by the same number everywhere. Heads without a role have random weights.

- ``L0H0`` attends to the token before and writes which it is: a previous-token head.
- ``L0H1`` attends to the same token before, and not to itself: a duplicate-token head.
- ``L0H2`` attends from ``ASK`` to the digit of the prompt and says it: it copies an operand.
- ``L0H3`` attends from ``DECIDE`` to the digit and says the letter that belongs to it: it decides.
- ``L1H0`` attends to the token that came after the same token and says it: an induction head.
- ``L2H0`` attends to the token that is about to be said and lowers it: a suppressing head.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from reasoning_probe.analyses.prompt_scores import AnsweredPrompt

VOCABULARY, PLACES, LAYERS, HEADS, HEAD_DIM = 48, 52, 3, 4, 64
SIZE = HEADS * HEAD_DIM
DIGITS, LETTERS, ASK, DECIDE, FIRST_FILLER = range(10), range(10, 20), 20, 21, 22
ROLES = {
    "previous_token": (0, 0),
    "duplicate_token": (0, 1),
    "retrieval": (0, 2),
    "deciding": (0, 3),
    "induction": (1, 0),
    "suppression": (2, 0),
}
"""The head of each role, by the name of its label."""

ASKING, DECIDING = "asking", "deciding"
"""The names of the sets of prompts: those whose answer is the digit, and those whose answer is its letter."""

_TOKEN, _BEFORE, _PLACE, _SAY = 0, VOCABULARY, 2 * VOCABULARY, 2 * VOCABULARY + PLACES
_CONSTANT = SIZE - 2  # this axis and the next hold a number and its negative
_LARGE = 1000.0


def planted_heads(seed: int = 0) -> Any:
    """Return the model; *seed* draws the heads without a role and the code of positions."""
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=PLACES, n_embd=SIZE, n_layer=LAYERS, n_head=HEADS, tie_word_embeddings=False
    )
    model = GPT2LMHeadModel(config).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # A layer norm divides by the spread of the constant axes; its weight undoes that.
            scale = _LARGE * (2 / SIZE) ** 0.5
            parameter.fill_(scale if "ln_" in name and name.endswith("weight") else 0.0)
        words, places = model.transformer.wte.weight, model.transformer.wpe.weight
        words[:, _TOKEN : _TOKEN + VOCABULARY] = torch.eye(VOCABULARY)
        places[:, _PLACE : _PLACE + PLACES] = torch.eye(PLACES)
        places[:, _CONSTANT], places[:, _CONSTANT + 1] = _LARGE, -_LARGE
        out = model.lm_head.weight
        out[:, _TOKEN : _TOKEN + VOCABULARY] = torch.eye(VOCABULARY)
        out[:, _SAY : _SAY + VOCABULARY] = 3 * torch.eye(VOCABULARY)
        for layer in range(LAYERS):
            for number in range(HEADS):
                head = _Head(model, layer, number)
                if (layer, number) not in ROLES.values():
                    head.randomise(draw)
        _plant(model, draw)
    return model


def _plant(model: Any, draw: torch.Generator) -> None:
    tokens = range(VOCABULARY)
    previous = _Head(model, 0, 0)
    for place in range(1, PLACES):
        previous.match(_PLACE + place, _PLACE + place - 1, slot=place, strength=20)
    previous.move(_TOKEN, _BEFORE, tokens)

    duplicate = _Head(model, 0, 1)
    for token in tokens:
        duplicate.match(_TOKEN + token, _TOKEN + token, slot=token, strength=24)
    code = torch.randn(PLACES, HEAD_DIM - VOCABULARY, generator=draw)  # a head has too few slots for all places
    code /= code.norm(dim=1, keepdim=True)
    for place in range(PLACES):
        duplicate.avoid(_PLACE + place, code[place], strength=10)

    for number, asks in ((2, ASK), (3, DECIDE)):
        head = _Head(model, 0, number)
        for digit in DIGITS:
            head.match(_TOKEN + asks, _TOKEN + digit, slot=VOCABULARY, strength=20)
    _Head(model, 0, 2).move(_TOKEN, _SAY, DIGITS, factor=4)
    decider = _Head(model, 0, 3)
    for token in (*DIGITS, *range(FIRST_FILLER, VOCABULARY)):  # every token has a letter: it matters where it looks
        decider.value[_TOKEN + token, token % 10] = 1
    for slot, letter in enumerate(LETTERS):
        decider.out[slot, _SAY + letter] = 1

    induction = _Head(model, 1, 0)
    for token in tokens:
        induction.match(_TOKEN + token, _BEFORE + token, slot=token, strength=20)
    induction.move(_TOKEN, _SAY, tokens)

    suppression = _Head(model, 2, 0)
    for token in tokens:
        suppression.match(_SAY + token, _TOKEN + token, slot=token, strength=40)
        suppression.match(_TOKEN + token, _TOKEN + token, slot=token, strength=15)
    suppression.move(_TOKEN, _SAY, tokens, factor=-0.5)


class _Head:
    """Sets the weights of one head."""

    def __init__(self, model: Any, layer: int, number: int) -> None:
        attention = model.transformer.h[layer].attn
        start = number * HEAD_DIM
        into, self.out = attention.c_attn.weight, attention.c_proj.weight[start : start + HEAD_DIM]
        self.query, self.key, self.value = (
            into[:, part * SIZE + start : part * SIZE + start + HEAD_DIM] for part in range(3)
        )

    def match(self, query: int, key: int, *, slot: int, strength: float) -> None:
        """Let a token with the axis *query* attend to those with the axis *key*."""
        self.query[query, slot] = strength * HEAD_DIM**0.5
        self.key[key, slot] = 1

    def avoid(self, axis: int, code: torch.Tensor, strength: float) -> None:
        """Let a token with *axis* look away from those with the same *code*, which takes the last slots."""
        self.query[axis, -len(code) :] = -strength * HEAD_DIM**0.5 * code
        self.key[axis, -len(code) :] = code

    def move(self, source: int, to: int, indices: Iterable[int], factor: float = 1) -> None:
        """Add the axes from *source* on to those from *to* on."""
        for slot, index in enumerate(indices):
            self.value[source + index, slot] = 1
            self.out[slot, to + index] = factor

    def randomise(self, draw: torch.Generator) -> None:
        """Set random weights, which leave the constant axes alone."""
        for weight, size in ((self.query, 1.0), (self.key, 1.0), (self.value, 0.1)):
            weight[:_CONSTANT] = size * torch.randn(_CONSTANT, HEAD_DIM, generator=draw)
        self.out[:, :_CONSTANT] = 0.02 * torch.randn(HEAD_DIM, _CONSTANT, generator=draw)


def prompts(count: int = 10, seed: int = 0) -> dict[str, list[AnsweredPrompt]]:
    """Return prompts with a digit at a random place, that ask for it or for its letter."""
    draw = torch.Generator().manual_seed(seed)

    def prompt(asks: int, digit: int, answer: int) -> AnsweredPrompt:
        before, after = (int(torch.randint(0, 9, (), generator=draw)) for _ in range(2))
        filler = torch.randint(FIRST_FILLER, VOCABULARY, (before + after,), generator=draw).tolist()
        ids = (*filler[:before], digit, *filler[before:], asks, answer)
        return AnsweredPrompt(ids, len(ids) - 1, frozenset([before]))

    return {
        ASKING: [prompt(ASK, number % 10, number % 10) for number in range(count)],
        DECIDING: [prompt(DECIDE, number % 10, LETTERS[number % 10]) for number in range(count)],
    }
