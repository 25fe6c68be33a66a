"""Adapters (PEFT): merged into their base model, which gets rows for tokens that were added to train the adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch


def merge_adapter(model: Any, tokenizer: Any, folder: Path) -> Any:
    """Return *model* with the adapter in *folder* merged into it; *tokenizer* is the adapter's, if it has one.

    Where the adapter knows more tokens than the model, or fewer, the model's embeddings are resized first, as PEFT's
    ``AutoPeftModelForCausalLM`` does it.
    """
    from peft import PeftModel

    rows = embedding_rows(model, tokenizer, folder)
    if rows != model.get_input_embeddings().weight.shape[0]:
        _resize(model, rows)
    return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()


def embedding_rows(model: Any, tokenizer: Any, folder: Path) -> int:
    """Return how many rows the embedding of *model* needs for the adapter in *folder*.

    The shapes of its weights say so. Without any, it is enough for the tokens of *tokenizer* and those that the adapter
    trains.
    """
    names = {_name_of(model, module) for module in (model.get_input_embeddings(), model.get_output_embeddings())}
    sizes = [
        shape[0 if kind in ("weight", "lora_B.weight") else 1]
        for path, shape in _shapes(folder)
        for name in names - {None}
        for kind in ("weight", "lora_B.weight", "lora_embedding_A")
        if len(shape) == 2 and path.endswith(f"{name}.{kind}") and (kind != "lora_B.weight" or _is_head(model, name))
    ]
    if sizes:
        return int(max(sizes))
    needed = [model.get_input_embeddings().weight.shape[0]]
    if tokenizer is not None:
        needed.append(len(tokenizer))
    trained = _config(folder).get("trainable_token_indices")
    for indices in trained.values() if isinstance(trained, Mapping) else [trained]:
        if isinstance(indices, list) and all(isinstance(index, int) for index in indices):
            needed += [index + 1 for index in indices]
    return int(max(needed))


def _name_of(model: Any, module: Any) -> str | None:
    return next((name for name, each in model.named_modules() if each is module and name), None)


def _is_head(model: Any, name: str | None) -> bool:
    return name == _name_of(model, model.get_output_embeddings())


def _shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of each weight of the adapter, from the header of its file."""
    from safetensors import safe_open

    file = folder / "adapter_model.safetensors"
    if file.is_file():
        with safe_open(str(file), framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118  # it is no dict
                yield name, tuple(weights.get_slice(name).get_shape())


def _config(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return config if isinstance(config, dict) else {}


def _resize(model: Any, rows: int) -> None:
    """Give the embeddings of *model* so many *rows*; new ones are the mean of the others, the same in every run."""
    old = model.get_input_embeddings().weight.shape[0]
    with torch.random.fork_rng():
        model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
            weight = getattr(embedding, "weight", None)
            if weight is not None and rows > old:
                weight[old:] = weight[:old].float().mean(0).to(weight.dtype)  # (rows - old, hidden)
