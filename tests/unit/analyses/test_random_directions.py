"""Random directions beside named heads, against plain forward passes with a hook, and on models with known heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reasoning_probe.analyses.random_directions import (
    DIRECTIONS,
    FEWEST_HEADS,
    FEWEST_ITEMS,
    MOST_HEADS,
    MOST_ITEMS,
    NamedHead,
    RandomDirections,
    chosen_heads,
    chosen_items,
    random_directions,
)
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast.path import FastPath
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.subspaces import random_bases
from reasoning_probe.models.targets import Target, every_head, parse_targets
from reasoning_probe.results.null_directions import merged_directions, ranked, unranked
from reasoning_probe.results.record import RandomDirectionsRecord
from reasoning_probe.results.run import Run
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import ITEMS
from tests.helpers.known_circuits import COPIERS, DECIDER, circuit, sums
from tests.helpers.model_families import build
from tests.helpers.planted_model import CARRIER
from tests.helpers.queries import Scenario
from tests.helpers.weight_edit_oracle import edited, logprob

QUERIES = tuple(query("items", item, Generation(4)) for item in ITEMS)


def compared(
    model: Any,
    names: str,
    ablation: str = "zero",
    queries: tuple[Query, ...] = QUERIES,
    tokenizer: Any = None,
    path: str = "fast",
) -> list[RandomDirectionsRecord]:
    head_map = find_heads(model)
    references = {queries[0].dataset: [one.prompt for one in queries]}
    engine = LocalEngine(model, tokenizer or Letters(), head_map, references)
    assert isinstance(engine.path, FastPath)
    if path == "plain":
        engine._path = engine.plain
    elif path == "whole passes":
        engine.path.driver.shares_attention = False
    elif path == "few rows":
        engine.path.tokens = 1
    counts = vars(engine.counts).copy()
    rows = random_directions(engine, [NamedHead(head, ablation, queries) for head in parse_targets(names, head_map)])
    assert vars(engine.counts) == counts  # the sweep's counts leave it out
    assert engine.timing.directions_s > 0 == engine.timing.sweep_s
    return rows


def tokens_of(one: Query) -> tuple[list[int], list[int]]:
    """Return a query's prompt and its expected answer in tokens."""
    ids = Letters()(one.prompt)["input_ids"]
    return ids, Letters()(one.prompt + " " + one.item.answer)["input_ids"][len(ids) :]


@pytest.mark.parametrize(
    ("family", "path"),
    [
        *(("gpt2", path) for path in ("fast", "plain", "whole passes", "few rows")),
        ("llama", "fast"),
        ("deepseek_v3", "fast"),
    ],
)
def test_the_head_is_that_of_the_edited_model(family: str, path: str) -> None:
    """Beside the directions stands the head's own change, measured in the same passes."""
    model = build(family)
    site = find_heads(model).attention_layers[1]
    (row,) = compared(model, f"L{site.layer}H2", path=path)
    twin = edited(model, site.path, site.heads, [2])
    changes = [logprob(twin, *tokens_of(one)) - logprob(model, *tokens_of(one)) for one in QUERIES]
    assert row["change"] == pytest.approx(sum(changes) / len(changes), abs=2e-3, rel=1e-4)
    assert (row["items"], len(row["changes"])) == (2, DIRECTIONS)


@pytest.mark.parametrize(
    ("family", "ablation", "path"), [("gpt2", "zero", "few rows"), ("gpt2", "mean", "fast"), ("llama", "mean", "fast")]
)
def test_a_direction_is_removed_as_a_hook_of_one_row_removes_it(family: str, ablation: str, path: str) -> None:
    """The oracle goes token by token: its part along the subspace, as long as what the head loses."""
    model = build(family)
    head_map = find_heads(model)
    site = head_map.attention_layers[1]
    size, head = site.head_dim, 2
    (row,) = compared(model, f"L{site.layer}H{head}", ablation, path=path)
    basis = random_bases(site, DIRECTIONS, f"0 L{site.layer}H{head}")[7].double()  # (features, head_dim)
    seen: list[torch.Tensor] = []
    module = model.get_submodule(site.path)
    with torch.no_grad():
        handle = module.register_forward_pre_hook(lambda m, args: seen.append(args[0][0]))
        for one in QUERIES:
            model(input_ids=torch.tensor([tokens_of(one)[0]]))
        handle.remove()
    mean = torch.cat(seen).double().mean(0) if ablation == "mean" else torch.zeros(site.heads * size).double()

    def remove(module: Any, args: Any) -> Any:
        x = args[0].clone()  # (1, tokens, features)
        for token in range(x.shape[1]):
            change = x[0, token].double() - mean
            along = basis @ torch.linalg.lstsq(basis, change[:, None]).solution[:, 0]
            lost = change[head * size : (head + 1) * size].norm()
            x[0, token] -= (along / along.norm() * lost).float()
        return (x, *args[1:])

    baselines = [logprob(model, *tokens_of(one)) for one in QUERIES]
    handle = module.register_forward_pre_hook(remove)
    off = [logprob(model, *tokens_of(one)) for one in QUERIES]
    handle.remove()
    expected = sum(after - before for before, after in zip(baselines, off, strict=True)) / len(QUERIES)
    assert abs(expected) > 0.01
    assert row["changes"][7] == pytest.approx(expected, abs=2e-3, rel=1e-3)


def test_directions_are_orthonormal_and_named_by_seed_and_head() -> None:
    site = find_heads(build("llama")).attention_layers[0]
    bases = random_bases(site, 3, "0 L0H1")
    assert bases.shape == (3, site.heads * site.head_dim, site.head_dim)
    assert torch.allclose(bases.mT @ bases, torch.eye(site.head_dim).expand(3, -1, -1), atol=1e-5)
    assert torch.equal(bases, random_bases(site, 3, "0 L0H1"))
    assert not torch.allclose(bases, random_bases(site, 3, "1 L0H1"))


def test_the_only_head_of_a_layer_has_nothing_to_be_compared_with() -> None:
    model = build("gpt2", num_attention_heads=1)
    (row,) = compared(model, "L0H0")
    assert row["note"] == "layer 0 has one head: there is no other direction of its size"
    assert (row["change"], row["changes"], row["p_value"], row["items"]) == (None, [], None, 0)


def test_a_planted_head_exceeds_every_direction() -> None:
    scenario = Scenario()
    (row,) = compared(scenario.model, CARRIER, queries=tuple(scenario.queries()), tokenizer=scenario.tokenizer)
    assert row["change"] is not None
    assert row["change"] < -1
    assert (row["as_large"], row["p_value"]) == (0, pytest.approx(1 / 21))


def test_the_heads_of_a_random_model_exceed_all_directions_no_more_often_than_chance_has_it() -> None:
    """One of 21 would; of 96 heads 4.6, and more than 12 in less than one of a thousand such tests."""
    rows = []
    for seed in range(8):
        model = build("gpt2", seed)
        rows += compared(model, ",".join(head.name for head in every_head(find_heads(model))))
    assert len(rows) == 96
    assert sum(row["as_large"] == 0 for row in rows) <= 12
    assert 30 <= sum(2 * row["as_large"] >= DIRECTIONS for row in rows) <= 66


def test_parts_are_put_together_in_the_order_of_the_heads() -> None:
    model = build("gpt2")
    head_map = find_heads(model)
    engine = LocalEngine(model, Letters(), head_map)
    heads = tuple(NamedHead(head, "zero", QUERIES) for head in parse_targets("L1H2,L0H1,L2H3", head_map))
    whole = RandomDirections(heads, 0)
    parts = whole.split(2)
    assert [len(part.heads) for part in parts] == [2, 1]
    assert whole.merge([part.measure(engine) for part in reversed(parts)]) == whole.measure(engine)


# -- what is compared -----------------------------------------------------------------------------------------------


def swept(**options: Any) -> Run:
    session = ProbeSession(Settings(ablate_heads=True, max_new_tokens=4))
    session.model_runner.use(circuit(**options))
    cases = session.cases(session.dataset("arithmetic", sums(24)))
    session.select(cases)
    session.outcome(cases[0])
    session.run_post_sweep()
    run = session.finish()
    assert run is not None
    assert run.summary["engine"]["afterwards"] == ""
    return run


def test_a_session_compares_the_heads_that_it_names_and_these_alone() -> None:
    summary = swept().summary
    rows = {row["target"]: row for row in summary["null_directions"] or ()}
    assert set(rows) == {*COPIERS, DECIDER}
    assert all(row["p_value"] == pytest.approx(1 / 21) for row in rows.values())
    assert all(FEWEST_ITEMS <= row["items"] <= MOST_ITEMS for row in rows.values())
    assert (summary["timing"]["directions_s"] or 0) > 0


def test_where_nothing_is_named_nothing_is_measured() -> None:
    model = build("gpt2")
    engine = LocalEngine(model, Letters(), find_heads(model))
    assert random_directions(engine, []) == []
    assert engine.timing.directions_s == 0


def test_the_strongest_heads_of_each_map_are_compared() -> None:
    rows = [{"target": f"L0H{n}", "dataset": data, "ablation": "zero"} for data in "ab" for n in range(12)]
    rows = [{"target": "L0", "dataset": "a", "ablation": "zero"}, *rows]
    for cases, most in ((10**6, MOST_HEADS), (6_400, 5), (10, FEWEST_HEADS)):
        chosen = chosen_heads(rows, cases)  # type: ignore[arg-type]
        assert [(row["dataset"], row["target"]) for row in chosen] == [
            (data, f"L0H{n}") for data in "ab" for n in range(most)
        ]


def test_items_are_drawn_by_the_seed_among_those_answered_right() -> None:
    items = {("a", f"i{n}"): n < 60 for n in range(100)}
    drawn = chosen_items(items, 10**6, 1, 0)["a"]
    assert len(drawn) == MOST_ITEMS
    assert all(items[item] for item in drawn)
    assert drawn == chosen_items(dict(reversed(items.items())), 10**6, 1, 0)["a"]
    assert set(drawn) != set(chosen_items(items, 10**6, 1, 1)["a"])
    assert len(chosen_items(items, 100, 8, 0)["a"]) == FEWEST_ITEMS
    few = chosen_items({("a", f"i{n}"): n < 3 for n in range(100)}, 10**6, 1, 0)["a"]
    assert len(few) == FEWEST_ITEMS
    assert sum(int(item[1][1:]) < 3 for item in few) == 3


def test_several_processes_pool_the_changes_of_the_same_directions() -> None:
    first = ranked("L1H2", "a", "zero", 10, -1.0, [-2.0, 0.0])
    second = ranked("L1H2", "a", "zero", 30, -2.0, [-2.4, 0.0])
    other, unable = ranked("L1H2", "b", "zero", 5, -1.0, [0.0, 0.0]), unranked("L1H2", "a", "zero", "one head")
    pooled, alone = merged_directions([[first, other], None, [second, unable]])
    assert pooled == ranked("L1H2", "a", "zero", 40, -1.75, [-2.3, 0.0])
    assert (pooled["as_large"], pooled["p_value"], pooled["median_change"]) == (1, 2 / 3, -1.15)
    assert alone == other
    assert merged_directions([[unable], [unable]]) == [unable]


def test_a_target_of_several_heads_is_no_direction_of_a_head() -> None:
    layer = Target("L0", frozenset({(0, 0), (0, 1)}))
    assert chosen_heads([{"target": layer.name, "dataset": "a", "ablation": "zero"}], 100) == []  # type: ignore[typeddict-item]
