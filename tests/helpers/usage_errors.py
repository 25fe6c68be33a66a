"""Reads the one line with which a session ends in a usage error."""

from __future__ import annotations

import re

import pytest

GOOD = '{"question": "What colour is the sky?", "answer": "blue"}'
# the prefixes of a usage error, of an argument that argparse rejects, and of pytest.exit
SAYS = (r"ERROR: ", r"(?:pytest|pytest\.main\(\)|__main__\.py): error: ", r"!+ _pytest\.outcomes\.Exit: ")
END = re.compile(rf"(?:{'|'.join(SAYS)})(?P<line>.*?)(?: !+)?$")


def refused(result: pytest.RunResult) -> str:
    """Return the session's error message after asserting that it is one line and that the session ended with it."""
    lines = result.outlines + result.errlines
    everything = "\n".join(lines)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, everything
    assert "Traceback" not in everything
    assert "INTERNALERROR" not in everything
    matches = [match for line in lines if (match := END.match(line)) and "usage: " not in line]
    assert len(matches) == 1, everything
    return matches[0]["line"]
