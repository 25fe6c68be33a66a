"""Generation settings of a model: no setting changes an answer without changing the key of its outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

import reasoning_probe as rp
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import generation
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.generation import check_rules, generation_rules, rules_of
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import parse_targets
from reasoning_probe.report.run_notes import remarks
from tests.helpers.planted_model import planted

OTHER_VALUES: dict[str, Any] = {
    "assistant_confidence_threshold": 0.9,
    "assistant_early_exit": 1,
    "assistant_ensemble_weight": 0.5,
    "assistant_lookbehind": 3,
    "bad_words_ids": [[5], [6, 7]],
    "begin_suppress_tokens": [5, 6, 7, 8, 9, 10, 11, 12],
    "cache_config": {"num_bits": 4},
    "cache_implementation": "static",
    "compile_config": {"mode": "default"},
    "constraints": ["a"],
    "continuous_batching_config": {"page_size": 8},
    "custom_setting_of_nobody": 3,
    "decoder_start_token_id": 3,
    "disable_compile": True,
    "diversity_penalty": 0.5,
    "do_sample": True,
    "dola_layers": "high",
    "early_stopping": True,
    "encoder_no_repeat_ngram_size": 1,
    "encoder_repetition_penalty": 3.0,
    "epsilon_cutoff": 0.3,
    "eta_cutoff": 0.3,
    "exponential_decay_length_penalty": [1, 3.0],
    "force_words_ids": [[5]],
    "forced_bos_token_id": 7,
    "forced_eos_token_id": 2,
    "guidance_scale": 4.0,
    "is_assistant": True,
    "length_penalty": 0.2,
    "low_memory": True,
    "max_cache_len": 4,
    "max_length": 3,
    "max_matching_ngram_size": 2,
    "max_new_tokens": 1,
    "max_time": 1e-9,
    "min_length": 60,
    "min_new_tokens": 7,
    "min_p": 0.9,
    "no_repeat_ngram_size": 1,
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "heuristic",
    "num_beam_groups": 2,
    "num_beams": 4,
    "num_return_sequences": 3,
    "output_attentions": True,
    "output_hidden_states": True,
    "output_logits": True,
    "output_scores": True,
    "penalty_alpha": 0.6,
    "prefill_chunk_size": 2,
    "prompt_lookup_num_tokens": 3,
    "remove_invalid_values": True,
    "renormalize_logits": True,
    "repetition_penalty": 5.0,
    "return_dict_in_generate": True,
    "sequence_bias": [[[5], -30.0]],
    "speculation_type": "dflash",
    "stop_strings": ["e", "1"],
    "suppress_tokens": list(range(5, 40)),
    "target_lookbehind": 3,
    "temperature": 0.1,
    "token_healing": True,
    "top_h": 0.5,
    "top_k": 3,
    "top_p": 0.2,
    "typical_p": 0.2,
    "use_cache": False,
    "use_mtp": True,
    "watermarking_config": {"bias": 20.0},
}
"""A value that means something for every setting of ``GenerationConfig``, and for one that it does not know."""

EXEMPT = {"transformers_version", "eos_token_id", "pad_token_id", "bos_token_id"}
"""Facts of the vocabulary, not settings; where answers end is tested in ``test_stop_tokens.py``."""

CHANGING = {  # what greedy decoding of transformers itself obeys
    *("bad_words_ids", "begin_suppress_tokens", "encoder_no_repeat_ngram_size", "encoder_repetition_penalty"),
    *("exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "guidance_scale", "min_length"),
    *("min_new_tokens", "no_repeat_ngram_size", "remove_invalid_values", "repetition_penalty", "sequence_bias"),
    *("suppress_tokens", "watermarking_config"),
}

QUESTIONS = ["What colour is the sky?", "What colour is the grass?"]


def answers_and_key(settings: dict[str, Any]) -> tuple[list[str], list[float | None], dict[str, str]]:
    """Return the answers of a model with *settings*, as they are and without two heads, and the key's context."""
    model, tokenizer = planted()
    for name, value in settings.items():  # as they come from a file, without the checks of the constructor
        setattr(model.generation_config, name, value)
    head_map = find_heads(model)
    engine = LocalEngine(model, tokenizer, head_map)
    ablated = tuple((target, "zero") for target in parse_targets("L0H0,L1H1", head_map))
    requests = [
        SweepRequest(query("colours", Item(question=text, answer="blue", id=text), Generation(8)), ablated)
        for text in QUESTIONS
    ]
    answers = [answer for batch in engine.run(requests) for answer in batch]
    answers.sort(key=lambda answer: (answer.item_key, answer.target))
    context = model_context(model, tokenizer, "weights")
    assert context is not None
    return [answer.response for answer in answers], [answer.answer_logprob for answer in answers], context


def test_every_setting_of_transformers_has_a_value_here() -> None:
    """A new version of transformers may add one: it needs a value above, and a look at what it does."""
    names = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    assert names - EXEMPT <= set(OTHER_VALUES)


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_another_setting_gives_another_key_or_the_same_answers(name: str) -> None:
    responses, logprobs, context = answers_and_key({name: OTHER_VALUES[name]})
    plain_responses, plain_logprobs, plain_context = answers_and_key({})
    assert (context != plain_context) == (name in CHANGING or name == "use_cache")
    if name not in CHANGING:
        assert responses == plain_responses
    assert logprobs == pytest.approx(plain_logprobs, abs=1e-4)  # of the expected answer: no setting touches it


def test_plain_leaves_out_whatever_changes_greedy_answers() -> None:
    settings = {name: OTHER_VALUES[name] for name in ("repetition_penalty", "suppress_tokens", "num_beams")}
    assert generation_rules(settings).record() == {
        "mode": "model",
        "rules": {"repetition_penalty": "5.0", "suppress_tokens": json.dumps(OTHER_VALUES["suppress_tokens"])},
        "unused": {"num_beams": "4"},
    }
    plain = generation_rules(settings, "plain")
    assert not plain
    assert set(plain.unused) == {"repetition_penalty", "suppress_tokens", "num_beams"}
    assert plain.text == generation_rules({}).text


@pytest.mark.parametrize("name", ["repetition_penalty", "min_new_tokens", "suppress_tokens", "guidance_scale"])
def test_answers_are_those_of_plain_generate_with_the_model_s_settings(name: str) -> None:
    """The oracle is ``generate`` with the model's own settings, on weights from which the head was cut by hand."""
    model, tokenizer = planted()
    setattr(model.generation_config, name, OTHER_VALUES[name])
    head_map = find_heads(model)
    target = parse_targets("L1H2", head_map)[0]
    engine = LocalEngine(model, tokenizer, head_map)
    request = SweepRequest(
        query("colours", Item(question=QUESTIONS[0], answer="blue", id="sky"), Generation(6, ())), ((target, "zero"),)
    )
    responses = {answer.target: answer.response for batch in engine.run([request]) for answer in batch}
    assert (engine.path_name, name in engine.why) == ("plain", True)

    prompt = tokenizer(request.query.prompt, return_tensors="pt")["input_ids"]
    eos = model.config.eos_token_id
    for head in ("baseline", "L1H2"):
        if head == "L1H2":
            projection, size = model.transformer.h[1].attn.c_proj, model.config.n_embd // model.config.n_head
            with torch.no_grad():
                projection.weight[2 * size : 3 * size] = 0
        out = model.generate(prompt, do_sample=False, max_new_tokens=6, eos_token_id=eos, pad_token_id=0)
        assert responses[head] == tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)


def test_the_model_s_settings_are_there_again_after_a_sweep() -> None:
    model, tokenizer = planted()
    model.generation_config.repetition_penalty, model.generation_config.num_return_sequences = 1.5, 3
    before = model.generation_config
    rp.sweep(model, tokenizer, [Item(question=QUESTIONS[0], answer="blue")], targets="L0H0")
    assert model.generation_config is before
    assert (before.repetition_penalty, before.num_return_sequences) == (1.5, 3)


def test_sweep_takes_the_mode_and_says_what_applied() -> None:
    model, tokenizer = planted()
    blue = tokenizer("blue")["input_ids"][-1]
    model.generation_config.suppress_tokens = [blue]
    items = [Item(question=QUESTIONS[0], answer="blue")]
    by_mode = {mode: rp.sweep(model, tokenizer, items, targets=(), generation=mode) for mode in ("model", "plain")}  # type: ignore[arg-type]
    assert [sweep[0].correct for sweep in by_mode.values()] == [False, True]
    records = [sweep.run.summary["model"]["generation"] for sweep in by_mode.values()]
    assert [record["mode"] for record in records] == ["model", "plain"]
    assert [set(record["rules"]) for record in records] == [{"suppress_tokens"}, set()]
    rule = f"suppress_tokens [{blue}] of generation_config.json changes the answers"
    assert [rule in " ".join(remarks(sweep.run)) for sweep in by_mode.values()] == [True, False]


@pytest.mark.parametrize(
    ("name", "value"),
    [("repetition_penalty", -1), ("no_repeat_ngram_size", "two"), ("sequence_bias", 3), ("forced_eos_token_id", 10**9)],
)
def test_a_setting_that_cannot_be_used_is_one_line(name: str, value: Any) -> None:
    model, _ = planted()
    setattr(model.generation_config, name, value)
    with pytest.raises(ModelError, match=rf"settings of it cannot be used \({name}\): .*--probe-generation plain"):
        check_rules(model, rules_of(model), "it", [2])
    assert getattr(model.generation_config, name) == value
    check_rules(model, rules_of(model, "plain"), "it", [2])


def test_a_stored_answer_is_not_recalled_for_other_settings(tmp_path: Path) -> None:
    model, tokenizer = planted()
    items = [Item(question=text, answer="blue") for text in QUESTIONS]

    def recalled(**options: Any) -> int:
        engine = rp.sweep(model, tokenizer, items, targets="L1H2", cache=tmp_path, **options).run.summary["engine"]
        return engine["recalled"] or 0

    assert (recalled(), recalled()) == (0, 4)
    model.generation_config.repetition_penalty = 1.3
    assert recalled(generation="plain") == 4  # as if it were not there
    assert (recalled(), recalled()) == (0, 4)
    model.generation_config.repetition_penalty = 1.31
    assert recalled() == 0
    model.generation_config.repetition_penalty = 1.0
    assert recalled() == 4


def test_a_replaced_generate_keeps_outcomes_out_of_the_store() -> None:
    model, tokenizer = planted()
    model.generate = lambda **arguments: arguments["input_ids"]  # as a folder's custom_generate does
    assert model_context(model, tokenizer, "weights") is None


def test_the_file_is_read_without_transformers(tmp_path: Path) -> None:
    class Source:
        location, revision = str(tmp_path), None

    assert not generation.rules_of_files(Source())  # type: ignore[arg-type]
    for text, rules in (('{"repetition_penalty": 1.1}', {"repetition_penalty": 1.1}), ("{", {}), ("[]", {})):
        (tmp_path / generation.FILE).write_text(text, encoding="utf-8")
        assert generation.rules_of_files(Source()).rules == rules  # type: ignore[arg-type]
    (tmp_path / generation.FILE).unlink()
    (tmp_path / "config.json").write_text('{"repetition_penalty": 1.2, "hidden_size": 8}', encoding="utf-8")
    assert generation.rules_of_files(Source()).rules == {"repetition_penalty": 1.2}  # type: ignore[arg-type]
