"""A second run computes only what is missing, and no stale outcome is ever returned."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.engine.cache import key
from reasoning_probe.models import weights
from tests.helpers.planted_model import planted
from tests.helpers.queries import Scenario, by_case, rows, spoil


@pytest.fixture
def scenario() -> Scenario:
    return Scenario()


def test_a_second_run_computes_nothing_and_says_the_same(scenario: Scenario, tmp_path: Path) -> None:
    first, computed, notes = scenario.run(tmp_path)
    assert (len(first), computed, notes) == (6, 6, [])
    again, computed, notes = Scenario().run(tmp_path)
    assert (computed, notes) == (0, [])
    assert by_case(again) == by_case(first)


def test_only_what_is_missing_is_computed(scenario: Scenario, tmp_path: Path) -> None:
    """The baseline is needed to sweep the new target, but it is not an outcome twice."""
    first, _, _ = scenario.run(tmp_path)
    scenario.targets += ",L1H3"
    more, computed, _ = scenario.run(tmp_path)
    assert computed == 2 * (1 + 1)
    assert len(more) == len({(outcome.item, outcome.target) for outcome in more}) == 8
    assert [outcome for outcome in by_case(more) if outcome.target != "L1H3"] == by_case(first)


def test_heads_count_and_not_how_they_are_written(scenario: Scenario, tmp_path: Path) -> None:
    scenario.run(tmp_path)
    scenario.targets = "L0H0+L0H1+L0H2+L0H3"
    assert scenario.run(tmp_path)[1] == 0


def test_the_name_and_the_ids_do_not_count(scenario: Scenario, tmp_path: Path) -> None:
    scenario.run(tmp_path)
    scenario.model.config.name_or_path = "elsewhere"
    scenario.items = [Item(question=item.question, answer=item.answer, id=f"q-{item.id}") for item in scenario.items]
    outcomes, computed, _ = scenario.run(tmp_path)
    assert computed == 0
    assert {outcome.item for outcome in outcomes} == {"q-sky", "q-grass"}


def one_weight(scenario: Scenario) -> None:
    with torch.no_grad():
        scenario.model.transformer.h[0].mlp.c_fc.weight[0, 0] += 1e-7


def other_dtype(scenario: Scenario) -> None:
    scenario.model = scenario.model.to(torch.float64)


def other_attention(scenario: Scenario) -> None:
    scenario.model.set_attn_implementation("eager")


def other_config(scenario: Scenario) -> None:
    scenario.model.config.layer_norm_epsilon *= 2


def other_tokenizer(scenario: Scenario) -> None:
    scenario.tokenizer.add_tokens(["colour sky"])


def other_end(scenario: Scenario) -> None:
    scenario.model.generation_config.eos_token_id = 3


def one_character(scenario: Scenario) -> None:
    scenario.items = [Item(question=item.question + " ", answer=item.answer, id=item.id) for item in scenario.items]


def other_expected_answer(scenario: Scenario) -> None:
    scenario.items = [Item(question=item.question, answer="white", id=item.id) for item in scenario.items]


def other_limit(scenario: Scenario) -> None:
    scenario.generation = Generation(9)


def other_stop(scenario: Scenario) -> None:
    scenario.generation = Generation(8, ("Question:", "green"))


CHANGES = [
    *(one_weight, other_dtype, other_attention, other_config, other_tokenizer, other_end),
    *(one_character, other_expected_answer, other_limit, other_stop),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_determines_an_outcome_makes_it_new(
    scenario: Scenario, tmp_path: Path, change: Callable[[Scenario], None]
) -> None:
    scenario.run(tmp_path)
    change(scenario)
    outcomes, computed, _ = scenario.run(tmp_path)
    assert computed == len(outcomes) == 6
    assert scenario.run(tmp_path)[1] == 0  # and both are stored
    assert Scenario().run(tmp_path)[1] == 0


def test_another_ablation_is_computed_and_shares_the_baseline(scenario: Scenario, tmp_path: Path) -> None:
    scenario.run(tmp_path)
    scenario.ablation = "mean"
    outcomes, computed, _ = scenario.run(tmp_path)
    assert (len(outcomes), computed) == (6, 6)  # 2 baselines are answered again to sweep from, and not stored twice
    assert len(scenario.run(tmp_path)[0]) == 6
    assert rows(tmp_path) == 2 + 4 + 4


def test_another_reference_set_makes_a_mean_new(scenario: Scenario, tmp_path: Path) -> None:
    scenario.ablation = "mean"
    scenario.run(tmp_path)
    scenario.references = ["Question: What is 5 + 3?\nAnswer:"]
    assert scenario.run(tmp_path)[1] == 6
    assert scenario.run(tmp_path)[1] == 0


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "reasoning-probe"])
def test_another_version_of_a_library_makes_it_new(
    scenario: Scenario, tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    scenario.run(tmp_path)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == library else version(name))
    assert scenario.run(tmp_path)[1] == 6


def test_another_engine_makes_it_new(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario.run(tmp_path)
    monkeypatch.setattr(key, "ENGINE_VERSION", key.ENGINE_VERSION + 1)
    assert scenario.run(tmp_path)[1] == 6


def test_judgements_are_made_anew(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_probe.results import answer as answer_module
    from reasoning_probe.scoring.judgement import Judgement

    scenario.run(tmp_path)
    monkeypatch.setattr(answer_module, "judge", lambda *_: Judgement(None, False, "incomplete", "empty", "a new rule"))
    outcomes, computed, _ = scenario.run(tmp_path)
    assert computed == 0
    assert {outcome.reason for outcome in outcomes} == {"a new rule"}


def test_code_put_into_a_model_cannot_be_told_from_outside(scenario: Scenario) -> None:
    fingerprint = weights.fingerprint(scenario.model)
    hook = scenario.model.transformer.h[0].register_forward_hook(lambda *_: None)
    assert key.model_context(scenario.model, scenario.tokenizer, fingerprint) is None
    hook.remove()
    assert key.model_context(scenario.model, scenario.tokenizer, fingerprint) is not None
    scenario.model.transformer.h[0].forward = scenario.model.transformer.h[1].forward
    assert key.model_context(scenario.model, scenario.tokenizer, fingerprint) is None


def test_a_method_put_into_a_tokenizer_cannot_be_told_from_outside(scenario: Scenario) -> None:
    """It may change only those texts that no sample shows."""
    decode = scenario.tokenizer.decode
    scenario.tokenizer.decode = lambda ids, **options: decode(ids, **options)
    assert key.model_context(scenario.model, scenario.tokenizer, "fingerprint") is None
    del scenario.tokenizer.decode
    assert key.model_context(scenario.model, scenario.tokenizer, "fingerprint") is not None


def test_a_tokenizer_that_shows_nothing_of_itself_cannot_be_told_from_outside(scenario: Scenario) -> None:
    fingerprint = weights.fingerprint(scenario.model)
    assert key.model_context(scenario.model, lambda text: {"input_ids": [1]}, fingerprint) is None
    slow = SimpleNamespace(get_vocab=lambda: {"a": 0, "b": 1}, init_kwargs={"name_or_path": "here", "lower": True})
    context = key.model_context(scenario.model, slow, fingerprint)
    assert context is not None
    slow.init_kwargs["name_or_path"] = "there"
    assert key.model_context(scenario.model, slow, fingerprint) == context
    slow.init_kwargs["lower"] = False
    assert key.model_context(scenario.model, slow, fingerprint) != context


def test_fresh_ignores_what_is_known_and_replaces_it(scenario: Scenario, tmp_path: Path) -> None:
    scenario.run(tmp_path)
    spoil(tmp_path, "UPDATE outcomes SET response = 'stale'")
    scenario.fresh = True
    outcomes, computed, _ = scenario.run(tmp_path)
    assert computed == 6
    assert "stale" not in {outcome.response for outcome in outcomes}
    scenario.fresh = False
    again, computed, _ = scenario.run(tmp_path)
    assert computed == 0
    assert by_case(again) == by_case(outcomes)


def test_the_fingerprint_is_of_the_weights_and_not_of_their_place() -> None:
    model, _ = planted()
    twin = copy.deepcopy(model)
    assert weights.fingerprint(model) == weights.fingerprint(twin)
    with torch.no_grad():
        twin.lm_head.weight[-1, -1] += 1e-7
    assert weights.fingerprint(model) != weights.fingerprint(twin)


# -- every setting of a tokenizer -------------------------------------------------------------------------------------

TOKENIZER_SETTINGS = {
    "clean_up_tokenization_spaces": True,
    "split_special_tokens": True,
    "padding_side": "left",
    "truncation_side": "left",
    "model_max_length": 7,
    "add_prefix_space": True,
    "add_bos_token": True,
    "add_eos_token": True,
    "bos_token": "sky",
    "eos_token": "green",
    "unk_token": "blue",
    "pad_token": "grass",
    "additional_special_tokens": ["white"],
    "extra_special_tokens": {"image_token": "snow"},
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True,
    "legacy": False,
    "do_lower_case": True,
    "nobodys_setting": 3,
}


def tokenizer_with(folder: Path, **settings: Any) -> Any:
    """Return the scenario's tokenizer, read from files whose config has *settings*."""
    from transformers import AutoTokenizer

    planted()[1].save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", TOKENIZER_SETTINGS)
def test_another_setting_of_the_tokenizer_gives_another_key_or_the_same_answers(
    scenario: Scenario, tmp_path: Path, name: str
) -> None:
    scenario.tokenizer = tokenizer_with(tmp_path / "a")
    scenario.run(tmp_path)
    scenario.tokenizer = tokenizer_with(tmp_path / "b", **{name: TOKENIZER_SETTINGS[name]})
    stored, computed, _ = scenario.run(tmp_path)
    fresh, _, _ = scenario.run(tmp_path / "fresh")
    assert by_case(stored) == by_case(fresh)  # whether or not they were recalled, they are what it answers
    assert computed in (0, 6)


@pytest.mark.parametrize(
    "change",
    [
        lambda tokenizer: setattr(tokenizer, "clean_up_tokenization_spaces", True),
        lambda tokenizer: setattr(tokenizer, "split_special_tokens", True),
        lambda tokenizer: setattr(tokenizer, "eos_token", "green"),
        lambda tokenizer: tokenizer.add_special_tokens({"additional_special_tokens": ["blue"]}),
        lambda tokenizer: tokenizer.add_tokens(["colour sky"]),
        lambda tokenizer: setattr(tokenizer.backend_tokenizer, "normalizer", normalizers.Lowercase()),
        lambda tokenizer: setattr(tokenizer.backend_tokenizer, "decoder", decoders.Fuse()),
        lambda tokenizer: setattr(tokenizer.backend_tokenizer, "pre_tokenizer", pre_tokenizers.Whitespace()),
        lambda tokenizer: setattr(
            tokenizer.backend_tokenizer,
            "post_processor",
            processors.TemplateProcessing(single="sky $A", special_tokens=[("sky", 5)]),
        ),
    ],
)
def test_a_tokenizer_that_is_changed_in_memory_has_another_key(scenario: Scenario, change: Any) -> None:
    before = key.model_context(scenario.model, scenario.tokenizer, "weights")
    change(scenario.tokenizer)
    assert key.model_context(scenario.model, scenario.tokenizer, "weights") != before


def test_where_a_tokenizer_lies_and_what_it_was_asked_do_not_count(scenario: Scenario, tmp_path: Path) -> None:
    contexts = [
        key.model_context(scenario.model, tokenizer_with(tmp_path / name), "weights") for name in ("here", "there")
    ]
    tokenizer = tokenizer_with(tmp_path / "here")
    tokenizer("What colour is the sky? " * 100)
    contexts.append(key.model_context(scenario.model, tokenizer, "weights"))
    assert contexts[0] == contexts[1] == contexts[2]


def test_code_of_a_tokenizer_counts(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of the user's own is known by its file; one without a file cannot be told from outside."""
    before = key.model_context(scenario.model, scenario.tokenizer, "weights")
    (tmp_path / "own_tokenizer.py").write_text("class Mixin:\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import own_tokenizer  # type: ignore[import-not-found]

    cls = type(scenario.tokenizer)
    scenario.tokenizer.__class__ = type(cls.__name__, (own_tokenizer.Mixin, cls), {"__module__": cls.__module__})
    mine = key.model_context(scenario.model, scenario.tokenizer, "weights")
    assert mine is not None
    assert mine["code"] != before["code"]  # type: ignore[index]
    monkeypatch.delattr(own_tokenizer, "__file__")
    assert key.model_context(scenario.model, scenario.tokenizer, "weights") is None
