"""The engine on a GPU, which is pretended: devices do not mix, answers are the CPU's, and the host seldom waits."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.engine import NUMERICS
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast.path import FastPath
from reasoning_probe.engine.fast.verification import WINDOW
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.tokenization import AblationJob
from reasoning_probe.engine.transfers import STRIDE, to_device, to_host
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head, parse_targets
from tests.helpers.character_tokenizer import Letters
from tests.helpers.fake_cuda import CUDA, FakeCudaTensor, fake_cuda, to_fake_cuda
from tests.helpers.model_families import FAMILIES, build

ITEMS = [
    rp.Item(question="What is 5 + 3?", answer="8", id="a"),
    rp.Item(question="Max?", answer="Yes", id="b"),
    rp.Item(question="Is it so that Max is an animal?", answer="No", id="c"),
    rp.Item(question="And Tom?", answer="No", id="d"),
]


# -- the pretence ---------------------------------------------------------------------------------------------------------


def test_tensors_of_two_devices_do_not_mix() -> None:
    with fake_cuda():
        x = torch.ones(3, device="cuda")
        assert x.device == CUDA
        assert (x + 1).device == CUDA
        assert x.cpu().device.type == "cpu"
        assert torch.tensor(2.0) * x is not None, "numbers on the CPU may meet a tensor on the device"
        for mixed in (lambda: x + torch.ones(3), lambda: torch.ones(3) * x, lambda: torch.cat([x, torch.ones(1)])):
            with pytest.raises(RuntimeError, match=r"at least two devices, cuda:0 and cpu! \(in \w+, tests/.*\.py:\d+\)"):
                mixed()
        with pytest.raises(RuntimeError, match="indices should be on the device"):
            torch.ones(3)[torch.tensor([0], device="cuda")]
    assert not torch.cuda.is_available()


@pytest.mark.parametrize(
    ("what", "run"),
    [
        ("local_scalar_dense", lambda x: x[0].item()),
        ("local_scalar_dense", lambda x: bool(x[0] > 0)),
        ("local_scalar_dense", lambda x: float(x.sum())),
        ("tolist", lambda x: x.tolist()),
        ("nonzero", lambda x: x.nonzero()),
        ("nonzero", lambda x: torch.where(x > 0)),
        ("index by a mask", lambda x: x[x > 0]),
        ("index from the host", lambda x: x[[0, 1]]),
        ("copy to the host", lambda x: x.cpu()),
        ("copy to the host", lambda x: x.to("cpu", torch.float64)),
        ("copy to the host", lambda x: torch.empty(3).copy_(x)),
        ("copy to the device", lambda x: torch.tensor([1, 2], device=x.device)),
        ("copy to the device", lambda x: torch.ones(3).to(x.device)),
        ("copy to the device", lambda x: x.copy_(torch.ones(3))),
        ("equal", lambda x: torch.equal(x, x)),
    ],
)
def test_what_makes_the_host_wait_is_counted_by_line(what: str, run: Any) -> None:
    with fake_cuda() as cuda:
        x = torch.ones(3, device="cuda")
        assert cuda.waits == Counter()
        run(x)
    line = f"tests/unit/engine/test_gpu.py:{run.__code__.co_firstlineno} {what}"
    assert cuda.waits == Counter({line: 1})


def test_what_stays_on_the_device_makes_nobody_wait() -> None:
    with fake_cuda() as cuda:
        x = torch.arange(6, device="cuda").view(2, 3).float()
        x[0, 1] = 7
        x[1].masked_fill_(x[1] > 4, 0).clamp(min=1)
        x.gather(-1, x.argmax(-1, keepdim=True))
        x[torch.arange(2, device=x.device), x.argmax(-1)].scatter_(-1, x.argmax(-1), 0.0)
        torch.zeros_like(x).to(torch.bfloat16).to(x.device)
        torch.ones(3).to("cuda", non_blocking=True)
    assert cuda.waits == Counter()
    assert isinstance(x, FakeCudaTensor)
    assert x.host.tolist() == [[0, 7, 2], [3, 4, 0]]


def test_transfers_wait_once_for_many_tensors_and_never_to_the_device() -> None:
    with fake_cuda() as cuda:
        tensors = [
            to_device([[1, -(2**60)], [3, 4]], CUDA),
            to_device([True, False, True], CUDA),
            to_device(0.5, CUDA),
            to_device([], CUDA, torch.long),
            to_device([[1.5], [float("-inf")]], CUDA, torch.bfloat16).T,
        ]
        assert cuda.waits == Counter()
        on_host = to_host(tensors)
    assert cuda.total() == 1
    for one, other in zip(on_host, tensors, strict=True):
        assert isinstance(other, FakeCudaTensor)
        assert (one.dtype, one.tolist()) == (other.dtype, other.host.tolist())


# -- equal answers --------------------------------------------------------------------------------------------------------


def queries(limit: int) -> list[Query]:
    return [query("items", item, Generation(limit, ())) for item in ITEMS]


def answers(engine: LocalEngine, targets: str, limit: int = 10, ablation: str = "zero") -> dict[Any, tuple[str, Any]]:
    """Return the response and the log-probability of each case."""
    ablated = tuple((target, ablation) for target in parse_targets(targets, engine.head_map))
    requests = [SweepRequest(each, ablated) for each in queries(limit)[:2]]
    return {
        (answer.item, answer.target): (answer.response, pytest.approx(answer.answer_logprob, abs=1e-3, rel=1e-4))
        for answer in chain(*engine.run(requests))
    }


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_answers_as_on_the_cpu(family: str) -> None:
    model, numerics = build(family), NUMERICS[sorted(FAMILIES).index(family) % len(NUMERICS)]
    head_map = find_heads(model)
    on_cpu = LocalEngine(model, Letters(), head_map, wanted_numerics=numerics)
    expected = answers(on_cpu, "L0H1,L2H3")
    with fake_cuda():
        engine = LocalEngine(to_fake_cuda(model), Letters(), head_map, wanted_numerics=numerics)
        assert answers(engine, "L0H1,L2H3") == expected
    assert (engine.path_name, engine.why, engine.numerics.name) == (
        on_cpu.path_name,
        on_cpu.why,
        on_cpu.numerics.name,
    ), engine.numerics.why
    assert engine.counts.unequal_batches == 0
