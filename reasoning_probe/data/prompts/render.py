"""Rendering prompts: from an item and the settings to a query, in a template or in a chat, after worked examples.

Every prompt is the question in a frame, after the *shots*, which are other questions in the same frame with their
answers. In a chat the frame is that of the chat template, and a shot is a turn of the user and one of the assistant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from string import ascii_uppercase
from typing import Any

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import PLAIN, QUESTION, STEP_BY_STEP, Generation, PromptError, Prompting
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.utils.text import one_line

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_MARK = "\x00"  # in place of an answer, to see what a chat template puts before it; no question holds it


class PromptRenderer:
    """Renders items as queries for one tokenizer; ``shots`` are the examples of each dataset.

    Raises :class:`PromptError` if the settings ask for a chat and the tokenizer has no chat template.
    """

    def __init__(self, prompting: Prompting, tokenizer: Any = None, shots: Mapping[str, Sequence[Item]] | None = None):
        self.prompting = prompting
        self.shots = dict(shots or {})
        self._tokenizer = tokenizer
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if prompting.chat == "on" and not has_template:
            raise PromptError("--probe-chat on: the tokenizer has no chat template: use --probe-chat auto or off")
        self.chat = has_template and prompting.chat != "off"
        """Whether questions are rendered by the chat template."""
        self.template_unused = has_template and not self.chat
        """Whether the tokenizer has a chat template that is not used."""

    def describe(self) -> dict[str, Any]:
        """Return how questions are rendered, in JSON's types: ``prompting`` of ``run.json``."""
        return asdict(self.prompting) | {
            "chat": self.chat,
            "chat_template_unused": self.template_unused,
            "shot_questions": {name: [shot.question for shot in shots] for name, shots in self.shots.items() if shots},
        }

    def query(self, dataset: str, item: Item, generation: Generation) -> Query:
        """Return *item* of *dataset* as it is sent to the model."""
        if item.choices and self.prompting.listing:
            item = with_lettered_choices(item)
        shots = [
            with_lettered_choices(shot) if shot.choices and self.prompting.listing else shot
            for shot in self.shots.get(dataset, ())
        ]
        if self.chat:
            return self._in_chat(dataset, item, generation, shots)
        examples = "".join(self._example(shot) for shot in shots)
        prompt, separator = self._frame(item)
        return Query(dataset, item, examples + prompt, generation, separator + self._answer_phrase)

    def _frame(self, item: Item) -> tuple[str, str]:
        """Return the question in its frame, and the separator between it and an answer."""
        text = item.prompt or (self.prompting.template or PLAIN).replace(QUESTION, item.question)
        if self.prompting.cot:
            text += f"{_separator(text)}{STEP_BY_STEP}"
        return text, _separator(text)

    @property
    def _answer_phrase(self) -> str:
        """The words before the expected answer of a chain of thought, whose steps are left out."""
        return "The answer is " if self.prompting.cot else ""

    def _example(self, shot: Item) -> str:
        prompt, separator = self._frame(shot)
        return f"{prompt}{separator}{worked_answer(shot, self.prompting.cot)}\n\n"

    # -- chat -----------------------------------------------------------------------------------------------------

    def _in_chat(self, dataset: str, item: Item, generation: Generation, shots: Sequence[Item]) -> Query:
        turns = []
        for shot in shots:
            turns.append(_turn("user", self._user_turn(shot)))
            turns.append(_turn("assistant", worked_answer(shot, self.prompting.cot)))
        turns.append(_turn("user", self._user_turn(item)))
        prompt = self._apply_chat_template(turns, add_generation_prompt=True)
        answered = self._apply_chat_template([*turns, _turn("assistant", _MARK)])
        # Some templates put a space or an empty thought before an answer, which their generation prompt leaves out.
        known = answered.startswith(prompt) and _MARK in answered
        separator = answered[len(prompt) :].partition(_MARK)[0] if known else ""
        return Query(dataset, item, prompt, generation, separator + self._answer_phrase, special_tokens=False)

    def _user_turn(self, item: Item) -> str:
        """Return the text of the user's turn: the question alone, unless there is a template."""
        template = self.prompting.template or QUESTION
        text = item.prompt or template.replace(QUESTION, item.question)
        return f"{text}\n\n{STEP_BY_STEP}" if self.prompting.cot else text

    def _apply_chat_template(self, turns: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # the template is a program that came with the model
            reason = one_line(error, 200) or type(error).__name__
            raise PromptError(f"the chat template cannot be used ({reason}): use --probe-chat off") from None
        return str(text)


def worked_answer(item: Item, cot: bool) -> str:
    """Return the answer of an example; a chain of thought has the steps before it, if they are known.

    In GSM8K's format the answer is the whole solution with its ``#### N``, as in lm-evaluation-harness.

    >>> worked_answer(Item(question="5 + 3?", answer="8", operands=("5", "3"), operation="+"), cot=True)
    '5 + 3 = 8. The answer is 8.'
    """
    if not cot:
        return item.solution if item.solution and "####" in item.solution and "<<" in item.solution else item.answer
    lines = [line.strip() for line in _ANNOTATION.sub("", item.solution or "").split("\n")]
    steps = [line for line in lines if line and not line.startswith("####")]
    if not steps and item.operation and len(item.operands) == 2:
        steps = [f"{item.operands[0]} {item.operation} {item.operands[1]} = {item.answer}"]
    sentences = [step if step.endswith((".", "!", "?", ":")) else f"{step}." for step in steps]
    return " ".join([*sentences, f"The answer is {item.answer.rstrip('.')}."])


def with_lettered_choices(item: Item) -> Item:
    r"""Return *item* with its choices listed in the question and their letters as answers.

    >>> item = with_lettered_choices(Item(question="Which is wet?", answer="rain", choices=("sand", "rain")))
    >>> item.question, item.answer, item.choices
    ('Which is wet?\nA. sand\nB. rain', 'B', ('A', 'B'))
    """
    letters = ascii_uppercase[: len(item.choices)]
    lines = [f"{letter}. {choice}" for letter, choice in zip(letters, item.choices, strict=True)]
    answer = letters[item.choices.index(item.answer)]
    return replace(
        item,
        question="\n".join([item.question, *lines]),
        answer=answer,
        choices=tuple(letters),
        kind="text",
        solution=None,
        operands=(),
        operation=None,
    )


def _separator(text: str) -> str:
    """Return the space between *text* and its continuation, or nothing if *text* ends with one."""
    return "" if text[-1:].isspace() else " "


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
