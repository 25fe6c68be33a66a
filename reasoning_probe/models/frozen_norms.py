"""Norms with their scale frozen: what a norm does to each part of its input, given the whole of it.

At a given input a norm subtracts the mean or does not, divides by a number, multiplies by its gains and adds its bias.
With that number held fixed it is affine, so that the parts of the input have parts of the output (nostalgebraist 2020;
Elhage et al. 2021). Gains, bias and centring are measured on the module itself, whatever its class, and proved there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reasoning_probe.models.head_map import HeadError

_PROBE = 1000.0  # so large that the epsilon of a norm does not count


@dataclass(frozen=True)
class FrozenNorm:
    """The affine map ``gains * (x - mean(x)) / scale + bias``, without the mean where it is not ``centred``.

    ``gains`` and ``bias`` are ``(hidden,)``, ``scale`` is ``(rows, 1)``: one for each of the inputs.
    """

    gains: Tensor
    bias: Tensor
    centred: bool
    scale: Tensor

    def pulled_back(self, direction: Tensor) -> Tensor:
        """Return the *direction*, ``(rows, hidden)``, whose product with the input is that of *direction* with the
        output, but for the bias.
        """  # noqa: D205
        pulled = direction * self.gains / self.scale  # (rows, hidden)
        return pulled - pulled.mean(-1, keepdim=True) if self.centred else pulled


def freeze_norm(module: Any, x: Tensor, output: Tensor) -> FrozenNorm:
    """Return *module* with the scale that it has at the inputs *x*, ``(rows, hidden)``, where it gave *output*.

    Raises :class:`~reasoning_probe.models.head_map.HeadError` if it is no such map.
    """
    tolerance = 1e-4 if torch.finfo(_dtype_of(module, x)).eps < 1e-6 else 2e-2
    sign = 1.0 - 2.0 * (torch.arange(x.shape[-1]) % 2).double()  # (hidden,)
    plus, minus = (_applied(module, x, factor * _PROBE * sign) for factor in (1, -1))
    shifted = _applied(module, x, _PROBE * (sign + 0.5))
    bias, half = (plus + minus) / 2, (plus - minus) / 2  # (hidden,)
    centred = bool((shifted - plus).abs().max() <= 10 * tolerance * (1e-30 + half.abs().max()))
    probe = sign - sign.mean() if centred else sign
    gains = half * probe.square().mean().sqrt() / probe
    inner = x.double() - (x.double().mean(-1, keepdim=True) if centred else 0.0)
    unscaled, scaled = inner * gains, output.double() - bias  # (rows, hidden)
    scale = unscaled.square().sum(-1, keepdim=True) / (unscaled * scaled).sum(-1, keepdim=True)
    error = (unscaled / scale - scaled).abs().amax(-1)
    if not bool((error <= tolerance * (1e-30 + scaled.abs().amax(-1))).all()):
        raise HeadError(f"its {type(module).__name__} is not a norm whose scale can be frozen")
    return FrozenNorm(gains, bias, centred, scale)


def _dtype_of(module: Any, x: Tensor) -> torch.dtype:
    return next((parameter.dtype for parameter in module.parameters()), x.dtype)


def _applied(module: Any, like: Tensor, x: Tensor) -> Tensor:
    """Return the output of *module* for *x*, ``(hidden,)``, as it takes inputs: on its device, in its dtype."""
    parameter = next(module.parameters(), None)
    place = like if parameter is None else parameter
    dtype = place.dtype if place.is_floating_point() else torch.float32
    with torch.no_grad():
        output: Tensor = module(x.to(place.device, dtype)[None, None])
    return output[0, 0].cpu().double()
