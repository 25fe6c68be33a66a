"""What the control task says of a target: whether it harms plain text, and whether the model knows such text at all."""

from __future__ import annotations

from reasoning_probe.results.record import ControlRecord, ControlTargetRecord

HARMFUL_NATS = -0.5
"""Nats per token: a target that costs plain text so much (its perplexity grows by 65 %) breaks the model."""


def harms_plain_text(row: ControlTargetRecord) -> bool:
    """Tell whether the target breaks the model rather than its reasoning, by :data:`HARMFUL_NATS`.

    An unknown change counts as harm: a token of plain text then has no finite log-probability at all.
    """
    return row["delta"] is None or row["delta"] <= HARMFUL_NATS


def guesses_plain_text(control: ControlRecord) -> bool:
    """Whether the model continues plain text no better than by guessing among all tokens, with nothing off."""
    logprob, uniform = control["logprob"], control.get("uniform")
    return logprob is None or (uniform is not None and logprob <= uniform)
