"""Runs the fuzzer's targets under hypothesis, and tests that each target can fail."""

from __future__ import annotations

import itertools
import subprocess
import sys
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.project import ROOT
from tests.robustness import fuzz_targets
from tests.robustness.fuzz_targets import SEEDS, TARGETS


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Any bytes, fragments that the readers look for, and the fuzzer's seeds with bytes inserted."""
    any_bytes = st.binary(max_size=60)
    seeded = st.builds(
        lambda seed, place, new: seed[: place % (len(seed) + 1)] + new + seed[place % (len(seed) + 1) :],
        st.sampled_from(SEEDS[name]),
        st.integers(0, 200),
        any_bytes,
    )
    fragments = st.lists(st.integers(128, 255), max_size=20).map(bytes)
    return any_bytes | seeded | st.builds(lambda how, rest: bytes([how]) + rest, st.integers(0, 127), fragments)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=60 if name in ("run", "store") else 200, deadline=None)
    @given(inputs(name))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    for seed in SEEDS[name]:
        TARGETS[name](seed)
    check()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_fails_where_its_reader_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reader raises ``KeyError``, which a target that catches too much would hide."""
    reader = {
        "items": "load",
        "judge": "judge",
        "heads": "parse_targets",
        "options": "parse_shard",
        "prompts": "cut_at_stop",
        "run": "read_run",
        "store": "OutcomeCache",
        "adapter": "check_adapter",
        "tokenizer": "check_rules",
        "generation": "check_generation",
        "chat": "PromptRenderer",
        "tasks": "check_task_file",
    }[name]

    def broken(*args: object, **options: object) -> None:
        raise KeyError("broken")

    monkeypatch.setattr(fuzz_targets, reader, broken)
    with pytest.raises(KeyError):
        TARGETS[name](SEEDS[name][0])


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: the extra fuzz")
def test_the_long_form_runs() -> None:
    command = [sys.executable, "-m", "tests.robustness.fuzz_targets", "heads", "--inputs=300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["heads", "300"]]


def test_what_is_put_into_a_run_is_its_own() -> None:
    """A list that is inserted twice would contain itself, and would carry changes from one input to the next."""
    for data in itertools.product(range(3), range(3), range(14), repeat=2):
        fuzz_targets._mutated({"a": [1], "b": {"c": 2}}, bytes(data))
    assert fuzz_targets.SCALARS[9:12] == ([], {}, [[]])
