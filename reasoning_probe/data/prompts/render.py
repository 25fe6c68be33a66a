"""Rendering prompts: from an item and the settings to a query, in a template or in a chat, after worked examples.

Every prompt is the question in a frame, after the *shots*, which are other questions in the same frame with their
answers. In a chat the frame is that of the chat template, and a shot is a turn of the user and one of the assistant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from string import ascii_uppercase
from typing import Any

from reasoning_probe.data.items import Donor, Item
from reasoning_probe.data.prompts.chat import ChatTemplate, Turn
from reasoning_probe.data.prompts.prompting import PLAIN, QUESTION, STEP_BY_STEP, Generation, PromptError, Prompting
from reasoning_probe.data.prompts.query import Query
from reasoning_probe.data.prompts.special_tokens import added_tokens, token_text
from reasoning_probe.utils.text import one_line

_ANNOTATION = re.compile(r"<<[^<>]*>>")


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
        self._template = ChatTemplate(tokenizer, prompting.chat_kwargs) if self.chat else None
        self._beginning, self._end = token_text(tokenizer, "bos_token"), token_text(tokenizer, "eos_token")
        self.notes: dict[str, None] = {}
        """What was changed in prompts, or looks wrong in them, one line each; as a set in the order of its lines."""
        if tokenizer is not None and added_tokens(tokenizer).after:
            self._note("The tokenizer appends an end token to every text: it is left out of the prompts.")

    def describe(self) -> dict[str, Any]:
        """Return how questions are rendered, in JSON's types: ``prompting`` of ``run.json``."""
        return asdict(self.prompting) | {
            "chat": self.chat,
            "chat_kwargs": {name: json.dumps(value) for name, value in self.prompting.chat_kwargs.items()},
            "chat_date": self._template.date if self._template else None,
            "notes": list(self.notes),
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
        if self._template is not None:
            rendered = self._in_chat(self._template, dataset, item, generation, shots)
        else:
            examples = "".join(self._example(shot) for shot in shots)
            prompt, separator = self._frame(item)
            beginning = self._beginning if self._begins_sequence(item) else ""
            prompt = beginning + examples + prompt
            rendered = Query(dataset, item, prompt, generation, separator + self._answer_phrase)
        rendered = replace(rendered, question_start=self._question_start(item, rendered.prompt))
        if self._end and rendered.prompt.endswith(self._end):
            self._note(
                f"Prompts end in the end token {one_line(self._end, 40)}, after which a model may begin something else:"
                f" {'its chat template' if self.chat else 'the prompt field or the template'} puts it there."
            )
        return rendered

    def _note(self, line: str) -> None:
        self.notes[line] = None

    def _begins_sequence(self, item: Item) -> bool:
        """Tell whether the user's text around the question of *item* begins with the token that begins a sequence."""
        return bool(self._beginning) and (item.prompt or self.prompting.template or "").startswith(self._beginning)

    def _text(self, item: Item, template: str) -> str:
        """Return the text of *item*, without a beginning-of-sequence token: the whole prompt has one at most."""
        text = item.prompt or template.replace(QUESTION, item.question)
        return text.removeprefix(self._beginning) if self._begins_sequence(item) else text

    def _question_start(self, item: Item, prompt: str) -> int | None:
        """Return where the question of *item* stands in its *prompt*, behind the examples.

        It is ``None`` where that is not known: in a prompt of the user's that does not hold the question once, and in
        a chat whose template changes the space in it.
        """
        template = self.prompting.template or (QUESTION if self.chat else PLAIN)
        text = self._text(item, template)
        start = prompt.rfind(text.strip())  # templates may drop the space around a turn
        if start < 0 or (item.prompt and text.count(item.question) != 1):
            return None
        if item.prompt:
            place = text.index(item.question)
        else:
            before = template.partition(QUESTION)[0]
            place = len(before.removeprefix(self._beginning) if self._begins_sequence(item) else before)
        return start - text.index(text.strip()) + place

    def _frame(self, item: Item) -> tuple[str, str]:
        """Return the question in its frame, and the separator between it and an answer."""
        text = self._text(item, self.prompting.template or PLAIN)
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

    def _in_chat(
        self, template: ChatTemplate, dataset: str, item: Item, generation: Generation, shots: Sequence[Item]
    ) -> Query:
        turns: list[Turn] = []
        for shot in shots:
            turns.append(("user", self._user_turn(shot)))
            turns.append(("assistant", worked_answer(shot, self.prompting.cot)))
        turns.append(("user", self._user_turn(item)))
        prompt = template.prompt(turns)
        separator = template.separator(turns, prompt)
        if self._begins_sequence(item) and not prompt.startswith(self._beginning):
            prompt = self._beginning + prompt
        return Query(dataset, item, prompt, generation, separator + self._answer_phrase, special_tokens=False)

    def _user_turn(self, item: Item) -> str:
        """Return the text of the user's turn: the question alone, unless there is a template."""
        text = self._text(item, self.prompting.template or QUESTION)
        return f"{text}\n\n{STEP_BY_STEP}" if self.prompting.cot else text


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

    A donor whose letter is not what its answer is to the item's, such as a counterfactual with the same letter, is left
    out.
    """
    question, letter, letters = _lettered(item.question, item.answer, item.choices)
    lettered = replace(
        item,
        question=question,
        answer=letter,
        choices=letters,
        kind="text",
        solution=None,
        operands=(),
        operation=None,
        counterfactual=None,
        same_answer=None,
    )
    for name, same in (("counterfactual", False), ("same_answer", True)):
        donor: Donor | None = getattr(item, name)
        if donor is not None:
            question, letter, letters = _lettered(donor.question, donor.answer, donor.choices or item.choices)
            if (letter == lettered.answer) is same and question != lettered.question:
                changed: Any = Donor(question=question, answer=letter, choices=letters, prompt=donor.prompt)
                lettered = replace(lettered, **{name: changed})
    return lettered


def _lettered(question: str, answer: str, choices: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Return *question* with a line for each of *choices*, the letter of *answer*, and all letters."""
    letters = ascii_uppercase[: len(choices)]
    lines = [f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True)]
    return "\n".join([question, *lines]), letters[choices.index(answer)], tuple(letters)


def _separator(text: str) -> str:
    """Return the space between *text* and its continuation, or nothing if *text* ends with one."""
    return "" if text[-1:].isspace() else " "
