"""Limits of templates: a template is a program that came with a model or a task, and may loop or grow without end.

It is rendered in this process, in Jinja's sandbox, which keeps it from code and files, and not from time and memory.
The time is looked at on every line of the template's code and on every call, by Python's trace function, which works in
every thread and is put back afterwards. Memory is limited by the system where it can be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LONGEST_S = 5.0
"""Seconds in which a template must be done with one prompt."""

LONGEST_TEMPLATE = 1_000_000
LONGEST_TEXT = 10_000_000
"""Characters of a template and of what it writes."""

MEMORY = 1_000_000_000
"""Bytes that a template may take while it is rendered."""

_CODE = "<template>"  # the file name of every template's code that has no file


class TemplateLimitError(ValueError):
    """A template that does not end in time, or that is or writes too much; the message is half a sentence."""


class _OutOfTime(BaseException):
    """No ``Exception``, which Jinja's compiler takes for a constant that it cannot calculate, and goes on."""


def bounded(template: object, render: Callable[[], str]) -> str:
    """Return the text that *render* makes of *template*.

    Raises :class:`TemplateLimitError`, or what *render* raises.
    """
    check_template(template)
    try:
        with _memory_limited(), _time_limited():
            written = render()
    except _OutOfTime:
        raise TemplateLimitError(f"it is not done after {LONGEST_S:g} seconds") from None
    except MemoryError:
        raise TemplateLimitError(f"it takes more than {MEMORY:,} bytes") from None
    if len(written) > LONGEST_TEXT:
        raise TemplateLimitError(f"it writes more than {LONGEST_TEXT:,} characters")
    return written


def check_template(template: object) -> None:
    """Raise :class:`TemplateLimitError` if *template* is too long, or shows that it may never end."""
    for text in _texts(template):
        if len(text) > LONGEST_TEMPLATE:
            raise TemplateLimitError(f"it is longer than {LONGEST_TEMPLATE:,} characters")
        if _has_power(text):
            raise TemplateLimitError("it calculates powers, which may never end")


def _texts(template: object) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict):
        for value in template.values():
            yield from _texts(value)


def _has_power(template: str) -> bool:
    """Tell whether *template* uses Python's ``**``: Jinja's compiler calculates constants, ``9**9**9`` among them."""
    if "**" not in template:
        return False
    from jinja2 import Environment, TemplateSyntaxError

    try:
        return any(kind == "operator" and value == "**" for _, kind, value in Environment().lex(template))
    except TemplateSyntaxError:
        return False  # whoever renders it reports it


@contextmanager
def _time_limited() -> Iterator[None]:
    """Raise :class:`_OutOfTime` inside the context once it has been open for :data:`LONGEST_S` seconds."""
    end = time.monotonic() + LONGEST_S

    def look(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        if time.monotonic() > end:
            raise _OutOfTime
        return look if frame.f_code.co_filename == _CODE else None

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _memory_limited() -> Iterator[None]:
    """Let the process take :data:`MEMORY` bytes more inside the context, where the system can limit it."""
    limit = None
    try:
        import resource

        with open("/proc/self/statm", "rb") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        limit = resource.getrlimit(resource.RLIMIT_AS)
        most = size + MEMORY if limit[1] == resource.RLIM_INFINITY else min(size + MEMORY, limit[1])
        if limit[0] == resource.RLIM_INFINITY or limit[0] > most:
            resource.setrlimit(resource.RLIMIT_AS, (most, limit[1]))
        else:
            limit = None
    except (ImportError, OSError, ValueError):
        limit = None
    try:
        yield
    finally:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, limit)
