"""The engine gives the answers of models whose weights were edited by hand, whatever path it takes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from families import FAMILIES, VOCAB, build
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from letters import FIRST, Cut, Letters
from oracle import edit, greedy, logprob
from torch import nn

import reasoning_probe as rp
from reasoning_probe.engine import decode, fast, verify
from reasoning_probe.engine.memory import Memory
from reasoning_probe.engine.packed import Packed, available
from reasoning_probe.engine.passes import wrapped
from reasoning_probe.engine.plain import Plain, noise_of
from reasoning_probe.engine.pool import Pool
from reasoning_probe.engine.replies import Baseline, Codec, Job, Reply
from reasoning_probe.engine.run import Engine, Work
from reasoning_probe.heads import HeadMap, find_heads
from reasoning_probe.prompts import Generation, query
from reasoning_probe.targets import Target, every_head, parse_targets

ITEMS = [rp.Item(question="What is 5 + 3?", answer="8", id="a"), rp.Item(question="Max?", answer="Yes", id="b")]
EOS = 2


def expected(
    model: Any, tokenizer: Any, head_map: HeadMap, target: str, item: rp.Item, limit: int
) -> tuple[str, float]:
    """What a hand-edited model answers to *item*, and its log-probability of the expected answer."""
    twin = copy.deepcopy(model)
    if target != "baseline":
        (off,) = parse_targets(target, head_map)
        for site in head_map.sites:
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


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_answers_as_with_edited_weights(family: str) -> None:
    model = build(family)
    outcomes = check(model, "L0H1,L1H0,L2H3,L1,L0H2+L2H0", limit=10)
    baselines = {o.item: o.response for o in outcomes if o.target == "baseline"}
    assert any(o.response != baselines[o.item] for o in outcomes), "no target changed anything: nothing was tested"


@pytest.mark.parametrize(
    ("family", "path"),
    [("gpt2", "growing passes of several queries"), ("llama", "growing passes of several queries"), ("openai-gpt", "")],
)
def test_the_self_check_chooses_the_path(family: str, path: str) -> None:
    model = build(family)
    codec, memory = Codec(model, Letters()), Memory("cpu")
    head_map = find_heads(model)
    plain = Plain(model, head_map, codec, memory)
    found, why = fast.fast_path(model, head_map, codec, plain, memory)
    assert (found is not None) == bool(path)
    assert why == path or (not path and why)
    assert plain.counts.rows == 0, "the self-check is not part of the sweep"


class Apart(nn.Module):
    """GPT-2's layers, by their names, in *parts*."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def __iter__(self) -> Iterator[nn.Module]:
        return chain(*(part.children() for part in self.children()))


@pytest.mark.parametrize(
    ("parts", "says"),
    [({"low": (0, 1), "high": (2,)}, "are not in one list"), ({"all": (0, 1, 2)}, "cannot be told apart")],
    ids=["two-lists", "no-list"],
)
def test_a_model_whose_layers_are_in_no_list_takes_the_plain_path(parts: dict[str, Any], says: str) -> None:
    model = build("gpt2")
    layers = list(model.transformer.h)
    model.transformer.h = Apart(
        {name: nn.ModuleDict({str(at): layers[at] for at in numbers}) for name, numbers in parts.items()}
    )
    codec, memory, head_map = Codec(model, Letters()), Memory("cpu"), find_heads(model)
    found, why = fast.fast_path(model, head_map, codec, Plain(model, head_map, codec, memory), memory)
    assert found is None
    assert says in why
    check(model, "L0H1,L2H3")


def test_an_unlike_log_probability_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-check looks at what is stored, not at the answers alone."""
    asked = fast._small_questions
    model = build("gpt2")
    codec, memory, head_map = Codec(model, Letters()), Memory("cpu"), find_heads(model)

    def otherwise(plain: Plain, head_map: HeadMap) -> Any:
        jobs, expected = asked(plain, head_map)
        return jobs, [[replace(reply, logprob=reply.logprob + 1) for reply in of_job] for of_job in expected]

    monkeypatch.setattr(fast, "_small_questions", otherwise)
    found, why = fast.fast_path(model, head_map, codec, Plain(model, head_map, codec, memory), memory)
    assert (found, why) == (None, "its log-probabilities differ from the plain path's")


class Bytes(Letters):
    """A tokenizer that says what it must not: nothing at all, or a token that the model does not have."""

    def __init__(self, nothing: str, strange: str) -> None:
        self.nothing, self.strange = nothing, strange

    def __call__(self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None) -> dict[str, Any]:
        ids = super().__call__(text)["input_ids"]
        if self.strange in text:
            ids[-1] = VOCAB + 7
        return {"input_ids": [] if self.nothing in text else ids}


def test_an_item_without_tokens_or_with_strange_ones_is_skipped_with_the_reason() -> None:
    model = build("gpt2")
    items = [*ITEMS, rp.Item(question="empty?", answer="8", id="c"), rp.Item(question="odd?", answer="8", id="d")]
    found = rp.sweep(model, Bytes("empty?", "odd?"), items, "L0H0", max_new_tokens=3)
    assert {outcome.item for outcome in found} == {"a", "b"}
    said = {skip["item"]: skip["reason"] for skip in found.run.summary["skipped"]}
    assert said == {
        "c": "the tokenizer makes no tokens of the prompt",
        "d": f"the tokenizer makes the token {VOCAB + 7} of it, and the model has no more than {VOCAB}",
    }


class Merging(Letters):
    """A tokenizer in which a colon and what follows it are one token, so that prompt and answer merge."""

    def __call__(self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None) -> dict[str, Any]:
        ids = super().__call__(text)["input_ids"]
        head, colon, tail = text.rpartition(":")
        if colon and tail:
            ids = super().__call__(head)["input_ids"] + [FIRST + sum(map(ord, tail)) % 90]
        return {"input_ids": ids}


def test_an_answer_that_merges_with_the_prompt_is_scored_by_its_own_tokens() -> None:
    model, tokenizer = build("gpt2"), Merging()
    (found,) = rp.sweep(model, tokenizer, ITEMS[:1], [], max_new_tokens=2, stop=())
    prompt = tokenizer(query("items", ITEMS[0], Generation()).prompt)["input_ids"]
    assert found.answer_logprob == pytest.approx(logprob(model, prompt, tokenizer(" 8")["input_ids"]), abs=2e-3)


@pytest.mark.parametrize("keep", [1, 2, 40], ids=lambda keep: f"prompt-of-{keep}")
def test_prompts_of_any_length(keep: int) -> None:
    check(build("llama"), "L0-L2,L1H2", Cut(keep))


@pytest.mark.parametrize("limit", [1, 2, 8, 9, 16, 17, 25])
def test_every_token_limit(limit: int) -> None:
    check(build("gpt2"), "L0H0,L1H1,L2H2,L0", limit=limit)


def test_answers_that_stop_at_once_and_answers_that_never_stop() -> None:
    model = build("llama")
    plain = greedy(model, Letters()("Question: Max?\nAnswer:")["input_ids"], 1)
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight[EOS] = head.weight[plain[0]] * 1.01  # the end wins where this token would have
    outcomes = check(model, "L0-L2,L0H0,L1H1,L2H2", limit=20)
    lengths = {len(o.response) for o in outcomes}
    assert 0 in lengths
    assert 20 in lengths


def test_a_prompt_at_the_context_limit() -> None:
    model = build("gpt2", max_position_embeddings=64)
    fits = rp.Item(question="x" * (64 - len("Question: \nAnswer:") - 3), answer="8", id="fits")
    outcomes = check(model, "L0H0,L1H2,L2", items=[fits], limit=3)
    assert all(o.truncated for o in outcomes)
    assert rp.sweep(model, Letters(), [rp.Item(question="x" * 64, answer="8")], "L0H0") == []


@pytest.mark.parametrize("tokens", [1, 70, 131, 10_000])
def test_chunks_of_any_size(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "CPU_BYTES", tokens * 4 * 48)
    check(build("qwen3"), "L0H0,L0H1,L0H2,L1H0,L1H3,L2H1,L2H2,L0+L2H0")


def run_in_order(engine: Engine, plan: list[Work]) -> list[rp.Outcome]:
    """Run *plan*; outcomes come as they are found, so bring them into its order."""
    place = {work.query.item_id: at for at, work in enumerate(plan)}
    return sorted(chain(*engine.run(plan)), key=lambda outcome: place[outcome.item])


def test_a_byte_of_memory_is_enough() -> None:
    model = build("gpt_neox")
    head_map = find_heads(model)
    plan = [Work(query("items", item, Generation(10, ())), _zero(every_head(head_map))) for item in ITEMS]
    tight = Engine(model, Letters(), head_map, memory_cap=1)
    wide = Engine(model, Letters(), head_map)
    pairs = zip(run_in_order(tight, plan), run_in_order(wide, plan), strict=True)
    for one, other in pairs:
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)
        assert one.answer_logprob == pytest.approx(other.answer_logprob, abs=1e-4)
    assert tight.path == wide.path == "fast"


def _zero(targets: list[Target]) -> tuple[tuple[Target, str], ...]:
    return tuple((target, "zero") for target in targets)


@pytest.mark.parametrize("seed", range(3))
def test_memory_that_runs_out_at_a_random_moment_changes_no_outcome(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    calm = rp.sweep(model, Letters(), ITEMS, max_new_tokens=10, stop=())
    dice = random.Random(seed)
    run = fast.Driver.run
    raised = 0

    def sometimes(self: Any, ids: Any, slots: Any, plan: Any, **places: Any) -> Any:
        nonlocal raised
        halvable = max(ids.shape[0], sum(plan.joins.values())) > 2  # more than one row and the canary
        if halvable and dice.random() < 0.3:
            raised += 1
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return run(self, ids, slots, plan, **places)

    head_map = find_heads(model)
    engine = Engine(model, Letters(), head_map)
    assert isinstance(engine.way, fast.Fast)
    monkeypatch.setattr(fast.Driver, "run", sometimes)
    plan = [Work(query("items", item, Generation(10, ())), _zero(every_head(head_map))) for item in ITEMS]
    stormy = run_in_order(engine, plan)
    assert raised > 0
    assert [(o.item, o.target, o.response) for o in stormy] == [(o.item, o.target, o.response) for o in calm]


@pytest.mark.parametrize("pairs", [40, 4])
def test_near_ties_are_settled_by_the_one_row_path(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight[50 : 50 + pairs] = head.weight[10 : 10 + pairs]  # tokens that no batch can tell apart
    head_map = find_heads(model)
    check(model, "L0-L2,L0H0,L1H1")
    places: list[tuple[int, int]] = []

    def noted(plain: Any, job: Job, target: Target, tokens: Any, near_tie: int, settled: Any = Plain.settled) -> Any:
        places.append((near_tie, len(tokens)))
        return settled(plain, job, target, tokens, near_tie)

    monkeypatch.setattr(Plain, "settled", noted)
    engine = Engine(model, Letters(), head_map)
    assert isinstance(engine.way, fast.Fast)
    places.clear()  # those of its self-check
    work = Work(query("items", ITEMS[0], Generation(10, ())), _zero(every_head(head_map)))
    list(engine.run([work]))
    assert engine.counts.settled_singly == len(places) > 0
    assert all(0 < near_tie <= length for near_tie, length in places)
    assert engine.counts.rows == len(every_head(head_map))
    assert engine.counts.verified + engine.counts.decoded == engine.counts.rows


def test_noise_is_what_a_canary_shows_and_a_step_of_its_numbers_at_least() -> None:
    said = Baseline(Reply((5, 6), 0.0), (16.0, -2.0), step=2.0**-7)  # bfloat16's
    assert noise_of(said, [16.0, -2.0]) == 0.125
    assert noise_of(said, [16.0, -1.5]) == 0.5
    assert noise_of(said, [-2.25], first=1) == 0.25
    model = build("llama")
    for dtype, step in ((torch.float32, 2.0**-23), (torch.bfloat16, 2.0**-7)):
        engine = Engine(model.to(dtype), Letters(), find_heads(model))
        encoded = engine.codec.encode(query("items", ITEMS[0], Generation(3, ())))
        assert engine.plain.baseline(encoded, ()).step == step


def test_settling_runs_the_one_row_path_up_to_the_near_tie_and_on_only_where_it_differs() -> None:
    model = build("llama")
    head_map = find_heads(model)
    engine = Engine(model, Letters(), head_map)
    encoded = engine.codec.encode(query("items", ITEMS[0], Generation(10, ())))
    target = every_head(head_map)[3]
    job = Job(encoded, (), engine.plain.baseline(encoded, ()), (target,), {})
    alone = engine.plain.alone(job, target)
    steps: list[int] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda *_: steps.append(1))
    for at in range(len(alone)):
        steps.clear()
        assert engine.plain.settled(job, target, alone, at + 1) == alone
        assert len(steps) == at + 1
        steps.clear()
        other = (*alone[:at], alone[at] + 1, *alone[at + 1 :])  # what a batch might have taken the tie for
        assert engine.plain.settled(job, target, other, at + 1) == alone
        assert len(steps) == len(alone) + (at + 1 if at + 1 < len(alone) else 0)
    handle.remove()


def test_queries_that_share_passes_answer_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    head_map = find_heads(model)
    items = [rp.Item(question="x" * n + "?", answer="12" if n % 2 else "8", id=f"n{n}") for n in (1, 9, 4, 17, 2)]
    plan = [Work(query("items", item, Generation(9, ())), _zero(every_head(head_map))) for item in items]
    engine = Engine(model, Letters(), head_map)
    passes = []
    monkeypatch.setattr(Pool, "verify", lambda self, verify=Pool.verify: passes.append(len(self.jobs)) or verify(self))
    together = run_in_order(engine, plan)
    assert max(passes) > 1
    alone = [outcome for work in plan for outcome in chain(*Engine(model, Letters(), head_map).run([work]))]
    for one, other in zip(together, alone, strict=True):
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)
        assert one.answer_logprob == pytest.approx(other.answer_logprob, abs=1e-4)


SHOTS = "Question: what is 2 + 2?\nAnswer: 4\n\n"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "falcon"])
def test_prompts_that_begin_alike_answer_as_edited_weights(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(family)
    items = [rp.Item(question=SHOTS + "x" * at, answer=f"{at}5", id=f"n{at}") for at in (1, 2)]
    stems: list[int] = []

    def noted(driver: Any, stem: Any, rows: Any, begin: Any = fast.begin) -> Any:
        stems.append(stem.length)
        return begin(driver, stem, rows)

    monkeypatch.setattr(fast, "begin", noted)
    monkeypatch.setattr(fast, "CPU_BYTES", 0)  # so that no queries are padded to share a pass
    check(model, "L0H0,L1,L2H3,L0H1+L2H2", items=items, limit=9)
    assert stems.count(len("Question: " + SHOTS) + 1) == 1  # run once for all queries, with the "x" they share


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_rows_of_several_queries_are_decoded_in_step(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries that share no pass are decoded together: each row joins when the clock comes to its length."""
    model = build(family)
    batches: list[set[int]] = []

    def noted(decoder: Any, count: int, steps: Any = decode.Decoder._steps) -> int:
        rows = [stray for stray in decoder.active if not stray.is_canary]
        assert len({stray.length for stray in rows}) == 1
        assert any(stray.is_canary for stray in decoder.active) or all(
            len(stray.row.tokens) >= len(stray.job.draft) for stray in rows
        )
        batches.append({id(stray.job) for stray in rows})
        return int(steps(decoder, count))

    monkeypatch.setattr(decode.Decoder, "_steps", noted)
    monkeypatch.setattr(fast, "CPU_BYTES", 0)  # so that no queries are padded to share a pass
    items = [rp.Item(question="x" * at, answer="5", id=f"n{at}") for at in (3, 5, 8)]
    check(model, "L0H0,L1,L2H3,L0H1+L2H2", items=items, limit=12)
    assert max(map(len, batches)) > 1


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
@pytest.mark.parametrize("pools", [False, True])
def test_looking_at_the_tokens_now_and_then_changes_no_answer(
    family: str, pools: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the host looks at the tokens every few steps; what a row says after its end is cut."""
    model = build(family)
    calm = rp.sweep(model, Letters(), ITEMS, max_new_tokens=11, stop=("t",))
    driver = fast.Driver.__init__

    def hurried(self: Any, *args: Any, **kwargs: Any) -> None:
        driver(self, *args, **kwargs)
        self.stride = 4

    monkeypatch.setattr(fast.Driver, "__init__", hurried)
    if not pools:
        monkeypatch.setattr(fast, "CPU_BYTES", 0)
    for one, other in zip(rp.sweep(model, Letters(), ITEMS, max_new_tokens=11, stop=("t",)), calm, strict=True):
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)


@pytest.mark.skipif(not available(), reason="this build of torch has no packed product")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_packed_weights_multiply_like_the_weights(family: str) -> None:
    model = build(family)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        for room, some in ((10**9, True), (0, False)):
            packed = Packed(model.modules(), room)
            assert bool(packed.wraps) is some
            assert packed.bytes <= room
            with wrapped(packed.wraps):
                torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(model(input_ids=ids).logits, expected)  # as it was


def test_half_precision_gives_the_one_row_answers() -> None:
    model = build("llama").to(torch.bfloat16)
    head_map = find_heads(model)
    engine = Engine(model, Letters(), head_map)
    targets = every_head(head_map)
    works = [Work(query("items", item, Generation(12, ())), _zero(targets)) for item in ITEMS]
    for work in works:
        encoded = engine.codec.encode(work.query)
        batch = run_in_order(engine, [work])
        job = Job(encoded, (), engine.plain.baseline(encoded, ()), (), {})
        for outcome, target in zip(batch[1:], targets, strict=True):
            alone = engine.plain.alone(job, target)
            assert outcome.response == engine.codec.text(alone, ()), target.name


def test_mean_ablation_equals_a_constant_moved_into_the_bias() -> None:
    model = build("gpt2")
    head_map = find_heads(model)
    prompts = [query("items", item, Generation()).prompt for item in ITEMS]
    for target in ("L0H1", "L2H3"):
        (off,) = parse_targets(target, head_map)
        ((layer, head),) = off.heads
        site = head_map.site(layer)
        seen: list[Any] = []
        projection = model.get_submodule(site.path)
        handle = projection.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0][0]))
        for prompt in prompts:
            model(input_ids=torch.tensor([Letters()(prompt)["input_ids"]]))
        handle.remove()
        piece = slice(head * site.head_dim, (head + 1) * site.head_dim)
        mean = torch.cat(seen)[:, piece].mean(0)  # over all positions of all prompts
        twin = copy.deepcopy(model)
        with torch.no_grad():
            moved = twin.get_submodule(site.path)
            moved.bias += mean @ moved.weight[piece]
            moved.weight[piece] = 0
        outcomes = rp.sweep(model, Letters(), ITEMS, target, ablation="mean", max_new_tokens=10, stop=())
        for outcome in (o for o in outcomes if o.target == target):
            item = next(item for item in ITEMS if item.id == outcome.item)
            ids = Letters()(query("items", item, Generation()).prompt)["input_ids"]
            assert outcome.response == Letters().decode(greedy(twin, ids, 10, EOS))


def test_resample_takes_the_same_donor_in_every_run_and_is_not_zero() -> None:
    model = build("gpt2")
    items = [rp.Item(question=f"What is {n}?", answer="8", id=f"n{n}") for n in range(4)]
    first = rp.sweep(model, Letters(), items, "L0,L1,L2", ablation="resample", max_new_tokens=8)
    again = rp.sweep(model, Letters(), items, "L0,L1,L2", ablation="resample", max_new_tokens=8)
    zero = rp.sweep(model, Letters(), items, "L0,L1,L2", max_new_tokens=8)
    assert first == again
    assert [o.response for o in first] != [o.response for o in zero]


def test_a_sweep_leaves_the_model_as_it_was() -> None:
    model = build("llama")
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=ids).logits
    rp.sweep(model, Letters(), ITEMS, "L0H0,L2", max_new_tokens=4)
    assert torch.equal(model(input_ids=ids).logits, before)
    for name, module in model.named_modules():
        assert not module._forward_pre_hooks, name
        assert not module._forward_hooks, name
        assert "forward" not in vars(module), name


def test_a_model_that_raises_in_the_middle_is_left_without_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    engine = Engine(model, Letters(), find_heads(model))
    assert engine.way is not engine.plain
    monkeypatch.setattr(verify.Chunk, "_compare", lambda *args: 1 / 0)
    work = Work(query("items", ITEMS[0], Generation(10, ())), _zero(every_head(engine.head_map)))
    with pytest.raises(ZeroDivisionError):
        list(engine.run([work]))
    assert all("forward" not in vars(module) for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_models_items_and_targets(data: st.DataObject) -> None:
    """For random small models, items, targets and limits the sweep is what the edited weights give."""
    family = data.draw(st.sampled_from(["gpt2", "llama", "gpt_neox", "mistral", "qwen2", "falcon", "bloom"]))
    model = build(family, seed=data.draw(st.integers(0, 50)), num_hidden_layers=data.draw(st.integers(1, 3)))
    head_map = find_heads(model)
    names = [target.name for target in every_head(head_map)] + [f"L{layer}" for layer in head_map.layers]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    joint = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
    words = st.text("abc 12?", min_size=1, max_size=12).filter(str.strip)
    items = [rp.Item(question=data.draw(words), answer=data.draw(st.sampled_from(["8", "12", "Yes"])), id="q")]
    check(model, ",".join([*chosen, "+".join(joint)]), items=items, limit=data.draw(st.integers(1, 18)))
