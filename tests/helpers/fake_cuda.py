"""A CUDA device that is pretended on the CPU, for what a machine without a GPU can test of code that runs on one.

A tensor on it is a wrapper around a CPU tensor whose ``device`` is ``cuda:0``. Operations on tensors of both devices
raise as CUDA's do, and whatever would make the host wait for the GPU is counted by source line:

- reading a value: ``item``, ``tolist``, ``bool``, ``numpy``, a copy to the CPU;
- an output whose size depends on values: ``nonzero``, indexing by a mask, ``unique``;
- a copy to the GPU from memory that is not pinned, unless it is ``non_blocking``: ``torch.tensor(..., device="cuda")``,
  ``x.to("cuda")``, indexing by a list.

Kernels are the CPU's, so the pretence says nothing about speed or about the bits of a GPU's products.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")

MEMORY = 8 << 30
"""Bytes that are free on the device."""

_READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "bincount"}
_COPIES = {"copy_", "_to_copy"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_ELEMENTWISE = {
    "silu",
    "gelu",
    "mish",
    "elu",
    "celu",
    "softplus",
    "tanh",
    "sigmoid",
    "exp",
    "log1p",
    "erf",
    "sin",
    "cos",
}

VECTOR, GRAIN = 64, 32768
"""Numbers that a CPU's kernel takes at a time, and from which it shares them among threads."""

_PRETENDED = {
    *("to", "cpu", "cuda", "type_as", "tolist", "numpy", "__array__", "__deepcopy__", "pin_memory"),
    *("data_ptr", "untyped_storage", "storage", "is_shared", "one_hot", "scaled_dot_product_attention"),
}
"""The functions that ``FakeCuda`` takes from torch, beside those with a device among their arguments."""

_TORCH = str(Path(torch.__file__).parent)


class FakeCudaTensor(torch.Tensor):
    """A tensor whose ``device`` is ``cuda:0`` and whose values are those of ``host``, on the CPU."""

    host: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> FakeCudaTensor:
        tensor: FakeCudaTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype, device=CPU
        )
        tensor.host = host
        return tensor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"FakeCudaTensor({self.host!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run *func* on the CPU; raise where tensors of both devices meet, and count it where the host would wait."""
        name = func.overloadpacket.__name__
        tensors: list[Tensor] = []  # among the arguments

        def host(tensor: Tensor) -> Tensor:
            tensors.append(tensor)
            return tensor.host if type(tensor) is FakeCudaTensor else tensor

        host_args = [_mapped(host, arg) for arg in args]
        host_kwargs = {key: _mapped(host, value) for key, value in kwargs.items()} if kwargs else {}
        if "device" in host_kwargs:
            host_kwargs["device"] = CPU
        _check_devices(name, args, tensors)
        if name in _ELEMENTWISE:
            outputs = _in_full_vectors(lambda x: func(x, *host_args[1:], **host_kwargs), host_args[0])
        elif name == "histc":  # the CPU's kernel takes no integers
            outputs = func(host_args[0].float(), *host_args[1:], **host_kwargs).to(host_args[0].dtype)
        else:
            outputs = func(*host_args, **host_kwargs)
        if name.endswith("_"):  # in place
            return args[0]
        return _mapped(_device, outputs)


def _check_devices(name: str, args: Any, tensors: list[Tensor]) -> None:
    """Raise where CUDA would refuse the *tensors* of the operation *name*; count it where the host would wait."""
    on_host = [tensor for tensor in tensors if type(tensor) is not FakeCudaTensor and tensor.dim() > 0]
    if name in _READS:
        _count(name.strip("_"))
    elif name == "copy_":
        if not isinstance(args[0], FakeCudaTensor):
            _count("copy to the host")
        elif on_host and args[2:3] != (True,):
            _count("copy to the device")
    elif name in _INDEXING:
        indices = [index for index in args[1] if index is not None]
        if not isinstance(args[0], FakeCudaTensor):
            raise RuntimeError(f"indices should be on the device of the indexed tensor (cpu), in {_line()}")
        if any(
            isinstance(value, Tensor) and not isinstance(value, FakeCudaTensor) and value.dim() for value in args[2:]
        ):
            raise RuntimeError(f"expected the values on cuda:0, but they are on the cpu, in {_line()}")
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            _count("index by a mask")
        if any(not isinstance(index, FakeCudaTensor) and index.dim() for index in indices):
            _count("index from the host")
    elif on_host and name not in _COPIES:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"(in {name}, {_line()})"
        )


def _mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return *value* with *function* applied to the tensors in it; several times as fast as torch's ``tree_map``."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):  # several times as fast as list | tuple
        parts = [_mapped(function, part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value


def _device(tensor: Tensor) -> FakeCudaTensor:
    return tensor if type(tensor) is FakeCudaTensor else FakeCudaTensor(tensor)


def _in_full_vectors(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return *function* of every number of *x*: a GPU computes all alike, a CPU the last few of a thread otherwise."""
    unit = VECTOR * min(torch.get_num_threads(), -(-x.numel() // GRAIN))
    if not unit or not x.is_floating_point():
        return function(x)
    padded = nn.functional.pad(x.reshape(-1), (0, -x.numel() % unit))
    return function(padded)[: x.numel()].view(x.shape)


def _count(what: str) -> None:
    if FakeCuda.active is not None:
        FakeCuda.active.waits[f"{_line()} {what}"] += 1


def _line() -> str:
    """Return the source line that calls torch: its file, from the package's name on, and its number."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith((_TORCH, __file__)) or frame.f_code.co_name == "__torch_function__"
    ):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    parts = path.parts
    package = next((name for name in ("reasoning_probe", "transformers", "tests") if name in parts), None)
    short = "/".join(parts[len(parts) - 1 - parts[::-1].index(package) :]) if package else path.name
    return f"{short}:{frame.f_lineno}"


def _is_cuda(device: Any) -> bool:
    return device is not None and not isinstance(device, int) and torch.device(device).type == "cuda"


class FakeCuda(TorchFunctionMode):
    """While open, ``cuda:0`` exists; ``waits`` counts what made the host wait, by source line and cause."""

    active: FakeCuda | None = None

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def total(self, package: str = "") -> int:
        """Return how often the host waited in a line of *package*, or in any."""
        return sum(count for line, count in self.waits.items() if line.startswith(package))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in _PRETENDED and "device" not in kwargs:
            return func(*args, **kwargs)
        kwargs = dict(kwargs)
        x = args[0] if args else None
        if name in ("to", "cpu", "cuda", "type_as") and isinstance(x, Tensor):
            return _moved(name, func, x, args[1:], kwargs)
        if isinstance(x, FakeCudaTensor):
            if name in ("tolist", "numpy", "__array__"):
                _count(name.strip("_"))
                return func(x.host, *args[1:], **kwargs)
            if name in ("data_ptr", "untyped_storage", "storage", "is_shared"):
                return func(x.host, *args[1:], **kwargs)
            if name == "one_hot":  # its C++ makes tensors where it sees the wrappers: on the CPU
                if len(args) < 2 and "num_classes" not in kwargs:
                    _count("one_hot")
                return FakeCudaTensor(func(x.host, *args[1:], **kwargs))
            if name == "__deepcopy__":
                return FakeCudaTensor(x.host.clone())
            if name == "pin_memory":
                raise RuntimeError("only dense CPU tensors can be pinned")
            if name == "scaled_dot_product_attention" and kwargs.get("is_causal") and x.shape[-1] != args[2].shape[-1]:
                # torch has no kernel for such sizes: its C++ makes the mask, where it sees the wrappers' CPU tensors.
                causal = torch.ones(x.shape[-2], args[1].shape[-2], dtype=torch.bool).tril()
                kwargs |= {"is_causal": False, "attn_mask": FakeCudaTensor(causal)}
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = CPU
            made = func(*args, **kwargs)
            if name in ("tensor", "as_tensor", "asarray", "new_tensor") and made.numel():
                _count("copy to the device")
            return _mapped(_device, made)
        return func(*args, **kwargs)


def _moved(name: str, func: Any, x: Tensor, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what ``x.to(...)`` and its short forms do."""
    if name == "cpu":
        args = (CPU,)
    elif name == "cuda":
        args = (CUDA, *args[1:])
    elif args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    copy = kwargs.pop("copy", False)
    device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
    on_device = isinstance(x, FakeCudaTensor)
    to_device = on_device if device is None else device.type == "cuda"
    dtype = dtype or x.dtype
    if on_device == to_device:
        return Tensor.to(x, dtype, copy=copy)
    if on_device:
        _count("copy to the host")
        return x.host.to(dtype, copy=True)  # type: ignore[attr-defined]
    if not non_blocking:
        _count("copy to the device")
    return FakeCudaTensor(x.to(dtype, copy=True))


def to_fake_cuda(model: Any) -> Any:
    """Move the weights and buffers of *model* to the pretended device, in place, and return it; ties stay ties."""
    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in moved:
                    moved[id(parameter)] = nn.Parameter(FakeCudaTensor(parameter.detach()), parameter.requires_grad)
                module._parameters[name] = moved[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = FakeCudaTensor(buffer)
    return model


@contextmanager
def fake_cuda() -> Iterator[FakeCuda]:
    """Pretend, inside the context, that there is one CUDA device, and yield what counts its waits."""
    answers: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "mem_get_info": (MEMORY, MEMORY),
        "max_memory_allocated": 0,
        "empty_cache": None,
        "synchronize": None,
        "get_device_capability": (7, 0),
        "reset_peak_memory_stats": None,
    }
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, return_value=answer))
        # A wrapper is no inference tensor.
        stack.enter_context(
            mock.patch.object(torch, "inference_mode", lambda mode=True: torch.set_grad_enabled(not mode))
        )
        cuda = FakeCuda()
        stack.enter_context(mock.patch.object(FakeCuda, "active", cuda))
        stack.enter_context(cuda)
        yield cuda
