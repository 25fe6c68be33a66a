"""``strict`` and ``flexible`` are lm-eval's scores, item by item, but for the traps that the docs list.

The filters and the metric of lm-evaluation-harness 0.4 (``tasks/gsm8k/gsm8k.yaml``, ``filters/extraction.py``,
``api/metrics.py``) are written here once more, from their source; where ``lm-eval`` is installed, its own are tried.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy.lm_eval_parity import LABELLED, compare, read, trap
from reasoning_probe.scoring.lm_eval_filters import flexible_match, same_number, strict_match

INVALID = "[invalid]"
ROWS = read(LABELLED)


def lm_eval_extracts(response: str, pattern: str, select: int) -> str:
    """Return what lm-eval's ``RegexFilter`` takes."""
    matches = re.compile(pattern).findall(response)
    if not matches:
        return INVALID
    match = matches[select]
    if isinstance(match, tuple):
        parts = [part for part in match if part]
        match = parts[0] if parts else INVALID
    return str(match).strip()


def lm_eval_strict(response: str) -> str:
    return lm_eval_extracts(response, "#### (\\-?[0-9\\.\\,]+)", 0)


def lm_eval_flexible(response: str) -> str:
    return lm_eval_extracts(response, "(-?[$0-9.,]{2,})|(-?[0-9]+)", -1)


def lm_eval_is_right(extracted: str, expected: str) -> bool:
    """Return lm-eval's ``exact_match``, whose reference is the whole solution."""
    plain = [extracted, f"worked out\n#### {expected}"]
    for ignored in (",", "\\$", "(?s).*#### ", "\\.$"):
        plain = [re.sub(ignored, "", text) for text in plain]
    return plain[0].lower() == plain[1].lower()


PIECES = [
    "#### ", "####", "-", "$", ".", ",", "0", "1", "8", "18", "1,000", "2.50", " ", "\n", "...", "so ", "é", "٣", "=",
]  # fmt: skip
RESPONSES = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))


@given(RESPONSES)
def test_the_extracted_text_is_lm_evals(response: str) -> None:
    assert (strict_match(response) or INVALID) == lm_eval_strict(response)
    assert (flexible_match(response) or INVALID) == lm_eval_flexible(response)


@given(RESPONSES, st.sampled_from(["18", "8", "1,000", "-3", "2.5"]))
def test_what_lm_eval_counts_as_right_is_right(response: str, expected: str) -> None:
    if lm_eval_is_right(lm_eval_strict(response), expected):
        assert same_number(strict_match(response), expected)
    if lm_eval_is_right(lm_eval_flexible(response), expected):
        assert same_number(flexible_match(response), expected)


@given(st.integers(-9999, 9999), st.integers(-9999, 9999))
def test_whole_numbers_are_scored_as_lm_eval_scores_them(stated: int, expected: int) -> None:
    for response in (f"So it is {stated}.\n#### {stated}", f"It is {stated:,}", f"$ {stated}."):
        for ours, theirs in ((strict_match, lm_eval_strict), (flexible_match, lm_eval_flexible)):
            assert same_number(ours(response), str(expected)) is lm_eval_is_right(theirs(response), str(expected))


@pytest.mark.parametrize(
    ("response", "expected", "extracted", "there", "here"),
    [
        ("It costs $1,000.00", "1000", "$1,000.00", False, True),
        ("#### 18.0", "18", "18.0", False, True),
        ("#### 05", "5", "05", False, True),
        ("72 in total...", "72", "...", False, False),
        ("18 (since 9 * 2 = 18 on day 1)", "18", "1", False, False),
    ],
)
def test_the_traps_that_the_docs_list(response: str, expected: str, extracted: str, there: bool, here: bool) -> None:
    assert flexible_match(response) == lm_eval_flexible(response) == extracted
    assert lm_eval_is_right(extracted, expected) is there
    assert same_number(extracted, expected) is here


def test_smollm2s_responses_are_scored_as_lm_eval_scores_them() -> None:
    assert len(ROWS) > 200
    for response, expected in ROWS:
        for ours, theirs in ((strict_match, lm_eval_strict), (flexible_match, lm_eval_flexible)):
            assert (ours(response) or INVALID) == theirs(response), response
            assert same_number(ours(response), expected) is lm_eval_is_right(theirs(response), expected), response


def test_lm_evals_own_filters_agree() -> None:
    pytest.importorskip("lm_eval")
    pairs = compare([*ROWS, ("It costs $1,000.00", "1000")])
    assert all(pair.lm_eval_text == pair.our_text for pair in pairs)
    differing = [pair for pair in pairs if pair.right_there != pair.right_here]
    assert [trap(pair) for pair in differing] == ["decimals that end in zeros"]
