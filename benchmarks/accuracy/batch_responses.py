"""Answers very many questions in batches, without ablation.

    python -m benchmarks.accuracy.batch_responses gsm8k_test.jsonl responses.jsonl \
        --model smollm2 --shots 5 --seconds 170

A session answers each question alone, because its ablated rows are compared with that answer. This script answers a
batch of questions side by side and reads their shared few-shot examples once, which is several times as fast on a CPU;
where two logits are nearly equal, an answer may differ from a session's. Questions, examples, prompts, tokens and stop
rules come from the same code as in a session. Each batch is appended to the file, so that the same command continues
where it was stopped.
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
    """Return every question of *path* as a query, with the prompt of a session that has ``--probe-shots n``."""
    prompting = Prompting(shots=n)
    dataset = datasets.read("gsm8k", path)
    prompter = PromptRenderer(prompting, tokenizer, {"gsm8k": few_shot.few_shot_examples(dataset, prompting, seed=0)})
    generation = replace(default_generation("gsm8k", dataset.format, prompting), max_new_tokens=limit)
    return [prompter.query("gsm8k", item, generation) for item in dataset.items]


def answers(model: Any, codec: TokenCodec, queries: Sequence[Query]) -> Iterator[list[tuple[Query, tuple[int, ...]]]]:
    """Yield batches of queries with the tokens of their answers.

    Each batch holds prompts of similar lengths; queries are sorted by length only within groups of eight batches, so
    that the order stays close to that of *queries*.
    """
    import torch

    ids = {query: codec.ids(query.prompt) for query in queries}
    shared = _common_prefix(list(ids.values()))
    with torch.inference_mode():
        before = cache_of(model(input_ids=torch.tensor([ids[queries[0]][:shared]]), use_cache=True))
        for first in range(0, len(queries), ROWS * 8):
            near = sorted(queries[first : first + ROWS * 8], key=lambda query: len(ids[query]))
            for start in range(0, len(near), ROWS):
                batch = near[start : start + ROWS]
                replies = _batch(model, codec, batch, [ids[query][shared:] for query in batch], before)
                yield list(zip(batch, replies, strict=True))


def _common_prefix(rows: list[list[int]]) -> int:
    """Return the length of the rows' common prefix, which leaves at least one token of the shortest row."""
    most = min(map(len, rows)) - 1
    return next((column for column in range(most) if len({row[column] for row in rows}) > 1), most)


def _batch(
    model: Any, codec: TokenCodec, batch: Sequence[Query], ids: list[list[int]], before: Any
) -> list[tuple[int, ...]]:
    """Return the greedy reply to each query of *batch*; *before* holds the keys and values of the shared prefix."""
    import torch

    shared, longest = before.get_seq_length(), max(map(len, ids))
    cache = copy.deepcopy(before)
    cache.batch_repeat_interleave(len(batch))
    tokens = torch.tensor([[codec.pad] * (longest - len(row)) + row for row in ids])  # (rows, tokens), left-padded
    mask = torch.ones(len(batch), shared + longest, dtype=torch.long)
    for row, row_ids in enumerate(ids):
        mask[row, shared : shared + longest - len(row_ids)] = 0
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
            index
            for index, row in enumerate(left)
            if len(replies[row]) < batch[row].generation.max_new_tokens
            and not codec.ended(tuple(replies[row]), batch[row].generation.stop)
        ]
        if len(going) < len(left):
            left, indices = [left[index] for index in going], torch.tensor(going, dtype=torch.long)
            best, mask = best[indices], mask[indices]
            if left:
                cache.batch_select_indices(indices)
        tokens, mask = best[:, None], torch.cat([mask, mask.new_ones(len(left), 1)], dim=1)
    return [tuple(reply) for reply in replies]


def main() -> None:
    """Answer the questions whose answers are not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("responses", type=Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--max-new-tokens", type=int, default=256, help="lm-eval's default")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no batch after this time")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds

    from reasoning_probe.engine.tokenization import TokenCodec

    loaded = loading.load_model(loading.resolve_model(options.model))
    codec = TokenCodec(loaded.model, loaded.tokenizer)
    every_query = queries(options.questions, options.shots, options.max_new_tokens, loaded.tokenizer)
    lines = options.responses.read_text(encoding="utf-8").splitlines() if options.responses.is_file() else []
    known = {json.loads(line)["item"] for line in lines}
    todo = [query for query in every_query if query.item_id not in known]
    with options.responses.open("a", encoding="utf-8") as file:
        for batch in answers(loaded.model, codec, todo) if todo else ():
            for query, tokens in batch:
                stop, limit = query.generation.stop, query.generation.max_new_tokens
                response, truncated = codec.text(tokens, stop), codec.truncated(tokens, stop, limit)
                judged = judge(query.item, response, truncated)
                row = {"item": query.item_id, "prompt": query.prompt, "response": response, "truncated": truncated}
                row |= {"expected": query.item.answer, "answer": judged.answer, "correct": judged.correct}
                file.write(json.dumps(row | {"category": judged.category}) + "\n")
            file.flush()
            known |= {query.item_id for query, _ in batch}
            if time.monotonic() > end:
                break
    print(f"{len(known)} of {len(every_query)} answered")


if __name__ == "__main__":
    main()
