"""Paths between heads, against plain forward passes of one row with hooks of their own, and on known circuits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.analyses.paths import (
    FEWEST_ITEMS,
    MOST_HEADS,
    MOST_ITEMS,
    PathQuestion,
    PathSpec,
    path_answers,
    path_changes,
    path_items,
    paths_between,
)
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast.path import FastPath
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.path_patching import Path
from reasoning_probe.results.paths import merged_paths, named, path_record
from reasoning_probe.results.record import PathItemRecord, PathRecord
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import EOS, ITEMS
from tests.helpers.known_circuits import BACKUP, COPIERS, DECIDER, circuit, sums
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edited, logprob

LIMIT = 4
QUERIES = tuple(query("items", item, Generation(LIMIT, ())) for item in ITEMS)
PATHS = (Path((0, 1), (1, 2)), Path((0, 1), (2, 0)), Path((1, 3), (2, 0)), Path((0, 2), (2, 3)))

WRITES = {
    "gpt2": ("attn.c_proj", 1.0),
    "llama": ("self_attn.o_proj", 1.0),
    "gemma2": ("post_attention_layernorm", 1.0),
    "olmo2": ("post_attention_layernorm", 1.0),
    "mixtral": ("self_attn.o_proj", 1.0),
    "falcon": ("self_attention.dense", 1.0),
    "phi": ("self_attn.dense", 1.0),
    "granite": ("self_attn.o_proj", 0.5),
}
"""The module in a layer whose output its attention adds to the residual stream, and times what."""

FAMILIES = [(name, {"residual_multiplier": 0.5} if name == "granite" else {}) for name in WRITES]


def hidden(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]


class Oracle:
    """A path's logits from three passes of one row: without the sender, with the receiver's input changed, patched."""

    def __init__(self, family: str, model: Any, path: Path, place: slice = slice(None)) -> None:
        self.model, self.path, self.place = model, path, place
        self.sites = {site.layer: site for site in find_heads(model).attention_layers}
        sender = self.sites[path.sender[0]]
        self.without = edited(model, sender.path, sender.heads, [path.sender[1]])
        name, self.factor = WRITES[family]
        self.write = f"{sender.block}.{name}"

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """Return (tokens, vocabulary)."""
        tokens = torch.tensor([ids])
        written: list[torch.Tensor] = []
        for model in (self.model, self.without):
            handle = model.get_submodule(self.write).register_forward_hook(
                lambda module, args, output: written.append(hidden(output))
            )
            self._run(model, tokens)
            handle.remove()
        contribution = torch.zeros_like(written[0])  # (1, tokens, hidden)
        contribution[:, self.place] = self.factor * (written[0] - written[1])[:, self.place]
        receiver, head = self.sites[self.path.receiver[0]], self.path.receiver[1]
        span = slice(head * receiver.head_dim, (head + 1) * receiver.head_dim)
        read: list[torch.Tensor] = []

        def subtract(module: Any, args: Any, kwargs: Any) -> Any:
            if args:
                return (args[0] - contribution, *args[1:]), kwargs
            return args, kwargs | {"hidden_states": kwargs["hidden_states"] - contribution}

        projection = self.model.get_submodule(receiver.path)
        handles = [
            self.model.get_submodule(receiver.block).register_forward_pre_hook(subtract, with_kwargs=True),
            projection.register_forward_pre_hook(lambda module, args: read.append(args[0][..., span])),
        ]
        self._run(self.model, tokens)
        for handle in handles:
            handle.remove()

        def patch(module: Any, args: Any) -> Any:
            x = args[0].clone()
            x[..., span] = read[0]
            return (x,)

        handle = projection.register_forward_pre_hook(patch)
        logits = self._run(self.model, tokens)
        handle.remove()
        return logits

    @staticmethod
    def _run(model: Any, tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=tokens, use_cache=False).logits[0].double()  # type: ignore[no-any-return]

    def logprob(self, ids: Sequence[int], answer: Sequence[int]) -> float:
        logs = self.logits([*ids, *answer]).log_softmax(-1)
        return float(sum(logs[len(ids) - 1 + place, token] for place, token in enumerate(answer)))

    def greedy(self, ids: Sequence[int]) -> list[int]:
        tokens = list(ids)
        while len(tokens) < len(ids) + LIMIT and (len(tokens) == len(ids) or tokens[-1] != EOS):
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[len(ids) :]


def engine_of(model: Any, tokenizer: Any = None, path: str = "fast", **options: Any) -> LocalEngine:
    head_map = find_heads(model)
    references = {"items": [one.prompt for one in QUERIES]}
    engine = LocalEngine(model, tokenizer or Letters(), head_map, references, **options)
    if path == "plain":
        engine._path = engine.plain
    return engine


def tokens_of(one: Query) -> tuple[list[int], list[int]]:
    """Return a query's prompt and its expected answer in tokens."""
    ids = Letters()(one.prompt)["input_ids"]
    return ids, Letters()(one.prompt + " " + one.item.answer)["input_ids"][len(ids) :]


@pytest.mark.parametrize(
    ("family", "changes", "path"), [*((*family, "fast") for family in FAMILIES), ("gpt2", {}, "plain")]
)
def test_a_path_changes_the_log_probability_as_three_hooked_passes_do(
    family: str, changes: dict[str, Any], path: str
) -> None:
    model = build(family, **changes)
    engine = engine_of(model, path=path)
    assert isinstance(engine.path, FastPath) == (path == "fast")
    (result,) = path_changes(engine, [PathSpec("items", "zero", PATHS, QUERIES)])
    assert result.note == ""
    moved = 0.0
    for one, of_path in zip(PATHS, result.changes, strict=True):
        oracle = Oracle(family, model, one)
        for asked, change in zip(QUERIES, of_path, strict=True):
            ids, answer = tokens_of(asked)
            expected = oracle.logprob(ids, answer) - logprob(model, ids, answer)
            assert change == pytest.approx(expected, abs=2e-3, rel=1e-3), (one, asked.item_id)
            moved = max(moved, abs(expected))
    assert moved > 0.01  # the oracle has something to say


@pytest.mark.parametrize(
    ("family", "changes", "numerics"), [*((*family, "settle") for family in FAMILIES), ("llama", {}, "invariant")]
)
def test_the_answer_along_a_path_is_that_of_hooked_passes_without_a_cache(
    family: str, changes: dict[str, Any], numerics: str
) -> None:
    model = build(family, **changes)
    engine = engine_of(model, wanted_numerics=numerics)
    replies = path_answers(engine, [PathQuestion(one, "zero", PATHS) for one in QUERIES])
    others = 0
    for asked, of_query in zip(QUERIES, replies, strict=True):
        baseline = engine.codec.text(engine.baseline(asked)[1].completion.tokens, ())
        for one, (response, _) in zip(PATHS, of_query, strict=True):
            tokens = Oracle(family, model, one).greedy(tokens_of(asked)[0])
            assert response == engine.codec.text(tuple(tokens), ()), one
            others += response != baseline
    assert others > 0


@pytest.mark.parametrize("where", ["last", "answer"])
def test_a_sender_may_be_taken_out_at_one_place_alone(where: str) -> None:
    model, one = build("llama"), PATHS[0]
    engine = engine_of(model, where=where)
    (result,) = path_changes(engine, [PathSpec("items", "zero", (one,), QUERIES)])
    replies = path_answers(engine, [PathQuestion(asked, "zero", (one,)) for asked in QUERIES])
    for asked, change, ((response, _),) in zip(QUERIES, result.changes[0], replies, strict=True):
        ids, answer = tokens_of(asked)
        place = slice(len(ids) - 1, len(ids)) if where == "last" else slice(len(ids), None)
        oracle = Oracle("llama", model, one, place)
        expected = oracle.logprob(ids, answer) - logprob(model, ids, answer)
        assert change == pytest.approx(expected, abs=2e-3, rel=1e-3)
        assert response == engine.codec.text(tuple(oracle.greedy(ids)), ())


def test_under_mean_ablation_the_mean_stands_in_for_what_the_sender_writes() -> None:
    """The oracle changes the sender's output in the pass that gives its contribution, by a hook of its own."""
    model, one = build("llama"), PATHS[0]
    engine = engine_of(model)
    (result,) = path_changes(engine, [PathSpec("items", "mean", (one,), QUERIES[:1])])
    oracle = Oracle("llama", model, one)
    oracle.without = model
    site, head = oracle.sites[one.sender[0]], one.sender[1]
    span = slice(head * site.head_dim, (head + 1) * site.head_dim)
    seen: list[torch.Tensor] = []
    projection = model.get_submodule(site.path)
    handle = projection.register_forward_pre_hook(lambda module, args: seen.append(args[0][0, :, span]))
    for asked in QUERIES:
        oracle._run(model, torch.tensor([tokens_of(asked)[0]]))
    handle.remove()
    mean = torch.cat(seen).double().mean(0).float()
    passes = 0

    def stand_in(module: Any, args: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes % 4 != 2:  # the second of an oracle's four passes has the sender off
            return None
        x = args[0].clone()
        x[..., span] = mean
        return (x,)

    ids, answer = tokens_of(QUERIES[0])
    before = logprob(model, ids, answer)
    handle = projection.register_forward_pre_hook(stand_in)
    expected = oracle.logprob(ids, answer) - before
    handle.remove()
    assert result.changes[0][0] == pytest.approx(expected, abs=2e-3)
    assert abs(expected) > 1e-3


@pytest.mark.parametrize(
    ("family", "note"),
    [
        ("bert", "its layers do more to the residual stream than add to it"),  # a norm of the stream follows each sum
        ("openai-gpt", "layer 0: what it adds to the residual stream beside its attention is not known"),
    ],
)
def test_a_family_whose_stream_is_no_sum_has_a_note_of_one_line(family: str, note: str) -> None:
    (result,) = path_changes(engine_of(build(family)), [PathSpec("items", "zero", PATHS, QUERIES)])
    assert result.changes == ()
    assert note in result.note
    assert len(result.note.splitlines()) == 1


@pytest.mark.parametrize("backup", [False, True])
def test_paths_of_a_planted_circuit_are_named_exactly(backup: bool) -> None:
    """Between all heads: the copiers hand the operands on, and the decider tells its backup that it has decided."""
    model, tokenizer = circuit(backup=backup)
    engine = LocalEngine(model, tokenizer, find_heads(model))
    ends = [(layer, head) for layer in range(3) for head in range(4)]
    paths = tuple(Path(one, other) for one in ends for other in ends if one[0] < other[0])
    queries = tuple(query("arithmetic", item, Generation(4)) for item in sums(30))
    (result,) = path_changes(engine, [PathSpec("arithmetic", "zero", paths, queries)])
    rows = merged_paths(
        [
            [
                path_record(("arithmetic", "zero", *names(path)), questions(changes))
                for path, changes in zip(paths, result.changes, strict=True)
            ]
        ]
    )
    expected = {(copier, DECIDER) for copier in COPIERS} | ({(DECIDER, BACKUP)} if backup else set())
    assert {(row["from"], row["to"]) for row in rows if named(row)} == expected


def names(path: Path) -> tuple[str, str]:
    sender, receiver = (f"L{layer}H{head}" for layer, head in (path.sender, path.receiver))
    return sender, receiver


def questions(changes: Sequence[float]) -> list[PathItemRecord]:
    return [
        {"item": f"i{place}", "change": change, "answer": None, "correct": None, "changed": None}
        for place, change in enumerate(changes)
    ]


def test_a_sweep_measures_paths_between_the_heads_that_it_names_and_judges_their_answers() -> None:
    model, tokenizer = circuit()
    sweep = rp.sweep(model, tokenizer, sums(40), paths=True, max_new_tokens=4, describe=0)
    rows = sweep.run.summary["paths"] or []
    assert [(row["from"], row["to"]) for row in rows] == [("L0H1", "L1H2"), ("L0H3", "L1H2")]
    for row in rows:
        assert named(row)
        assert row["answers"] is not None
        assert row["answers_changed"] is not None
        assert 2 <= row["answers_changed"] <= row["answers"] <= row["items"]
        for item in row["questions"]:
            (baseline,) = [each for each in sweep if each.item == item["item"] and each.target == "baseline"]
            assert item["changed"] in (None, (item["answer"], item["correct"]) != (baseline.answer, baseline.correct))
    assert (sweep.run.summary["timing"].get("paths_s") or 0) > 0
    assert rp.sweep(model, tokenizer, sums(12), "L0H1", max_new_tokens=4).run.summary["paths"] == []


def test_paths_lead_from_earlier_to_later_heads_of_the_strongest() -> None:
    rows: list[Any] = [
        {"target": name, "dataset": "arithmetic", "ablation": "zero"} for name in ("L2H0", "L0H1", "L0H3", "L1MLP")
    ]
    (paths,) = paths_between(rows).values()
    assert paths == (Path((0, 1), (2, 0)), Path((0, 3), (2, 0)))
    many: list[Any] = [{"target": f"L{n}H0", "dataset": "d", "ablation": "zero"} for n in range(30)]
    (paths,) = paths_between(many).values()
    assert {end for path in paths for end in (path.sender, path.receiver)} == {(n, 0) for n in range(MOST_HEADS)}


def test_items_that_were_right_are_measured_first_and_as_many_as_the_sweep_affords() -> None:
    items = {("d", f"i{n}"): n % 2 == 0 for n in range(200)}
    paths = {("d", "zero"): (Path((0, 0), (1, 0)),)}
    (few,) = path_items(items, paths, 10, 0).values()
    (many,) = path_items(items, paths, 10**6, 0).values()
    assert (len(few), len(many)) == (FEWEST_ITEMS, MOST_ITEMS)
    assert all(items[item] for item in many)
    wrong = dict.fromkeys(items, False)
    assert len(path_items(wrong, paths, 10**6, 0)["d"]) == FEWEST_ITEMS


def test_parts_of_a_run_are_tested_together() -> None:
    def part(first: int) -> list[PathRecord]:
        items = questions([-1.0] * 8)
        for item in items:
            item["item"] = f"{first}{item['item']}"
        return [path_record(("d", "zero", "L0H0", "L1H0"), items)]

    (one,) = merged_paths([part(0)])
    (both,) = merged_paths([part(0), part(1)])
    assert (one["falls"], both["falls"], both["items"]) == (8, 16, 16)
    assert (both["p_adjusted"] or 0) < (one["p_adjusted"] or 0)
    (again,) = merged_paths([part(0), part(0)])  # the same items count once
    assert again == one
