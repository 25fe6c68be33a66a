"""Sampled answers: draws from softmax(logits / T) with noise that is known beforehand, exact as greedy answers are."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.data.prompts.sampling import Draw, Sampling
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.sampled_answers import run_samples
from reasoning_probe.engine.sampling import TOLERANCE, GumbelNoise, Sampler, gumbel, sampler_of
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import EOS
from tests.helpers.model_families import FAMILIES, build
from tests.helpers.weight_edit_oracle import edit
from tests.unit.engine.test_numerics import SETTLING_FAMILIES, baselines_of

ITEMS = [
    rp.Item(question="What is 5 + 3?", answer="8", id="a"),
    rp.Item(question="Max?", answer="Yes", id="b"),
]
LIMIT = 10
SETTINGS = {
    "temperature alone": Sampling(2, 0.3),
    "top-k": Sampling(2, 0.5, top_k=7),
    "top-p": Sampling(2, 0.5, top_p=0.8),
    "both": Sampling(2, 0.5, top_p=0.7, top_k=20),
}


def warpers(draw: Draw | Sampling) -> LogitsProcessorList:
    """Return what ``generate`` does to logits before it samples."""
    processors: list[Any] = [TemperatureLogitsWarper(draw.temperature)]
    processors += [TopKLogitsWarper(draw.top_k)] if draw.top_k else []
    processors += [TopPLogitsWarper(draw.top_p)] if draw.top_p < 1 else []
    return LogitsProcessorList(processors)


def noise_of(item: str, sample: int, position: int, vocabulary: int, seed: int = 0) -> Tensor:
    """Return the noise that stands in the documentation: keyed by dataset, item, seed and sample."""
    text = json.dumps(["items", item, seed, sample])
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return torch.from_numpy(gumbel(key, position, vocabulary))


def drawn_by_hand(model: Any, ids: list[int], item: str, sample: int, sampling: Sampling, limit: int) -> list[int]:
    """Return the tokens of a loop without cache, batch or engine: one pass over all tokens for each."""
    tokens: list[int] = []
    while len(tokens) < limit and EOS not in tokens:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*ids, *tokens]])).logits[:, -1].float()
        scores = warpers(sampling)(None, logits)[0]
        tokens.append(int((scores + noise_of(item, sample, len(tokens), scores.shape[-1])).argmax()))
    return tokens


# -- the noise -----------------------------------------------------------------------------------------------------


def test_noise_is_a_function_of_key_and_position() -> None:
    one = gumbel(5, 3, 1000)
    assert np.array_equal(one, gumbel(5, 3, 1000))
    assert np.array_equal(one[:10], gumbel(5, 3, 10))
    for other in (gumbel(6, 3, 1000), gumbel(5, 4, 1000), gumbel(5, 2, 1000)):
        assert not np.isin(other, one).any()


def test_noise_is_gumbel() -> None:
    noise = np.concatenate([gumbel(key, position, 1000) for key in range(10) for position in range(10)])
    assert np.isfinite(noise).all()
    assert stats.kstest(noise, stats.gumbel_r.cdf).pvalue > 0.001


def test_noise_that_was_dropped_from_memory_comes_again() -> None:
    like = torch.zeros(1, 1, 100)
    small, large = GumbelNoise(most_bytes=800), GumbelNoise()
    places = [0, 1, 2, 3, 0, 1]
    assert torch.equal(small.at(9, places, like), large.at(9, places, like))
    assert len(small._drawn) == 2


# -- the distribution ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", SETTINGS.values(), ids=SETTINGS)
def test_tokens_are_drawn_with_the_probabilities_of_transformers(sampling: Sampling) -> None:
    logits = torch.randn(1, 1, 40, generator=torch.Generator().manual_seed(0)) * 2
    expected = warpers(sampling)(None, logits[0]).double().softmax(-1)[0].numpy()
    draws, counts, noise = 100_000, np.zeros(40), GumbelNoise()
    draw = sampling.draws(0)[0]
    for key in range(100):
        scores = Sampler(draw, key, noise).scores(logits.expand(1, draws // 100, -1), 0)
        counts += np.bincount(scores[0].argmax(-1).numpy(), minlength=40)
    assert counts.sum() == draws
    assert not counts[expected == 0].any()
    likely = expected * draws >= 5
    observed, wanted = counts[likely], expected[likely] * draws
    rest = counts[~likely].sum(), expected[~likely].sum() * draws
    if rest[1] > 0:
        observed, wanted = np.append(observed, rest[0]), np.append(wanted, rest[1])
    assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 0.001


@pytest.mark.parametrize(("name", "samples"), [("temperature alone", 100_000), ("both", 10_000)])
def test_the_first_tokens_of_many_samples_have_the_probabilities_of_the_model(name: str, samples: int) -> None:
    """Here the samples differ in their keys, at one position, as those of an item do."""
    codec = LocalEngine(build("gpt2"), Letters(), find_heads(build("gpt2"))).codec
    sampling = replace(SETTINGS[name], samples=samples, temperature=1.0)
    item_query = query("items", ITEMS[0], Generation(LIMIT))
    with torch.no_grad():
        logits = build("gpt2")(codec.encode(item_query).prompt).logits[:, -1:].float()  # (1, 1, vocabulary)
    expected = warpers(sampling)(None, logits[0]).double().softmax(-1)[0].numpy()
    noise, counts = GumbelNoise(most_bytes=1), np.zeros(len(expected))
    for draw in sampling.draws(0):
        sampler = sampler_of(replace(item_query, draw=draw), noise)
        assert sampler is not None
        counts[int(sampler.scores(logits, 0).argmax())] += 1
    assert not counts[expected == 0].any()
    likely = expected * counts.sum() >= 5
    assert likely.sum() > 5
    wanted = expected[likely] / expected[likely].sum() * counts[likely].sum()
    assert stats.chisquare(counts[likely], wanted).pvalue > 0.001


@pytest.mark.parametrize("size", [3, 50, 5000])
@pytest.mark.parametrize("sampling", [one for one in SETTINGS.values() if one.top_k or one.top_p < 1], ids=str)
def test_the_tokens_that_may_be_drawn_are_those_of_transformers(sampling: Sampling, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    logits = torch.randn(1, 60, size, generator=generator) * torch.linspace(0.01, 8, 60)[:, None]  # flat to sharp
    scores = Sampler(sampling.draws(0)[0], 1, GumbelNoise()).scores(logits, 0)
    assert torch.equal(scores[0].isfinite(), warpers(sampling)(None, logits[0]).isfinite())


def test_tokens_that_tie_with_the_last_may_be_drawn() -> None:
    logits = torch.tensor([[[2.0, 1.0, 1.0, 0.0]]])
    assert Sampler(Draw(0, 0, 1.0, top_k=2), 1, GumbelNoise()).scores(logits, 0).isfinite().tolist() == [
        [[True, True, True, False]]
    ]


@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 6), (0.9, 0), (0.9, 6)])
def test_where_noise_could_let_in_another_token_the_best_has_a_rival(top_p: float, top_k: int) -> None:
    """Otherwise a row of a batch would not be answered again alone, where another token may win."""
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(1, 12000, 12, generator=generator) * 40).round() / 20  # many ties
    sampler = Sampler(Draw(0, 0, 1.0, top_p, top_k), 1, GumbelNoise())
    alone, in_batch = sampler.scores(logits, 0), sampler.scores(logits, 0, exact=False)
    assert torch.equal(alone.argmax(-1), in_batch.argmax(-1))
    best = in_batch.topk(2, dim=-1).values
    lead = (best[..., 0] - best[..., 1])[0]
    changed = torch.zeros(12000, dtype=torch.bool)
    for _ in range(30):
        shift = (torch.rand(logits.shape, generator=generator) - 0.5) * TOLERANCE / 2  # four times it is the tolerance
        changed |= (sampler.scores(logits + shift, 0).argmax(-1) != alone.argmax(-1))[0]
    assert changed.sum() > 5, "no noise changed a draw: nothing was tested"
    assert (lead[changed] < TOLERANCE).all()
    assert (lead < TOLERANCE).float().mean() < 0.5, "nearly all rows would run alone"


# -- exact in the engine -------------------------------------------------------------------------------------------


def requests(targets: list[Target]) -> list[SweepRequest]:
    ablated = tuple((target, "zero") for target in targets)
    return [SweepRequest(query("items", item, Generation(LIMIT, ())), ablated) for item in ITEMS]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mixtral", "falcon", "bloom", "phi"])
def test_every_row_is_the_loop_by_hand_on_edited_weights(family: str, name: str) -> None:
    model, tokenizer, sampling = build(family), Letters(), SETTINGS[name]
    head_map = find_heads(model)
    targets = parse_targets("L0H1,L1,L2H3", head_map)
    engine = LocalEngine(model, tokenizer, head_map)
    answers = [answer for batch in run_samples(engine, requests(targets), sampling.draws(0)) for answer in batch]
    assert len(answers) == len(ITEMS) * (1 + len(targets)) * sampling.samples
    assert len({answer.response for answer in answers}) > len(ITEMS), "no draw differs: nothing was tested"
    for target in [Target("baseline", frozenset()), *targets]:
        twin = copy.deepcopy(model)
        for site in head_map.attention_layers:
            edit(twin, site.path, site.heads, target.in_layer(site.layer))
        for answer in answers:
            if answer.target == target.name:
                assert answer.query.draw is not None
                ids = tokenizer(answer.query.prompt)["input_ids"]
                tokens = drawn_by_hand(twin, ids, answer.item, answer.query.draw.sample, sampling, LIMIT)
                assert answer.response == tokenizer.decode(tokens, skip_special_tokens=True), (answer.item, target.name)


@pytest.mark.parametrize("name", ["temperature alone", "both"])
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - SETTLING_FAMILIES)[::4])
def test_in_half_precision_every_row_is_the_baseline_of_edited_weights(family: str, name: str) -> None:
    model, sampling = build(family).to(torch.bfloat16), SETTINGS[name]
    head_map = find_heads(model)
    targets = parse_targets("L0H1,L1,L2H3", head_map)
    engine = LocalEngine(model, Letters(), head_map, wanted_numerics="invariant")
    answers = [answer for batch in run_samples(engine, requests(targets), sampling.draws(0)) for answer in batch]
    assert engine.facts()["settled_singly"] == 0
    assert engine.facts()["path"] == "fast"
    for target in [Target("baseline", frozenset()), *targets]:
        twin = copy.deepcopy(model)
        for site in head_map.attention_layers:
            edit(twin, site.path, site.heads, target.in_layer(site.layer))
        queries = [request.query for request in requests([])]
        drawn = [replace(one, draw=draw) for one in queries for draw in sampling.draws(0)]
        expected = baselines_of(twin, engine, drawn)
        for answer in answers:
            if answer.target == target.name:
                assert answer.response == expected[answer.query][0], (answer.item, target.name)


def test_near_zero_temperature_answers_are_greedy() -> None:
    model, items = build("llama"), ITEMS
    greedy = rp.sweep(model, Letters(), items, max_new_tokens=LIMIT, stop=())
    sampled = rp.sweep(model, Letters(), items, max_new_tokens=LIMIT, stop=(), samples=3, temperature=1e-5)
    assert [(one.item, one.target, one.response) for one in sampled] == [
        (one.item, one.target, one.response) for one in greedy
    ]
    assert all(len({sample.response for sample in case.samples}) == 1 for case in sampled)


def test_a_draw_does_not_depend_on_what_else_is_drawn() -> None:
    model = build("llama")
    together = rp.sweep(model, Letters(), ITEMS, "L0H1,L1", max_new_tokens=LIMIT, stop=(), samples=4)
    alone = rp.sweep(model, Letters(), ITEMS[1:], "L1", max_new_tokens=LIMIT, stop=(), samples=2)
    by_key = {case.key: case for case in together}
    for case in alone:
        assert [one.response for one in case.samples] == [one.response for one in by_key[case.key].samples[:2]]
    other = rp.sweep(model, Letters(), ITEMS, (), max_new_tokens=LIMIT, stop=(), samples=4, seed=1)
    assert {one.response for case in other for one in case.samples}.isdisjoint(
        {one.response for case in together if case.target == "baseline" for one in case.samples}
    )
