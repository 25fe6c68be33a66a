"""A ``.gguf`` file is parsed once while its model is loaded.

transformers has the library gguf parse the header anew for the config, the tokenizer and the weights, and build the
table of all tensors' names once a module. For SmolLM2 this is half of the time that loading takes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

_FUNCTIONS = ("GGUFReader", "get_tensor_name_map")
"""What transformers imports from gguf when it needs it, and only reads the results of."""


@contextmanager
def parsed_once(file: str | None) -> Iterator[None]:
    """While open, a ``.gguf`` *file* is parsed once, however often transformers asks for it; None is no such file."""
    if file is None:
        yield
        return
    import gguf

    functions = {name: getattr(gguf, name) for name in _FUNCTIONS}
    for name, function in functions.items():
        setattr(gguf, name, functools.cache(function))
    try:
        yield
    finally:
        for name, function in functions.items():
            setattr(gguf, name, function)
