"""Compares sweeps with models whose weights were edited by hand."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import pytest

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.weight_edit_oracle import edit, greedy, logprob

ITEMS = [rp.Item(question="What is 5 + 3?", answer="8", id="a"), rp.Item(question="Max?", answer="Yes", id="b")]
EOS = 2


def expected(
    model: Any, tokenizer: Any, head_map: HeadMap, target: str, item: rp.Item, limit: int
) -> tuple[str, float]:
    """Return a hand-edited model's response to *item*, and its log-probability of the expected answer."""
    twin = copy.deepcopy(model)
    if target != "baseline":
        (off,) = parse_targets(target, head_map)
        for site in head_map.attention_layers:
            edit(twin, site.path, site.heads, off.in_layer(site.layer))
    prompt = query("items", item, Generation()).prompt
    ids = tokenizer(prompt)["input_ids"]
    answer = tokenizer(prompt + " " + item.answer)["input_ids"][len(ids) :]
    tokens = greedy(twin, ids, limit, EOS)
    return tokenizer.decode(tokens, skip_special_tokens=True), logprob(twin, ids, answer)


def check(model: Any, targets: str, tokenizer: Any = None, items: list[rp.Item] = ITEMS, limit: int = 12) -> list[Any]:
    """Assert that every outcome of a sweep is the hand-edited model's; return the outcomes."""
    tokenizer = tokenizer or Letters()
    head_map = find_heads(model)
    outcomes = rp.sweep(model, tokenizer, items, targets, max_new_tokens=limit, stop=())
    by_id = {item.id: item for item in items}
    for outcome in outcomes:
        response, log = expected(model, tokenizer, head_map, outcome.target, by_id[outcome.item], limit)
        assert outcome.response == response, (outcome.item, outcome.target)
        assert outcome.answer_logprob == pytest.approx(log, abs=2e-3, rel=1e-4), (outcome.item, outcome.target)
    assert len(outcomes) == len(items) * (1 + len(parse_targets(targets, head_map)))
    return outcomes


def run_in_order(engine: LocalEngine, plan: list[SweepRequest]) -> list[rp.Outcome]:
    """Run *plan* and sort the outcomes, which the engine yields as they finish, into its order."""
    place = {work.query.item_id: index for index, work in enumerate(plan)}
    return sorted(chain(*engine.run(plan)), key=lambda outcome: place[outcome.item])


def zeroed(targets: list[Target]) -> tuple[tuple[Target, str], ...]:
    return tuple((target, "zero") for target in targets)
