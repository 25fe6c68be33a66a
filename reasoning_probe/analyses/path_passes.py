"""The passes that measure paths: several prompts in a batch, each with its clean row, its senders' and its paths' rows.

Prompts of unlike lengths are padded on the right, which no token before the padding sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from reasoning_probe.engine.memory import run_in_halves
from reasoning_probe.models.ablation import ZERO, Replacement
from reasoning_probe.models.path_patching import (
    CLEAN,
    Head,
    Path,
    PathRow,
    patched_paths,
    path_rows,
    sender_rows,
    stacked,
)

if TYPE_CHECKING:
    from torch import Tensor

    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.tokenization import EncodedQuery

Entry = TypeVar("Entry")
Result = TypeVar("Result")

Pair = tuple[int, Path]
"""A prompt's number, and a path along which it is answered."""

TOKENS = 4096
"""Tokens of a pass, rows times length: more make no pass faster on a CPU, and few are slow."""

NEAR_TIE = 1e-3
"""Logits: a token that leads by less may be another in a batch of another shape, so it is generated."""


@dataclass(frozen=True)
class PathPrompt:
    """A prompt with an answer, in tokens, and what stands in for the heads whose writing is taken out."""

    encoded: EncodedQuery
    answer: tuple[int, ...]
    replacement: Replacement

    @property
    def length(self) -> int:
        """The number of tokens that are read: all but the last of the answer."""
        return int(self.encoded.prompt.shape[1]) + max(0, len(self.answer) - 1)


def reads_without(
    engine: LocalEngine, prompts: Sequence[PathPrompt], paths: Sequence[Path]
) -> list[dict[Head, dict[int, Tensor]]]:
    """Return of each prompt, by sender and receiving layer, the heads' outputs there without what the sender writes.

    ``(tokens, heads * head_dim)`` each, on the prompt and its answer.
    """
    layers = {path.receiver[0] for path in paths}
    senders = list(dict.fromkeys(path.sender for path in paths))

    def run(part: Sequence[PathPrompt]) -> list[dict[Head, dict[int, Tensor]]]:
        rows = stacked(sender_rows(senders, prompt.replacement) for prompt in part)
        reads: dict[int, Tensor] = {}
        with patched_paths(engine.model, engine.head_map, rows, reads, layers):
            engine.plain.hooked_logits(_padded(engine, part, 1 + len(senders)), 1)
        numbers = [number for number, row in enumerate(rows) if row.sender is not None]
        return [
            {
                sender: {layer: x[row, : prompt.length] for layer, x in reads.items()}
                for sender, row in zip(senders, numbers[place * len(senders) :], strict=False)
            }
            for place, prompt in enumerate(part)
        ]

    return _in_pools(engine, prompts, [(1 + len(senders), prompt.length) for prompt in prompts], run)


def diverging(engine: LocalEngine, prompts: Sequence[PathPrompt], pairs: Sequence[Pair]) -> list[Pair]:
    """Return the *pairs* that make some token of the prompt's answer another, or nearly so."""
    by_prompt: dict[int, list[Path]] = {}
    for number, path in pairs:
        by_prompt.setdefault(number, []).append(path)

    def run(part: Sequence[tuple[int, list[Path]]]) -> list[list[Pair]]:
        groups = [path_rows(paths, prompts[number].replacement) for number, paths in part]
        of_part = [prompts[number] for number, _ in part]
        ids = torch.cat([_padded(engine, of_part, 1)[place].expand(len(rows), -1) for place, rows in enumerate(groups)])
        last = ids.shape[1] - min(int(prompt.encoded.prompt.shape[1]) for prompt in of_part) + 1
        with patched_paths(engine.model, engine.head_map, stacked(groups)):
            logits = engine.plain.hooked_logits(ids, last)  # (rows, last, vocabulary)
        diverged: list[list[Pair]] = []
        end = 0
        for (number, paths), prompt, rows in zip(part, of_part, groups, strict=True):
            end += len(rows)
            first = int(prompt.encoded.prompt.shape[1]) - 1 - (ids.shape[1] - last)
            of_answer = logits[end - len(paths) : end, first : first + len(prompt.answer)]
            leads = _leads(of_answer, prompt.answer)  # (paths, answer)
            near = (leads <= NEAR_TIE).any(1).tolist()
            diverged.append([(number, path) for path, other in zip(paths, near, strict=True) if other])
        return diverged

    with_answer = [(number, paths) for number, paths in by_prompt.items() if prompts[number].answer]
    sizes = [(len(path_rows(paths, ZERO)), prompts[number].length) for number, paths in with_answer]
    diverging_pairs = [pair for of_prompt in _in_pools(engine, with_answer, sizes, run) for pair in of_prompt]
    return [*((number, path) for number, path in pairs if not prompts[number].answer), *diverging_pairs]


def _leads(logits: Tensor, answer: Sequence[int]) -> Tensor:
    """Return by how much the logit of each token of *answer* leads all others, ``(rows, answer)``."""
    wanted = torch.tensor(answer, device=logits.device).expand(len(logits), -1)[..., None]  # (rows, answer, 1)
    others = logits.scatter(-1, wanted, -torch.inf).amax(-1)  # (rows, answer)
    return logits.gather(-1, wanted)[..., 0] - others


def spoken_along(
    engine: LocalEngine, prompts: Sequence[PathPrompt], pairs: Sequence[Pair], stops: Sequence[tuple[str, ...]]
) -> dict[Pair, tuple[int, ...]]:
    """Return what the model says in each of *pairs*, in tokens; prompts of one length are answered together.

    *stops* are the stop strings of each prompt.
    """
    alike: dict[tuple[int, int, tuple[str, ...]], list[Pair]] = {}
    for number, path in pairs:
        encoded = prompts[number].encoded
        alike.setdefault((int(encoded.prompt.shape[1]), encoded.limit, stops[number]), []).append((number, path))
    spoken: dict[Pair, tuple[int, ...]] = {}
    for (length, limit, stop), of_length in alike.items():
        sizes = [(3, length + limit)] * len(of_length)
        spoken |= zip(
            of_length, _in_pools(engine, of_length, sizes, partial(_spoken, engine, prompts, stop)), strict=True
        )
    return spoken


def _spoken(
    engine: LocalEngine, prompts: Sequence[PathPrompt], stop: tuple[str, ...], pairs: Sequence[Pair]
) -> list[tuple[int, ...]]:
    """Return what the model says in each of *pairs*, whose prompts have one length.

    Three rows each, clean, sender's and path's, follow the path's tokens.
    """
    rows = stacked(
        [
            CLEAN,
            PathRow(sender=path.sender, replacement=prompts[number].replacement),
            PathRow(receiver=path.receiver, source=1),
        ]
        for number, path in pairs
    )
    leaders = [3 * (row // 3) + 2 for row in range(len(rows))]  # the path of each three
    ids = torch.cat([prompts[number].encoded.prompt.expand(3, -1) for number, _ in pairs])  # (rows, tokens)
    encoded = replace(prompts[pairs[0][0]].encoded, prompt=ids)
    with patched_paths(engine.model, engine.head_map, rows):
        return engine.plain.generate_in_step(encoded, stop, leaders)[2::3]


def _in_pools(
    engine: LocalEngine,
    entries: Sequence[Entry],
    sizes: Sequence[tuple[int, int]],
    run: Callable[[Sequence[Entry]], list[Result]],
) -> list[Result]:
    """Return the results of *run* for *entries*, so many at a time as :data:`TOKENS` hold, in their order.

    *sizes* are each entry's rows and their length. Entries of like lengths go together, so that little is padded.
    """
    results: dict[int, Result] = {}
    for pool in _pools(sizes):
        of_pool = run_in_halves([entries[index] for index in pool], run, engine.memory)
        results |= zip(pool, of_pool, strict=True)
    return [results[index] for index in range(len(entries))]


def _pools(sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    pool: list[int] = []
    rows = 0
    for index in sorted(range(len(sizes)), key=lambda index: sizes[index][1]):
        more, length = sizes[index]
        if pool and (rows + more) * length > TOKENS:
            yield pool
            pool, rows = [], 0
        pool.append(index)
        rows += more
    if pool:
        yield pool


def _padded(engine: LocalEngine, prompts: Sequence[PathPrompt], rows: int) -> Tensor:
    """Return the tokens of *prompts* and their answers, each in so many *rows*: ``(prompts * rows, tokens)``."""
    longest = max(prompt.length for prompt in prompts)
    lines = [[*prompt.encoded.prompt[0].tolist(), *prompt.answer[:-1]] for prompt in prompts]
    padded = [[*line, *[engine.codec.pad] * (longest - len(line))] for line in lines]
    return torch.tensor(padded, device=engine.codec.device).repeat_interleave(rows, dim=0)
