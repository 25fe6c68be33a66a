"""A template that loops or grows without end is stopped in time; what it is stopped with is one line."""

from __future__ import annotations

import resource
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts import limits
from reasoning_probe.data.prompts.limits import TemplateLimitError, bounded
from reasoning_probe.data.prompts.prompting import Generation, PromptError, Prompting
from reasoning_probe.data.prompts.render import PromptRenderer
from tests.helpers.planted_model import planted

GOOD = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
NEST = "{{% for {} in r %}}"


def prompt(template: Any) -> str:
    _, tokenizer = planted()
    tokenizer.chat_template = template
    renderer = PromptRenderer(Prompting(chat="on"), tokenizer)
    return renderer.query("x", Item(question="What is 2 + 2?", answer="4", id="a"), Generation()).prompt


def test_a_good_template_is_rendered_as_transformers_renders_it() -> None:
    _, tokenizer = planted()
    turns = [{"role": "user", "content": "What is 2 + 2?"}]
    expected = tokenizer.apply_chat_template(turns, chat_template=GOOD, tokenize=False, add_generation_prompt=True)
    assert prompt(GOOD) == expected == "user: What is 2 + 2?\nassistant:"
    assert prompt({"default": GOOD}) == expected


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "is not done after 1 s"),
        (
            "{% set r = range(99999) %}" + "".join(map(NEST.format, "abc")) + "{% endfor %}" * 3,
            "is not done after 1 seconds",
        ),
        ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "recursion|is not done after"),
        ("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}", "is not done after"),
        ("{{ 'a' * 20000000 }}", "writes more than 10,000,000 characters"),
        ("{{ 'a' * 2000000000000 }}", "takes more than 1,000,000,000 bytes"),
        ("{% for a in range(9999) %}{{ 'a' * 9999 }}{% endfor %}", "writes more than 10,000,000 characters"),
        ("{{ 'a'|center(20000000000) }}", "takes more than 1,000,000,000 bytes"),
        ("{{ '%020000000000d' % 1 }}", "takes more than|cannot be used"),
        ("{{ '{:>20000000000}'.format(1) }}", "takes more than|cannot be used"),
        ("{{ 'a'" + "|center(9999999)|join" * 40 + " }}", "is not done after 1 seconds"),  # the compiler does this
        ("{{ 9**9**9**9 }}", "it calculates powers, which may never end"),
        ("{% set x = messages|length ** 9 %}", "it calculates powers"),
        ("x" * 200_000_000, "it is longer than 1,000,000 characters"),
        ({"default": "x" * 2_000_000}, "it is longer than 1,000,000 characters"),
        ("{{ cycler.__init__.__globals__.os.popen('touch x') }}", "access to attribute '__init__' .* is unsafe"),
        ("{{ raise_exception('a\x1b[2Jb') }}", r"a.*b"),
        ("{{ undefined.x.y }}", "is undefined"),
        ("{% if %}", "Expected an expression"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)
def test_a_template_that_is_stopped(template: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LONGEST_S", 1.0)
    started = time.monotonic()
    with pytest.raises(PromptError, match=f"the chat template cannot be used .*{line}"):
        prompt(template)
    assert time.monotonic() - started < 10


def test_what_is_limited_is_limited_no_more_afterwards() -> None:
    before, trace = resource.getrlimit(resource.RLIMIT_AS), sys.gettrace()
    for template in (GOOD, "{{ 'a' * 2000000000000 }}", "{% if %}"):
        try:
            prompt(template)
        except PromptError:
            assert template != GOOD
        assert (resource.getrlimit(resource.RLIMIT_AS), sys.gettrace()) == (before, trace)


def test_a_template_is_stopped_in_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LONGEST_S", 0.3)
    errors: list[Exception] = []

    def work() -> None:
        try:
            prompt("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
        except PromptError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert ["is not done after" in str(error) for error in errors] == [True]


def test_two_stars_that_are_no_power() -> None:
    assert bounded("**bold** {# 2**3 #} {{ '**' }}", lambda: "text") == "text"
    with pytest.raises(TemplateLimitError):
        bounded("{{ 2 ** 3 }}", lambda: "text")


@given(st.text(max_size=60))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    message = ""
    try:
        assert isinstance(prompt(text), str)
    except PromptError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
