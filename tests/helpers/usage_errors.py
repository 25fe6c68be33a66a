"""Sessions that end with a usage error: the one line they end with."""

from __future__ import annotations

import re

import pytest

GOOD = '{"question": "What colour is the sky?", "answer": "blue"}'
# how pytest says a usage error, an argument that argparse cannot read, and pytest.exit
SAYS = (r"ERROR: ", r"(?:pytest|pytest\.main\(\)|__main__\.py): error: ", r"!+ _pytest\.outcomes\.Exit: ")
END = re.compile(rf"(?:{'|'.join(SAYS)})(?P<line>.*?)(?: !+)?$")


def refused(result: pytest.RunResult) -> str:
    """Return the line that a session ended with, which was its only one and the end of it."""
    lines = result.outlines + result.errlines
    everything = "\n".join(lines)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, everything
    assert "Traceback" not in everything
    assert "INTERNALERROR" not in everything
    matches = [match for line in lines if (match := END.match(line)) and "usage: " not in line]
    assert len(matches) == 1, everything
    return matches[0]["line"]
