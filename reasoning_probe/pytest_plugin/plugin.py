"""The hooks of the pytest plugin; each calls one function of another module.

pytest imports this module in every session of an environment that has the package, so it imports nothing heavy.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from reasoning_probe.pytest_plugin.collection import (
    cases_of,
    deselect_items,
    parametrize_probe,
    plan_session,
    raise_worker_error,
    refuse_per_item_fixture,
    set_up_nothing,
)
from reasoning_probe.pytest_plugin.folded_cases import folded_failures, print_wrong_answers, quiet_status
from reasoning_probe.pytest_plugin.html_report import take_over_report
from reasoning_probe.pytest_plugin.log_capture import propagating_loggers
from reasoning_probe.pytest_plugin.marks import register_markers
from reasoning_probe.pytest_plugin.options import add_options
from reasoning_probe.pytest_plugin.safe_reports import make_warning_printable
from reasoning_probe.pytest_plugin.skips import INSIDE_BODY
from reasoning_probe.pytest_plugin.state import STATE, PluginState
from reasoning_probe.pytest_plugin.terminal_summary import header_lines, print_summary
from reasoning_probe.pytest_plugin.verdicts import fail_or_xfail, mark_report, reason_alone, wrong_outcome

pytest_plugins = ["reasoning_probe.pytest_plugin.fixtures"]
"""pytest registers the fixtures right after this module, so plugins that are loaded later can override them."""


# -- configuration ------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks by which a conftest adds sources, scorers, categories and sections."""
    from reasoning_probe.pytest_plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and read the options; a bad option ends the session here."""
    register_markers(config)
    config.stash[STATE] = PluginState(config)


# -- collection ---------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Turn each item of a probe into a parameter and each target into a variant of it."""
    parametrize_probe(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """End the session if options or data are wrong; deselect the items of other shards."""
    deselect_items(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the selected cases the plan of the run; not where collection ends by an exception, Ctrl-C among them."""
    if sys.exc_info()[0] is None:
        plan_session(session)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Print which model, heads, items and cases will run; nothing where collection ends by an exception."""
    return [] if sys.exc_info()[0] is not None else header_lines(config)


# -- tests --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> object:
    """End the session at a fixture that depends on a single item of a group, which collection could not see.

    A session that lists fixtures gets the model's and the answers' without a value.
    """
    refuse_per_item_fixture(fixturedef, request)
    return set_up_nothing(fixturedef, request)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the body of a group's test once for each of its items."""
    if pyfuncitem.config.stash[STATE].settings.granularity == "case":
        return None
    from reasoning_probe.pytest_plugin.head_granularity import run_group

    return run_group(pyfuncitem)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Capture the log of a case whose answer is known with few handlers."""
    if not (cases_of(item) and item.config.stash[STATE].has_answers):
        return (yield)
    with propagating_loggers():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Turn the ``AssertionError`` of a wrong answer into a failure or an xfail; every other error stays."""
    item.stash[INSIDE_BODY] = True
    try:
        return (yield)
    except AssertionError:
        outcome = wrong_outcome(item)
        if outcome is None:
            raise
    finally:
        item.stash[INSIDE_BODY] = False
    fail_or_xfail(item, outcome)  # outside the "except" block, so that no AssertionError is chained to the failure


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark the reports of a probe's cases for the page."""
    with reason_alone(item, call):
        report = yield
    return mark_report(item, report)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """Print no dot for a case of a probe; ``-v`` lists them all."""
    return quiet_status(report, config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under xdist, take over what a worker's report says: the controller collects nothing itself."""
    take_over_report(report)


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Let no warning give a command to a terminal or to a CI system."""
    make_warning_printable(warning_message)


# -- the end of the session -----------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Write the run's files before pytest-html writes its page, and decide the exit status."""
    from reasoning_probe.pytest_plugin.session_finish import finish_session

    return (yield from finish_session(session, exitstatus))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, object, object]:
    """Print wrong answers, accuracy, strongest heads, the gate and where the page is, after all that others print."""
    with folded_failures(terminalreporter) as wrong_answers:
        result = yield
    state = config.stash[STATE]
    print_wrong_answers(
        terminalreporter, wrong_answers, swept=state.run is not None and bool(state.run.summary["targets"])
    )
    print_summary(terminalreporter, state)
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    """Release the model, the suspended fixtures and the folder of xdist's workers."""
    if STATE in config.stash:
        config.stash[STATE].close()


# -- pytest-xdist -------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker the folder through which outcomes are exchanged."""
    node.config.stash[STATE].share_folder(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """End the session if a worker reported that options or data are wrong."""
    raise_worker_error(node)
