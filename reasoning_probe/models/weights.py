"""Reading weights wherever they are: in memory, on several devices, quantised, or offloaded by accelerate.

An offloaded weight is a tensor without data until accelerate's hook brings it in from CPU memory or disk for its
module's ``forward``. Code that reads weights outside of a pass reads them through this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from reasoning_probe.models.errors import ModelError


def device_of(model: Any) -> torch.device:
    """Return the device for token ids: the one where the embedding runs, wherever its weight is at present."""
    embedding = model.get_input_embeddings()
    for hook in placing_hooks(embedding):
        device = getattr(hook, "execution_device", None)
        if device is not None:
            return torch.device(device)
    weight = getattr(embedding, "weight", None)
    return weight.device if isinstance(weight, Tensor) else torch.device(model.device)


def offloaded(model: Any) -> bool:
    """Tell whether some weights are brought in from CPU memory or disk in every pass."""
    return any(getattr(hook, "offload", False) for module in model.modules() for hook in placing_hooks(module))


def weights_loaded(module: nn.Module) -> AbstractContextManager[None]:
    """Bring in the data of the offloaded weights of *module*, not of its children, inside the context."""
    if not placing_hooks(module):
        return nullcontext()
    from accelerate.utils import align_module_device

    context: AbstractContextManager[None] = align_module_device(module)
    return context


def placing_hooks(module: Any) -> list[Any]:
    """Return accelerate's hooks that bring in the weights of *module*."""
    hook = getattr(module, "_hf_hook", None)  # accelerate has no public way to read it
    return [] if hook is None else list(getattr(hook, "hooks", [hook]))


def tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the model's state with its name, in the order of names, with data and of plain type.

    The tensors that make up a quantised weight follow one another as ``weight.qdata`` and the like. Only one module's
    offloaded weights are brought in at a time. Raises :class:`ModelError` if the data of a weight cannot be read.
    """
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, Tensor):
            raise _unreadable(model, name)
        if not value.is_meta:
            yield from _plain(model, name, value)
            continue
        holder, leaf = _holder(model, name)
        with weights_loaded(holder):
            parameters = dict(holder.named_parameters(remove_duplicate=False))
            yield from _plain(model, name, parameters[leaf] if leaf in parameters else holder.get_buffer(leaf))


def _holder(model: Any, name: str) -> tuple[nn.Module, str]:
    """Return the module whose hook brings in the weight *name*, and the weight's name in it."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, -1, -1):
        module: nn.Module = model.get_submodule(".".join(parts[:cut]))
        if any(getattr(hook, "offload", False) for hook in placing_hooks(module)):
            return module, ".".join(parts[cut:])
    raise _unreadable(model, name)


def _plain(model: Any, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield *tensor*, or the plain tensors that a subclass wraps."""
    if tensor.is_meta:
        raise _unreadable(model, name)
    if hasattr(tensor, "__tensor_flatten__"):
        for inner in tensor.__tensor_flatten__()[0]:
            yield from _plain(model, f"{name}.{inner}", getattr(tensor, inner))
    else:
        yield name, tensor.detach()


def _unreadable(model: Any, name: str) -> ModelError:
    return ModelError(
        f"the weight {name} of {type(model).__name__} cannot be read: where the model is too big, let"
        " --probe-device-map divide it; where it is quantised, do it with torchao or bitsandbytes"
    )


def copy_from_files(model: Any) -> None:
    """Copy the weights of *model* that lie on the CPU, so that none is a mapping of a file any more.

    safetensors maps its files: a weight would change with its file while the model runs, and reading one whose file was
    cut would end the process. One tensor after the other is copied, so that memory need hold no more than one twice;
    weights that share memory go on sharing it. What accelerate brings in from files stays there.
    """
    copies: dict[tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype], Tensor] = {}
    with torch.no_grad():
        for weight in (*model.parameters(), *model.buffers()):
            data = weight.data
            if data.device.type != "cpu" or type(data) is not Tensor or not data.numel():
                continue  # a quantised weight is made of its file's, not the file's
            key = (data.data_ptr(), tuple(data.shape), data.stride(), data.dtype)
            if key not in copies:
                copies[key] = data.clone()
            weight.data = copies[key]


def check_finite(model: Any, name: str) -> None:
    """Raise :class:`ModelError` if a weight of *model* is NaN or infinite, because it would answer nonsense."""
    ordinary = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    parameters = {path for path, _ in model.named_parameters(remove_duplicate=False)}
    for path, tensor in tensors(model):
        of_parameter = path in parameters or path.rpartition(".")[0] in parameters  # the latter of a quantised one
        if of_parameter and tensor.dtype in ordinary and not bool(tensor.isfinite().all()):
            raise ModelError(
                f"the weights of {name} hold NaN or infinity ({path}): the file is damaged, or its numbers need"
                " --probe-dtype float32"
            )


def fingerprint(model: Any) -> str:
    """Return a digest of every weight of *model* with its name, shape and dtype: 32 hexadecimal digits.

    It does not depend on where the weights are. Raises :class:`ModelError` if some cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        if hasattr(value, "__tensor_flatten__"):  # a subclass: how its plain tensors, which follow, make up one weight
            context = re.sub(r" at 0x[0-9a-f]+", "", str(value.__tensor_flatten__()[1]))
            digest.update(f"{name} {type(value).__qualname__} {tuple(value.shape)} {value.dtype} {context}\n".encode())
    for name, tensor in tensors(model):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        try:
            data = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        except (RuntimeError, NotImplementedError) as error:
            raise _unreadable(model, name) from error
        digest.update(data.numpy().data)
    return digest.hexdigest()
