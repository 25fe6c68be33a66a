"""Replaced outputs, compared with plain hooks written here, and several ablations in one session."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.models.ablation import donor_of, reference_record
from reasoning_probe.models.heads import find_heads
from reasoning_probe.results.rank_changes import rank_changes
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build

ITEMS = [rp.Item(question=text, answer="8", id=text[:3]) for text in ("5 + 3?", "What is 2 times 4?", "Ten less two?")]


def inputs(model: Any, path: str, ids: torch.Tensor) -> torch.Tensor:
    """The projection's input on one prompt, ``(tokens, features)``, by a hook written here."""
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(path).register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    with torch.no_grad():
        model(input_ids=ids)
    handle.remove()
    return seen[0]


def put(model: Any, path: str, where: slice, value: torch.Tensor, ids: torch.Tensor, answer: list[int]) -> float:
    """The log-probability of *answer* with *value* in one slice of the projection's input, by a hook written here."""

    def hook(module: Any, args: Any) -> Any:
        x = args[0].clone()
        x[..., where] = value
        return (x,)

    handle = model.get_submodule(path).register_forward_pre_hook(hook)
    with torch.no_grad():
        logits = model(input_ids=torch.cat([ids, torch.tensor([answer])], 1)).logits[0]
    handle.remove()
    logs = logits.double().log_softmax(-1)
    return float(sum(logs[ids.shape[1] - 1 + index, token] for index, token in enumerate(answer)))


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_replaced_outputs_are_those_of_the_prompts(ablation: str) -> None:
    model, tokenizer = build("gpt2"), Letters()
    attention_layer = find_heads(model).attention_layers[1]
    where = slice(attention_layer.head_dim, 2 * attention_layer.head_dim)
    prompts = [query("items", item, Generation()).prompt for item in ITEMS]
    ids = {text: torch.tensor([tokenizer(text)["input_ids"]]) for text in prompts}
    clean = {text: inputs(model, attention_layer.path, ids[text])[:, where] for text in prompts}
    for outcome in rp.sweep(model, tokenizer, ITEMS, f"L{attention_layer.layer}H1", ablation, 6, stop=())[1::2]:
        if ablation == "mean":
            value = torch.cat(list(clean.values())).mean(0)
        else:
            donor = donor_of(outcome.prompt, prompts, 0)
            assert donor != outcome.prompt
            value = clean[donor][-1]
        text = outcome.prompt
        answer = tokenizer(text + " 8")["input_ids"][len(tokenizer(text)["input_ids"]) :]
        expected = put(model, attention_layer.path, where, value, ids[text], answer)
        assert outcome.answer_logprob == pytest.approx(expected, abs=2e-3)


def test_a_sweep_takes_several_ablations() -> None:
    model = build("gpt2")
    both = rp.sweep(model, Letters(), ITEMS, "L0,L0H0+L1H1", "zero,mean", 4, stop=())
    assert len(both) == len(ITEMS) * 5
    alone = rp.sweep(model, Letters(), ITEMS, "L0,L0H0+L1H1", ["mean"], 4, stop=())
    assert [o.response for o in both if o.ablation == "mean"] == [o.response for o in alone if o.ablation]
    with pytest.raises(ValueError, match="unknown ablation 'media'"):
        rp.sweep(model, Letters(), ITEMS, "L0", "zero,media")


def test_the_seed_draws_another_donor() -> None:
    prompts = [f"p{index}" for index in range(50)]
    assert donor_of("p0", prompts, 1) == donor_of("p0", prompts, 1)
    assert len({donor_of("p0", prompts, seed) for seed in range(10)}) > 1
    assert donor_of("p0", ["p0"], 0) == "p0"


def test_the_reference_set_is_recorded() -> None:
    record = reference_record(("zero", "mean", "resample"), {"a": ["x", "y"], "b": ["z"]}, 7)
    digests = {"a": hashlib.sha256(b"x\0y\0").hexdigest(), "b": hashlib.sha256(b"z\0").hexdigest()}
    datasets = {name: {"prompts": prompts, "sha256": digests[name]} for name, prompts in (("a", 2), ("b", 1))}
    assert record["zero"]["datasets"] == {}
    assert record["mean"] == {"averaged": "positions", "seed": None, "datasets": datasets}
    assert record["resample"] == {"averaged": None, "seed": 7, "datasets": datasets}


def ranked_rows(drops: dict[str, list[float]], effects: dict[str, set[int]] | None = None) -> list[dict[str, object]]:
    """Return a row for each ablation and head, with the heads that have an effect; by default all but a 0."""
    return [
        {
            "dataset": "d",
            "target": f"L0H{head}",
            "ablation": name,
            "delta_logprob": drop,
            "p_discrete": 0.001 if (head in effects[name] if effects else drop) else 1.0,
        }
        for name, of_heads in drops.items()
        for head, drop in enumerate(of_heads)
    ]


def test_a_head_that_only_one_ablation_calls_important_is_flagged() -> None:
    rows = ranked_rows({"zero": [-9.0, -2.0, -1.0, 0.0], "mean": [0.0, -2.0, -1.0, -0.5]})
    assert rank_changes(rows) == [{"dataset": "d", "target": "L0H0", "ranks": {"zero": 1, "mean": 4}}]
    assert rank_changes(rows[:4]) == []


def test_heads_without_an_effect_and_effects_that_stay_have_no_rank_change() -> None:
    """Ranks of 144 heads without an effect are chance; of two heads with one under both, one must be the second."""
    rng = random.Random(0)
    none = {name: [rng.gauss(0, 1) for _ in range(144)] for name in ("zero", "mean")}
    assert rank_changes(ranked_rows(none, {"zero": set(), "mean": set()})) == []
    both = {"zero": [-2.0, -1.0], "mean": [-1.0, -2.0]}
    assert rank_changes(ranked_rows(both, {"zero": {0, 1}, "mean": {0, 1}})) == []


def test_two_ablations_of_layers_and_joint_targets_in_one_session(project: Any) -> None:
    project.probe("logic")
    result = project.run(
        "--ablate-layers",
        "--probe-heads=L0H1+L1H2",
        "--ablation=zero,resample",
        "--probe-items=2",
        "--probe-seed=3",
        "-v",
    )
    result.stdout.fnmatch_lines(["*-L0H1+L1H2-resample]*", "*proof*control*sweep*"])
    summary = project.summary()
    ablations = {(row["target"], row["ablation"]) for row in summary["targets"]}
    assert {("L0", "zero"), ("L0", "resample"), ("L0H1+L1H2", "zero"), ("L0H1+L1H2", "resample")} <= ablations
    assert summary["reference"]["resample"]["seed"] == 3
    assert {(row["target"], row["ablation"]) for row in summary["control"]["targets"]} == ablations
    assert {"load_s", "proof_s", "control_s", "baseline_s", "sweep_s", "total_s"} <= set(summary["timing"])


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_a_prompt_that_does_not_fit_the_context_is_no_reference(ablation: str) -> None:
    """Its item is skipped, and the values for the other items come from the prompts that fit."""
    model = build("gpt2", max_position_embeddings=64)
    long = rp.Item(question="x" * 200, answer="8", id="long")
    items = [rp.Item(question=f"What is {n}?", answer="8", id=f"n{n}") for n in range(3)]
    with_long = rp.sweep(model, Letters(), [long, *items], "L0H1,L1", ablation=ablation, max_new_tokens=6)
    without = rp.sweep(model, Letters(), items, "L0H1,L1", ablation=ablation, max_new_tokens=6)
    assert list(with_long) == list(without)
    assert len(without) == 9
