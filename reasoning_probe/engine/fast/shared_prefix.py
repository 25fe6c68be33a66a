"""Prompts that begin with the same tokens, such as worked examples: each target runs these once for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.engine.transfers import to_host

MIN_PREFIX = 16
"""Tokens that prompts must begin with in common for each target to run them once for all."""


def shared_prefix_length(prompts: Sequence[torch.Tensor]) -> int:
    """Return how many tokens *prompts*, ``(1, tokens)`` each, begin with in common; 0 if too few to be worth sharing.

    The last token of each is left out: its logits predict the first token of the answer.
    """
    if len(prompts) < 2:
        return 0
    prompts = to_host(prompts)
    first = prompts[0][0]  # (tokens,)
    length = min(prompt.shape[1] for prompt in prompts) - 1
    for prompt in prompts[1:]:
        differs = (prompt[0, :length] != first[:length]).nonzero()  # (differences, 1)
        length = int(differs[0]) if len(differs) else length
    return length if length >= MIN_PREFIX else 0


def with_shared_prefix(jobs: Sequence[AblationJob], indices: Sequence[int]) -> list[list[int]]:
    """Return *indices* in groups of neighbours that have the same targets and a shared prefix."""
    if len(indices) < 2:
        return [[index] for index in indices]
    groups: list[list[int]] = []
    on_host = dict(zip(indices, to_host([jobs[index].encoded.prompt for index in indices]), strict=True))
    for index in indices:
        group = [*(groups[-1] if groups else ()), index]
        length = shared_prefix_length([on_host[other] for other in group])
        if length and _ablated_alike([jobs[other] for other in group], length):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _ablated_alike(jobs: Sequence[AblationJob], length: int) -> bool:
    """Tell whether the same is off, and replaced alike, in all or in none of the first *length* tokens of *jobs*."""
    first = jobs[0]
    covered = {job.replacement.positions.covers(length) for job in jobs}
    return (
        len(covered) == 1
        and None not in covered
        and all(job.targets == first.targets and job.replacement.values is first.replacement.values for job in jobs)
    )
