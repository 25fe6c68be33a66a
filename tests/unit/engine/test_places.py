"""Heads that are off at some places alone, compared with plain hooks in ``generate`` on one row."""

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
from reasoning_probe.models.ablation import Replacement, ablate
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.places import named_positions
from reasoning_probe.models.targets import Target, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.chat_tokenizer import CHATML, chat_tokenizer
from tests.helpers.edited_sweeps import EOS
from tests.helpers.head_hooks import replaced
from tests.helpers.model_families import FAMILIES, build
from tests.helpers.weight_edit_oracle import greedy, logprob

ITEMS = [
    rp.Item(question="What is 5 + 3?", answer="8", id="a", parts={"operands": ((8, 9), (12, 13))}),
    rp.Item(question="What is 61 + 3?", answer="64", id="b", parts={"operands": ((8, 10), (13, 14))}),
    rp.Item(question="Max 2?", answer="Yes", id="c", parts={"operands": ((4, 5),)}),
]
PLACES = ("all", "prompt", "answer", "last", "operands")
TARGETS = "L0H1,L2H3,L1,L0H2+L2H0"


class Marked(Letters):
    """Letters that tell which character each token is."""

    is_fast = True

    def __call__(self, text: str, return_offsets_mapping: bool = False, **options: Any) -> dict[str, Any]:
        offsets = {"offset_mapping": [(place, place + 1) for place in range(len(text))]}
        return super().__call__(text, **options) | (offsets if return_offsets_mapping else {})


def operands_of(asked: Query) -> list[int]:
    """Return the positions of the operands in the plain prompt, whose tokens are characters."""
    start = asked.prompt.index(asked.item.question)
    return [start + place for first, end in asked.item.parts["operands"] for place in range(first, end)]


def is_off(where: str, position: int, prompt_length: int, operands: list[int]) -> bool:
    """Say by hand whether heads are off at *position*."""
    return {
        "all": True,
        "prompt": position < prompt_length,
        "answer": position >= prompt_length,
        "last": position == prompt_length - 1,
        "operands": position in operands,
    }[where]


def hooked(
    model: Any,
    head_map: HeadMap,
    target: Target,
    where: str,
    prompt_length: int,
    operands: list[int],
    values: Any = None,
) -> AbstractContextManager[None]:
    """Switch the heads and MLPs of *target* off at the positions of *where*: zero, or *values* by layer."""
    sites = {site.path: (site.layer, site.head_dim) for site in head_map.attention_layers}
    mlps = {site.mlp: ~site.layer for site in head_map.attention_layers}

    def stand_in(name: str, position: int, part: slice) -> Any:
        if not is_off(where, position, prompt_length, operands):
            return None
        if values is None:
            return 0
        if name in mlps:
            return values[mlps[name]][0, 0]
        layer, head_dim = sites[name]
        return values[layer][0, part.start // head_dim]

    return replaced(model, head_map, target, stand_in)


def expected(
    model: Any, head_map: HeadMap, target: Target, where: str, asked: Query, limit: int, values: Any = None
) -> tuple[str, float]:
    """Return what plain ``generate`` answers under hooks, and the log-probability of the expected answer."""
    tokenizer, operands = Letters(), operands_of(asked)
    ids = tokenizer(asked.prompt)["input_ids"]
    answer = tokenizer(asked.prompt + asked.continuation)["input_ids"][len(ids) :]
    with hooked(model, head_map, target, where, len(ids), operands, values):
        tokens = greedy(model, ids, limit, EOS)
    with hooked(model, head_map, target, where, len(ids), operands, values):
        log = logprob(model, ids, answer)
    return tokenizer.decode(tokens, skip_special_tokens=True), log


def engine_of(model: Any, numerics: str = "auto") -> LocalEngine:
    return LocalEngine(
        model, Marked(), find_heads(model), {"items": ["Question: 1?\nAnswer:"]}, wanted_numerics=numerics
    )


def check(
    engine: LocalEngine,
    where: str,
    targets: str = TARGETS,
    items: list[rp.Item] = ITEMS,
    limit: int = 8,
    ablation: str = "zero",
) -> bool:
    """Assert that every answer of *engine* is that of hooks; tell whether any target changed one."""
    engine.where = where
    parsed = parse_targets(targets, engine.head_map)
    ablated = tuple((target, ablation) for target in parsed)
    queries = {item.id: query("items", item, Generation(limit, ())) for item in items}
    answers = list(chain(*engine.run([SweepRequest(asked, ablated) for asked in queries.values()])))
    values = engine.values(ablation, "items", "") if ablation == "mean" else None
    assert len(answers) == len(items) * (1 + len(parsed))
    for answer in answers:
        if answer.target != "baseline":
            target = next(one for one in parsed if one.name == answer.target)
            response, log = expected(engine.model, engine.head_map, target, where, queries[answer.item], limit, values)
            assert answer.response == response, (where, answer.item, answer.target)
            assert answer.answer_logprob == pytest.approx(log, abs=2e-3, rel=1e-4), (where, answer.item, answer.target)
    baselines = {answer.item: answer.response for answer in answers if answer.target == "baseline"}
    return any(answer.response != baselines[answer.item] for answer in answers)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_answers_as_with_hooks(family: str) -> None:
    engine = engine_of(build(family))
    changed = {where: check(engine, where) for where in PLACES}
    assert sum(changed.values()) >= 3, f"hardly any target changed anything: {changed}"


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_queries_that_share_no_pass(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "CPU_BYTES", 0)
    engine = engine_of(build(family))
    for where in PLACES:
        check(engine, where, limit=12)


def test_the_plain_path() -> None:
    engine = engine_of(build("llama"))
    engine._path = engine.plain
    for where in PLACES:
        check(engine, where)


@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "gpt2"])
def test_mlps_and_means(family: str) -> None:
    engine = engine_of(build(family))
    for where in PLACES:
        check(engine, where, "L0MLP,L2MLP,L1MLP+L2H1,L1H1", ablation="mean")


SHOTS = "what is 2 + 2?\nAnswer: 4\n\nQuestion: "


@pytest.mark.parametrize("cpu_bytes", [0, 10**9], ids=["singly", "pooled"])
def test_prompts_that_begin_alike(cpu_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "CPU_BYTES", cpu_bytes)
    start = len(SHOTS)
    items = [
        rp.Item(question=SHOTS + "x" * n, answer=f"{n}5", id=f"n{n}", parts={"operands": ((start, start + n),)})
        for n in (1, 2, 3)
    ]
    engine = engine_of(build("llama"))
    for where in PLACES:
        check(engine, where, items=items)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("cpu_bytes", [0, 10**9], ids=["singly", "pooled"])
def test_invariant_numerics(family: str, cpu_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is settled in another way: the rows of a batch are bit for bit those of a row alone."""
    monkeypatch.setattr(path, "CPU_BYTES", cpu_bytes)
    model = build(family).to(torch.bfloat16)
    engine = engine_of(model, "invariant")
    targets = parse_targets("L0H1,L1,L0H2+L2H0", engine.head_map)
    ablated = tuple((target, "zero") for target in targets)
    queries = [query("items", item, Generation(8, ())) for item in ITEMS[1:]]
    for where in PLACES:
        engine.where = where
        answers = chain(*engine.run([SweepRequest(one, ablated) for one in queries]))
        by_case = {(answer.item, answer.target): answer for answer in answers}
        for asked in queries:
            encoded = engine.codec.encode(asked)
            for target in targets:
                with hooked(model, engine.head_map, target, where, encoded.prompt.shape[1], operands_of(asked)):
                    tokens = engine.plain.baseline(encoded, ()).completion.tokens
                assert by_case[asked.item_id, target.name].response == engine.codec.text(tokens, ()), target.name
    facts = engine.facts()
    assert (facts["numerics"], facts["settled_singly"], facts["unequal_batches"]) == ("invariant", 0, 0), facts
    assert facts["path"] == "fast"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_batch_numerics(family: str) -> None:
    """Nothing is settled, and no answer of these models is too close to call in a batch."""
    engine = engine_of(build(family), "batch")
    changed = [check(engine, where) for where in PLACES]
    assert any(changed)
    facts = engine.facts()
    assert (facts["numerics"], facts["settled_singly"], facts["path"]) == ("batch", 0, "fast"), facts


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    "prompting",
    [rp.Prompting(shots=2), rp.Prompting(chat="on"), rp.Prompting(chat="on", shots=2)],
    ids=["few-shot", "chat", "few-shot-chat"],
)
def test_worked_examples_and_the_marks_of_a_chat_belong_to_the_prompt(
    where: str, prompting: rp.Prompting, tmp_path: Path
) -> None:
    model, tokenizer = build("llama", vocab_size=110), chat_tokenizer(CHATML)
    head_map = find_heads(model)
    shots = tmp_path / "shots.jsonl"
    lines = [{"question": f"Min {n}?", "answer": "No", "parts": {"operands": [[4, 5]]}} for n in range(3)]
    shots.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    if prompting.shots:
        prompting = replace(prompting, shots_from=str(shots))
    outcomes = rp.sweep(model, tokenizer, ITEMS, "L0H1,L1", where=where, prompting=prompting, max_new_tokens=6, stop=())
    assert outcomes.run.summary["where"] == where
    by_id = {item.id: item for item in ITEMS}
    assert len(outcomes) == 3 * len(ITEMS)
    for outcome in outcomes:
        if outcome.target == "baseline":
            continue
        ids = tokenizer(outcome.prompt, add_special_tokens=prompting.chat == "off")["input_ids"]
        start = last_place(ids, tokenizer(outcome.question, add_special_tokens=False)["input_ids"])
        spans = by_id[outcome.item].parts["operands"]
        operands = [start + place for first, end in spans for place in range(first, end)]
        (target,) = parse_targets(outcome.target, head_map)
        with hooked(model, head_map, target, where, len(ids), operands):
            tokens = greedy(model, ids, 6, tokenizer.eos_token_id)
        assert outcome.response == tokenizer.decode(tokens, skip_special_tokens=True), (outcome.item, outcome.target)


def last_place(ids: list[int], part: list[int]) -> int:
    """Return where the tokens *part* begin among *ids* for the last time."""
    return max(start for start in range(len(ids)) if ids[start : start + len(part)] == part)


def test_prompt_and_answer_together_are_all() -> None:
    """A head that is off on both is off everywhere, so no position lies between them, and none in both."""
    for length in (1, 2, 9):
        prompt, answer = (named_positions(where, length) for where in ("prompt", "answer"))
        span = (0, length + 5)
        in_prompt, in_answer = torch.as_tensor(prompt.mask(span)), torch.as_tensor(answer.mask(span))
        assert torch.equal(in_prompt ^ in_answer, torch.ones(length + 5, dtype=torch.bool))
        assert named_positions("all", length).mask(span) is True
        assert named_positions("last", length).mask(span).nonzero().flatten().tolist() == [length - 1]
    model = build("llama")
    head_map = find_heads(model)
    engine = engine_of(model)
    for target in parse_targets("L0H1,L1,L0H2+L2H0", head_map):
        asked = query("items", ITEMS[0], Generation(8, ()))
        encoded = engine.codec.encode(asked)
        length = int(encoded.prompt.shape[1])
        halves = [Replacement(positions=named_positions(where, length)) for where in ("prompt", "answer")]
        with ablate(model, head_map, [target], halves[0]), ablate(model, head_map, [target], halves[1]):
            both = engine.plain.baseline(encoded, ()).completion
        engine.where = "all"
        (answer,) = [
            a for a in chain(*engine.run([SweepRequest(asked, ((target, "zero"),))])) if a.target == target.name
        ]
        assert answer.response == engine.codec.text(both.tokens, ())
        assert answer.answer_logprob == pytest.approx(both.logprob, abs=1e-4)


def test_items_without_the_part_are_left_out_and_counted() -> None:
    plain_items = [rp.Item(question="Min?", answer="8", id="d"), rp.Item(question="Max?", answer="9", id="e")]
    sweep = rp.sweep(build("llama"), Marked(), [*ITEMS, *plain_items], "L0H1", where="operands", max_new_tokens=3)
    assert {outcome.item for outcome in sweep} == {"a", "b", "c"}
    reasons = {skip["item"]: skip["reason"] for skip in sweep.run.summary["skipped"]}
    assert reasons == dict.fromkeys("de", "its question has no part 'operands'")


@pytest.mark.parametrize("where", PLACES)
def test_every_choice_has_the_log_probability_of_hooks(where: str) -> None:
    model = build("llama")
    head_map = find_heads(model)
    item = replace(ITEMS[0], choices=("8", "16", "no"))
    sweep = rp.sweep(model, Marked(), [item], "L0H1,L1", where=where, max_new_tokens=3)
    assert len(sweep) == 3
    for outcome in sweep[1:]:
        (target,) = parse_targets(outcome.target, head_map)
        for choice in outcome.choices or ():
            asked = query("items", replace(item, answer=choice.text, kind=None), Generation(3, ()))
            _, log = expected(model, head_map, target, where, asked, 1)
            assert choice.logprob == pytest.approx(log, abs=2e-3), (outcome.target, choice.text)


def test_a_part_that_no_question_has_is_one_line() -> None:
    line = "^no question has a part 'claim': use all, prompt, answer, last or operands$"
    with pytest.raises(ValueError, match=line):
        rp.sweep(build("llama"), Marked(), ITEMS, "L0H1", where="claim")
    with pytest.raises(ValueError, match=r"^a thought is a place where it has tokens of its own: add --probe-think-"):
        rp.sweep(build("llama"), Marked(), ITEMS, "L0H1", where="thought")
    with pytest.raises(ValueError, match=r"^where='a b' is not a place: use all, prompt, answer, last, or a part"):
        rp.sweep(build("llama"), Marked(), ITEMS, "L0H1", where="a b")


def test_the_store_keeps_the_answers_of_each_place_apart(tmp_path: Path) -> None:
    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"), "cpu")

    def recalled(where: str) -> int:
        sweep = rp.sweep(loaded.model, loaded.tokenizer, ITEMS[:2], "L0H1,L1", where=where, cache=tmp_path)
        return sweep.run.summary["engine"]["recalled"] or 0

    assert [recalled(where) for where in ("all", "prompt", "operands", "all", "prompt", "operands")] == [
        0,
        2,
        2,
        6,
        6,
        6,
    ]
