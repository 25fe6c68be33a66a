"""The hooks by which a conftest or a plugin extends reasoning-probe. ``examples/`` shows each in use.

An implementation may take fewer arguments than are named here. Of the first three hooks the first result that is not
``None`` counts; ``None`` leaves things as they are.
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
    """Return the items of *source*, a text of ``@rp.probe(...)`` or ``--probe-dataset NAME=...``.

    Mark your own sources by a scheme, such as ``wiki:capitals``, and return ``None`` for any other text. An item
    without an id is called ``q1``, ``q2``, ... by its place. For data that cannot be read raise ``ValueError`` with one
    line that says what to do.
    """


@pytest.hookspec(firstresult=True)
def pytest_reasoning_probe_judge(item: Item, response: str, truncated: bool) -> Judgement | None:
    """Return the answer of *response* to *item* and whether it is right: a scorer of your own.

    *response* is the generated text alone; *truncated* tells whether the token limit ended it. Multiple choice by
    log-probability is not judged here. Equal responses to an item are judged once in a process, and each process judges
    its own, so depend on the arguments alone.
    """


@pytest.hookspec(firstresult=True)
def pytest_reasoning_probe_mistake(item: Item, response: str, judgement: Judgement) -> Judgement | None:
    """Return the wrong *judgement* with a category of your own: ``dataclasses.replace(judgement, category=...)``.

    Equal wrong responses to an item are categorised once in a process, as they are judged once.
    """


@pytest.hookspec
def pytest_reasoning_probe_section(run: Run) -> Section | None:
    """Return a section for the page, the Markdown summary and ``run.json``: a title, a text, a table.

    It is called once, at the end of the session: ``run.summary`` is the content of ``run.json``, ``run.outcomes`` are
    the outcomes.
    """
