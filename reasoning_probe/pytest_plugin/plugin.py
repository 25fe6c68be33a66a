"""The pytest plugin: options, parametrisation, fixtures, verdicts, wiring. Each hook calls one thing below.

This module is imported in every pytest session of an environment that has the package, so it imports nothing heavy.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoning_probe.pytest_plugin import fixtures
from reasoning_probe.pytest_plugin.collection import (
    cases_and_ids,
    cases_of,
    per_item_fixture_error,
    unknown_dataset_error,
)
from reasoning_probe.pytest_plugin.options import add_options
from reasoning_probe.pytest_plugin.session_finish import complete_junit, finish_run, write_error_message
from reasoning_probe.pytest_plugin.state import (
    ANSWER_UNCHANGED,
    GROUP_OUTCOMES,
    INSIDE_GROUP,
    OUTCOME,
    SHARED,
    STATE,
    PluginState,
    unused_model,
)

if TYPE_CHECKING:
    from reasoning_probe.pytest_plugin.head_granularity import ItemGroup
    from reasoning_probe.session.plan import Case


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks by which a conftest adds sources, scorers, categories and sections."""
    from reasoning_probe.pytest_plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and read the options; a bad one ends the session here."""
    config.addinivalue_line(
        "markers",
        "probe(source, name=None): ask every item of a reasoning dataset: a built-in's name, a file, hf:NAME:SPLIT,"
        " lm-eval:TASK or Items; written as the decorator reasoning_probe.probe, which editors check",
    )
    config.addinivalue_line("markers", "ablated: a probe's case with attention heads switched off")
    config.stash[STATE] = PluginState(config)
    config.pluginmanager.register(fixtures)


# -- collection ---------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn each item into a parameter and each target into a variant of it."""
    mark = metafunc.definition.get_closest_marker("probe")
    if mark is None:
        return
    state = metafunc.config.stash[STATE]
    cases: Sequence[Case | ItemGroup] = []
    ids: list[str] = []
    try:
        cases, ids = cases_and_ids(state, metafunc, mark)
    except ValueError as error:  # our own errors are ValueErrors of one line
        state.usage_error = state.usage_error or str(error)
    if "probe_case" in metafunc.fixturenames:
        state.gc_freeze.freeze()
        ablated = (pytest.mark.ablated.mark,)  # one for all: there may be 100,000 cases
        params = [pytest.param(case, marks=ablated) if case.target else case for case in cases]
        metafunc.parametrize("probe_case", params, ids=ids, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End the session where options or data are wrong; leave out what other shards ask."""
    state = config.stash[STATE]
    if state.started:
        state.usage_error = unknown_dataset_error(state)
    if state.usage_error:  # kept, since pytest goes on to pytest_collection_finish
        _refuse(config, items, state.usage_error)
    if state.started and state.settings.shard is not None:
        elsewhere = [item for item in items if not all(map(state.session.in_shard, cases_of(item)))]
        gone = set(elsewhere)
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=elsewhere)


def _refuse(config: pytest.Config, items: list[pytest.Item], error: str) -> None:
    """End the session with exit code 4; an xdist worker runs nothing and leaves that to the controller."""
    if not hasattr(config, "workerinput"):
        raise pytest.UsageError(error)
    items[:] = []
    getattr(config, "workeroutput")[SHARED] = error  # noqa: B009  # xdist's, unknown to the type


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """End the session where a worker found that options or data are wrong."""
    error = getattr(node, "workeroutput", {}).get(SHARED)
    if error:
        raise pytest.UsageError(error)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the cases that are left the plan."""
    state = session.config.stash[STATE]
    state.gc_freeze.unfreeze()
    if state.started:
        cases = [case for item in session.items for case in cases_of(item)]
        if state.settings.granularity == "head":
            from reasoning_probe.pytest_plugin.head_granularity import sort_by_item

            cases = sort_by_item(cases)
        state.session.select(cases)
        state.usage_error = state.gate.precheck(state.session) if cases else None
        if state.usage_error:
            _refuse(session.config, session.items, state.usage_error)
        elif cases and not session.config.option.collectonly and not hasattr(session.config, "workerinput"):
            from reasoning_probe.pytest_plugin.html_report import enable_html_report
            from reasoning_probe.results.run import RunError, check_folder

            try:
                check_folder(state.settings.directory)
            except RunError as error:
                raise pytest.UsageError(f"--probe-dir: {error}") from None

            enable_html_report(state, session)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under xdist the controller collects nothing: there the first report of a probe's case switches the page on."""
    node = getattr(report, "node", None)
    if node is None or not hasattr(report, "reasoning_probe"):
        return
    state = node.config.stash[STATE]
    if not state.page:
        from reasoning_probe.pytest_plugin.html_report import enable_html_report

        for page in enable_html_report(state, node.config.pluginmanager.getplugin("session")):
            page.pytest_runtest_logreport(report)  # pluggy does not call a plugin that came during the call


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say which model, heads, items and cases will run."""
    state = config.stash[STATE]
    # With -q people and tools read the bare list of tests.
    if not state.started or config.get_verbosity() < 0:
        return []
    return [state.session.summary_line(), *unused_model(state)]


# -- fixtures -----------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """End the session at a fixture that holds on to one item of a group and that collecting could not find."""
    if request.config.stash[STATE].settings.granularity == "head" and cases_of(request.node):
        error = per_item_fixture_error(fixturedef.argname, fixturedef.func)
        if error:
            pytest.exit(error, returncode=pytest.ExitCode.USAGE_ERROR)


# -- verdicts -----------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the body of a group's case once for each item; the hook is called anew for each, this once let through."""
    config = pyfuncitem.config
    if config.stash[STATE].settings.granularity == "case" or pyfuncitem.stash.get(INSIDE_GROUP, False):
        return None
    cases = cases_of(pyfuncitem)
    if not cases:
        return None
    from reasoning_probe.pytest_plugin.head_granularity import report_group, run_test_per_item

    asked = pyfuncitem.stash.get(GROUP_OUTCOMES, {})
    pyfuncitem.stash[INSIDE_GROUP] = True
    try:
        wrong = run_test_per_item(pyfuncitem, cases, asked, OUTCOME)
    finally:
        pyfuncitem.stash[INSIDE_GROUP] = False
    report_group(config.stash[STATE], wrong, asked.values(), lambda line: _xfail(pyfuncitem, line))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A wrong answer fails a baseline case without a traceback unless a gate decides, and xfails an ablated one.

    Other errors stay.
    """
    try:
        return (yield)
    except AssertionError:
        outcome = item.stash.get(OUTCOME, None)
        if outcome is None or outcome.correct:
            raise
    from reasoning_probe.report.terminal.cases import ablated_line, baseline_line, failure_text

    state = item.config.stash[STATE]
    session = state.session
    if outcome.ablation is None:
        if state.gate.decides(outcome.dataset):
            _xfail(item, baseline_line(outcome))
        pytest.fail(failure_text(outcome), pytrace=False)
    line = ablated_line(outcome, session.baseline_of(outcome))
    _xfail(item, line)
    pytest.fail(line, pytrace=False)  # under --runxfail


def _xfail(item: pytest.Item, line: str) -> None:
    """Do what ``pytest.xfail`` does, without a traceback, for which pytest would parse this module anew each time."""
    if not item.config.getoption("runxfail"):
        raise pytest.xfail.Exception(line, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark the reports of a probe's cases for the page; a property would be written to the JUnit XML, too."""
    report: Any = yield
    if cases_of(item):
        ablated = item.get_closest_marker("ablated") is not None
        report.reasoning_probe = {"ablated": ablated, "unchanged": item.stash.get(ANSWER_UNCHANGED, False)}
    return report  # type: ignore[no-any-return]


# -- the end ------------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker the folder in which outcomes are handed over."""
    state = node.config.stash[STATE]
    if state.shared is None:
        state.shared = Path(tempfile.mkdtemp(prefix="reasoning-probe-"))
    node.workerinput[SHARED] = str(state.shared)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Write the run's files before the page, or in an xdist worker hand over what only it knows.

    A file that cannot be written is told in the summary; the outcomes are safe in the store.
    """
    state = session.config.stash.get(STATE, None)
    if state is None:
        return (yield)
    from reasoning_probe.pytest_plugin.progress import progress_bar

    try:
        with progress_bar(session.config, "curve") as progress:
            finish_run(state, progress, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
    except (OSError, KeyboardInterrupt) as error:  # a second Ctrl-C: pytest is ending already
        state.write_error = write_error_message(error, state)
        state.interrupted_while_writing |= isinstance(error, KeyboardInterrupt)
    try:
        result = yield
        complete_junit(state)
        return result
    except OSError as error:
        if state.run is None:
            raise
        state.write_error = state.write_error or write_error_message(error, state)
    finally:
        if state.interrupted_while_writing:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        elif state.write_error:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif session.exitstatus == pytest.ExitCode.OK and state.gate.failed(state.run):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Clean up: generator fixtures that were run for collection, and the folder of xdist's workers."""
    state = config.stash.get(STATE, None)
    if state is None:
        return
    state.gc_freeze.unfreeze()
    for made in state.opened:
        next(made, None)
    if state.started:
        state.session.model_runner.close()
    if state.shared is not None:
        shutil.rmtree(state.shared, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print accuracy, strongest heads, error categories, the gate and where the page is."""
    from reasoning_probe.pytest_plugin.terminal_summary import print_summary

    print_summary(terminalreporter, config.stash[STATE])
