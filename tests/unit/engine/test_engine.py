"""The engine gives the answers of models whose weights were edited by hand, whichever path it takes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine import memory as engine_memory
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import choice, verification
from reasoning_probe.engine.fast import path as fast
from reasoning_probe.engine.fast.forward import wrapped
from reasoning_probe.engine.fast.packed_linear import PackedLinears, available
from reasoning_probe.engine.memory import Memory
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.tokenization import AblationJob, TokenCodec
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head, parse_targets
from tests.helpers.character_tokenizer import FIRST, Cut, Letters
from tests.helpers.edited_sweeps import EOS, ITEMS, check, run_in_order, zeroed
from tests.helpers.model_families import FAMILIES, VOCAB, build
from tests.helpers.weight_edit_oracle import greedy, logprob


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_answers_as_with_edited_weights(family: str) -> None:
    model = build(family)
    outcomes = check(model, "L0H1,L1H0,L2H3,L1,L0H2+L2H0", limit=10)
    baselines = {o.item: o.response for o in outcomes if o.target == "baseline"}
    assert any(o.response != baselines[o.item] for o in outcomes), "no target changed anything: nothing was tested"


def test_without_a_limit_the_parameters_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("gpt2")
    head_map = find_heads(model)
    bound = engine_memory.PARAMETER_BYTES * sum(parameter.numel() for parameter in model.parameters())
    monkeypatch.setattr(Memory, "free", lambda self: 10**12)
    assert bound < LocalEngine(model, Letters(), head_map).memory.budget == engine_memory.LEAST
    monkeypatch.setattr(engine_memory, "LEAST", 1)
    assert LocalEngine(model, Letters(), head_map).memory.budget == bound
    assert LocalEngine(model, Letters(), head_map, memory_cap=10**12).memory.budget == 10**12
    monkeypatch.setattr(Memory, "free", lambda self: 1000)
    assert LocalEngine(model, Letters(), head_map).memory.budget == 500


@pytest.mark.parametrize(
    ("family", "path"),
    [("gpt2", "growing passes of several queries"), ("llama", "growing passes of several queries"), ("openai-gpt", "")],
)
def test_the_self_check_chooses_the_path(family: str, path: str) -> None:
    model = build(family)
    codec, memory = TokenCodec(model, Letters()), Memory("cpu")
    head_map = find_heads(model)
    plain = PlainPath(model, head_map, codec, memory)
    chosen, why = choice.fast_path(model, head_map, codec, plain, memory)
    assert (chosen is not None) == bool(path)
    assert why == path or (not path and why)
    assert plain.counts.rows == 0, "the self-check is not part of the sweep"


class Divided(nn.Module):
    """GPT-2's layers, divided into the named *parts*."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def __iter__(self) -> Iterator[nn.Module]:
        return chain(*(part.children() for part in self.children()))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [({"low": (0, 1), "high": (2,)}, "are not in one list"), ({"all": (0, 1, 2)}, "cannot be told apart")],
    ids=["two-lists", "no-list"],
)
def test_a_model_whose_layers_are_in_no_list_takes_the_plain_path(parts: dict[str, Any], reason: str) -> None:
    model = build("gpt2")
    layers = list(model.transformer.h)
    model.transformer.h = Divided(
        {name: nn.ModuleDict({str(layer): layers[layer] for layer in numbers}) for name, numbers in parts.items()}
    )
    codec, memory, head_map = TokenCodec(model, Letters()), Memory("cpu"), find_heads(model)
    chosen, why = choice.fast_path(model, head_map, codec, PlainPath(model, head_map, codec, memory), memory)
    assert chosen is None
    assert reason in why
    check(model, "L0H1,L2H3")


def test_an_unlike_log_probability_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-check compares everything that is stored, not only the answers."""
    self_check_jobs = choice._self_check_jobs
    model = build("gpt2")
    codec, memory, head_map = TokenCodec(model, Letters()), Memory("cpu"), find_heads(model)

    def with_other_logprobs(plain: PlainPath, head_map: HeadMap) -> Any:
        jobs, expected = self_check_jobs(plain, head_map)
        return jobs, [
            [replace(completion, logprob=completion.logprob + 1) for completion in of_job] for of_job in expected
        ]

    monkeypatch.setattr(choice, "_self_check_jobs", with_other_logprobs)
    chosen, why = choice.fast_path(model, head_map, codec, PlainPath(model, head_map, codec, memory), memory)
    assert (chosen, why) == (None, "its log-probabilities differ from the plain path's")


class Bytes(Letters):
    """A faulty tokenizer: it returns no tokens at all, or a token that the model does not have."""

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
    outcomes = rp.sweep(model, Bytes("empty?", "odd?"), items, "L0H0", max_new_tokens=3)
    assert {outcome.item for outcome in outcomes} == {"a", "b"}
    reasons = {skip["item"]: skip["reason"] for skip in outcomes.run.summary["skipped"]}
    assert reasons == {
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
    (outcome,) = rp.sweep(model, tokenizer, ITEMS[:1], [], max_new_tokens=2, stop=())
    prompt = tokenizer(query("items", ITEMS[0], Generation()).prompt)["input_ids"]
    assert outcome.answer_logprob == pytest.approx(logprob(model, prompt, tokenizer(" 8")["input_ids"]), abs=2e-3)


@pytest.mark.parametrize("length", [1, 2, 40], ids=lambda length: f"prompt-of-{length}")
def test_prompts_of_any_length(length: int) -> None:
    check(build("llama"), "L0-L2,L1H2", Cut(length))


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


@pytest.mark.skipif(not available(), reason="this build of torch has no packed product")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_packed_weights_multiply_like_the_weights(family: str) -> None:
    model = build(family)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        for max_bytes, packs_some in ((10**9, True), (0, False)):
            packed = PackedLinears(model.modules(), max_bytes)
            assert bool(packed.wraps) is packs_some
            assert packed.bytes <= max_bytes
            with wrapped(packed.wraps):
                torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(model(input_ids=ids).logits, expected)  # restored


def test_half_precision_gives_the_one_row_answers() -> None:
    model = build("llama").to(torch.bfloat16)
    head_map = find_heads(model)
    engine = LocalEngine(model, Letters(), head_map)
    targets = every_head(head_map)
    requests = [SweepRequest(query("items", item, Generation(12, ())), zeroed(targets)) for item in ITEMS]
    for request in requests:
        encoded = engine.codec.encode(request.query)
        batch = run_in_order(engine, [request])
        job = AblationJob(encoded, (), engine.plain.baseline(encoded, ()), (), ZERO)
        for outcome, target in zip(batch[1:], targets, strict=True):
            alone = engine.plain.generate_alone(job, target)
            assert outcome.response == engine.codec.text(alone, ()), target.name


def test_mean_ablation_equals_a_constant_moved_into_the_bias() -> None:
    model = build("gpt2")
    head_map = find_heads(model)
    prompts = [query("items", item, Generation()).prompt for item in ITEMS]
    for target in ("L0H1", "L2H3"):
        (parsed,) = parse_targets(target, head_map)
        ((layer, head),) = parsed.heads
        site = head_map.attention_layer(layer)
        inputs: list[Any] = []  # of the projection, (tokens, heads * head_dim) each
        projection = model.get_submodule(site.path)
        handle = projection.register_forward_pre_hook(lambda module, args, inputs=inputs: inputs.append(args[0][0]))
        for prompt in prompts:
            model(input_ids=torch.tensor([Letters()(prompt)["input_ids"]]))
        handle.remove()
        head_slice = slice(head * site.head_dim, (head + 1) * site.head_dim)
        mean = torch.cat(inputs)[:, head_slice].mean(0)  # over all positions of all prompts
        twin = copy.deepcopy(model)
        with torch.no_grad():
            edited = twin.get_submodule(site.path)
            edited.bias += mean @ edited.weight[head_slice]
            edited.weight[head_slice] = 0
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
    engine = LocalEngine(model, Letters(), find_heads(model))
    assert engine.path is not engine.plain
    monkeypatch.setattr(verification.RowChunk, "_compare", lambda *args: 1 / 0)
    request = SweepRequest(query("items", ITEMS[0], Generation(10, ())), zeroed(every_head(engine.head_map)))
    with pytest.raises(ZeroDivisionError):
        list(engine.run([request]))
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
