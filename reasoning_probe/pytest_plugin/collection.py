"""Collecting in pytest: what a probe asks for as a dataset, its cases, and what they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.head_granularity import ItemGroup
    from reasoning_probe.pytest_plugin.state import PluginState
    from reasoning_probe.session.plan import Case

_FIXTURES = f"{__package__}.fixtures"
"""The module of the plugin's own fixtures."""

PER_ITEM_FIXTURES = ("answer", "item", "probe_case")
"""The fixtures whose values are another for each item of a group's case."""


def cases_and_ids(
    state: PluginState, metafunc: pytest.Metafunc, mark: pytest.Mark
) -> tuple[Sequence[Case | ItemGroup], list[str]]:
    """Return the cases of the probe that *metafunc* is about, and their test ids; ``ValueError`` of one line."""
    if len(mark.args) != 1:
        raise ValueError(f'the probe {metafunc.definition.name} names no source: write @probe("logic"), or a file')
    if "probe_case" not in metafunc.fixturenames:
        raise ValueError(f"the probe {metafunc.definition.name} must ask for the fixture 'answer' or 'item'")
    _provide_model(state, metafunc)
    cases = state.session.cases(_dataset(state, metafunc, mark))
    if state.settings.granularity == "case":
        return cases, _case_ids(cases, state)
    from reasoning_probe.pytest_plugin.head_granularity import group_by_target, group_ids

    for name in metafunc.fixturenames:
        refusals = (per_item_fixture_error(name, fixture) for fixture in _fixtures(metafunc, name))
        for refusal in filter(None, refusals):
            raise ValueError(refusal)
    here = [case for case in cases if state.session.in_shard(case)]
    groups = group_by_target(here or cases)  # where none is, all are deselected like any others
    return groups, group_ids(groups, several=len(state.settings.ablations) > 1)


def _dataset(state: PluginState, metafunc: pytest.Metafunc, mark: pytest.Mark) -> Any:
    from reasoning_probe.data import datasets
    from reasoning_probe.data.sources.registry import located

    (source,) = mark.args
    name = mark.kwargs.get("name")
    if not isinstance(name, str | None):
        raise ValueError(f"the probe {metafunc.definition.name}: name={ascii(name)[:40]} is no text: give one")
    if isinstance(source, str) and source in datasets.BUILTIN:
        return state.session.dataset(name or source, source)
    if isinstance(source, str | Path):
        source = located(source, metafunc.definition.path.parent)
    if isinstance(source, Path):
        return state.session.dataset(name or source.stem, source)
    return state.session.dataset(name or metafunc.definition.name.removeprefix("test_"), source)


def _case_ids(cases: list[Case], state: PluginState) -> list[str]:
    from reasoning_probe.data.datasets import safe_ids

    several = len(state.settings.ablations) > 1
    safe = safe_ids([case.item.id or "" for case in cases if case.target is None])
    ids, item_ids = [], iter(safe)
    current = ""
    for case in cases:
        if case.target is None:
            current = next(item_ids)
            ids.append(current)
        else:
            ids.append(f"{current}-{case.target.name}" + (f"-{case.ablation}" if several else ""))
    return ids


def _provide_model(state: PluginState, metafunc: pytest.Metafunc) -> None:
    """Take the model of an overridden ``probe_model`` fixture, whose heads are needed to name the cases."""
    machine = state.session.model_runner
    if machine.provided is not None:
        return
    for function in _fixtures(metafunc, "probe_model"):
        if function.__module__ == _FIXTURES:
            continue
        machine.from_fixture, machine.fixture_has_dependencies = True, bool(inspect.signature(function).parameters)
        if not state.settings.ablating:
            return
        if machine.fixture_has_dependencies:
            raise ValueError(
                "probe_model takes other fixtures, so its heads are unknown while cases are collected:"
                " give it no arguments, or select none of them with --ablate-heads"
            )
        made = function()
        if inspect.isgenerator(made):
            state.opened.append(made)
            made = next(made)
        machine.use(made)
        return


def _fixtures(metafunc: pytest.Metafunc, name: str) -> Iterator[Callable[..., Any]]:
    """Yield the functions of the fixtures *name* near the test that bear that name in Python, too, nearest first.

    pytest keeps its own list of them to itself.
    """
    folders = list(metafunc.definition.path.parents)
    near: dict[Path, Any] = {}
    others = []
    for plugin in metafunc.config.pluginmanager.get_plugins():
        file = Path(str(getattr(plugin, "__file__", None)))
        if file.name != "conftest.py":
            others.append(plugin)
        elif file.parent in folders:
            near[file.parent] = plugin
    conftests = [near[folder] for folder in folders if folder in near]
    for holder in (metafunc.module, *conftests, *others):
        function: Any = inspect.unwrap(getattr(holder, name, None))  # type: ignore[arg-type]
        if inspect.isfunction(function):
            yield function


def per_item_fixture_error(name: str, fixture: Callable[..., Any]) -> str | None:
    """Return in one line what the user's *fixture* holds on to that changes within a group, if it does."""
    asks = [changing for changing in PER_ITEM_FIXTURES if changing in inspect.signature(fixture).parameters]
    if not asks or fixture.__module__ == _FIXTURES:
        return None
    return (
        f"--probe-granularity head: the fixture {name!r} asks for {asks[0]!r}, which is another for each item of a"
        " case: ask for it in the test itself"
    )


def unknown_dataset_error(state: PluginState) -> str | None:
    """Return in one line which dataset that an option names no probe asks for, if any."""
    from reasoning_probe.data.datasets import BUILTIN

    items = state.settings.items
    for option, named in (
        ("--probe-dataset", set(state.settings.sources)),
        ("--probe-items", set(items) if isinstance(items, Mapping) else set[str]()),
    ):
        if unknown := sorted(named - set(state.session.datasets) - set(BUILTIN)):
            known = ", ".join(sorted(state.session.datasets))
            return f"{option}: no probe asks for a dataset {unknown[0]!r}: the probes ask for {known}"
    return None


def cases_of(item: pytest.Item) -> tuple[Case, ...]:
    """Return the cases that a collected test stands for: one, or a group's; none where it is no probe's."""
    callspec = getattr(item, "callspec", None)
    given: Case | ItemGroup | None = callspec.params.get("probe_case") if callspec is not None else None
    return () if given is None else cases_in(given)


def cases_in(given: Case | ItemGroup) -> tuple[Case, ...]:
    """Return the cases of a group, or the one that is none."""
    cases: tuple[Case, ...] | None = getattr(given, "cases", None)
    return (given,) if cases is None else cases  # type: ignore[return-value]
