"""Key/value groups and MLPs as targets: found by watching, verified on the weights, exact against edited weights."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import path
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.heads import find_heads, verify_heads
from reasoning_probe.models.targets import TargetError, every_mlp, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build, config_of
from tests.helpers.weight_edit_oracle import edit, greedy, logprob

ITEMS = [rp.Item(question="What is 5 + 3?", answer="8", id="a"), rp.Item(question="Max?", answer="Yes", id="b")]

NAMED_4 = transformers.__version__.startswith("4.")  # transformers 5 gave some modules other names

# The module whose output is the contribution of the MLP, by family, and the heads of group 0 where heads share keys.
LAST = {
    "gpt2": ("transformer.h.{}.mlp.c_proj", None),
    "llama": ("model.layers.{}.mlp.down_proj", [0, 1]),
    "falcon": ("transformer.h.{}.mlp.dense_4h_to_h", [0, 1, 2, 3]),  # beside the attention, not behind it
    "opt": ("model.decoder.layers.{}.fc2", None),  # no module of its own
    "bloom": ("transformer.h.{}.mlp.dense_4h_to_h", None),  # adds the stream itself
    "mixtral": (f"model.layers.{{}}.{'block_sparse_moe' if NAMED_4 else 'mlp'}.experts", [0, 1]),
    "gemma2": ("model.layers.{}.mlp.down_proj", [0, 1]),  # normalised before it is added
}


def silence(model: Any, family: str, layer: int) -> None:
    """Set the last weights of the MLP of *layer*, and their bias, to zero."""
    with torch.no_grad():
        for parameter in model.get_submodule(LAST[family][0].format(layer)).parameters():
            parameter.zero_()


def answers(twin: Any, item: rp.Item, limit: int) -> tuple[str, float]:
    letters = Letters()
    ids = letters(query("items", item, Generation()).prompt)["input_ids"]
    answer = letters(" " + item.answer)["input_ids"]
    return letters.decode(greedy(twin, ids, limit, 2)), logprob(twin, ids, answer)


@pytest.mark.parametrize("family", sorted(LAST))
def test_mlps_and_groups_answer_as_edited_weights(family: str) -> None:
    model, limit = build(family), 10
    head_map = find_heads(model)
    twins = {name: copy.deepcopy(model) for name in ("baseline", "L0MLP", "L2MLP", "L1MLP+L2H1", "L1KV0")}
    silence(twins["L0MLP"], family, 0)
    silence(twins["L2MLP"], family, 2)
    silence(twins["L1MLP+L2H1"], family, 1)
    edit(twins["L1MLP+L2H1"], head_map.attention_layer(2).path, 4, [1])
    group = LAST[family][1]
    if group is None:
        del twins["L1KV0"]
    else:
        edit(twins["L1KV0"], head_map.attention_layer(1).path, 4, group)
    outcomes = rp.sweep(model, Letters(), ITEMS, [name for name in twins if name != "baseline"], "zero", limit, stop=())
    assert len(outcomes) == len(ITEMS) * len(twins)
    for outcome in outcomes:
        item = next(item for item in ITEMS if item.id == outcome.item)
        response, log = answers(twins[outcome.target], item, limit)
        assert outcome.response == response, (outcome.item, outcome.target)
        assert outcome.answer_logprob == pytest.approx(log, abs=2e-3, rel=1e-4), (outcome.item, outcome.target)
    logs = {outcome.target: outcome.answer_logprob for outcome in outcomes}
    assert all(abs(one - other) > 1e-3 for one, other in pairwise(sorted(logs.values()))), "targets that do nothing"


@pytest.mark.parametrize("pools", [False, True])
def test_the_fast_path_takes_mlps(pools: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not pools:
        monkeypatch.setattr(path, "CPU_BYTES", 0)
    for family in ("llama", "gpt2", "bloom"):
        model = build(family)
        engine = LocalEngine(model, Letters(), find_heads(model))
        assert isinstance(engine.path, path.FastPath), engine.why
        for outcome in rp.sweep(model, Letters(), ITEMS, "L0MLP,L1MLP,L2MLP,L0H1", max_new_tokens=7, stop=()):
            twin = copy.deepcopy(model)
            if outcome.target == "L0H1":
                edit(twin, engine.head_map.attention_layer(0).path, 4, [1])
            elif outcome.target != "baseline":
                silence(twin, family, int(outcome.target[1]))
            item = next(item for item in ITEMS if item.id == outcome.item)
            assert outcome.response == answers(twin, item, 7)[0], (family, outcome.target)


def test_the_mean_of_an_mlp_equals_a_constant_moved_into_its_bias() -> None:
    model = build("gpt2")
    seen: list[torch.Tensor] = []
    projection = model.get_submodule("transformer.h.1.mlp.c_proj")
    handle = projection.register_forward_hook(lambda module, args, output: seen.append(output[0]))
    for item in ITEMS:
        model(input_ids=torch.tensor([Letters()(query("items", item, Generation()).prompt)["input_ids"]]))
    handle.remove()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        moved = twin.get_submodule("transformer.h.1.mlp.c_proj")
        moved.weight.zero_()
        moved.bias.copy_(torch.cat(seen).mean(0))  # over all positions of all prompts
    for outcome in rp.sweep(model, Letters(), ITEMS, "L1MLP", "mean", 9, stop=())[1::2]:
        item = next(item for item in ITEMS if item.id == outcome.item)
        response, log = answers(twin, item, 9)
        assert outcome.response == response
        assert outcome.answer_logprob == pytest.approx(log, abs=2e-3)


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_both_paths_put_the_same_in_an_mlps_place(ablation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    quick = rp.sweep(model, Letters(), ITEMS, "L0MLP,L2MLP,L1MLP+L1H0", ablation, 8, stop=())
    monkeypatch.setattr(LocalEngine, "path", property(lambda engine: engine.plain))
    slow = rp.sweep(model, Letters(), ITEMS, "L0MLP,L2MLP,L1MLP+L1H0", ablation, 8, stop=())
    zero = rp.sweep(model, Letters(), ITEMS, "L0MLP,L2MLP,L1MLP+L1H0", "zero", 8, stop=())
    assert isinstance(LocalEngine(model, Letters(), find_heads(model)).path, PlainPath)
    for one, other, third in zip(quick, slow, zero, strict=True):
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)
        assert one.answer_logprob == pytest.approx(other.answer_logprob, abs=1e-3)
        assert (one.answer_logprob == pytest.approx(third.answer_logprob, abs=1e-3)) is (one.target == "baseline")


def test_without_weights_the_same_groups_and_mlps_are_found() -> None:
    for family in LAST:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config_of(family), dtype=torch.bfloat16).eval()
        one, other = find_heads(skeleton).attention_layers[1], find_heads(build(family)).attention_layers[1]
        assert (one.kv_heads, one.mlp) == (other.kv_heads, other.mlp)
        assert one.mlp


def test_an_mlp_is_never_taken_for_the_heads_of_its_layer(tmp_path: Path) -> None:
    """The store tells them apart. A group and its heads jointly are the same target, so they may share an answer."""

    class Known(Letters):
        init_kwargs: ClassVar[dict[str, Any]] = {}

        def get_vocab(self) -> dict[str, int]:
            return {}

    model = build("llama")
    ask = ["L1", "L1MLP", "L1KV0", "L1H0+L1H1", "L1+L1MLP"]
    fresh = rp.sweep(model, Known(), ITEMS, ask, max_new_tokens=6, stop=())
    for names in (["L1"], ["L1MLP", "L1KV0"], ask):
        stored = rp.sweep(model, Known(), ITEMS, names, max_new_tokens=6, stop=(), cache=tmp_path)
        wanted = [outcome for outcome in fresh if outcome.target in ("baseline", *names)]
        assert [(o.target, o.response) for o in stored] == [(o.target, o.response) for o in wanted]
        assert [o.answer_logprob for o in stored] == pytest.approx([o.answer_logprob for o in wanted], abs=1e-4)
    logs = {o.target: round(o.answer_logprob, 3) for o in fresh if o.item == "a"}
    assert logs["L1KV0"] == logs["L1H0+L1H1"]
    assert len(set(logs.values())) == len(logs) - 1


@pytest.mark.parametrize(
    ("family", "target", "line"),
    [
        ("gpt2", "L1KV0", "there is no L1KV0: every head of layer 1 has keys and values of its own"),
        ("llama", "L1KV2", r"there is no L1KV2: layer 1 has 2 key/value heads \(KV0 to KV1\)"),
        ("llama", "L7MLP", "there is no attention layer L7"),
        ("openai-gpt", "L1KV0", "there is no L1KV0: the key/value heads of layer 1 cannot be identified"),
        ("openai-gpt", "L1MLP", "there is no L1MLP: no MLP can be identified in layer 1"),
    ],
)
def test_what_a_model_does_not_have_is_refused_in_a_line(family: str, target: str, line: str) -> None:
    with pytest.raises(TargetError, match=f"^{line}"):
        rp.sweep(build(family), Letters(), ITEMS, target)


def test_an_mlp_whose_sum_is_normalised_is_refused() -> None:
    """BERT normalises the stream after adding the MLP, so no layer with trained scales passes on its input."""
    model = build("bert")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name:
                parameter.add_(0.1 * torch.arange(parameter.numel()) / parameter.numel())
    with pytest.raises(HeadError, match=r"L1MLP cannot be proved: .* the layer does not hand on what it got"):
        rp.sweep(model, Letters(), ITEMS, "L1MLP")
    rp.sweep(model, Letters(), ITEMS[:1], "L1H0", max_new_tokens=2)


class Mixing(nn.Module):
    """Not an MLP: the output at each token depends on the tokens before it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x).cumsum(1)


def test_what_mixes_tokens_is_no_mlp() -> None:
    model = build("llama")
    model.model.layers[1].mlp = Mixing(model.model.layers[1].mlp)
    with pytest.raises(HeadError, match="does not work on each token alone: L1MLP is not a target"):
        verify_heads(model, head_map := find_heads(model), every_mlp(head_map))


def test_a_group_whose_heads_are_no_neighbours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def tile(hidden: torch.Tensor, times: int) -> torch.Tensor:
        return hidden.repeat(1, times, 1, 1)  # heads 0, 2 and 1, 3

    monkeypatch.setattr(modeling_llama, "repeat_kv", tile)
    model = build("llama")
    model.set_attn_implementation("eager")
    head_map = find_heads(model)
    verify_heads(model, head_map, parse_targets("L1H0,L1", head_map))
    with pytest.raises(HeadError, match=r"L1KV0 cannot be proved: heads \[0, 2\] use its values, not \[0, 1\]"):
        verify_heads(model, head_map, parse_targets("L1KV0", head_map))


def test_a_sweep_of_mlps_leaves_no_hook() -> None:
    model = build("llama")
    rp.sweep(model, Letters(), ITEMS, "L1MLP,L0KV1", max_new_tokens=3)
    for module in model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
        assert "forward" not in vars(module)
