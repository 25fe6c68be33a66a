"""The choice of a fast path for a model: the first variant that answers short prompts like the plain path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, product
from typing import Any

import torch

from reasoning_probe.engine.fast.forward import ForwardDriver, Unsupported
from reasoning_probe.engine.fast.packed_linear import PackedLinears
from reasoning_probe.engine.fast.path import PACKED_SHARE, FastPath
from reasoning_probe.engine.fast.verification import WINDOW
from reasoning_probe.engine.memory import Memory, out_of_memory
from reasoning_probe.engine.plain_path import PlainPath
from reasoning_probe.engine.tokenization import AblationJob, Completion, EncodedQuery, TokenCodec
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.hooks import probe_ids
from reasoning_probe.models.targets import every_head, every_mlp


def fast_path(
    model: Any, head_map: HeadMap, codec: TokenCodec, plain: PlainPath, memory: Memory
) -> tuple[FastPath | None, str]:
    """Return the fast path and its kind if it answers short prompts like the plain path, else ``None`` and why not.

    There is no list of families: what a model's code assumes of its batches shows when it runs.
    """
    why = ""
    self_check: tuple[list[AblationJob], list[list[Completion]]] | None = None
    numerics = plain.numerics
    packed = PackedLinears([] if numerics.invariant else model.modules(), int(PACKED_SHARE * memory.budget))
    batch_kinds = ((True, True), (True, False), (False, False))
    for (grows, shares), pools, trims in product(batch_kinds, (True, False), (True, False)):
        try:
            driver = ForwardDriver(
                model,
                head_map,
                grows_batch=grows,
                shares_attention=shares,
                trims_positions=trims,
                packed=packed,
                numerics=numerics,
                pace=plain.pace,
            )
            fast = FastPath(driver, codec, plain, memory, pools_queries=pools)
            self_check = self_check or _self_check_jobs(plain, head_map)
            why = _disagreement(fast, *self_check)
        except Unsupported as error:
            return None, str(error)
        except Exception as error:  # a family's own code can fail on the batch with any kind of error
            if out_of_memory(error):
                raise
            why = f"its layers do not take such a pass ({type(error).__name__}: {str(error)[:120]})"
        if not why:
            kind = "growing passes" if grows else "full passes"
            return fast, kind + (" of several queries" if pools else "")
    return None, why


def _self_check_jobs(plain: PlainPath, head_map: HeadMap) -> tuple[list[AblationJob], list[list[Completion]]]:
    """Return two short prompts with heads and MLPs of all depths, and the plain path's completions."""
    heads, mlps = every_head(head_map), every_mlp(head_map)
    some = [heads[0], heads[1 % len(heads)], heads[len(heads) // 2], heads[-1], *mlps[:1], *mlps[-1:]]
    targets = tuple(dict.fromkeys(some))
    jobs = []
    with plain.counts.paused():
        for length, limit in ((7, WINDOW + 3), (11, WINDOW + 1)):
            prompt = probe_ids(plain.model, length)  # (1, length)
            encoded = EncodedQuery(prompt, tuple(prompt[0, :3].tolist()), limit)
            jobs.append(AblationJob(encoded, (), plain.baseline(encoded, ()), targets, ZERO))
        return jobs, completions_of(plain, jobs)


def _disagreement(fast: FastPath, jobs: Sequence[AblationJob], expected: Sequence[Sequence[Completion]]) -> str:
    """Return how *fast* differs from the *expected* completions of *jobs*; empty if it does not."""
    model, most = fast.driver.model, 2 if fast.pools_queries else 1
    with fast.counts.paused(), fast.pace.paused():
        unequal = fast.counts.unequal_batches
        completions = completions_of(fast, jobs[:most])
        if fast.counts.unequal_batches > unequal:
            return "its logits are not bit for bit the plain path's"
        if fast.decodes_baselines and fast.pools_queries:
            baselines = fast.baselines([(job.encoded, job.stop) for job in jobs])
            fast.decodes_baselines = all(
                together.completion.tokens == job.draft and together.digests == job.baseline.digests
                for together, job in zip(baselines, jobs, strict=True)
            )
    tolerance = 1e-3 if model.dtype in (torch.float32, torch.float64) else 0.5
    for slow, quick in zip(chain(*expected[:most]), chain(*completions), strict=True):
        if slow.tokens != quick.tokens:
            return "it answers otherwise than the plain path"
        if not abs(slow.logprob - quick.logprob) <= tolerance * max(1.0, abs(slow.logprob)):
            return "its log-probabilities differ from the plain path's"
    return ""


def completions_of(path: FastPath | PlainPath, jobs: Sequence[AblationJob]) -> list[list[Completion]]:
    """Return *path*'s completions of *jobs*, in their order."""
    completions = dict(path.answer(jobs))
    return [completions[index] for index in range(len(jobs))]
