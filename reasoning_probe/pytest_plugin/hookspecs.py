"""Hooks: what a conftest or a plugin may add to reasoning-probe. ``examples/`` shows each at work.

A hook may take fewer arguments than are named here. The first three return what the first implementation gives that is
not ``None``; ``None`` leaves things as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reasoning_probe.data.items import Item
    from reasoning_probe.results.run import Run
    from reasoning_probe.scoring.judgement import Judgement
    from reasoning_probe.session.extensions import Section


@pytest.hookspec(firstresult=True)
def pytest_reasoning_probe_source(source: str) -> Iterable[Item] | None:
    """Return the items that *source* stands for, a text of ``@rp.probe(...)`` or ``--probe-dataset NAME=...``.

    A source of your own is told by a scheme, ``wiki:capitals``; any other text you leave to others by ``None``. An item
    without an id is called ``q1``, ``q2``, ... by its place. For data that cannot be read raise ``ValueError`` with one
    line that says what to do.
    """


@pytest.hookspec(firstresult=True)
def pytest_reasoning_probe_judge(item: Item, response: str, truncated: bool) -> Judgement | None:
    """Return what *response* answers to *item* and whether that is right: a scorer of your own.

    *response* is the generated text alone; *truncated* says that the token limit ended it. Multiple choice by
    log-probability is not judged here. The same outcome may be judged several times: be a function of the arguments.
    """


@pytest.hookspec(firstresult=True)
def pytest_reasoning_probe_mistake(item: Item, response: str, judgement: Judgement) -> Judgement | None:
    """Return the wrong *judgement* with a category of your own: ``dataclasses.replace(judgement, category=...)``."""


@pytest.hookspec
def pytest_reasoning_probe_section(run: Run) -> Section | None:
    """Return a section for the page, the Markdown summary and ``run.json``: a title, a text, a table.

    It is called once, at the end, with everything that was found: ``run.summary`` is the content of ``run.json``,
    ``run.outcomes`` are the outcomes.
    """
