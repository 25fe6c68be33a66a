"""Attribution against finite differences and known circuits, the choice of heads, and sentences on screening."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.analyses import screening
from reasoning_probe.analyses.attribution import estimates
from reasoning_probe.analyses.screening import evenly_spaced, screen, select_heads
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.tokenization import EncodedQuery, TokenCodec
from reasoning_probe.models.ablation import ZERO, Replacement
from reasoning_probe.models.head_map import AttentionLayer, HeadError
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.places import EVERYWHERE, AblatedPositions
from reasoning_probe.report.sentences import screening_sentences
from reasoning_probe.results.left_out import LeftOut
from reasoning_probe.results.run import Run
from reasoning_probe.results.screening import METHODS, from_entry, with_measured_effects
from reasoning_probe.results.stats import finite_interval
from tests.helpers.character_tokenizer import Letters
from tests.helpers.known_circuits import ALL, COPIERS, DECIDER, circuit, sums
from tests.helpers.model_families import build

QUERY = query("items", rp.Item(question="5 + 3?", answer="8 a", id="q"), Generation(4, ()))


# -- attribution --------------------------------------------------------------------------------------------------


def logprob(
    model: Any,
    encoded: EncodedQuery,
    site: AttentionLayer,
    head: int,
    share: float,
    instead: torch.Tensor,
    tokens: tuple[int, ...] | None = None,
) -> float:
    """Return the expected answer's log-probability with *share* of a head's output replaced, by a separate hook.

    It is replaced at these *tokens*, or at all.
    """
    answer = torch.tensor([encoded.answer])
    where = slice(head * site.head_dim, (head + 1) * site.head_dim)

    def hook(module: Any, args: Any) -> Any:
        x = args[0].clone()
        places = slice(None) if tokens is None else list(tokens)
        x[:, places, where] = (1 - share) * x[:, places, where] + share * instead
        return (x, *args[1:])

    handle = model.get_submodule(site.path).register_forward_pre_hook(hook)
    with torch.no_grad():
        logits = model(input_ids=torch.cat([encoded.prompt, answer[:, :-1]], 1)).logits[:, -answer.shape[1] :]
    handle.remove()
    return float(logits.log_softmax(-1).gather(-1, answer[..., None]).sum())


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "opt", "falcon", "phi", "stablelm"])
@pytest.mark.parametrize(("replaced", "tokens"), [(False, None), (True, None), (True, (1, 4))])
def test_estimates_are_the_slopes_of_partial_ablation(
    family: str, replaced: bool, tokens: tuple[int, ...] | None
) -> None:
    """Each estimate is the derivative of the log-probability by the replaced share of a head, at share 0."""
    model = build(family).double()
    head_map = find_heads(model)
    encoded = TokenCodec(model, Letters()).encode(QUERY)
    draw = torch.Generator().manual_seed(1)
    values = {
        site.layer: torch.randn(1, site.heads, site.head_dim, generator=draw, dtype=torch.float64)
        for site in head_map.attention_layers
        if replaced
    }
    length = int(encoded.prompt.shape[1])
    positions = EVERYWHERE if tokens is None else AblatedPositions(length, tokens, answer=False)
    (slopes,) = estimates(model, head_map, encoded, [Replacement(values, positions)])
    assert len(slopes) == len(head_map)
    for site in head_map.attention_layers:
        for head in range(site.heads):
            instead = values[site.layer][0, head] if replaced else torch.zeros(1, dtype=torch.float64)
            up, down = (logprob(model, encoded, site, head, share, instead, tokens) for share in (1e-4, -1e-4))
            assert slopes[site.layer, head] == pytest.approx((up - down) / 2e-4, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_integrated_gradients_are_the_mean_of_the_slopes_on_the_way_from_the_mean_embedding(steps: int) -> None:
    """Each slope is that of adding a share of the head's change, as it is on the query itself, to its output."""
    model = build("gpt2").double()
    head_map = find_heads(model)
    encoded = TokenCodec(model, Letters()).encode(QUERY)
    answer = torch.tensor([encoded.answer])
    ids = torch.cat([encoded.prompt, answer[:, :-1]], 1)
    own = model.get_input_embeddings()(ids).detach()

    def logprob_of(share: float, site: AttentionLayer, added: torch.Tensor) -> float:
        def hook(module: Any, args: Any) -> Any:
            return (args[0] + added, *args[1:])

        handle = model.get_submodule(site.path).register_forward_pre_hook(hook)
        with torch.no_grad():
            mixed = share * own + (1 - share) * own.mean(1, keepdim=True)
            logits = model(inputs_embeds=mixed).logits[:, -answer.shape[1] :]
        handle.remove()
        return float(logits.log_softmax(-1).gather(-1, answer[..., None]).sum())

    (slopes,) = estimates(model, head_map, encoded, [ZERO], steps)
    for site in head_map.attention_layers:
        outputs: list[torch.Tensor] = []
        handle = model.get_submodule(site.path).register_forward_pre_hook(partial(_keep, outputs))
        with torch.no_grad():
            model(input_ids=ids)
        handle.remove()
        for head in range(site.heads):
            change = torch.zeros_like(outputs[0])
            where = slice(head * site.head_dim, (head + 1) * site.head_dim)
            change[..., where] = -outputs[0][..., where]
            differences = [
                logprob_of(step / steps, site, 1e-4 * change) - logprob_of(step / steps, site, -1e-4 * change)
                for step in range(1, steps + 1)
            ]
            assert slopes[site.layer, head] == pytest.approx(sum(differences) / steps / 2e-4, rel=1e-4, abs=1e-6)
    assert not model.get_input_embeddings()._forward_hooks


def _keep(outputs: list[torch.Tensor], module: Any, args: Any) -> None:
    outputs.append(args[0])


def test_estimates_are_exact_where_the_model_is_linear() -> None:
    """Far from its answer the circuit's log-probability is linear in the sum, the only axis that these heads change."""
    model, tokenizer = circuit()
    head_map = find_heads(model)
    item = rp.Item(question="What is 3 + 4?", answer="18", id="far")
    encoded = TokenCodec(model, tokenizer).encode(query("d", item, Generation(4, ())))
    site = head_map.attention_layer(2)  # nothing but the unembedding comes after it
    (slopes,) = estimates(model, head_map, encoded, [ZERO])
    for head in range(site.heads):
        off, on = (logprob(model, encoded, site, head, share, torch.zeros(1)) for share in (1.0, 0.0))
        assert slopes[2, head] == pytest.approx(off - on, rel=0.02, abs=2e-3)
    assert max(abs(slopes[2, head]) for head in range(site.heads)) > 0.01


def test_attribution_leaves_the_model_as_it_was() -> None:
    model = build("gpt2")
    before = {name: (parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters()}
    estimates(model, find_heads(model), TokenCodec(model, Letters()).encode(QUERY), [ZERO])
    assert before == {name: (parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters()}
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_that_takes_no_gradients_is_told_in_one_line() -> None:
    model = build("gpt2")
    head_map, forward = find_heads(model), model.forward
    model.forward = torch.no_grad()(forward)
    with pytest.raises(HeadError, match=r"gradients failed .*: run it without --probe-screen") as error:
        estimates(model, head_map, TokenCodec(model, Letters()).encode(QUERY), [ZERO])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_planted_heads_rank_first(ablation: str, seed: int, method: str) -> None:
    model, tokenizer = circuit(seed=seed)
    queries = [query("arithmetic", item, Generation(4)) for item in sums(40)]
    engine = LocalEngine(model, tokenizer, find_heads(model), {"arithmetic": [each.prompt for each in queries]})
    (chosen,) = screen(engine, queries, [ablation], 3, 0, method)
    assert chosen.method == method
    assert set(chosen.ranked) == {*COPIERS, DECIDER}
    assert (chosen.items, len(chosen.scores)) == (40, len(ALL))
    assert engine.timing.screen_s > 0


# -- which heads are chosen ---------------------------------------------------------------------------------------


def test_the_first_and_a_sample_of_the_rest_are_chosen() -> None:
    scores = {
        f"L{layer}H{head}": random.Random(layer * 32 + head).random() for layer in range(32) for head in range(32)
    }
    chosen = select_heads("d", "zero", scores, 60, 7, 200)
    assert list(chosen.ranked) == sorted(scores, key=lambda name: -scores[name])[:60]
    assert len(chosen.sampled) == 30 == len(set(chosen.sampled) - set(chosen.ranked))
    assert chosen == select_heads("d", "zero", scores, 60, 7, 200) == from_entry(chosen.entry())
    assert chosen.sampled != select_heads("d", "zero", scores, 60, 8, 200).sampled
    assert sum(not chosen.excludes(name) for name in scores) == 90
    assert not chosen.excludes("L3")
    assert len(select_heads("d", "zero", scores, 10, 7, 200).sampled) == screening.SAMPLE
    few = select_heads("d", "zero", dict(list(scores.items())[:25]), 10, 7, 200)
    assert len(few.sampled) == 15


def test_a_sample_is_drawn_evenly() -> None:
    scores = dict.fromkeys((f"L0H{head}" for head in range(100)), 1.0)
    counts = dict.fromkeys(scores, 0)
    for seed in range(300):
        for name in select_heads("d", "zero", scores, 20, seed, 1).sampled:
            counts[name] += 1
    assert all(30 < counts[name] < 130 for name in list(scores)[20:])  # 75 expected, standard deviation 7.5
    assert not any(counts[name] for name in list(scores)[:20])


def test_the_ranking_takes_items_from_all_of_the_dataset() -> None:
    queries: list[Any] = list(range(1000))
    assert evenly_spaced(queries, 200) == list(range(0, 1000, 5))
    assert evenly_spaced(queries[:7], 200) == queries[:7]
    assert len(set(evenly_spaced(queries[:301], 200))) == 200


def test_the_miss_rate_is_that_of_the_sample() -> None:
    scores = {f"L0H{head}": 100.0 - head for head in range(30)}
    chosen = select_heads("d", "zero", scores, 5, 0, 9)
    entry = chosen.entry() | {"dataset": "d"}
    rows = [
        {"dataset": "d", "ablation": "zero", "target": name, "p_discrete": p, "logprob_p_discrete": logprob_p}
        for name, p, logprob_p in [
            (chosen.ranked[0], 0.01, 0.01),
            (chosen.ranked[1], 0.5, None),
            *(
                (name, 0.02 if index < 3 else 0.3, 0.01 if index < 5 else None)
                for index, name in enumerate(chosen.sampled)
            ),
        ]
    ]
    assert len(chosen.sampled) == 20
    family = {"dataset": "d", "ablation": "zero", "smallest_effect": 0.12}
    (measured,) = with_measured_effects([entry], rows, [family])
    assert measured["smallest_effect"] == 0.12
    assert (measured["candidates"], measured["ranked"], measured["found"], measured["rest"]) == (30, 2, 1, 25)
    assert (measured["sampled"], measured["missed"], measured["moved"], measured["miss_rate"]) == (20, 3, 5, 0.15)
    # With 7 of the 25 only one draw in 80 would hold 3 or fewer: C(7,4) * 18 + C(7,5) of C(25,5) ways.
    assert measured["ci95"] == list(finite_interval(3, 20, 25)) == [3 / 25, 6 / 25]
    assert with_measured_effects([measured], rows, [family]) == [measured]
    left_out = LeftOut([entry])
    assert left_out.count("d", "zero", [row["target"] for row in rows]) == 8
    assert left_out.count("d", "mean", []) == left_out.count("e", "zero", []) == 0
    (none,) = with_measured_effects([entry], [])
    assert (none["sampled"], none["miss_rate"], none["ci95"]) == (0, None, [0.0, 1.0])
    sentences = screening_sentences(Run({"screening": [measured, none]}, []))
    assert sentences[0].endswith(
        "Of 20 drawn at random from the other 25, 3 matter: a miss rate of 15 % (12 % to 24 %); these items can show"
        " heads that cost 12 points or more."
    )
    assert sentences[1].endswith("and none of the other 25: it is not known how many of these matter.")
