"""The fast path: verify all targets of a query in growing passes, decode only the rows that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reasoning_probe.ablation import ZERO, Replacement
from reasoning_probe.engine.decode import decode
from reasoning_probe.engine.passes import Driver, Unsupported
from reasoning_probe.engine.plain import Baseline, Plain
from reasoning_probe.engine.replies import Codec, Encoded, Reply
from reasoning_probe.engine.verify import WINDOW, Chunk, Clean, Row, clean_pass
from reasoning_probe.heads import HeadMap, probe_ids
from reasoning_probe.targets import Target, every_head

CPU_TOKENS = 640
"""Tokens in all rows of a pass on a CPU: the activations of a layer then fit the caches."""


class Fast:
    """Answers queries exactly as :class:`~reasoning_probe.engine.plain.Plain` does, at a fraction of the work."""

    def __init__(self, model: Any, head_map: HeadMap, codec: Codec, plain: Plain) -> None:
        self.driver = Driver(model, head_map)
        self.head_map, self.codec, self.plain = head_map, codec, plain
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
        with torch.inference_mode(), self.driver.driving():
            clean = clean_pass(self.driver, encoded, baseline)
            left: list[Row] = []
            for chunk in self._chunks(rows, clean):
                left += Chunk(self.driver, clean, chunk, replacement).verify()[1]
            left = [row for row in left if row.place >= 0]
            decode(self.driver, self.codec, clean, left, stop, replacement)
        self.counts.rows += len(rows)
        self.counts.verified += len(rows) - len(left)
        self.counts.decoded += len(left)
        return [self._settled(row, encoded, stop, replacement) for row in rows]

    def _chunks(self, rows: Sequence[Row], clean: Clean) -> list[list[Row]]:
        size = max(4, CPU_TOKENS // (clean.prompt_length + WINDOW))
        ordered = sorted(rows, key=lambda row: row.start)
        return [ordered[at : at + size] for at in range(0, len(ordered), size)]

    def _settled(self, row: Row, encoded: Encoded, stop: tuple[str, ...], replacement: Replacement) -> Reply:
        tokens = tuple(row.tokens)
        if row.near_tie:
            self.counts.settled_singly += 1
            tokens = self.plain.alone(encoded, stop, row.target, replacement)
        return Reply(tokens, row.logprob)
