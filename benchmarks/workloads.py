"""Queries and ablation jobs that several benchmarks share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import torch

from reasoning_probe.data import datasets
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.targets import Target, every_head


def report(measure: Callable[[argparse.Namespace], dict[str, Any]], options: argparse.Namespace) -> None:
    """Print what *measure* finds with so many threads as *options* say, and write it where they name a file."""
    torch.set_num_threads(options.threads)
    text = json.dumps(measure(options), indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


def head_names(head_map: HeadMap, every: int, heads: int) -> list[str]:
    """Return the names of the first *heads* heads of every so manieth layer."""
    layers = {layer.layer for layer in head_map.attention_layers[::every]}
    return [
        target.name
        for target in every_head(head_map)
        for layer, head in target.heads
        if layer in layers and head < heads
    ]


def queries(items: int, new_tokens: int) -> list[Query]:
    """Return *items* queries, spread evenly over the built-in datasets."""
    every = [(name, item) for name in datasets.BUILTIN for item in datasets.builtin(name).items]
    return [query(*every[index * len(every) // items], Generation(new_tokens)) for index in range(items)]


def jobs_of(engine: LocalEngine, queries: Sequence[Query], targets: Sequence[Target]) -> list[AblationJob]:
    """Return one job per query: its encoded prompt, its baseline's reply, and *targets* to ablate one at a time."""
    jobs = []
    for each in queries:
        encoded, stop = engine.codec.encode(each), each.generation.stop
        jobs.append(AblationJob(encoded, stop, engine.plain.baseline(encoded, stop), tuple(targets), ZERO))
    return jobs
