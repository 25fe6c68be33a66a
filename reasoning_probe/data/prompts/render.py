"""The prompter: puts an item as the settings say, with examples before it, in a template, in a chat.

A prompt is put together the same way in every mode: the question, in a frame, after the *shots*, which are other
questions in the same frame with their answers. In a chat the frame is the chat template's and a shot is a turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import PLAIN, QUESTION, STEP_BY_STEP, Generation, PromptError, Prompting
from reasoning_probe.data.prompts.query import Query

LARGEST_TEMPLATE = 100_000  # bytes; a larger file is no template

_ANNOTATION = re.compile(r"<<[^<>]*>>")
_MARK = "\x00"  # stands for an answer in a chat that is rendered to see what comes before it; no question holds it


def read_template(path: Path) -> str:
    """Return the template in the file *path*. Raises :class:`PromptError`, one line."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_TEMPLATE + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise PromptError(f"cannot read the template {path} ({error.strerror}): give a text file") from None
    except UnicodeDecodeError:
        raise PromptError(f"the template {path} is not UTF-8: save it as UTF-8") from None
    if len(data) > LARGEST_TEMPLATE:
        raise PromptError(f"the template {path} is longer than {LARGEST_TEMPLATE:,} bytes: give a text with {QUESTION}")
    if text.count(QUESTION) != 1:
        raise PromptError(
            f"the template {path} holds {QUESTION} {text.count(QUESTION)} times: write it once, where the question goes"
        )
    return text.replace("\r\n", "\n").removesuffix("\n")  # editors end a file with one


class PromptRenderer:
    """Makes queries of items for one tokenizer; ``shots`` are the examples of each dataset.

    Raises :class:`PromptError` where a chat is asked for and the tokenizer cannot write one.
    """

    def __init__(self, prompting: Prompting, tokenizer: Any = None, shots: Mapping[str, Sequence[Item]] | None = None):
        self.prompting = prompting
        self.shots = dict(shots or {})
        self._tokenizer = tokenizer
        able = bool(getattr(tokenizer, "chat_template", None))
        if prompting.chat == "on" and not able:
            raise PromptError("--probe-chat on: the tokenizer has no chat template: use --probe-chat auto or off")
        self.chat = able and prompting.chat != "off"
        """Whether questions are put in the chat template."""
        self.template_unused = able and not self.chat
        """Whether there is a chat template that is not used."""

    def record(self) -> dict[str, Any]:
        """Return in plain values how questions are put."""
        return asdict(self.prompting) | {
            "chat": self.chat,
            "chat_template_unused": self.template_unused,
            "shot_questions": {name: [shot.question for shot in shots] for name, shots in self.shots.items() if shots},
        }

    def query(self, dataset: str, item: Item, generation: Generation) -> Query:
        """Return *item* of *dataset* as it is sent."""
        if item.choices and self.prompting.listing:
            item = with_lettered_choices(item)
        shots = [
            with_lettered_choices(shot) if shot.choices and self.prompting.listing else shot
            for shot in self._examples(dataset)
        ]
        if self.chat:
            return self._in_chat(dataset, item, generation, shots)
        before = "".join(self._example(shot) for shot in shots)
        prompt, joint = self._frame(item)
        return Query(dataset, item, before + prompt, generation, joint + self._lead())

    def _examples(self, dataset: str) -> Sequence[Item]:
        return self.shots.get(dataset, ())

    def _frame(self, item: Item) -> tuple[str, str]:
        """Return the question in its frame, and what joins an answer to it."""
        text = item.prompt or (self.prompting.template or PLAIN).replace(QUESTION, item.question)
        if self.prompting.cot:
            text += f"{_gap(text)}{STEP_BY_STEP}"
        return text, _gap(text)

    def _lead(self) -> str:
        """Return what comes before the expected answer where its steps do not."""
        return "The answer is " if self.prompting.cot else ""

    def _example(self, shot: Item) -> str:
        prompt, joint = self._frame(shot)
        return f"{prompt}{joint}{worked_answer(shot, self.prompting.cot)}\n\n"

    # -- chat -----------------------------------------------------------------------------------------------------

    def _in_chat(self, dataset: str, item: Item, generation: Generation, shots: Sequence[Item]) -> Query:
        turns = []
        for shot in shots:
            turns += [_turn("user", self._said(shot)), _turn("assistant", worked_answer(shot, self.prompting.cot))]
        turns.append(_turn("user", self._said(item)))
        prompt = self._rendered(turns, opened=True)
        whole = self._rendered([*turns, _turn("assistant", _MARK)])
        # Some templates put a space or an empty thought before an answer, which their generation prompt leaves out.
        joint = whole[len(prompt) :].partition(_MARK)[0] if whole.startswith(prompt) and _MARK in whole else ""
        return Query(dataset, item, prompt, generation, joint + self._lead(), special_tokens=False)

    def _said(self, item: Item) -> str:
        """Return what the user says: the question as it is, unless there is a template."""
        template = self.prompting.template or QUESTION
        text = item.prompt or template.replace(QUESTION, item.question)
        return f"{text}\n\n{STEP_BY_STEP}" if self.prompting.cot else text

    def _rendered(self, turns: list[dict[str, str]], opened: bool = False) -> str:
        try:
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opened)
        except Exception as error:  # the template is a program that came with the model
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise PromptError(f"the chat template cannot be used ({said}): use --probe-chat off") from None
        return str(text)


def worked_answer(item: Item, cot: bool) -> str:
    """Return the answer of an example: for a chain of thought with the steps before it, where they are known.

    In GSM8K's format the answer is the whole solution with its ``#### N``, as lm-evaluation-harness gives it.

    >>> worked_answer(Item(question="5 + 3?", answer="8", operands=("5", "3"), operation="+"), cot=True)
    '5 + 3 = 8. The answer is 8.'
    """
    if not cot:
        return item.solution if item.solution and "####" in item.solution and "<<" in item.solution else item.answer
    lines = [line.strip() for line in _ANNOTATION.sub("", item.solution or "").split("\n")]
    steps = [line for line in lines if line and not line.startswith("####")]
    if not steps and item.operation and len(item.operands) == 2:
        steps = [f"{item.operands[0]} {item.operation} {item.operands[1]} = {item.answer}"]
    ended = [step if step.endswith((".", "!", "?", ":")) else f"{step}." for step in steps]
    return " ".join([*ended, f"The answer is {item.answer.rstrip('.')}."])


def letters(item: Item) -> str:
    """Return the letters of an item's choices, in order."""
    return ascii_uppercase[: len(item.choices)]


def with_lettered_choices(item: Item) -> Item:
    r"""Return *item* with its choices listed in the question and their letters as answers.

    >>> found = with_lettered_choices(Item(question="Which is wet?", answer="rain", choices=("sand", "rain")))
    >>> found.question, found.answer, found.choices
    ('Which is wet?\nA. sand\nB. rain', 'B', ('A', 'B'))
    """
    marks = letters(item)
    lines = [f"{mark}. {choice}" for mark, choice in zip(marks, item.choices, strict=True)]
    answer = marks[item.choices.index(item.answer)]
    return replace(
        item,
        question="\n".join([item.question, *lines]),
        answer=answer,
        choices=tuple(marks),
        kind="text",
        solution=None,
        operands=(),
        operation=None,
    )


def _gap(text: str) -> str:
    return "" if text[-1:].isspace() else " "


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
