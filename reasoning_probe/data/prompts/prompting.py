"""Prompts: item to text, and how far the answer may run. What else is put around a question: :mod:`prompter`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PLAIN = "Question: {question}\nAnswer:"
"""The plain prompt; the expected answer continues it as a space and the answer."""

QUESTION = "{question}"
"""What a template holds where the question goes; every other brace in it stands for itself."""

STEP_BY_STEP = "Let's think step by step."
"""The trigger of zero-shot chain of thought (Kojima et al. 2022, "Large language models are zero-shot reasoners")."""

COT_TOKENS = 256
"""New tokens that a chain of thought gets at least, where the user set no limit."""

ChatMode = Literal["auto", "on", "off"]
ChoiceMode = Literal["logprob", "generation"]


class PromptError(ValueError):
    """Prompts that cannot be made; the message is one line that names the mend."""


@dataclass(frozen=True)
class Prompting:
    """How questions are put: what the options say of it.

    ``shots`` worked examples come first, from ``shots_from`` where it is given; ``chat`` puts all in the tokenizer's
    chat template (``auto``: where it has one); ``cot`` asks for a chain of thought; ``template`` is the text around
    the question; ``choices`` says whether a choice is read from log-probabilities or from what is generated.
    """

    shots: int = 0
    shots_from: str | None = None
    chat: ChatMode = "off"
    cot: bool = False
    template: str | None = None
    choices: ChoiceMode = "logprob"

    @property
    def listing(self) -> bool:
        """Whether the choices are listed in the prompt, to be answered by a letter; a chain of thought needs that."""
        return self.choices == "generation" or self.cot


@dataclass(frozen=True)
class Generation:
    """How an answer is decoded: greedily, up to ``max_new_tokens`` tokens or the first of the ``stop`` strings."""

    max_new_tokens: int = 32
    stop: tuple[str, ...] = ("Question:",)


DEFAULT_LIMITS = {"arithmetic": 32, "multi_step": 64, "logic": 32, "gsm8k": 256}
"""New tokens by dataset name, where the user set none; any other dataset gets 64 (256 in GSM8K's format)."""


def default_generation(dataset: str, data_format: str = "plain", prompting: Prompting | None = None) -> Generation:
    """Return the settings of *dataset* where the user chose none."""
    limit = DEFAULT_LIMITS.get(dataset, 256 if data_format == "gsm8k" else 64)
    if prompting is None:
        return Generation(limit)
    return Generation(max(limit, COT_TOKENS) if prompting.cot else limit, _stop(prompting))


def _stop(prompting: Prompting) -> tuple[str, ...]:
    r"""Return where an answer ends: where the next question would begin. A chat's turn ends by a token of its own.

    >>> _stop(Prompting(template="Be brief.\nQ: {question}\nA:")), _stop(Prompting(chat="on"))
    (('\nQ:',), ())
    """
    if prompting.chat == "on":
        return ()
    if prompting.template is None:
        return Generation.stop
    label = prompting.template.partition(QUESTION)[0].rpartition("\n")[2].strip()
    return (f"\n{label}",) if re.fullmatch(r"[^:]{1,30}:", label) else ()
