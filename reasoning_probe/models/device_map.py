"""Device maps: how a model that no single device can hold is divided, as ``--probe-device-map`` says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

KINDS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Accelerate's strategies; ``auto`` fills the GPUs evenly, then the CPU's memory, then the disk."""

_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([KMG]i?B)", re.ASCII | re.IGNORECASE)
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class DeviceMap:
    """How a model is divided: accelerate's strategy ``kind``, and in ``most`` the largest sizes by device in bytes.

    A device is ``cpu`` or the number of a GPU. A device that is missing in ``most`` gets no weights, and weights that
    fit nowhere go to disk; without ``most``, accelerate chooses the sizes.
    """

    kind: str = "auto"
    most: tuple[tuple[str | int, int], ...] = ()


def parse_device_map(text: str) -> DeviceMap:
    """Return the device map that *text*, ``auto`` or ``0=20GB,cpu=60GB``, describes. Raises ``ValueError``, one line.

    >>> parse_device_map("0=20GB,cpu=60GB")
    DeviceMap(kind='auto', most=((0, 20000000000), ('cpu', 60000000000)))
    """
    text = text.strip()
    if text in KINDS:
        return DeviceMap(text)
    most: dict[str | int, int] = {}
    for part in text.split(","):
        device, _, size = (word.strip() for word in part.partition("="))
        match = _SIZE.fullmatch(size)
        number = device.removeprefix("cuda:")
        known = device == "cpu" or (number.isascii() and number.isdigit() and len(number) < 4)
        if match is None or not known:
            raise ValueError(f"cannot read the device map {text[:60]!r}: write auto, or sizes such as 0=20GB,cpu=60GB")
        most["cpu" if device == "cpu" else int(number)] = int(float(match[1]) * _UNITS[match[2].upper()])
    return DeviceMap("auto", tuple(most.items()))


def placement_options(device_map: DeviceMap, device: str, folder: str) -> dict[str, Any]:
    """Return the keyword arguments of ``from_pretrained`` that divide a model over *device* and the CPU's memory.

    ``cuda`` is all GPUs. Weights that go to disk and cannot be read from the model's own files are written to *folder*.
    """
    import torch

    most: dict[str | int, int] = dict(device_map.most)
    if not most and torch.device(device).type == "cpu":
        from accelerate.utils import get_max_memory

        most = {"cpu": get_max_memory()["cpu"]}
    elif not most and torch.device(device).index is not None:
        from accelerate.utils import get_max_memory

        free = get_max_memory()
        most = {name: free[name] for name in (torch.device(device).index, "cpu")}
    options: dict[str, Any] = {"device_map": device_map.kind, "offload_folder": folder}
    return options | ({"max_memory": most} if most else {})
