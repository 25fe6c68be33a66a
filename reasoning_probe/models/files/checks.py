"""What is looked at before a model is built, and before its weights and its tokenizer are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.files.adapter_checks import CONFIG as ADAPTER_CONFIG
from reasoning_probe.models.files.adapter_checks import check_adapter, check_rank
from reasoning_probe.models.files.config_checks import check_config
from reasoning_probe.models.files.generation_checks import check_generation, check_ids
from reasoning_probe.models.files.gguf_checks import check_gguf
from reasoning_probe.models.files.model_files import ModelFiles
from reasoning_probe.models.files.tokenizer_checks import check_tokenizer
from reasoning_probe.models.files.weight_checks import adapter_weights, check_elements, check_weights, stored_elements

if TYPE_CHECKING:
    from reasoning_probe.models.loading import ModelSource

_SETTINGS = (".json", ".jinja", ".model", ".txt")
"""The endings of the files beside a ``.gguf`` file that transformers may read."""


def check_before_config(source: ModelSource) -> None:
    """Raise ``ModelError``, one line, if the config of *source* describes what must not or cannot be built."""
    files = _files(source)
    files.check_regular()
    _check_no_adapter(source, files)
    if source.gguf_file is not None:
        check_gguf(Path(source.location) / source.gguf_file, source.name)
        files.check_regular(_SETTINGS)
    else:
        config = files.json("config.json")
        check_config(config, source.name, source.remote_code)
        check_ids(config, source.name, "config.json")


def _check_no_adapter(source: ModelSource, files: ModelFiles) -> None:
    """Raise ``ModelError`` if transformers would take the model of *source* for an adapter, and load its base unseen.

    It does so with a hub's model or the folder of a ``.gguf`` file that has an adapter's config.
    """
    if files.path(ADAPTER_CONFIG) is not None:
        raise ModelError(
            f"cannot load the model {source.name}: {ADAPTER_CONFIG} beside it would make an adapter of it: "
            + ("fetch it into a folder and name that" if files.folder is None else "move the model to another folder")
        )


def check_before_weights(source: ModelSource) -> None:
    """Raise ``ModelError``, one line, if weights, tokenizer or settings of *source* are not to be read."""
    files = _files(source)
    config = {} if source.gguf_file is not None else files.json("config.json")
    check_generation(files.json("generation_config.json"), source.name)
    if source.gguf_file is None:
        check_weights(files, config, source.pickled)
    check_tokenizer(files, config)
    if source.adapter is not None:
        adapter = ModelFiles(source.name, source.adapter)
        adapter.check_regular()
        settings = adapter.json(ADAPTER_CONFIG)
        check_adapter(adapter, settings, source.remote_code)
        check_rank(adapter, settings, adapter_weights(adapter, source.pickled))
        check_tokenizer(adapter, {})


def check_size(source: ModelSource, skeleton: Any) -> None:
    """Raise ``ModelError`` if *skeleton*, the model of *source* without data, is far larger than its weights."""
    if source.gguf_file is not None:
        return  # its header is held against its size
    files = _files(source)
    stored = stored_elements(files, files.json("config.json"), source.pickled)
    tensors = {id(tensor): tensor for tensor in (*skeleton.parameters(), *skeleton.buffers())}
    check_elements(sum(tensor.numel() for tensor in tensors.values()), stored, source.name)


def _files(source: ModelSource) -> ModelFiles:
    return ModelFiles(source.name, source.location, source.revision, shared=source.gguf_file is not None)
