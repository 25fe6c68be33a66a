"""Generates the responses that were labelled by hand: SmolLM2's, with and without ablation, in plain and chat prompts.

    python -m benchmarks.accuracy.labelled_responses tests/data/labelled/first.jsonl
    python -m benchmarks.accuracy.labelled_responses tests/data/labelled/second.jsonl --round 2

The script writes one JSON line per response, without labels; ``docs/explanation/labelling.md`` is the labelling guide.
The questions are generated with seeds that nothing else uses, or come from ``tests/data/gsm8k_like.jsonl`` (first
round) and ``tests/data/everyday.jsonl`` (second round), which were written for this purpose. The second round became
necessary once the held-out half of the first had been inspected too often; the rules were developed on two thirds of
its questions, and the remaining third is frozen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasoning_probe.data.generators import generate
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import PLAIN, cut_at_stop

SHARES = {
    101: {"arithmetic": 72, "multi_step": 80, "logic": 84, "gsm8k_like": 84},
    102: {"arithmetic": 20, "multi_step": 36, "logic": 40, "gsm8k_like": 42},
    301: {"arithmetic": 30, "multi_step": 44, "logic": 44, "everyday": 100},
    302: {"arithmetic": 12, "multi_step": 30, "logic": 30, "everyday": 85},
}
LIMITS = {
    "arithmetic": (24, 32),
    "multi_step": (32, 64),
    "logic": (24, 32),
    "gsm8k_like": (64, 128),
    "everyday": (24, 64, 128),
}
"""By seed, the number of responses to each dataset; by dataset, the token limits that its rows take in turn."""

BATCHES = {
    101: ("plain", "plain", "chat"),
    102: ("asked", "shot"),
    301: ("plain", "chat"),
    302: ("asked", "shot", "plain"),
}
"""By seed, the prompt styles of a batch: ``asked`` is a chat that asks for brevity, ``shot`` has one worked example."""

ROUNDS = {1: (101, 102), 2: (301, 302)}

BLANKS = {1: 12, 2: 5}
"""By round, the maximum number of whitespace-only responses, all of which get the same label."""

SHOT = (
    "Question: Sue has 4 bags of 5 nuts and eats 2 nuts. How many are left?\n"
    "Answer: 4 * 5 = 20. 20 - 2 = 18. The answer is 18.\n\n"
)
ASKED = "{question} Answer in one short sentence."

TARGETS = {
    1: ("L0H1", "L0H4", "L0", "L1", "L2H5", "L3", "L5", "L8", "L10+L11", "L14", "L17H3", "L20+L21", "L25", "L29"),
    2: ("L0H2", "L0", "L2", "L4", "L6", "L9H0", "L12", "L15+L16", "L19", "L22", "L27", "L28+L29"),
}
"""By round, the targets that are ablated in about half of the rows: single heads, layers, and pairs of layers."""

DATA = Path(__file__).parents[2] / "tests/data"
ROWS = 24


@dataclass(frozen=True)
class Ask:
    """One row: a question, its prompt style, the ablated target, and the limit of new tokens."""

    dataset: str
    question: str
    answer: str
    solution: str | None
    style: str
    target: str
    limit: int


def split(question: str, round_: int = 1) -> str:
    """Return the split of *question*: half of the first round is held out, a third of the second is frozen."""
    digest = hashlib.sha256(question.encode()).digest()[0]
    return ("tune", "held-out")[digest % 2] if round_ == 1 else ("frozen", "learn", "learn")[digest % 3]


def asks(seed: int, round_: int = 1) -> Iterator[Ask]:
    """Yield the rows of a batch: each dataset's questions in turn; *seed* draws style and target."""
    rng = random.Random(seed)
    for dataset, rows in SHARES[seed].items():
        items = _items(dataset, rows, seed)
        for row in range(rows):
            item = items[row % len(items)]
            target = "baseline" if rng.random() < 0.45 else rng.choice(TARGETS[round_])
            style, limits = rng.choice(BATCHES[seed]), LIMITS[dataset]
            yield Ask(dataset, item.question, item.answer, item.solution, style, target, limits[row % len(limits)])


def _items(dataset: str, rows: int, seed: int) -> Sequence[Item]:
    if dataset not in ("gsm8k_like", "everyday"):
        return generate(dataset, rows, seed)
    records = map(json.loads, (DATA / f"{dataset}.jsonl").read_text(encoding="utf-8").splitlines())
    if dataset == "everyday":
        return [Item(**record) for record in records]
    return [
        Item(question=record["question"], answer=record["answer"].split("#### ")[1], solution=record["answer"])
        for record in records
    ]


def respond(model: Any, tokenizer: Any, rows: Sequence[Ask]) -> Iterator[tuple[Ask, str, bool]]:
    """Yield each row with its response and whether the token limit truncated it; the rows run as one batch."""
    import torch

    from reasoning_probe.models.ablation import ablate
    from reasoning_probe.models.heads import find_heads
    from reasoning_probe.models.targets import Target, parse_targets

    heads = find_heads(model)
    off = [
        Target("baseline", frozenset()) if row.target == "baseline" else parse_targets(row.target, heads)[0]
        for row in rows
    ]
    prompts = [_prompt(tokenizer, row) for row in rows]
    tokenizer.padding_side = "left"
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.inference_mode(), ablate(model, heads, off):
        out = model.generate(**inputs, do_sample=False, max_new_tokens=max(row.limit for row in rows))
    for row, tokens in zip(rows, out[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
        tokens = tokens[: row.limit]
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        response = cut_at_stop(text, ("Question:",)) if row.style in ("plain", "shot") else text
        yield row, response, response == text and not set(tokens) & set(tokenizer.all_special_ids)


def _prompt(tokenizer: Any, row: Ask) -> str:
    if row.style in ("plain", "shot"):
        return SHOT * (row.style == "shot") + PLAIN.format(question=row.question)
    text = ASKED.format(question=row.question) if row.style == "asked" else row.question
    messages = [{"role": "user", "content": text}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def main() -> None:
    """Write the responses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--round", type=int, choices=ROUNDS, default=1)
    options = parser.parse_args()

    from reasoning_probe.models.loading import load_model, resolve_model

    loaded = load_model(resolve_model("smollm2"), device="cpu", dtype="float32")
    blanks = 0
    with options.path.open("w", encoding="utf-8") as file:
        for seed in ROUNDS[options.round]:
            rows = sorted(asks(seed, options.round), key=lambda ask: ask.limit)
            for start in range(0, len(rows), ROWS):
                for ask, response, truncated in respond(loaded.model, loaded.tokenizer, rows[start : start + ROWS]):
                    blanks += not response.strip()
                    if response.strip() or blanks <= BLANKS[options.round]:
                        line = asdict(ask) | {
                            "response": response,
                            "truncated": truncated,
                            "split": split(ask.question, options.round),
                        }
                        file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
