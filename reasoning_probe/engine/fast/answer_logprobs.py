"""Log-probabilities of an expected answer under many targets, without decoding anything.

One unablated pass over prompt and answer records the input of every layer; growing passes continue from it with a few
targets of neighbouring layers each. The vocabulary projection runs only where a token of the answer is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reasoning_probe.engine.fast.forward import ForwardDriver
from reasoning_probe.engine.fast.kv_cache import KVCache
from reasoning_probe.engine.fast.pass_plan import LayerInput, PassPlan, joining_plan
from reasoning_probe.engine.fast.pooled_verification import token_logprobs
from reasoning_probe.engine.fast.verification import Row, in_joining_order
from reasoning_probe.engine.tokenization import EncodedQuery


class AnswerScorer:
    """The log-probability of the expected answer to one query under one chunk of targets after another."""

    def __init__(self, driver: ForwardDriver, encoded: EncodedQuery) -> None:
        self.driver, self.encoded = driver, encoded
        answer = torch.tensor([encoded.answer], dtype=torch.long, device=encoded.prompt.device)  # (1, answer)
        self.answer = answer
        ids = torch.cat([encoded.prompt, answer[:, :-1]], dim=1)  # (1, tokens)
        self.layer_inputs: dict[int, LayerInput] = {}
        self.length = ids.shape[1]
        plan = PassPlan(record=self.layer_inputs, logits_at=slice(-1, None))
        driver.run(ids, KVCache(len(driver.blocks), self.length, rows=1), plan)

    def logprobs(self, rows: Sequence[Row]) -> list[float]:
        """Return the log-probability under the target of each of *rows*, in nats, summed over the answer's tokens."""
        ordered = in_joining_order(self.driver, rows, self.layer_inputs)
        ablated = [(row.target, row.replacement) for row in ordered]
        plan = joining_plan(
            ablated,
            [row.entry_layer for row in ordered],
            self.layer_inputs,
            self.encoded.prompt.device,
            slice(-self.answer.shape[1], None),
            (0, self.length),
        )
        dummy_ids = self.answer.new_zeros(1 if self.driver.grows_batch else len(ordered), self.length)
        logits = self.driver.run(dummy_ids, KVCache(len(self.driver.blocks), self.length), plan)
        # (rows, answer, vocabulary)
        by_token = token_logprobs(logits, self.answer.expand(len(ordered), -1))
        by_row = {id(row): sum(of_row) for row, of_row in zip(ordered, by_token, strict=True)}
        return [by_row[id(row)] for row in rows]
