"""Chat templates: from turns to the text that a tokenizer's template makes of them.

A template is a program that came with the model. Whatever it does, its text must hold every turn; it is told the same
date on every day; and where it reads the content of a turn as a list of parts, it gets one.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning_probe.data.prompts.limits import TemplateLimitError, bounded, check_template
from reasoning_probe.data.prompts.prompting import PromptError
from reasoning_probe.utils.text import one_line

DATE = datetime.date(2024, 7, 26)
"""The date that templates are told, the one that Llama 3's name themselves: an answer must not depend on the day."""

_DIRECTIVES = [
    "%-d",
    "%-m",
    "%-H",
    "%-I",
    "%-M",
    "%-j",
    *(f"%{letter}" for letter in "aAwdbBmyYHIpMSfjUWGuVcxXDFTRehCnt"),
]
_STRFTIME = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f" | replace({directive!r}, {DATE.strftime(directive)!r})" for directive in _DIRECTIVES)
    + " }}{% endmacro %}{{ '' }}"
)
"""In place of the function by which templates ask for today's date: transformers lets no function of ours in."""

RESERVED = frozenset(
    {"conversation", "tools", "documents", "chat_template", "add_generation_prompt", "continue_final_message"}
    | {"tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict", "messages", "strftime_now"}
    | {"return_assistant_tokens_mask", "tokenizer_kwargs", "sanitize_control_tokens"}
)
"""Arguments that are not the user's to pass: they say what is rendered, or in which form it is returned."""

_MARK = "\x00"  # in place of an answer, to see what a template puts before it; no question holds it

Turn = tuple[str, str]
"""A role, ``user`` or ``assistant``, and its text."""


def parse_chat_kwargs(text: str) -> dict[str, Any]:
    """Return the arguments that *text* names, ``enable_thinking=false,effort=low``, with their values.

    A value is JSON, Python's ``True``, ``False`` or ``None``, or else a text. Raises :class:`PromptError`, one line.

    >>> parse_chat_kwargs("enable_thinking=false, effort=low, budget=512, stops=[1, 2]")
    {'enable_thinking': False, 'effort': 'low', 'budget': 512, 'stops': [1, 2]}
    """
    kwargs: dict[str, Any] = {}
    for part in _split_at_commas(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and value and re.fullmatch(r"[A-Za-z_]\w{0,60}", name, re.ASCII)):
            raise PromptError(
                f"cannot read {one_line(ascii(part.strip()), 60)}: write NAME=VALUE, enable_thinking=false"
            )
        if name in RESERVED:
            raise PromptError(f"{name} cannot be set: it decides what is rendered, or in which form")
        if name in kwargs:
            raise PromptError(f"{name} is given twice: write it once")
        try:
            kwargs[name] = json.loads(_AS_JSON.get(value, value), parse_constant=str)  # NaN is a text, too
        except (ValueError, RecursionError):
            kwargs[name] = value
    return kwargs


_AS_JSON = {"True": "true", "False": "false", "None": "null"}


def _split_at_commas(text: str) -> list[str]:
    """Return the parts of *text* between commas that are in no bracket and no quotation marks."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character in "[{") - (character in "]}")
        if character == "," and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


class ChatTemplate:
    """The chat template of *tokenizer*, with *kwargs* from the user. Raises :class:`PromptError` for unknown ones."""

    def __init__(self, tokenizer: Any, kwargs: Mapping[str, Any]) -> None:
        self._tokenizer = tokenizer
        template = tokenizer.chat_template
        try:
            check_template(template)
        except TemplateLimitError as error:
            raise _unusable(error) from None
        self._source = str(template.get("default", "")) if isinstance(template, dict) else str(template)
        for name in kwargs:
            if not self._mentions(name):
                raise PromptError(
                    f"--probe-chat-kwargs: the chat template of this model takes no {one_line(name, 60)}: leave it out"
                )
        self._kwargs = dict(kwargs)
        asks_today = self._mentions("strftime_now")
        if asks_today:
            self._kwargs["chat_template"] = _STRFTIME + self._source
        if self._mentions("date_string") and "date_string" not in kwargs:
            asks_today = True
            self._kwargs["date_string"] = DATE.strftime("%d %b %Y")
        self.date = DATE.isoformat() if asks_today else None
        """The date that the template is told, if it asks for one."""
        self._in_parts = False  # whether the content of a turn is given as a list of parts

    def _mentions(self, name: str) -> bool:
        return re.search(rf"\b{re.escape(name)}\b", self._source) is not None

    def prompt(self, turns: Sequence[Turn]) -> str:
        """Return the prompt after *turns*. Raises :class:`PromptError` if the template fails or loses one of them."""
        error: PromptError | None = None
        for in_parts in (self._in_parts, not self._in_parts):
            try:
                text = self._apply(turns, True, in_parts)
                _check_turns(text, turns)
            except _EndlessTemplateError:
                raise
            except PromptError as failure:
                error = error or failure
            else:
                self._in_parts = in_parts
                return text
        assert error is not None
        raise error

    def separator(self, turns: Sequence[Turn], prompt: str) -> str:
        """Return what stands between the *prompt* after *turns* and the answer of an assistant.

        Some templates put a space or an empty thought there, which their generation prompt leaves out. It is empty
        where a template renders an answer in another way than after its own prompt, or none.
        """
        try:
            answered = self._apply([*turns, ("assistant", _MARK)], False, self._in_parts)
        except PromptError:
            return ""
        known = answered.startswith(prompt) and _MARK in answered
        return answered[len(prompt) :].partition(_MARK)[0] if known else ""

    def _apply(self, turns: Sequence[Turn], add_generation_prompt: bool, in_parts: bool) -> str:
        messages = [
            {"role": role, "content": [{"type": "text", "text": content}] if in_parts else content}
            for role, content in turns
        ]
        try:
            return bounded(
                self._tokenizer.chat_template,
                lambda: str(
                    self._tokenizer.apply_chat_template(
                        messages, tokenize=False, add_generation_prompt=add_generation_prompt, **self._kwargs
                    )
                ),
            )
        except Exception as error:  # the template is a program that came with the model
            raise _unusable(error) from None


class _EndlessTemplateError(PromptError):
    """A template that a limit stopped, which is not tried again with other content."""


def _unusable(error: Exception) -> PromptError:
    reason = one_line(error, 200) or type(error).__name__
    kind = _EndlessTemplateError if isinstance(error, TemplateLimitError) else PromptError
    return kind(f"the chat template cannot be used ({reason}): use --probe-chat off")


def _check_turns(text: str, turns: Sequence[Turn]) -> None:
    """Raise :class:`PromptError` if *text* does not hold the content of each of *turns*, whatever the space in it."""
    words = " ".join(text.split())
    last_question = max(place for place, (role, _) in enumerate(turns) if role == "user")
    for place, (_, content) in enumerate(turns):
        if " ".join(content.split()) in words:
            continue
        quoted = one_line(ascii(content), 60)
        if place == last_question:
            raise PromptError(
                f"the chat template leaves out or changes the question {quoted}: use --probe-chat off, or pass what the"
                " template needs with --probe-chat-kwargs"
            )
        raise PromptError(
            f"the chat template leaves out or changes a worked example, {quoted}: use --probe-shots 0, or --probe-chat"
            " off"
        )
