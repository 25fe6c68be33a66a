"""Tests the control task against models with hand-edited weights and one plain forward pass each."""

from __future__ import annotations

import pytest

from reasoning_probe.analyses.control_task import MOST_TOKENS, control_task, neutral_sentences
from reasoning_probe.engine import plain_path
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast.path import FastPath
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import parse_targets
from reasoning_probe.report.sentences import control_sentences
from reasoning_probe.results.run import Run
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edited, logprob


@pytest.mark.parametrize("path", ["fast", "fast, one row at a time", "plain"])
def test_the_control_task_is_that_of_the_edited_model(path: str) -> None:
    model, tokenizer = build("gpt2"), Letters()
    head_map = find_heads(model)
    site = head_map.attention_layers[0]
    others = parse_targets("L1H0,L0H0,L1MLP", head_map)
    targets = [*parse_targets(f"L{site.layer}H1", head_map), *others]
    engine = LocalEngine(model, tokenizer, head_map, memory_cap=1 if "one row" in path else None)
    assert isinstance(engine.path, FastPath)
    if path == "plain":
        engine._path = engine.plain
    counts = vars(engine.counts).copy()
    result = control_task(engine, [(target, "zero") for target in targets])
    assert result is not None
    assert vars(engine.counts) == counts  # the sweep's counts leave it out
    twins = {"logprob": model, "off": edited(model, site.path, site.heads, [1])}
    ids = [tokenizer(text)["input_ids"][:MOST_TOKENS] for text in neutral_sentences()]
    tokens = sum(len(of_one) - 1 for of_one in ids)
    clean, off = (sum(logprob(twin, of_one[:1], of_one[1:]) for of_one in ids) / tokens for twin in twins.values())
    assert (result["sentences"], result["tokens"]) == (3, tokens)
    assert result["logprob"] == pytest.approx(clean, abs=1e-4)
    row, *other_rows = result["targets"]
    assert [other["target"] for other in other_rows] == [other.name for other in others]
    assert (row["target"], row["ablation"]) == (targets[0].name, "zero")
    assert row["delta"] == pytest.approx(off - clean, abs=1e-4)


def test_nothing_off_is_no_control_task() -> None:
    model = build("gpt2")
    assert control_task(LocalEngine(model, Letters(), find_heads(model)), []) is None


def test_old_runs_without_a_control_task_say_nothing() -> None:
    assert control_sentences(Run({"targets": [], "datasets": {}}, [])) == []


def test_nothing_is_settled_alone_for_a_log_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = build("gpt2"), Letters()
    head_map = find_heads(model)
    engine = LocalEngine(model, tokenizer, head_map)
    assert isinstance(engine.path, FastPath)
    monkeypatch.setattr(plain_path, "NOISE_MARGIN", 1e9)  # every row is too close to call
    targets_alone: list[str] = []
    alone = engine.plain.generate_alone
    monkeypatch.setattr(
        engine.plain, "generate_alone", lambda *about: targets_alone.append(about[1].name) or alone(*about)
    )
    result = control_task(engine, [(target, "zero") for target in parse_targets("L0H0,L1H1", head_map)])
    assert result is not None
    assert len(result["targets"]) == 2
    assert targets_alone == []
