"""Invariant numerics: a row's logits are bit for bit the same in any batch, and nothing is settled."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine import invariance
from reasoning_probe.engine import numerics as engine_numerics
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import path as fast_path_module
from reasoning_probe.engine.fast.packed_linear import fixed_products
from reasoning_probe.engine.numerics import Numerics, choose_numerics
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import fixed_shapes, loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import EOS
from tests.helpers.model_families import FAMILIES, VOCAB, build
from tests.helpers.weight_edit_oracle import edit

HALF = [torch.bfloat16, torch.float16]
ITEMS = [
    rp.Item(question="What is 5 + 3?", answer="8", id="a"),
    rp.Item(question="Max?", answer="Yes", id="b"),
    rp.Item(question="Is it so that Max is an animal of the house?", answer="No", id="c"),
]
SETTLING_FAMILIES = {"bloom", "codegen", "falcon", "gpt_neo", "gptj", "mpt", "openai-gpt", "xglm"}
"""Their attention does not go through transformers' AttentionInterface."""


@contextmanager
def mlps_off(model: Any, target: Target, paths: dict[int, str]) -> Iterator[None]:
    """Let the MLPs of *target* contribute nothing to the residual stream."""

    def nothing(module: Any, args: Any, output: Any) -> Any:
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    handles = [model.get_submodule(paths[layer]).register_forward_hook(nothing) for layer in target.mlps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def requests(targets: list[Target], limit: int = 12, ablation: str = "zero") -> list[SweepRequest]:
    ablated = tuple((target, ablation) for target in targets)
    return [SweepRequest(query("items", item, Generation(limit, ())), ablated) for item in ITEMS]


def baselines_of(model: Any, engine: LocalEngine, queries: Sequence[Query]) -> dict[Query, tuple[str, float]]:
    """Return the responses of *model* to *queries*, one row at a time, in the fixed shapes that *engine* has proved.

    The model is the engine's own or a copy of it with other weights, whose products are packed anew.
    """
    assert engine.numerics.invariant, engine.numerics.why
    proved = engine.numerics.shapes
    shapes = fixed_shapes.FixedShapes(
        model,
        proved.least_rows,
        fixed_products(model, max_bytes=1 << 30),
        in_blocks=proved.in_blocks,
        caches_tiles=proved.caches_tiles,
    )
    assert shapes.key == proved.key
    plain = PlainPath(
        model, engine.head_map, engine.codec, engine.memory, numerics=Numerics("invariant", shapes=shapes)
    )
    answers = {}
    for one in queries:
        completion = plain.baseline(engine.codec.encode(one), ()).completion
        answers[one] = engine.codec.text(completion.tokens, ()), completion.logprob
    return answers


@pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - SETTLING_FAMILIES))
def test_an_ablated_row_is_the_baseline_of_edited_weights(family: str, dtype: torch.dtype) -> None:
    model = build(family).to(dtype)
    head_map = find_heads(model)
    mlps = {site.layer: site.mlp for site in head_map.attention_layers if site.mlp}
    targets = parse_targets("L0H1,L1,L2H3,L0H0+L2H1" + (",L1MLP" if 1 in mlps else ""), head_map)
    engine = LocalEngine(model, Letters(), head_map, wanted_numerics="invariant")
    answers = list(chain(*engine.run(requests(targets))))
    facts = engine.facts()
    assert (facts["numerics"], facts["settled_singly"], facts["unequal_batches"]) == ("invariant", 0, 0), facts
    assert facts["path"] == "fast"
    assert facts["decoded"] > 0, "no target changed anything: nothing was tested"
    for target in [Target("baseline", frozenset()), *targets]:
        twin = copy.deepcopy(model)
        for site in head_map.attention_layers:
            edit(twin, site.path, site.heads, target.in_layer(site.layer))
        with mlps_off(twin, target, mlps):
            expected = baselines_of(twin, engine, [request.query for request in requests([])])
        for answer in answers:
            if answer.target == target.name:
                response, logprob = expected[answer.query]
                assert answer.response == response, (answer.item, target.name)
                assert answer.answer_logprob == pytest.approx(logprob, abs=1e-4), (answer.item, target.name)


@pytest.mark.parametrize("family", sorted(SETTLING_FAMILIES))
def test_without_an_attention_interface_rows_are_settled_and_the_run_says_why(family: str) -> None:
    model = build(family).to(torch.bfloat16)
    before = model.config._attn_implementation
    numerics = choose_numerics(model, "auto")
    assert numerics.name == "settle"
    assert numerics.why == "not invariant: its attention does not go through transformers' AttentionInterface"
    assert model.config._attn_implementation == before


@pytest.mark.parametrize(
    ("dtype", "wanted", "name"),
    [
        (torch.float32, "auto", "settle"),
        (torch.bfloat16, "auto", "invariant"),
        (torch.float16, "auto", "invariant"),
        (torch.float32, "invariant", "invariant"),
        (torch.bfloat16, "settle", "settle"),
        (torch.bfloat16, "batch", "batch"),
    ],
)
def test_auto_is_invariant_in_half_precision_alone(dtype: torch.dtype, wanted: str, name: str) -> None:
    numerics = choose_numerics(build("llama").to(dtype), wanted)
    assert (numerics.name, numerics.why) == (name, "")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_outside_of_its_passes_the_model_is_as_the_user_loaded_it(attention: str) -> None:
    model = build("mixtral").to(torch.bfloat16)
    model.set_attn_implementation(attention)
    model.set_experts_implementation("batched_mm")
    ids = torch.arange(3, 60)[None] % VOCAB
    with torch.no_grad():
        before = model(input_ids=ids).logits
        outcomes = rp.sweep(model, Letters(), ITEMS, "L0H1,L1", max_new_tokens=6, stop=())
        assert outcomes.run.summary["engine"]["numerics"] == "invariant"
        assert model.config._attn_implementation == attention
        assert model.config._experts_implementation == "batched_mm"
        assert torch.equal(model(input_ids=ids).logits, before)


def varying(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """Return an attention output that depends on the number of rows, as kernels of their own shapes do."""
    output, weights = AttentionInterface()["sdpa"](*args, **kwargs)
    return output * (1 + 0.01 * output.shape[0]), weights


def test_attention_that_varies_with_its_batch_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasoning_probe.models.fixed_tiles.attention", varying)
    numerics = choose_numerics(build("llama").to(torch.bfloat16), "invariant")
    assert numerics.name == "settle"
    assert numerics.why == "not invariant: its logits in a batch differ from those of a row alone"


def test_attention_that_ignores_its_mask_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal bits are no proof that the answer is the model's: logits must stay near those of its own attention."""
    attention = engine_numerics.FixedShapes.__init__.__globals__["fixed_tiles"].attention

    def unmasked(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
        return attention(module, query, key, value, torch.ones_like(mask, dtype=torch.bool), **kwargs)

    monkeypatch.setattr("reasoning_probe.models.fixed_tiles.attention", unmasked)
    numerics = choose_numerics(build("llama").to(torch.bfloat16), "invariant")
    assert numerics.why == "not invariant: fixed shapes change what the model computes"


def test_a_batch_whose_canary_differs_is_settled_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof may pass and a later batch differ all the same: its canary shows it."""
    model = build("llama").to(torch.bfloat16)
    head_map = find_heads(model)
    targets = parse_targets("L0H1,L1,L2H3", head_map)
    engine = LocalEngine(model, Letters(), head_map, wanted_numerics="invariant")
    assert engine.path is not engine.plain
    expected = {(a.item, a.target): a.response for a in chain(*engine.run(requests(targets)))}
    assert engine.facts()["settled_singly"] == 0
    attention = AttentionInterface()["reasoning_probe_fixed_tiles"]

    def noisy(*args: Any, **kwargs: Any) -> Any:
        output, weights = attention(*args, **kwargs)
        return output * (1.02 if output.shape[0] > 3 else 1), weights

    AttentionInterface.register("reasoning_probe_fixed_tiles", noisy)
    try:
        answers = {(a.item, a.target): a.response for a in chain(*engine.run(requests(targets)))}
    finally:
        AttentionInterface.register("reasoning_probe_fixed_tiles", attention)
    assert engine.facts()["unequal_batches"] > 0
    assert engine.facts()["settled_singly"] > 0
    assert answers == expected


def test_batch_takes_what_a_batch_gives_and_counts_canaries() -> None:
    model = build("llama").to(torch.bfloat16)
    head_map = find_heads(model)
    settling = LocalEngine(model, Letters(), head_map, wanted_numerics="settle")
    taking = LocalEngine(model, Letters(), head_map, wanted_numerics="batch")
    targets = parse_targets("L0H1,L1,L2H3,L2", head_map)
    for engine in (settling, taking):
        list(chain(*engine.run(requests(targets))))
    assert settling.facts()["settled_singly"] > 0
    assert taking.facts()["settled_singly"] == 0
    assert taking.facts()["canaries"] > 0


def test_baselines_decoded_together_are_those_decoded_alone() -> None:
    model = build("qwen3").to(torch.bfloat16)
    engine = LocalEngine(model, Letters(), find_heads(model), wanted_numerics="invariant")
    queries = [(engine.codec.encode(request.query), ()) for request in requests([], 20)]
    together = engine.path.baselines(queries)
    for (encoded, stop), baseline in zip(queries, together, strict=True):
        alone = engine.plain.baseline(encoded, stop)
        assert baseline.completion.tokens == alone.completion.tokens
        assert baseline.digests == alone.digests
        assert baseline.best_logits == alone.best_logits
        assert baseline.completion.logprob == pytest.approx(alone.completion.logprob, abs=1e-4)


@pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_other_ablations_answer_as_hooks_in_a_row_alone(ablation: str, dtype: torch.dtype) -> None:
    model = build("llama").to(dtype)
    head_map = find_heads(model)
    targets = parse_targets("L0H1,L1,L2H3,L0H0+L2H1", head_map)
    references = {"items": ["Question: 1?\nAnswer:", "Question: What is it?\nAnswer:"]}
    engine = LocalEngine(model, Letters(), head_map, references, wanted_numerics="invariant")
    answers = {(a.item, a.target): a for a in chain(*engine.run(requests(targets, ablation=ablation)))}
    assert engine.facts()["settled_singly"] == 0
    assert engine.facts()["decoded"] > 0
    for request in requests(targets):
        values = engine.values(ablation, "items", request.query.prompt)
        for target in targets:
            handles = [
                model.get_submodule(site.path).register_forward_pre_hook(replacing(site, target, values))
                for site in head_map.attention_layers
            ]
            expected = baselines_of(model, engine, [request.query])
            for handle in handles:
                handle.remove()
            answer = answers[request.query.item_id, target.name]
            assert answer.response == expected[request.query][0], (ablation, target.name)


def replacing(site: Any, target: Target, values: Any) -> Any:
    """Return a hook that writes the *values* of the target's heads into the output projection's input."""

    def hook(module: Any, args: Any) -> Any:
        heads = args[0].clone()
        for head in target.in_layer(site.layer):
            part = slice(head * site.head_dim, (head + 1) * site.head_dim)
            heads[..., part] = values[site.layer][0, head].to(heads.dtype)
        return (heads, *args[1:])

    return hook


@pytest.mark.parametrize("rows", [1, 3, 17])
@pytest.mark.parametrize("tokens", [1, 9, 64, 70])
def test_digests_tell_one_bit(rows: int, tokens: int) -> None:
    logits = torch.randn(rows, tokens, 50)
    other = logits.clone()
    other[-1, -1, 7] = torch.nextafter(other[-1, -1, 7], torch.tensor(9.0))
    equal = engine_numerics.logit_digests(logits) == engine_numerics.logit_digests(other)
    assert not equal[-1, -1]
    assert equal.sum() == rows * tokens - 1


def test_a_short_context_is_proved_within_it() -> None:
    model = build("llama", max_position_embeddings=24).to(torch.bfloat16)
    assert invariance.broken_invariance(model, choose_numerics(model, "invariant").shapes) == ""
    assert EOS == 2


def test_products_in_blocks_are_invariant_too() -> None:
    """GPUs choose a kernel for each number of rows, so there every product has the same number."""
    model = build("llama").to(torch.bfloat16)
    shapes = fixed_shapes.FixedShapes(model, 64, in_blocks=True)
    rows: set[int] = set()
    products = {id(each.weight): counting(each, rows) for each in model.modules() if isinstance(each, nn.Linear)}
    shapes.products = products
    assert invariance.broken_invariance(model, shapes) == ""
    assert rows == {64}


def counting(module: nn.Linear, rows: set[int]) -> Callable[[Tensor], Tensor]:
    """Return the product of *module*, which notes of how many rows."""

    def product(x: Tensor) -> Tensor:
        rows.add(x.shape[:-1].numel())
        return x @ module.weight.T

    return product


def test_the_store_keeps_the_answers_of_each_numerics_apart(tmp_path: Path) -> None:
    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"), "cpu", "bfloat16")

    def recalled(numerics: str) -> tuple[str, int]:
        sweep = rp.sweep(loaded.model, loaded.tokenizer, ITEMS, "L0H1,L1", cache=tmp_path, numerics=numerics)
        engine = sweep.run.summary["engine"]
        return engine["numerics"], engine["recalled"] or 0

    assert recalled("invariant") == ("invariant", 0)
    assert recalled("settle") == ("settle", 0)
    assert recalled("batch") == ("batch", 0)
    assert recalled("auto") == ("invariant", 9)
    assert recalled("settle") == ("settle", 9)


def test_numerics_that_do_not_exist_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"^numerics='exact' is not one of auto, invariant, settle, batch$"):
        rp.sweep(build("llama"), Letters(), ITEMS, "L0H1", numerics="exact")


def test_rows_of_queries_of_any_length_are_decoded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch of steps reads all weights, so rows of short and long prompts share one."""
    model = build("llama").to(torch.bfloat16)
    targets = parse_targets("L0H1,L1,L2H3", find_heads(model))
    engine = LocalEngine(model, Letters(), find_heads(model), wanted_numerics="invariant")
    assert engine.path is not engine.plain
    batches: list[set[int]] = []
    decode = fast_path_module.decode_ragged

    def counted(driver: Any, codec: Any, rows: Any) -> Any:
        batches.append({row.job.prompt_length for row in rows})
        return decode(driver, codec, rows)

    monkeypatch.setattr(fast_path_module, "decode_ragged", counted)
    answers = list(chain(*engine.run(requests(targets))))
    assert len(answers) == len(ITEMS) * 4
    assert len(batches) == 1
    lengths = sorted(batches[0])
    assert lengths[-1] > 1.5 * lengths[0], "the prompts are alike: nothing was tested"
