"""Collection: from a probe to its dataset, its cases and their test ids, and from the selected tests to the plan."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin.skips import count_tests, skipped_by_mark
from reasoning_probe.pytest_plugin.state import COLLECTED, MOST_ERROR, SHARED, STATE, end_session
from reasoning_probe.utils.text import one_line

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.head_granularity import ItemGroup
    from reasoning_probe.pytest_plugin.state import PluginState
    from reasoning_probe.session.plan import Case


PER_ITEM_FIXTURES = ("answer", "item", "probe_case")
"""The fixtures whose values differ between the items of a group."""

_FIXTURES_MODULE = f"{__package__}.fixtures"


# -- one probe ----------------------------------------------------------------------------------------------------


def parametrize_probe(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test function that is a probe with its cases; note what is wrong with it as a usage error."""
    mark = metafunc.definition.get_closest_marker("probe")
    if mark is None:
        return
    state = metafunc.config.stash[STATE]
    cases: Sequence[Case | ItemGroup] = []
    ids: list[str] = []
    try:
        with state.gc_freeze.paused():
            cases, ids = cases_and_ids(state, metafunc, mark)
    except ValueError as error:  # the package's own errors are ValueErrors with a message of one line
        state.usage_error = state.usage_error or str(error)
    if "probe_case" in metafunc.fixturenames:
        state.gc_freeze.freeze()
        ablated = (pytest.mark.ablated.mark,)  # shared, since there may be 100,000 cases
        params = [pytest.param(case, marks=ablated) if case.target else case for case in cases]
        metafunc.parametrize("probe_case", params, ids=ids, indirect=True)


def cases_and_ids(
    state: PluginState, metafunc: pytest.Metafunc, mark: pytest.Mark
) -> tuple[Sequence[Case | ItemGroup], list[str]]:
    """Return the cases of the probe of *metafunc*, and their test ids. Raises ``ValueError`` with one line."""
    if len(mark.args) != 1:
        raise ValueError(f'the probe {metafunc.definition.name} names no source: write @probe("logic"), or a file')
    if "probe_case" not in metafunc.fixturenames:
        raise ValueError(f"the probe {metafunc.definition.name} must ask for the fixture 'answer' or 'item'")
    _provide_model(state, metafunc)
    dataset = _dataset(state, metafunc, mark)
    _note_owners(state, metafunc, mark, dataset.name)
    cases = state.session.cases(dataset)
    if state.settings.granularity == "case":
        return cases, _case_ids(cases, state)
    from reasoning_probe.pytest_plugin.head_granularity import group_by_target, group_ids

    for name in metafunc.fixturenames:
        for function in _fixture_functions(metafunc, name):
            error = per_item_fixture_error(name, function)
            if error:
                raise ValueError(error)
    shard_cases = [case for case in cases if state.session.in_shard(case)]
    groups = group_by_target(shard_cases or cases)  # if the shard has none, they are deselected like any others
    return groups, group_ids(groups, several=len(state.settings.ablations) > 1)


def _dataset(state: PluginState, metafunc: pytest.Metafunc, mark: pytest.Mark) -> Any:
    from reasoning_probe.data import datasets
    from reasoning_probe.data.items import has_lone_surrogate
    from reasoning_probe.data.sources.fields import split_fields, with_fields
    from reasoning_probe.data.sources.registry import located

    (source,) = mark.args
    name, fields = mark.kwargs.get("name"), mark.kwargs.get("fields")
    if not isinstance(name, str | None) or has_lone_surrogate(name or ""):
        raise ValueError(f"the probe {metafunc.definition.name}: name={ascii(name)[:40]} is not a text: give one")
    if fields is not None:
        source = with_fields(source, fields, f"the probe {metafunc.definition.name}")
    if isinstance(source, str) and source in datasets.BUILTIN:
        return state.session.dataset(name or source, source)
    if isinstance(source, str | Path):
        source = located(source, metafunc.definition.path.parent)
    if isinstance(source, Path):
        return state.session.dataset(name or Path(split_fields(str(source))[0]).stem, source)
    return state.session.dataset(name or metafunc.definition.name.removeprefix("test_"), source)


def _note_owners(state: PluginState, metafunc: pytest.Metafunc, mark: pytest.Mark, dataset: str) -> None:
    """Note who owns *dataset*: by the probe's argument, else by ``CODEOWNERS``; of several probes all owners count."""
    from reasoning_probe.data.items import has_lone_surrogate
    from reasoning_probe.pytest_plugin.code_owners import owners_of

    name = mark.kwargs.get("owner")
    if name is not None and (not isinstance(name, str) or not name.strip() or has_lone_surrogate(name)):
        raise ValueError(f"the probe {metafunc.definition.name}: owner={ascii(name)[:40]} is not a text: give a name")
    names = owners_of(metafunc.definition.path, metafunc.config.rootpath) if name is None else [name]
    known = state.session.owners.setdefault(dataset, [])
    known += [one for one in names if one not in known]


def _case_ids(cases: list[Case], state: PluginState) -> list[str]:
    from reasoning_probe.data.datasets import safe_ids

    several = len(state.settings.ablations) > 1
    item_ids = safe_ids([case.item.id or "" for case in cases if case.target is None])
    taken, remaining = frozenset(item_ids), iter(item_ids)
    ids = []
    item_id = ""
    for case in cases:
        if case.target is None:
            item_id = next(remaining)
            ids.append(item_id)
        else:
            name = f"{item_id}-{case.target.name}" + (f"-{case.ablation}" if several else "")
            while name in taken:  # an item is called as this variant of another would be
                name += "-off"
            ids.append(name)
    return ids


# -- fixtures of the user -----------------------------------------------------------------------------------------


def _provide_model(state: PluginState, metafunc: pytest.Metafunc) -> None:
    """Take the model of an overridden ``probe_model`` fixture, whose heads are needed to name the cases."""
    runner = state.session.model_runner
    if runner.provided is not None:
        return
    for function in _fixture_functions(metafunc, "probe_model"):
        if function.__module__ == _FIXTURES_MODULE:
            continue
        runner.from_fixture, runner.fixture_has_dependencies = True, bool(inspect.signature(function).parameters)
        if not state.settings.ablating:
            return
        if runner.fixture_has_dependencies:
            raise ValueError(
                "probe_model takes other fixtures, so its heads are unknown while cases are collected:"
                " give it no arguments, or select none of them with --ablate-heads"
            )
        model = function()
        if inspect.isgenerator(model):
            state.open_generators.append(model)
            model = next(model)
        runner.use(model)
        return


def _fixture_functions(metafunc: pytest.Metafunc, name: str) -> Iterator[Callable[..., Any]]:
    """Yield the functions that may be the fixture *name* of the test, nearest first.

    They are looked up as attributes of the test's module, the conftests above it and the plugins, since pytest's own
    registry is private. A fixture whose function bears another name is not found.
    """
    folders = list(metafunc.definition.path.parents)
    conftests: dict[Path, Any] = {}
    plugins = []
    for plugin in metafunc.config.pluginmanager.get_plugins():
        file = Path(str(getattr(plugin, "__file__", None)))
        if file.name != "conftest.py":
            plugins.append(plugin)
        elif file.parent in folders:
            conftests[file.parent] = plugin
    nearest_first = [conftests[folder] for folder in folders if folder in conftests]
    for module in (metafunc.module, *nearest_first, *plugins):
        function: Any = inspect.unwrap(getattr(module, name, None))  # type: ignore[arg-type]
        if inspect.isfunction(function):
            yield function


def per_item_fixture_error(name: str, function: Callable[..., Any]) -> str | None:
    """Return in one line which value that changes within a group the user's fixture *name* depends on, if any."""
    changing = [fixture for fixture in PER_ITEM_FIXTURES if fixture in inspect.signature(function).parameters]
    if not changing or function.__module__ == _FIXTURES_MODULE:
        return None
    return (
        f"--probe-granularity head: the fixture {name!r} asks for {changing[0]!r}, which is another for each item of a"
        " case: ask for it in the test itself"
    )


def refuse_per_item_fixture(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """End the session if the fixture depends on a single item of the group that the test stands for."""
    if request.config.stash[STATE].settings.granularity == "head" and cases_of(request.node):
        error = per_item_fixture_error(fixturedef.argname, fixturedef.func)
        if error:
            end_session(request.config, error)


def set_up_nothing(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> object:
    """Give the model's fixture and the answer's no value where no test runs; ``None`` leaves a fixture to pytest."""
    asking = fixturedef.argname in ("probe_model", "answer") and fixturedef.func.__module__ == _FIXTURES_MODULE
    if not (asking and asks_nothing(request.config)):
        return None
    key: Any = fixturedef.cache_key(request)  # type: ignore[arg-type]
    fixturedef.cached_result = (None, key, None)  # as pytest's own --setup-plan does
    return fixturedef.cached_result


# -- all collected tests ------------------------------------------------------------------------------------------


def deselect_items(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End the session if options or data are wrong; deselect the *items* that belong to other shards."""
    state = config.stash[STATE]
    if state.started:
        state.usage_error = unknown_dataset_error(state)
    if state.usage_error:
        _refuse(config, items, state.usage_error)
    if state.started and state.settings.shard is not None:
        elsewhere = [item for item in items if not all(map(state.session.in_shard, cases_of(item)))]
        deselected = set(elsewhere)
        items[:] = [item for item in items if item not in deselected]
        config.hook.pytest_deselected(items=elsewhere)


def unknown_dataset_error(state: PluginState) -> str | None:
    """Return in one line which dataset that an option names is asked for by no probe, if any."""
    from reasoning_probe.data.datasets import BUILTIN

    items = state.settings.items
    for option, names in (
        ("--probe-dataset", set(state.settings.sources)),
        ("--probe-items", set(items) if isinstance(items, Mapping) else set[str]()),
    ):
        if unknown := sorted(names - set(state.session.datasets) - set(BUILTIN)):
            known = ", ".join(sorted(state.session.datasets))
            return f"{option}: no probe asks for a dataset {unknown[0]!r}: the probes ask for {known}"
    return None


def plan_session(session: pytest.Session) -> None:
    """Make the cases of the selected tests the plan, check it against the gate, and enable the page."""
    state = session.config.stash[STATE]
    if state.collected and hasattr(session.config, "workeroutput"):
        session.config.workeroutput[COLLECTED] = True
    if not state.started:
        return
    cases = _planned_cases(state, session.items)
    if cases:
        state.handle_sigterm()
        errors = (_folder_error(state), state.gate.precheck(state.session), _model_error(session), _plan_error(state))
        state.usage_error = next(filter(None, errors), None)
    from reasoning_probe.pytest_plugin.html_report import enable_html_report

    lists = cases and asks_nothing(session.config)
    if (state.usage_error or lists) and session.config.getoption("htmlpath", None):
        enable_html_report(state, session)  # so that pytest-html leaves the last page of that name
    if state.usage_error:
        _refuse(session.config, session.items, state.usage_error)
    elif cases and not lists and not hasattr(session.config, "workerinput"):
        try:
            enable_html_report(state, session)
        except OSError as error:  # pytest-html makes the page's folder
            line = one_line(f"cannot write {error.filename}: {error.strerror}: name another folder", MOST_ERROR)
            raise pytest.UsageError(line) from None


def _planned_cases(state: PluginState, items: Sequence[pytest.Item]) -> list[Case]:
    """Make the cases of *items* the plan, without those of tests that a mark skips; return them."""
    by_item = [(item, cases_of(item)) for item in items]
    state.tests_of = count_tests(case for _, cases in by_item for case in cases)
    skipped = {item for item, cases in by_item if cases and skipped_by_mark(item)}
    selected = [case for item, cases in by_item if item not in skipped for case in cases]
    if state.settings.granularity == "head":
        from reasoning_probe.pytest_plugin.head_granularity import sort_by_item

        selected = sort_by_item(selected)
    state.session.select(selected)
    state.session.plan.skipped_items = {case.item_key for item in skipped for case in cases_of(item)}
    return selected


_LISTINGS = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")


def asks_nothing(config: pytest.Config) -> bool:
    """Tell whether the session lists tests or fixtures and runs no test."""
    return any(getattr(config.option, name, False) for name in _LISTINGS)


def _folder_error(state: PluginState) -> str | None:
    """Return in one line why the run's files cannot be written, if that shows before anything is computed."""
    from reasoning_probe.results.run import RunError, check_folder

    if asks_nothing(state.config) or hasattr(state.config, "workerinput"):
        return None
    try:
        check_folder(state.settings.directory)
    except RunError as error:
        return f"--probe-dir: {error}"
    return None


def _model_error(session: pytest.Session) -> str | None:
    """Return in one line why the model cannot be had, if that shows before it is loaded."""
    from reasoning_probe.models.errors import ModelError

    if asks_nothing(session.config):
        return None
    try:
        session.config.stash[STATE].session.model_runner.check_source()
    except ModelError as error:
        return str(error)
    return None


def _plan_error(state: PluginState) -> str | None:
    """Return in one line that no question has the place where heads shall be off, or what shall be patched into it."""
    from reasoning_probe.data.items import ItemError
    from reasoning_probe.data.places import PlaceError

    try:
        state.session.check_plan()
    except PlaceError as error:
        return f"--probe-where: {error}"
    except ItemError as error:
        return f"--ablation {','.join(state.settings.ablations)}: {error}"
    return None


def _refuse(config: pytest.Config, items: list[pytest.Item], error: str) -> None:
    """End the session with exit code 4; an xdist worker runs nothing and leaves that to the controller."""
    if not hasattr(config, "workerinput"):
        raise pytest.UsageError(one_line(error, MOST_ERROR))
    items[:] = []
    getattr(config, "workeroutput")[SHARED] = error  # noqa: B009  # set by xdist, unknown to the type


def raise_worker_error(node: Any) -> None:
    """End the session of xdist's controller with the usage error of its worker *node*, if it had one."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[STATE].collected_elsewhere |= bool(output.get(COLLECTED))
    error = output.get(SHARED)
    if error:
        raise pytest.UsageError(one_line(error, MOST_ERROR))


# -- one collected test -------------------------------------------------------------------------------------------


def cases_of(item: pytest.Item) -> tuple[Case, ...]:
    """Return the cases that a collected test stands for: one, those of a group, or none if it is no probe's."""
    callspec = getattr(item, "callspec", None)
    param: Case | ItemGroup | None = callspec.params.get("probe_case") if callspec is not None else None
    return () if param is None else cases_in(param)


def cases_in(param: Case | ItemGroup) -> tuple[Case, ...]:
    """Return the cases of a group, or the single case that *param* is."""
    cases: tuple[Case, ...] = getattr(param, "cases", (param,))  # type: ignore[arg-type]
    return cases
