"""Heads that give what they give on another prompt, compared with plain hooks in ``generate`` on one row."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import path
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import loading
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.chat_tokenizer import CHATML, chat_tokenizer
from tests.helpers.edited_sweeps import EOS
from tests.helpers.head_hooks import replaced
from tests.helpers.model_families import FAMILIES, build
from tests.helpers.weight_edit_oracle import greedy, logprob
from tests.unit.engine.test_places import Marked

ITEMS = [
    rp.Item(
        question="What is 5 + 3?",
        answer="8",
        id="a",
        counterfactual=rp.Donor(question="What is 4 + 2?", answer="6"),
        same_answer=rp.Donor(question="What is 6 + 2?", answer="8"),
        parts={"operands": ((8, 9), (12, 13))},
    ),
    rp.Item(
        question="What is 61 + 3?",
        answer="64",
        id="b",
        counterfactual=rp.Donor(question="What is 52 + 4?", answer="56"),
        same_answer=rp.Donor(question="What is 60 + 4?", answer="64"),
        parts={"operands": ((8, 10), (13, 14))},
    ),
]
TARGETS = "L0H1,L2H3,L1,L0H2+L2H0"
ARMS = {"patch": "counterfactual", "patch-same": "same_answer"}


def with_donors(item: rp.Item, limit: int = 8) -> Query:
    asked = query("items", item, Generation(limit, ()))
    prompts = []
    for arm in ("counterfactual", "same_answer"):
        donor = getattr(item, arm)
        prompts.append((arm, query("items", item.with_question_of(donor), Generation(limit, ())).prompt))
    return replace(asked, donors=tuple(prompts))


def donor_inputs(model: Any, head_map: HeadMap, ids: list[int]) -> dict[str, Any]:
    """Return every projection's input, and every MLP's output, on the prompt *ids*: ``(1, tokens, features)``."""
    inputs: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda module, args: inputs.update({name: args[0].detach().clone()})

    def keep_output(name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            inputs[name] = hidden.detach().clone().view(1, -1, hidden.shape[-1])

        return hook

    handles = []
    for site in head_map.attention_layers:
        handles.append(model.get_submodule(site.path).register_forward_pre_hook(keep(site.path)))
        if site.mlp:
            handles.append(model.get_submodule(site.mlp).register_forward_hook(keep_output(site.mlp)))
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return inputs


def patched(
    model: Any, head_map: HeadMap, target: Target, inputs: dict[str, Any], places: list[int] | None = None
) -> AbstractContextManager[None]:
    """Give the heads and MLPs of *target* what they gave in *inputs*, at these *places* of the prompt or at all."""
    length = next(iter(inputs.values())).shape[1]

    def stand_in(name: str, position: int, part: slice) -> Any:
        in_place = position < length if places is None else position in places
        return inputs[name][0, position, part] if in_place else None

    return replaced(model, head_map, target, stand_in)


def check(engine: LocalEngine, targets: str = TARGETS, items: list[rp.Item] = ITEMS) -> bool:
    """Assert that every answer of *engine* is that of hooks; tell whether any target changed a log-probability."""
    model, head_map, tokenizer = engine.model, engine.head_map, Letters()
    parsed = parse_targets(targets, head_map)
    ablated = tuple((target, ablation) for ablation in ARMS for target in parsed)
    queries = {str(item.id): with_donors(item) for item in items}
    answers = list(chain(*engine.run([SweepRequest(asked, ablated) for asked in queries.values()])))
    assert len(answers) == len(items) * (1 + len(ablated))
    for answer in answers:
        if answer.ablation is None:
            continue
        asked = queries[answer.item]
        ids = tokenizer(asked.prompt)["input_ids"]
        expected = tokenizer(asked.prompt + asked.continuation)["input_ids"][len(ids) :]
        inputs = donor_inputs(model, head_map, tokenizer(dict(asked.donors)[ARMS[answer.ablation]])["input_ids"])
        target = next(one for one in parsed if one.name == answer.target)
        case = answer.item, answer.target, answer.ablation
        with patched(model, head_map, target, inputs):
            assert answer.response == tokenizer.decode(greedy(model, ids, 8, EOS), skip_special_tokens=True), case
            assert answer.answer_logprob == pytest.approx(logprob(model, ids, expected), abs=2e-3, rel=1e-4), case
    baselines = {answer.item: answer for answer in answers if answer.ablation is None}
    return any(abs(answer.answer_logprob - baselines[answer.item].answer_logprob) > 0.01 for answer in answers)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_answers_as_with_hooks(family: str) -> None:
    model = build(family)
    assert check(LocalEngine(model, Marked(), find_heads(model))), "no target changed anything: nothing was tested"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_queries_that_share_no_pass_and_mlps(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "CPU_BYTES", 0)
    model = build(family)
    check(LocalEngine(model, Marked(), find_heads(model)), "L0MLP,L1H2+L2MLP,L1")


def test_the_plain_path() -> None:
    model = build("llama")
    engine = LocalEngine(model, Marked(), find_heads(model))
    engine._path = engine.plain
    check(engine, "L0H1,L1,L2MLP")


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("cpu_bytes", [0, 10**9], ids=["singly", "pooled"])
def test_invariant_numerics(family: str, cpu_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "CPU_BYTES", cpu_bytes)
    model = build(family).to(torch.bfloat16)
    head_map = find_heads(model)
    engine = LocalEngine(model, Marked(), head_map, wanted_numerics="invariant")
    targets = parse_targets("L0H1,L1,L0H2+L2H0", head_map)
    queries = [with_donors(item) for item in ITEMS]
    requests = [SweepRequest(asked, tuple((target, "patch") for target in targets)) for asked in queries]
    by_case = {(answer.item, answer.target): answer for answer in chain(*engine.run(requests))}
    for asked in queries:
        donor = Letters()(dict(asked.donors)["counterfactual"])["input_ids"]
        with engine.numerics.running():
            inputs = donor_inputs(model, head_map, donor)
        encoded = engine.codec.encode(asked)
        for target in targets:
            with patched(model, head_map, target, inputs):
                tokens = engine.plain.baseline(encoded, ()).completion.tokens
            assert by_case[asked.item_id, target.name].response == engine.codec.text(tokens, ()), target.name
    facts = engine.facts()
    assert (facts["numerics"], facts["settled_singly"], facts["unequal_batches"]) == ("invariant", 0, 0), facts


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_batch_numerics(family: str) -> None:
    model = build(family)
    engine = LocalEngine(model, Marked(), find_heads(model), wanted_numerics="batch")
    assert check(engine)
    facts = engine.facts()
    assert (facts["numerics"], facts["settled_singly"], facts["path"]) == ("batch", 0, "fast"), facts


@pytest.mark.parametrize("where", ["all", "prompt", "last", "operands"])
@pytest.mark.parametrize(
    "prompting",
    [rp.Prompting(shots=2), rp.Prompting(chat="on"), rp.Prompting(chat="on", shots=2)],
    ids=["few-shot", "chat", "few-shot-chat"],
)
def test_worked_examples_chats_and_places(where: str, prompting: rp.Prompting, tmp_path: Path) -> None:
    model, tokenizer = build("llama", vocab_size=110), chat_tokenizer(CHATML)
    head_map = find_heads(model)
    shots = tmp_path / "shots.jsonl"
    lines = [{"question": f"Min {n}?", "answer": "No"} for n in range(3)]
    shots.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    if prompting.shots:
        prompting = replace(prompting, shots_from=str(shots))
    outcomes = rp.sweep(
        model, tokenizer, ITEMS, "L0H1,L1", "patch", where=where, prompting=prompting, max_new_tokens=6, stop=()
    )
    by_id = {item.id: item for item in ITEMS}
    assert len(outcomes) == 3 * len(ITEMS)
    for outcome in outcomes:
        if outcome.target == "baseline":
            continue
        item = by_id[outcome.item]
        assert item.counterfactual is not None
        head, question, tail = outcome.prompt.rpartition(outcome.question)
        assert question
        special = prompting.chat == "off"
        ids = tokenizer(outcome.prompt, add_special_tokens=special)["input_ids"]
        donor = tokenizer(head + item.counterfactual.question + tail, add_special_tokens=special)["input_ids"]
        start = len(tokenizer(head, add_special_tokens=special)["input_ids"])
        places = {
            "last": [len(ids) - 1],
            "operands": [start + place for first, end in item.parts["operands"] for place in range(first, end)],
        }.get(where)
        (target,) = parse_targets(outcome.target, head_map)
        with patched(model, head_map, target, donor_inputs(model, head_map, donor), places):
            tokens = greedy(model, ids, 6, tokenizer.eos_token_id)
        assert outcome.response == tokenizer.decode(tokens, skip_special_tokens=True), (outcome.item, outcome.target)


def test_restore_asks_the_counterfactual_and_patches_the_clean_prompt() -> None:
    model = build("llama")
    head_map = find_heads(model)
    outcomes = rp.sweep(model, Marked(), ITEMS, "L0H1+L1H2,L2", "restore", max_new_tokens=8, stop=())
    swapped = [item.restored() for item in ITEMS]
    assert [item.restored().question for item in swapped] == [item.question for item in ITEMS]
    patch = rp.sweep(model, Marked(), swapped, "L0H1+L1H2,L2", "patch", max_new_tokens=8, stop=())
    assert [replace(outcome, ablation=None) for outcome in outcomes] == [
        replace(outcome, ablation=None) for outcome in patch
    ]
    tokenizer = Letters()
    for outcome in outcomes:
        item = next(item for item in ITEMS if item.id == outcome.item)
        assert item.counterfactual is not None
        assert (outcome.question, outcome.expected) == (item.counterfactual.question, item.counterfactual.answer)
        if outcome.target != "baseline":
            (target,) = parse_targets(outcome.target, head_map)
            clean = tokenizer(query("items", item, Generation()).prompt)["input_ids"]
            ids = tokenizer(outcome.prompt)["input_ids"]
            with patched(model, head_map, target, donor_inputs(model, head_map, clean)):
                tokens = greedy(model, ids, 8, EOS)
            assert outcome.response == tokenizer.decode(tokens, skip_special_tokens=True)


def test_items_that_cannot_be_patched_are_left_out_by_reason() -> None:
    items = [
        *ITEMS,
        rp.Item(question="Min?", answer="8", id="none"),
        rp.Item(question="What is 2 + 1?", answer="3", id="again", counterfactual=ITEMS[0].counterfactual),
        rp.Item(question="Max 1?", answer="1", id="longer", counterfactual=rp.Donor(question="Max 23?", answer="23")),
    ]
    sweep = rp.sweep(build("llama"), Marked(), items, "L0H1", "patch", max_new_tokens=3)
    assert {outcome.item for outcome in sweep} == {"a", "b"}
    assert {skip["item"]: skip["reason"] for skip in sweep.run.summary["skipped"]} == {
        "none": "it has no counterfactual",
        "again": "its counterfactual is that of an earlier item",
        "longer": "its counterfactual does not align with it token for token",
    }


def test_what_makes_no_sense_is_one_line() -> None:
    model = build("llama")
    for options, line in (
        ({"ablation": "patch,restore"}, "ablation: restore asks the counterfactual questions and patch the items' own"),
        ({"ablation": "patch", "where": "answer"}, "ablation: patch replaces what heads give at tokens of the prompt"),
        ({"ablation": "restore", "where": "operands"}, "ablation: restore asks the counterfactual questions, whose"),
    ):
        with pytest.raises(ValueError, match=line):
            rp.sweep(model, Marked(), ITEMS, "L0H1", **options)
    with pytest.raises(ValueError, match=r"^no question has a counterfactual: give items one"):
        rp.sweep(model, Marked(), [rp.Item(question="Min?", answer="8")], "L0H1", "patch")


def test_outcomes_say_whether_the_answer_became_the_other_ones(tmp_path: Path) -> None:
    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"), "cpu")
    items = rp.items("arithmetic", 6)
    everything = "+".join(f"L{layer}+L{layer}MLP" for layer in find_heads(loaded.model).layers)
    sweep = rp.sweep(loaded.model, loaded.tokenizer, items, [everything], "patch,patch-same", cache=tmp_path)
    by_id = {item.id: item for item in items}
    for outcome in sweep:
        donor = by_id[outcome.item].counterfactual
        assert donor is not None
        assert outcome.became_counterfactual is (outcome.answer == donor.answer)
    assert any(outcome.became_counterfactual for outcome in sweep if outcome.ablation == "patch")
    sweep.save(tmp_path / "run")
    assert rp.read_run(tmp_path / "run").outcomes == list(sweep)
    again = rp.sweep(loaded.model, loaded.tokenizer, items, [everything], "patch,patch-same", cache=tmp_path)
    assert again.run.summary["engine"]["recalled"] == len(again)
    assert list(again) == list(sweep)
    zero = rp.sweep(loaded.model, loaded.tokenizer, items, "L0")
    assert {outcome.became_counterfactual for outcome in zero} == {None}
