"""The fast path: verify all targets of a query in growing passes, decode only the rows that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reasoning_probe.ablation import ZERO, Replacement
from reasoning_probe.engine.decode import Decoder
from reasoning_probe.engine.memory import Memory, in_halves, out_of_memory
from reasoning_probe.engine.passes import Driver, Unsupported
from reasoning_probe.engine.plain import Baseline, Plain
from reasoning_probe.engine.replies import Codec, Encoded, Reply
from reasoning_probe.engine.verify import WINDOW, Chunk, Clean, Row, clean_pass
from reasoning_probe.heads import HeadMap, probe_ids, text_config
from reasoning_probe.targets import Target, every_head

CPU_TOKENS = 640
"""Tokens in all rows of a pass on a CPU: the activations of a layer then fit the caches."""


class Fast:
    """Answers queries exactly as :class:`~reasoning_probe.engine.plain.Plain` does, at a fraction of the work."""

    def __init__(
        self, model: Any, head_map: HeadMap, codec: Codec, plain: Plain, memory: Memory, *, grows: bool = True
    ) -> None:
        self.driver = Driver(model, head_map, grows)
        self.head_map, self.codec, self.plain, self.memory = head_map, codec, plain, memory
        self.counts = plain.counts

    def replies(
        self,
        encoded: Encoded,
        stop: tuple[str, ...],
        baseline: Baseline,
        targets: Sequence[Target],
        replacement: Replacement = ZERO,
    ) -> list[Reply]:
        """Return the reply with each of *targets* switched off, in their order."""
        rows = [Row(target, place, target.lowest) for place, target in enumerate(targets)]
        decoded = 0
        with torch.inference_mode(), self.driver.driving():
            clean = clean_pass(self.driver, encoded, baseline)
            chunk_size, held = self._sizes(clean)
            ordered = sorted(rows, key=lambda row: row.start)
            left: list[Row] = []
            for at in range(0, len(ordered), chunk_size):
                left += self._verify(clean, ordered[at : at + chunk_size], replacement)
                if len(left) >= held or at + chunk_size >= len(ordered):
                    self._decode(clean, left, stop, replacement)
                    decoded += len(left)
                    left = []
        self.counts.rows += len(rows)
        self.counts.verified += len(rows) - decoded
        self.counts.decoded += decoded
        return [self._settled(row, encoded, stop, replacement) for row in rows]

    def _sizes(self, clean: Clean) -> tuple[int, int]:
        """Return how many rows to verify at a time, and how many that differ to hold before they are decoded."""
        vocabulary = int(text_config(self.driver.model.config).vocab_size)
        capacity = clean.prompt_length + clean.encoded.limit
        held = sum(
            buffer[0, :, 0].numel() * buffer.element_size() * capacity
            for _, *buffers in clean.slots.buffers()
            for buffer in buffers
        )
        entry = next(iter(clean.entries.values()))
        passing = 12 * entry.numel() * entry.element_size() + 4 * WINDOW * vocabulary * 4
        most = self.memory.rows(held + passing)
        by_cache = CPU_TOKENS // (clean.prompt_length + WINDOW) if entry.device.type == "cpu" else most
        return max(1, min(most, max(4, by_cache))), max(1, self.memory.rows(2 * held))

    def _verify(self, clean: Clean, rows: Sequence[Row], replacement: Replacement) -> list[Row]:
        return in_halves(rows, lambda part: Chunk(self.driver, clean, part, replacement).verify(), self.memory)

    def _decode(self, clean: Clean, rows: Sequence[Row], stop: tuple[str, ...], replacement: Replacement) -> None:
        known = {row.place: len(row.tokens) for row in rows}

        def run(part: Sequence[Row]) -> list[Row]:
            for row in part:
                del row.tokens[known[row.place] :]  # what an attempt that ran out of memory had appended
            Decoder(self.driver, self.codec, clean, part, stop, replacement).run()
            return list(part)

        in_halves(rows, run, self.memory)
        for row in rows:
            row.source = []

    def _settled(self, row: Row, encoded: Encoded, stop: tuple[str, ...], replacement: Replacement) -> Reply:
        tokens = tuple(row.tokens)
        if row.near_tie:
            self.counts.settled_singly += 1
            tokens = self.plain.alone(encoded, stop, row.target, replacement)
        return Reply(tokens, row.logprob)


def fast_path(model: Any, head_map: HeadMap, codec: Codec, plain: Plain, memory: Memory) -> tuple[Fast | None, str]:
    """Return the fast path if it answers like the plain one on a small question, else ``None`` and why not.

    No list of families decides: what a model's code assumes of its batches shows when it runs.
    """
    why = ""
    for grows in (True, False):
        try:
            fast = Fast(model, head_map, codec, plain, memory, grows=grows)
            why = _disagreement(fast, plain, head_map)
        except Unsupported as problem:
            return None, str(problem)
        except Exception as problem:  # a family's own code stumbles over the batch: any kind of error
            if out_of_memory(problem):
                raise
            why = f"its layers do not take such a pass ({type(problem).__name__}: {str(problem)[:120]})"
        if not why:
            return fast, "growing passes" if grows else "passes of full batches"
    return None, why


def _disagreement(fast: Fast, plain: Plain, head_map: HeadMap) -> str:
    """Return how the two paths differ on a few tokens and heads of all depths; empty where they agree."""
    model = fast.driver.model
    heads = every_head(head_map)
    targets = list(dict.fromkeys([heads[0], heads[1 % len(heads)], heads[len(heads) // 2], heads[-1]]))
    prompt = probe_ids(model)
    encoded = Encoded(prompt, tuple(prompt[0, :3].tolist()), WINDOW + 3)
    counts = vars(plain.counts).copy()
    try:
        baseline = plain.baseline(encoded, ())
        slow = plain.replies(encoded, (), baseline, targets)
        quick = fast.replies(encoded, (), baseline, targets)
    finally:
        vars(plain.counts).update(counts)
    tolerance = 1e-3 if model.dtype in (torch.float32, torch.float64) else 0.5
    for target, expected, got in zip(targets, slow, quick, strict=True):
        if expected.tokens != got.tokens:
            return f"with {target.name} off it answers otherwise than the plain path"
        if not abs(expected.logprob - got.logprob) <= tolerance * max(1.0, abs(expected.logprob)):
            return f"with {target.name} off its log-probabilities differ from the plain path's"
    return ""
