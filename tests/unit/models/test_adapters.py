"""Adapters whose tokens were added: the base gets rows for them, and answers as the trained model did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from reasoning_probe.models import loading
from reasoning_probe.models.weights import fingerprint

ADDED = ["<colour>", "<shade>", "<tint>"]

WAYS: dict[str, dict[str, Any]] = {
    "saved embeddings": {"modules_to_save": ["wte", "lm_head"]},
    "trained rows": {"trainable_token_indices": {"wte": "added"}},
    "adapted embedding": {"target_modules": ["c_attn", "wte"]},
    "nothing of theirs": {},
}


def trained_adapter(base: Path, folder: Path, way: str) -> tuple[Any, Any]:
    """Save an adapter with three more tokens than *base*; return the model that was trained, and its tokenizer."""
    loaded = loading.load_model(loading.resolve_model(str(base)))
    model, tokenizer = loaded.model, loaded.tokenizer
    tokenizer.add_tokens(ADDED)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():  # as the loader fills the rows that no file has
        for weight in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
            weight[-len(ADDED) :] = weight[: -len(ADDED)].mean(0)
    options = dict(WAYS[way])
    if "trainable_token_indices" in options:
        options["trainable_token_indices"] = {"wte": [len(tokenizer) - 3, len(tokenizer) - 2, len(tokenizer) - 1]}
    options.setdefault("target_modules", ["c_attn"])
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(r=2, fan_in_fan_out=True, **options))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape))
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return adapted, tokenizer


@pytest.mark.parametrize("way", WAYS)
def test_the_base_is_resized_as_peft_does_it(planted_folder: Path, tmp_path: Path, way: str) -> None:
    trained, tokenizer = trained_adapter(planted_folder, tmp_path, way)
    ids = tokenizer("What <colour> is the <shade>?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = trained.eval()(input_ids=ids).logits
    loaded = loading.load_model(loading.resolve_model(str(tmp_path)))
    assert loaded.model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert loaded.tokenizer("<tint>")["input_ids"][-1] == len(tokenizer) - 1
    with torch.no_grad():
        logits = loaded.model(input_ids=ids).logits  # (1, tokens, vocabulary)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_rows_that_no_file_has_are_the_same_in_every_run(planted_folder: Path, tmp_path: Path) -> None:
    trained_adapter(planted_folder, tmp_path, "nothing of theirs")
    prints = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        prints.add(fingerprint(loading.load_model(loading.resolve_model(str(tmp_path))).model))
    assert len(prints) == 1
