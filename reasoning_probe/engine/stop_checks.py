"""When ``generate`` looks whether its rows have ended: on a GPU once in several tokens.

transformers reads after every token whether all rows have ended, and the GPU idles meanwhile. Here the tokens of
several steps are read together. Rows decode at most so many tokens past their end, which the caller cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers.generation import utils as generation

Ended = Callable[[Sequence[int]], bool]
"""Tells whether a row of tokens, those of the answer, contains the end of the answer."""

SUPPORTED = hasattr(generation, "StopCheck")
"""Whether this version of transformers has the class that is replaced; older ones read every token."""


@contextmanager
def checked_every(steps: int, limit: int, ended: Ended) -> Iterator[None]:
    """While open, ``generate`` reads the tokens once in so many *steps*, and ends after *limit* or once all *ended*."""

    class _RareCheck(generation.StopCheck):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            super().__init__()
            self.tokens: list[Tensor] = []  # of each step, (rows,)

        def __call__(self, unfinished_sequences: Tensor, tokens: Tensor, length: int) -> bool:
            self.tokens.append(tokens)
            if len(self.tokens) >= limit:
                return True
            if len(self.tokens) % steps:
                return False
            return all(map(ended, torch.stack(self.tokens, dim=1).tolist()))

    with mock.patch.object(generation, "StopCheck", _RareCheck):
        yield
