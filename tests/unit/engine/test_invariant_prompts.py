"""In half precision, an ablated row is the baseline of edited weights under every kind of prompt and of pass."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import path, shared_prefix
from reasoning_probe.engine.fast.verification import run_ablated_prefix
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import parse_targets
from tests.helpers.chat_tokenizer import CHATML, chat_tokenizer
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edit

ITEMS = [
    rp.Item(question="What is 5 + 3?", answer="8", id="a"),
    rp.Item(question="Is it so?", answer="Yes", id="b"),
]
SHOTS = tuple(rp.Item(question=f"And {n} + 1?", answer=str(n + 1)) for n in range(2))


@pytest.mark.parametrize(
    ("dtype", "chat", "shots", "pools"),
    [
        (torch.bfloat16, "off", SHOTS, False),
        (torch.bfloat16, "on", SHOTS, True),
        (torch.bfloat16, "on", (), False),
        (torch.float16, "on", SHOTS, False),
    ],
    ids=["few-shot-prefix", "few-shot-chat-padded", "chat", "float16-few-shot-chat-prefix"],
)
def test_an_ablated_row_is_the_baseline_of_edited_weights(
    dtype: torch.dtype, chat: Any, shots: tuple[rp.Item, ...], pools: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries are padded to share a pass, or run one after the other behind the tokens that they share."""
    prefixes: list[int] = []

    def recording(driver: Any, prefix: Any, rows: Any, run: Any = run_ablated_prefix) -> Any:
        prefixes.append(prefix.length)
        return run(driver, prefix, rows)

    monkeypatch.setattr(path, "run_ablated_prefix", recording)
    if not pools:
        monkeypatch.setattr(path, "CPU_BYTES", 0)
    model = build("llama", vocab_size=128, max_position_embeddings=256).to(dtype)
    head_map, tokenizer = find_heads(model), chat_tokenizer(CHATML)
    renderer = PromptRenderer(rp.Prompting(chat=chat, shots=len(shots)), tokenizer, {"items": shots})
    queries = {item.id: renderer.query("items", item, Generation(12, ())) for item in ITEMS}
    targets = parse_targets("L0H1,L1,L0H0+L2H3", head_map)
    engine = LocalEngine(model, tokenizer, head_map, wanted_numerics="invariant")
    zero = tuple((target, "zero") for target in targets)
    answers = list(chain(*engine.run([SweepRequest(query, zero) for query in queries.values()])))
    facts = engine.facts()
    assert (facts["numerics"], facts["settled_singly"], facts["unequal_batches"]) == ("invariant", 0, 0), facts
    assert facts["decoded"] > 0, "no target changed anything: nothing was tested"
    if shots and not pools:
        assert max(prefixes) >= shared_prefix.MIN_PREFIX, "no prefix was shared"
    for target in targets:
        twin = copy.deepcopy(model)
        for site in head_map.attention_layers:
            edit(twin, site.path, site.heads, target.in_layer(site.layer))
        edited = LocalEngine(twin, tokenizer, head_map, wanted_numerics="invariant")
        for answer in (answer for answer in answers if answer.target == target.name):
            baseline = edited.plain.baseline(edited.codec.encode(queries[answer.item]), ()).completion
            assert answer.response == edited.codec.text(baseline.tokens, ()), (answer.item, target.name)
            assert answer.answer_logprob == pytest.approx(baseline.logprob, abs=1e-4), (answer.item, target.name)
