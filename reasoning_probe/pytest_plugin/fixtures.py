"""The fixtures of a probe: the model, the case, the item, the ablation, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from reasoning_probe.pytest_plugin.collection import cases_in, cases_of
from reasoning_probe.pytest_plugin.skips import NO_OUTCOME
from reasoning_probe.pytest_plugin.state import ANSWER_UNCHANGED, GROUP_OUTCOMES, OUTCOME, STATE, end_session

if TYPE_CHECKING:
    from reasoning_probe.data.items import Item
    from reasoning_probe.results.outcome import Outcome
    from reasoning_probe.session.plan import Case

T = TypeVar("T")


@pytest.fixture(scope="session")
def probe_model(request: pytest.FixtureRequest) -> Any:
    """The model that is probed, ``(model, tokenizer)``; override it to probe a model in memory."""
    state = request.config.stash[STATE]
    loaded = _or_exit(request.config, state.session.model_runner.load)
    return loaded.model, loaded.tokenizer


@pytest.fixture
def probe_case(request: pytest.FixtureRequest) -> Case:
    """The item and the target of this case; a group's is another whenever the test's body runs."""
    return cases_in(request.param)[0]


@pytest.fixture
def item(probe_case: Case) -> Item:
    """The item that this case asks: question, expected answer, kind, operands."""
    return probe_case.item


@pytest.fixture
def ablation(probe_case: Case) -> str:
    """What is switched off in this case: ``baseline``, ``L3H7``, ``L3`` or ``L3H7+L5H1``."""
    return probe_case.target_name


@pytest.fixture
def answer(request: pytest.FixtureRequest, probe_case: Case) -> Outcome:
    """What the model answered, an ``Outcome``: ``response``, ``answer``, ``correct``, ``category``, ..."""
    from reasoning_probe.pytest_plugin.head_granularity import ask_all
    from reasoning_probe.report.effects import answer_changed

    session = request.config.stash[STATE].session
    stash = request.node.stash
    outcomes = ask_all(cases_of(request.node), lambda case: _ask(request, case))
    if not outcomes:
        stash[NO_OUTCOME] = True
        stash[ANSWER_UNCHANGED] = session.unmeasured(probe_case)  # the page has no row for it
        pytest.skip(session.skip_reason(probe_case))
    pairs = [(outcome, session.baseline_of(outcome)) for _, outcome in outcomes]
    stash[ANSWER_UNCHANGED] = all(
        outcome is not baseline and baseline is not None and not answer_changed(outcome, baseline)
        for outcome, baseline in pairs
    )
    stash[GROUP_OUTCOMES] = {case.key: outcome for case, outcome in outcomes}
    stash[OUTCOME] = outcomes[0][1]
    return outcomes[0][1]


def _ask(request: pytest.FixtureRequest, case: Case) -> Outcome | None:
    """Return the outcome of *case*; the first call loads the model and runs the whole plan."""
    from reasoning_probe.pytest_plugin.progress import progress_bar

    config = request.config
    state = config.stash[STATE]
    session = state.session
    worker = state.worker

    def left() -> float | None:
        from reasoning_probe.session.time_left import seconds_left

        return seconds_left(session)

    def prepare() -> None:
        if session.engine is None and session.model_runner.provided is None:
            model = request.getfixturevalue("probe_model")
            if not session.model_runner.loaded:  # the user's fixture, not the one above
                session.model_runner.use(model)

    def ask() -> Outcome | None:
        if worker is not None:
            return worker.outcome(case, prepare)
        prepare()
        whole_plan = not config.getvalue("maxfail")  # with -x the sweep goes only as far as the tests do
        with progress_bar(config, seconds_left=left) as progress:
            return session.outcome(case, whole_plan=whole_plan, progress=progress)

    return _or_exit(config, ask)


def _or_exit(config: pytest.Config, call: Callable[[], T]) -> T:
    """Return the result of *call*; an error of the model or of a hook ends the session in one line, exit code 4."""
    try:
        return call()
    except ValueError as error:
        from reasoning_probe.data.prompts.prompting import PromptError
        from reasoning_probe.models.errors import ModelError
        from reasoning_probe.models.head_map import HeadError
        from reasoning_probe.pytest_plugin.xdist import SharedFolderError
        from reasoning_probe.session.extensions import ExtensionError

        if isinstance(error, ModelError | HeadError | PromptError | ExtensionError | SharedFolderError):
            end_session(config, str(error))
        raise
