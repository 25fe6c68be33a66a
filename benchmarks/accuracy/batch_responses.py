"""A model's answers to very many questions, nothing switched off, for comparisons that need no ablation.

    python -m benchmarks.accuracy.batch_responses gsm8k_test.jsonl responses.jsonl \
        --model smollm2 --shots 5 --seconds 170

A session answers each question alone, since its ablated rows are held against that. Here the questions of a batch are
answered side by side and their examples are read once, which is several times as fast on a CPU; where two logits are
nearly equal an answer may differ from a session's. Questions, examples, prompts, tokens and where an answer ends are
made by the same code. Lines are added to the file as they are found: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.data import datasets
from reasoning_probe.data.prompts import few_shot
from reasoning_probe.data.prompts.prompting import Prompting, default_generation
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.models import loading
from reasoning_probe.models.hooks import cache_argument, cache_of
from reasoning_probe.scoring.judge import judge

if TYPE_CHECKING:
    from reasoning_probe.engine.tokenization import TokenCodec

ROWS = 16


def queries(path: Path, n: int, limit: int, tokenizer: Any) -> list[Query]:
    """Return every question of *path* as a session with ``--probe-shots n`` sends it."""
    prompting = Prompting(shots=n)
    asked = datasets.read("gsm8k", path)
    prompter = PromptRenderer(prompting, tokenizer, {"gsm8k": few_shot.few_shot_examples(asked, prompting, seed=0)})
    generation = replace(default_generation("gsm8k", asked.format, prompting), max_new_tokens=limit)
    return [prompter.query("gsm8k", item, generation) for item in asked.items]


def answers(model: Any, codec: TokenCodec, asked: Sequence[Query]) -> Iterator[list[tuple[Query, tuple[int, ...]]]]:
    """Yield batches of queries with the tokens of their answers: of like lengths, but none long before its turn."""
    import torch

    ids = {query: codec.ids(query.prompt) for query in asked}
    shared = _in_common(list(ids.values()))
    with torch.inference_mode():
        before = cache_of(model(input_ids=torch.tensor([ids[asked[0]][:shared]]), use_cache=True))
        for first in range(0, len(asked), ROWS * 8):
            near = sorted(asked[first : first + ROWS * 8], key=lambda query: len(ids[query]))
            for start in range(0, len(near), ROWS):
                batch = near[start : start + ROWS]
                replies = _batch(model, codec, batch, [ids[query][shared:] for query in batch], before)
                yield list(zip(batch, replies, strict=True))


def _in_common(rows: list[list[int]]) -> int:
    """Return how many tokens all begin with, fewer than the shortest has."""
    most = min(map(len, rows)) - 1
    return next((at for at in range(most) if len({row[at] for row in rows}) > 1), most)


def _batch(
    model: Any, codec: TokenCodec, batch: Sequence[Query], ids: list[list[int]], before: Any
) -> list[tuple[int, ...]]:
    import torch

    shared, longest = before.get_seq_length(), max(map(len, ids))
    cache = copy.deepcopy(before)
    cache.batch_repeat_interleave(len(batch))
    tokens = torch.tensor([[codec.pad] * (longest - len(row)) + row for row in ids])  # (rows, tokens), padded before
    mask = torch.ones(len(batch), shared + longest, dtype=torch.long)
    for row, own in enumerate(ids):
        mask[row, shared : shared + longest - len(own)] = 0
    replies: list[list[int]] = [[] for _ in batch]
    left = list(range(len(batch)))
    while left:
        places = (mask.cumsum(1) - 1)[:, -tokens.shape[1] :].clamp(min=0)
        out = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=places,
            use_cache=True,
            logits_to_keep=1,
            **{cache_argument(model): cache},
        )
        best = out.logits[:, -1].argmax(-1)
        for row, token in zip(left, best.tolist(), strict=True):
            replies[row].append(token)
        going = [
            at
            for at, row in enumerate(left)
            if len(replies[row]) < batch[row].generation.max_new_tokens
            and not codec.ended(tuple(replies[row]), batch[row].generation.stop)
        ]
        if len(going) < len(left):
            left, kept = [left[at] for at in going], torch.tensor(going, dtype=torch.long)
            best, mask = best[kept], mask[kept]
            if left:
                cache.batch_select_indices(kept)
        tokens, mask = best[:, None], torch.cat([mask, mask.new_ones(len(left), 1)], dim=1)
    return [tuple(reply) for reply in replies]


def main() -> None:
    """Answer what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("responses", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--max-new-tokens", type=int, default=256, help="lm-eval's default")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no batch after so long")
    given = parser.parse_args()
    end = time.monotonic() + given.seconds

    from reasoning_probe.engine.tokenization import TokenCodec

    loaded = loading.load_model(loading.resolve_model(given.model))
    codec = TokenCodec(loaded.model, loaded.tokenizer)
    asked = queries(given.questions, given.shots, given.max_new_tokens, loaded.tokenizer)
    lines = given.responses.read_text(encoding="utf-8").splitlines() if given.responses.is_file() else []
    known = {json.loads(line)["item"] for line in lines}
    todo = [query for query in asked if query.item_id not in known]
    with given.responses.open("a", encoding="utf-8") as file:
        for found in answers(loaded.model, codec, todo) if todo else ():
            for query, tokens in found:
                stop, limit = query.generation.stop, query.generation.max_new_tokens
                response, truncated = codec.text(tokens, stop), codec.truncated(tokens, stop, limit)
                judged = judge(query.item, response, truncated)
                row = {"item": query.item_id, "prompt": query.prompt, "response": response, "truncated": truncated}
                row |= {"expected": query.item.answer, "answer": judged.answer, "correct": judged.correct}
                file.write(json.dumps(row | {"category": judged.category}) + "\n")
            file.flush()
            known |= {query.item_id for query, _ in found}
            if time.monotonic() > end:
                break
    print(f"{len(known)} of {len(asked)} answered")


if __name__ == "__main__":
    main()
