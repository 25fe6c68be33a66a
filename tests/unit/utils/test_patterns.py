"""Regular expressions of strangers: which may take for ever, and that those of real tokenizers are read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.utils.patterns import may_never_end


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"(a+)+$", r"((a+))+", r"(?:a+b?)+$", r"(a|aa)+$", r"(a?a?)+$", r"(.*)*x", r"(a{1,3}){2,}", r"(?:x+x+)+y"),
        *(
            r"(a{1,}){5,9}",
            r"a{1,}{2,}",
            r"a*+*",
            r"([[a]]+)+",
            r"(a+){100}",
            r"((?:a|b)c)*",
            r"(?<x>a+)+",
            r"(?i:a+)+",
        ),
        *(r"a*a*a*a*a*$", r"(a*)b?(a*)(a*)(a*)(a*)$", r"a{0,500}" * 5, r"x|(a*){3}(a*)*"),
        *("(a", "a)", "[a", "\\", "[[]](a+)+"),
    ],
)
def test_patterns_that_may_never_end(pattern: str) -> None:
    assert may_never_end(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{M}]*[\p{Ll}\p{Lm}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}",
        r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}&&[^\p{Han}]]*[\p{Ll}&&[^\p{Han}]]+(?i:'s)?",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*",
        r" ?[^(\s|[.,!?])]+",
        r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))",
        *(r"\d{3}", r"(\d{3})+", r" {2,}", r"[0-9][0-9][0-9]", "c_attn", r".*\.(q_proj|v_proj)"),
        *(r"model\.layers\.(0|1|2)\.self_attn\.(q|k)_proj", r"^(?!.*(lm_head|embed)).*", "", "[]a]+"),
    ],
)
def test_patterns_in_use_are_read(pattern: str) -> None:
    assert not may_never_end(pattern)


@given(st.text(alphabet="()[]{}|*+?\\ap,1:<^", max_size=60))
def test_no_pattern_is_a_traceback(pattern: str) -> None:
    assert may_never_end(pattern) in (True, False)


@pytest.mark.parametrize("part", ["(", "[", "a|", "\\p{", "{1", "(?", "(?<", "(?#", "[a]", "{1111111111"])
def test_long_patterns_are_read_in_linear_time(part: str) -> None:
    started = time.monotonic()
    may_never_end(part * 50_000)
    assert time.monotonic() - started < 10
