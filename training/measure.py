"""Measurements of the bundled model: its accuracies, and how each head changes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reasoning_probe.data.datasets import BUILTIN, builtin
from reasoning_probe.data.generators import NAMES, generate
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import PLAIN
from reasoning_probe.utils.target_names import part_name
from training.corpus import TEST_ITEMS, TRAINED_TEMPLATES, VALIDATION_ITEMS


@dataclass(frozen=True)
class Measured:
    """The measurements of a trained model; accuracies are shares of items answered exactly.

    ``test`` is over the test items of each generated dataset, ``seen`` says how many of these were trained on,
    ``unseen`` is over 200 items that the training left out; ``built_in`` is over the built-in items, ``ended`` is the
    share of all these replies that the model ended itself, ``heads`` the test accuracy with one head switched off, by
    dataset and head.
    """

    steps: int
    minutes: float
    parameters: int
    test: dict[str, float]
    seen: dict[str, int]
    unseen: dict[str, float]
    built_in: dict[str, float]
    ended: float
    heads: dict[str, dict[str, float]]


def held_out(name: str) -> tuple[Item, ...]:
    """Return the test items of a generated dataset."""
    return generate(name, TEST_ITEMS)


def validation(name: str) -> tuple[Item, ...]:
    """Return the validation items of a generated dataset."""
    return generate(name, TEST_ITEMS + VALIDATION_ITEMS)[TEST_ITEMS:]


def accuracy(model: Any, tokenizer: Any, items: Sequence[Item]) -> float:
    """Return the share of *items* whose whole reply is the expected answer."""
    replies = answers(model, tokenizer, [item.question for item in items])
    return sum(reply == f" {item.answer}" for reply, item in zip(replies, items, strict=True)) / len(items)


@torch.no_grad()
def answers(model: Any, tokenizer: Any, questions: Sequence[str], limit: int = 8) -> list[str | None]:
    """Return the greedy replies without the end token, ``None`` where *limit* tokens have none; one batch."""
    prompts = tokenizer([PLAIN.format(question=question) for question in questions])["input_ids"]
    ends = torch.tensor([len(prompt) for prompt in prompts])  # (rows,)
    tokens = torch.full((len(prompts), int(ends.max()) + limit), tokenizer.pad_token_id)  # (rows, tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    rows = torch.arange(len(prompts))
    for step in range(limit):
        # The model is causal, so padding on the right changes nothing at the positions that are read.
        inputs = tokens[:, : int(ends.max()) + step]
        hidden = model.transformer(inputs, use_cache=False).last_hidden_state  # (rows, tokens, width)
        tokens[rows, ends + step] = model.lm_head(hidden[rows, ends + step - 1]).argmax(-1)
    replies = [row[end : end + limit] for row, end in zip(tokens.tolist(), ends.tolist(), strict=True)]
    stop = tokenizer.eos_token_id
    return [tokenizer.decode(reply[: reply.index(stop)]) if stop in reply else None for reply in replies]


@contextmanager
def ablate_head(model: Any, layer: int, head: int) -> Iterator[None]:
    """Zero the rows of the output projection that read *head*, which is the same as zeroing the head's output."""
    weight = model.transformer.h[layer].attn.c_proj.weight.data  # (heads * size, width)
    size = weight.shape[0] // model.config.n_head
    rows = slice(head * size, (head + 1) * size)
    original = weight[rows].clone()  # (size, width)
    weight[rows] = 0
    try:
        yield
    finally:
        weight[rows] = original


def measure(model: Any, tokenizer: Any, steps: int, minutes: float) -> Measured:
    """Measure the trained *model*."""
    test = {name: held_out(name) for name in NAMES}
    built_in = {name: builtin(name).items for name in BUILTIN}
    questions = [item.question for items in (*test.values(), *built_in.values()) for item in items]
    replies = answers(model, tokenizer, questions)
    heads: dict[str, dict[str, float]] = {name: {} for name in test}
    for layer in range(model.config.n_layer):
        for head in range(model.config.n_head):
            with ablate_head(model, layer, head):
                for name, items in test.items():
                    heads[name][part_name(layer, "H", head)] = accuracy(model, tokenizer, items)
    accuracies = {name: accuracy(model, tokenizer, items) for name, items in test.items()}
    return Measured(
        steps=steps,
        minutes=round(minutes, 1),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        test=accuracies,
        seen=dict.fromkeys(NAMES, 0),  # the corpus has none of them
        unseen=accuracies,
        built_in={name: accuracy(model, tokenizer, items) for name, items in built_in.items()},
        ended=sum(reply is not None for reply in replies) / len(replies),
        heads=heads,
    )


def write(measured: Measured, folder: Path) -> None:
    """Write ``measured.json`` into the model's *folder*, and ``MODEL_CARD.md`` beside the folder."""
    (folder / "measured.json").write_text(json.dumps(asdict(measured), indent=1) + "\n", encoding="utf-8")
    (folder.parent / "MODEL_CARD.md").write_text(card(measured), encoding="utf-8")


def card(measured: Measured) -> str:
    """Return the model card, in Markdown."""
    built_in = {name: builtin(name).items for name in BUILTIN}
    accuracies = [
        f"| {name} | {f'{measured.test[name]:.1%}' if name in measured.test else '-'} "
        f"| {measured.seen.get(name, '-')} "
        f"| {f'{measured.unseen[name]:.1%}' if name in measured.unseen else '-'} "
        f"| {round(measured.built_in[name] * len(items))} of {len(items)} |"
        for name, items in built_in.items()
    ]
    heads = []
    for head in measured.heads[NAMES[0]]:
        changes = [f"{100 * (measured.heads[name][head] - measured.test[name]):+.1f}" for name in NAMES]
        heads.append(f"| {' | '.join((head, *changes))} |")
    return _CARD.format(
        measured=measured,
        test=measured.test,
        accuracies="\n".join(accuracies),
        heads="\n".join(heads),
        names=" | ".join(NAMES),
        rule=" | ".join("---:" for _ in NAMES),
        test_items=TEST_ITEMS,
        reserved_items=TEST_ITEMS + VALIDATION_ITEMS,
        templates=", ".join(TRAINED_TEMPLATES),
    )


_CARD = """\
# Model card: tiny-reasoner

The model that `reasoning-probe` uses where none is named: a GPT-2 architecture of {measured.parameters:,} parameters
(4 layers of 4 heads, 128 wide, 512 positions), trained from nothing on generated questions. It is there to show the
tool at work without a download: one dataset near the ceiling, one in the middle, one on the floor, and heads of which
some matter and most do not. It knows nothing else, and is of no use for anything else.

*Written by `python -m training.train`; `measured.json` beside the weights holds the numbers.*

## Measured

Greedy decoding; an answer counts where the whole reply is the expected one. The {test_items} test items are
`generate(name, {test_items}, seed=0)`, which `--probe-items {test_items}` asks. No built-in item's question was trained
on.

| dataset | test items | of these trained on | items left out of the training | built-in items |
| --- | ---: | ---: | ---: | ---: |
{accuracies}

{measured.ended:.1%} of all these replies end by themselves within 8 tokens.

With one head switched off (its output set to zero) the test accuracy changes by, in points:

| head | {names} |
| --- | {rule} |
{heads}

## The generators have changed since

The weights were trained on the questions of earlier generators, whose first {reserved_items} items of seed 0 were left
out; the fourth column is the accuracy on 200 of those. Today's generators draw other items. In the logic questions of
the training the words alone gave away 74 % of the answers: whatever had a premise with "No" was answered No. Today's
questions do not allow for that, and they show what the model learned: it still answers No to all of these, and Yes to
every "some". Its {test[logic]:.0%} stand beside the 42 % of always answering Unknown.

## What it was trained on

Text of the form `Question: {{question}}\\nAnswer: {{answer}}<|endoftext|>`, with loss on the answer and a little on
the words of logic questions and stories:

- **arithmetic**: every sum and difference of 0 to 99 (none below zero) and the tables to 12, in five phrasings;
- **logic**: 60,000 questions, and 20,000 of one premise, which teach the model to match words;
- **stories**: 30,000 word problems of one to three steps, of six one-step templates and of half of those of
  `reasoning_probe.data.generators.multi_step` ({templates});
  problems of the other half are new to it;
- **long stories**: 3,000 of these behind unrelated sentences, so that later positions are trained too.

Reserved, that is, never trained on: the built-in items and the first {reserved_items} items (seed 0) that the
generators then gave of arithmetic, multi_step and logic, of which the first {test_items} were the test; the others were
looked at while the recipe was made. For + and - the ordered pair of operands is reserved in all phrasings (the commuted
sum is not). A multiplication table can only be memorised: a reserved product or quotient is trained on in other
phrasings, as are the commuted and inverse facts, so there the test shows that the fact carries over to the reserved
phrasing and no more.
Stories and logic questions are drawn at random: their names, classes and numbers recur in other combinations.

The tokenizer is a byte-level BPE learned from the same text, in which each digit is a token of its own.

## Recipe

{measured.steps:,} steps of Muon (the layers' matrices) and AdamW (the rest) in float32 on two threads of a CPU. This
run took {measured.minutes:.0f} minutes on two cores shared with other work. Every number is in `Recipe` and `PHASES`
of `training/train.py`, and the seed is fixed. Half of the heads begin with keys equal to queries, without which the
model does not learn to match words in this time. In the last 900 steps eight heads stay on and each of the
others is off in 60 % of the steps: so small a model would otherwise lean on nearly all of its heads. To train
a model by this recipe on the questions of today's generators, into another folder (with torch 2.9 or newer):

    python -m training.train --out new/tiny-reasoner --work checkpoints

## Limits

Numbers outside the trained ranges, other wordings, negative or fractional results and any other question are answered
with a short guess. Questions longer than about 200 tokens reach positions that were never trained.
"""
