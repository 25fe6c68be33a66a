"""A sweep in which each head loses answers of its own kind, or in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reasoning_probe.results.outcome import Outcome
from tests.helpers.fake_runs import outcome

SUBTRACTS, CUTS, COPIES, NOISY = "L0H0", "L0H1", "L0H2", "L0H3"
"""Heads that lose subtractions; an answer's last digit; what the first loses; and anything."""


def planted(items: int = 120, ablations: Sequence[str] = ("zero",)) -> list[Outcome]:
    """Return a sweep of half additions, half subtractions, in which each head does its own thing."""
    rng = np.random.default_rng(0)
    outcomes = []
    for number in range(items):
        subtraction, right = number % 2 == 1, 300 + number
        logprob = -float(rng.exponential())
        alone = outcome(
            item=f"i{number}", expected=str(right), answer=str(right), answer_logprob=logprob, question=f"Q{number}?"
        )
        alone = replace(alone, tags={"operation": "-" if subtraction else "+", "half": str(number // 60)})
        lost_by_first = subtraction and number % 8 != 1
        answers = {
            SUBTRACTS: right + 222 if lost_by_first else right,
            CUTS: right - right % 10 + (right + 3) % 10 if number % 3 == 0 else right,
            COPIES: right + 111 if lost_by_first else right,
            NOISY: right + 333 if number % 3 == 2 else right,
        }
        outcomes.append(alone)
        for ablation in ablations:
            for target, answer in answers.items():
                case = replace(alone, target=target, ablation=ablation, answer=str(answer), correct=answer == right)
                outcomes.append(case)
    return outcomes
