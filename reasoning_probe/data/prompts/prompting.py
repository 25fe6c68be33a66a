"""The settings of prompts and answers: what is put around a question, and where a generated answer ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reasoning_probe.utils.regular_files import read_bytes
from reasoning_probe.utils.text import OneLineError

PLAIN = "Question: {question}\nAnswer:"
"""The plain prompt; the expected answer continues it as a space and the answer."""

QUESTION = "{question}"
"""The placeholder for the question in a template; every other brace is an ordinary character."""

STEP_BY_STEP = "Let's think step by step."
"""The trigger of zero-shot chain of thought (Kojima et al. 2022, "Large language models are zero-shot reasoners")."""

COT_TOKENS = 256
"""The fewest new tokens for a chain of thought if the user set no limit."""

LARGEST_TEMPLATE = 100_000  # bytes

ChatMode = Literal["auto", "on", "off"]
ChoiceMode = Literal["logprob", "generation"]


class PromptError(OneLineError):
    """A prompt that cannot be made; the message is one line that names the fix."""


@dataclass(frozen=True)
class Prompting:
    """What is put around a question, as the user chose it.

    ``shots`` worked examples come first, from the source ``shots_from`` if one is named. ``chat`` renders everything
    by the tokenizer's chat template (``auto``: if it has one). ``cot`` asks for a chain of thought. ``template`` is the
    text around the question. ``choices`` says whether a choice is read from log-probabilities or from generated text.
    ``chat_kwargs`` are arguments for the chat template, such as ``{"enable_thinking": False}``.
    ``think`` says between which marks a model writes its thoughts, in which no answer is looked for: those that models
    use (``auto``), one more pair (``"<plan>,</plan>"``), or none (``off``).
    """

    shots: int = 0
    shots_from: str | None = None
    chat: ChatMode = "off"
    cot: bool = False
    template: str | None = None
    choices: ChoiceMode = "logprob"
    chat_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    think: str = "auto"

    @property
    def listing(self) -> bool:
        """Whether the prompt lists the choices, to be answered by a letter, as a chain of thought requires."""
        return self.choices == "generation" or self.cot


def read_template(path: Path) -> str:
    """Return the template in the file *path*. Raises :class:`PromptError`, one line."""
    try:
        data = read_bytes(path, LARGEST_TEMPLATE)
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


@dataclass(frozen=True)
class Generation:
    """How an answer is decoded: up to ``max_new_tokens`` tokens or the first of the ``stop`` strings.

    ``thinks`` says that what is decoded is a thought, and the answer comes after it.
    """

    max_new_tokens: int = 32
    stop: tuple[str, ...] = ("Question:",)
    thinks: bool = False


LOGPROB_ALONE = Generation(1, ())
"""Of questions whose expected answer's log-probability alone counts: no more is decoded than has to be."""

DEFAULT_LIMITS = {"arithmetic": 32, "multi_step": 64, "logic": 32, "gsm8k": 256}
"""New tokens by dataset name if the user set no limit; any other dataset gets 64 (256 in GSM8K's format)."""


def default_generation(dataset: str, data_format: str = "plain", prompting: Prompting | None = None) -> Generation:
    """Return where an answer to *dataset* ends if the user set nothing."""
    limit = DEFAULT_LIMITS.get(dataset, 256 if data_format == "gsm8k" else 64)
    if prompting is None:
        return Generation(limit)
    return Generation(max(limit, COT_TOKENS) if prompting.cot else limit, _stop_strings(prompting))


def _stop_strings(prompting: Prompting) -> tuple[str, ...]:
    r"""Return the strings that end an answer: how the next question would begin. A chat's turn ends with a token.

    >>> _stop_strings(Prompting(template="Be brief.\nQ: {question}\nA:")), _stop_strings(Prompting(chat="on"))
    (('\nQ:',), ())
    """
    if prompting.chat == "on":
        return ()
    if prompting.template is None:
        return Generation.stop
    label = prompting.template.partition(QUESTION)[0].rpartition("\n")[2].strip()
    return (f"\n{label}",) if re.fullmatch(r"[^:]{1,30}:", label) else ()


def cut_at_stop(text: str, stop: tuple[str, ...]) -> str:
    r"""Return *text* up to the first occurrence of any stop string.

    >>> cut_at_stop(" 8\\nQuestion: next", ("Question:",))
    ' 8\\n'
    """
    ends = [position for word in stop if (position := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text
