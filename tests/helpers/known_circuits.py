"""Models with a known circuit, because every weight is set by hand: sums of two digits in three attention layers.

``L0H1`` and ``L0H3`` copy the two operands to the end of the prompt, and ``L1H2``, the decider, adds them. With a
backup, ``L2H1`` adds them too, but only while the decider is ablated. Side by side, ``L0H1`` and ``L1H2`` each add an
operand to the sum, and no head reads what another writes. All other heads are noise: each adds its own small random
number to the sum. The digits are stored with random errors, so that some answers are close calls, which
flip in both directions when one of the noise heads is off.

The residual stream has named axes, each stored as a pair (x, -x) so that its mean is 0; one constant axis is so large
that the layer norms divide by the same number everywhere. The unembedding gives the number n the logit 2ns - n**2,
which is largest for the whole number nearest to the sum s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from reasoning_probe.data.items import Donor, Item
from tests.helpers.project import Project

LAYERS, HEADS, HEAD_DIM = 3, 4, 16
COPIERS, DECIDER, BACKUP = ("L0H1", "L0H3"), "L1H2", "L2H1"
ALL = tuple(f"L{layer}H{head}" for layer in range(LAYERS) for head in range(HEADS))
SIDE_BY_SIDE = ("L0H1", "L1H2")
NOISE = tuple(name for name in ALL if name not in (*COPIERS, DECIDER, BACKUP))

_FRAME = ("Question", ":", "What", "is", "+", "?", "Answer")
_FIRST, _SECOND, _LAST = 4, 6, 9  # positions of the operands and the end of "Question: What is 3 + 5?\nAnswer:"
_END = "<|endoftext|>"
_AXES = ("constant", "value", "p0", "p4", "p6", "p9", "after", "first", "second", "sum", "decided")
_CONSTANT, _SHARPNESS, _NOISE = 1000.0, 3.0, 0.06
_ROUGHNESS = 0.22


def sums(count: int = 100) -> list[Item]:
    """Return the first *count* questions for the sum of two digits, from all pairs in a fixed mixed order."""
    pairs = sorted(product(range(10), repeat=2), key=lambda pair: (37 * pair[0] + 61 * pair[1]) % 101)
    return [
        Item(
            id=f"add-{a}-{b}",
            question=f"What is {a} + {b}?",
            answer=str(a + b),
            operands=(str(a), str(b)),
            operation="+",
        )
        for a, b in pairs[:count]
    ]


def with_donors(item: Item, number: int) -> Item | None:
    """Return *item* with donors as far from it as each other: of every other item the first operand is another.

    ``None`` stands for an item whose operands leave no room for them.
    """
    first, second = map(int, item.operands)
    for move in (4, -4, 6, -6):  # so that half of it is no close call of the whole
        half = move // 2
        other = (first + move, second) if number % 2 else (first, second + move)
        twin = (first + half, second - half)
        if all(0 <= operand <= 9 for operand in (*other, *twin)):
            donors = [Donor(question=f"What is {one} + {two}?", answer=str(one + two)) for one, two in (other, twin)]
            return replace(item, counterfactual=donors[0], same_answer=donors[1])
    return None


def donated(count: int = 100) -> list[Item]:
    """Return those of the first *count* sums that have donors."""
    pairs = [with_donors(item, number) for number, item in enumerate(sums(count))]
    return [item for item in pairs if item is not None]


def circuit(*, backup: bool = False, seed: int = 0, side_by_side: bool = False) -> tuple[Any, Any]:
    """Return the model and its tokenizer, whose tokens are words; *seed* draws the noise."""
    number = {word: place for place, word in enumerate((_END, *_FRAME, *(str(n) for n in range(19))))}
    return _Writer(number, seed).write(backup=backup, side_by_side=side_by_side), _tokenizer(number)


def _tokenizer(number: dict[str, int]) -> Any:
    core = Tokenizer(models.WordLevel(number, unk_token=_END))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=_END, bos_token=_END, pad_token=_END)


class _Writer:
    """Sets the weights of a GPT-2 of :data:`LAYERS` layers, axis by axis."""

    def __init__(self, number: dict[str, int], seed: int) -> None:
        self.number, self.seed, self.size = number, seed, HEADS * HEAD_DIM
        end = number[_END]
        config = GPT2Config(
            vocab_size=len(number),
            n_positions=32,
            n_embd=self.size,
            n_layer=LAYERS,
            n_head=HEADS,
            bos_token_id=end,
            eos_token_id=end,
            tie_word_embeddings=False,
        )
        self.model = GPT2LMHeadModel(config).eval()

    @torch.no_grad()
    def write(self, *, backup: bool, side_by_side: bool) -> Any:
        scale = _CONSTANT * (2 / self.size) ** 0.5  # the layer norms' divisor
        for name, parameter in self.model.named_parameters():
            parameter.fill_(scale if "ln_" in name and name.endswith("weight") else 0.0)
        self._embed()
        planted = self._side_by_side() if side_by_side else self._handing_on(backup)
        draw = torch.Generator().manual_seed(self.seed)
        for layer, head in product(range(LAYERS), range(HEADS)):
            if f"L{layer}H{head}" not in planted:
                self._noise(layer, head, draw)
        self._unembed()
        return self.model

    def _handing_on(self, backup: bool) -> set[str]:
        """Plant the copiers, the decider and where wanted the backup; return them."""
        self._attend(0, 1, "p4", {"value": ("first", 1.0)})
        self._attend(0, 3, "p6", {"value": ("second", 1.0)})
        adds = {"first": ("sum", 1.0), "second": ("sum", 1.0)}
        self._attend(1, 2, "p9", adds | {"p9": ("decided", 1.0)})
        if backup:
            # While "decided" is set, the head attends to the first token, to which nothing was copied.
            self._attend(2, 1, "p9", adds)
            self._key(2, 1, "p0", 0.5)
            self._key(2, 1, "decided", -2.0)
        return {*COPIERS, DECIDER, *([BACKUP] if backup else ())}

    def _side_by_side(self) -> set[str]:
        """Plant two heads that each add an operand; return them."""
        self._attend(0, 1, "p4", {"value": ("sum", 1.0)})
        self._attend(1, 2, "p6", {"value": ("sum", 1.0)})
        return set(SIDE_BY_SIDE)

    def _axis(self, name: str) -> int:
        return 2 * _AXES.index(name)

    def _set(self, row: torch.Tensor, axis: str, value: float) -> None:
        row[self._axis(axis)], row[self._axis(axis) + 1] = value, -value

    def _embed(self) -> None:
        words, places = self.model.transformer.wte.weight, self.model.transformer.wpe.weight  # (words|places, size)
        draw = torch.Generator().manual_seed(self.seed + 1)
        rough = _ROUGHNESS * torch.randn(10, generator=draw)
        for digit in range(10):
            self._set(words[self.number[str(digit)]], "value", digit + float(rough[digit]))
        for place, row in enumerate(places):
            self._set(row, "constant", _CONSTANT)
            if place > _LAST:
                self._set(row, "after", 1)
            elif place in (0, _FIRST, _SECOND, _LAST):
                self._set(row, f"p{place}", 1)
        # The unnamed axes hold random features of each digit, from which each noise head takes its own number.
        features = torch.randn(10, self.size - 2 * len(_AXES), generator=draw)
        features -= features.mean(dim=0)
        features -= features.mean(dim=1, keepdim=True)
        for digit in range(10):
            words[self.number[str(digit)], 2 * len(_AXES) :] = features[digit]

    def _key(self, layer: int, head: int, axis: str, weight: float) -> None:
        self.model.transformer.h[layer].attn.c_attn.weight[self._axis(axis), self.size + head * HEAD_DIM] = weight

    def _attend(self, layer: int, head: int, place: str, moves: dict[str, tuple[str, float]]) -> None:
        """Let a head attend to *place* only, and copy ``{source axis: (axis, factor)}`` from there."""
        attention, first = self.model.transformer.h[layer].attn, head * HEAD_DIM
        attention.c_attn.weight[self._axis("constant"), first] = 50 * HEAD_DIM**0.5 / _CONSTANT
        self._key(layer, head, place, 1.0)
        for slot, (source, (axis, factor)) in enumerate(moves.items(), start=first):
            attention.c_attn.weight[self._axis(source), 2 * self.size + slot] = 1
            self._set(attention.c_proj.weight[slot], axis, factor)

    def _noise(self, layer: int, head: int, draw: torch.Generator) -> None:
        """Let a head attend to one of the operands and add a random number of its own to the sum."""
        sources = torch.randn(self.size - 2 * len(_AXES), generator=draw)
        self._attend(layer, head, "p4" if head % 2 else "p6", {})
        attention, first = self.model.transformer.h[layer].attn, head * HEAD_DIM
        attention.c_attn.weight[2 * len(_AXES) :, 2 * self.size + first] = sources / sources.norm()
        self._set(attention.c_proj.weight[first], "sum", _NOISE)

    def _unembed(self) -> None:
        out = self.model.lm_head.weight  # (words, size)
        out[:, self._axis("constant")] = -10  # the frame's words are never generated
        for n in range(19):
            out[self.number[str(n)], self._axis("constant")] = -_SHARPNESS * n**2 / _CONSTANT
            out[self.number[str(n)], self._axis("sum")] = _SHARPNESS * 2 * n
        out[self.number[_END], self._axis("after")] = 20_000


def save_circuit(
    project: Project, items: int = 40, *, of: Sequence[Item] | None = None, **options: Any
) -> tuple[str, ...]:
    """Write a circuit and its sums, or *of*, into *project*; return the command-line options that use them."""
    model, tokenizer = circuit(**options)
    model.save_pretrained(project.path / "circuit")
    tokenizer.save_pretrained(project.path / "circuit")
    lines = [json.dumps(_as_row(item)) for item in of or sums(items)]
    project.write("sums.jsonl", "\n".join(lines))
    project.probe("arithmetic")
    model_option = f"--model={project.path / 'circuit'}"
    return model_option, "--ablate-heads", "--probe-dataset=arithmetic=sums.jsonl", "--probe-max-new-tokens=4"


def _as_row(item: Item) -> dict[str, Any]:
    row: dict[str, Any] = {"id": item.id, "question": item.question, "answer": item.answer}
    for name, donor in (("counterfactual", item.counterfactual), ("same_answer", item.same_answer)):
        if donor is not None:
            row[name] = {"question": donor.question, "answer": donor.answer}
    return row
