"""The engine on a GPU, which is pretended: devices do not mix, answers are the CPU's, and the host seldom waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.analyses.cumulative_curve import FEWEST
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.data.prompts.sampling import Sampling
from reasoning_probe.engine import BATCH, INVARIANT, SETTLE
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast.choice import completions_of
from reasoning_probe.engine.fast.path import FastPath
from reasoning_probe.engine.fast.verification import WINDOW
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.sampled_answers import run_samples
from reasoning_probe.engine.tokenization import AblationJob, Completion
from reasoning_probe.engine.transfers import STRIDE, to_device, to_host
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head, parse_targets
from reasoning_probe.results.run import Run
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.character_tokenizer import Letters
from tests.helpers.fake_cuda import CUDA, FakeCudaTensor, fake_cuda, to_fake_cuda
from tests.helpers.known_circuits import circuit, sums
from tests.helpers.model_families import FAMILIES, build
from tests.helpers.planted_model import planted

ITEMS = [
    rp.Item(question="What is 5 + 3?", answer="8", id="a"),
    rp.Item(question="Max?", answer="Yes", id="b"),
    rp.Item(question="Is it so that Max is an animal?", answer="No", id="c"),
    rp.Item(question="And Tom?", answer="No", id="d"),
]


# -- the pretence ---------------------------------------------------------------------------------------------------


def test_tensors_of_two_devices_do_not_mix() -> None:
    with fake_cuda():
        x = torch.ones(3, device="cuda")
        assert x.device == CUDA
        assert (x + 1).device == CUDA
        assert x.cpu().device.type == "cpu"
        assert torch.tensor(2.0) * x is not None, "numbers on the CPU may meet a tensor on the device"
        for mixed in (lambda: x + torch.ones(3), lambda: torch.ones(3) * x, lambda: torch.cat([x, torch.ones(1)])):
            with pytest.raises(RuntimeError, match=r"two devices, cuda:0 and cpu! \(in \w+, tests/.*\.py:\d+\)"):
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


# -- equal answers --------------------------------------------------------------------------------------------------


def queries(limit: int) -> list[Query]:
    return [query("items", item, Generation(limit, ())) for item in ITEMS]


def answers(
    engine: LocalEngine, targets: str, limit: int = STRIDE + 1, ablation: str = "zero"
) -> dict[Any, tuple[str, Any]]:
    """Return the response and the log-probability of each case."""
    ablated = tuple((target, ablation) for target in parse_targets(targets, engine.head_map))
    requests = [SweepRequest(each, ablated) for each in queries(STRIDE + 1)[:2]]
    return {
        (answer.item, answer.target): (answer.response, pytest.approx(answer.answer_logprob, abs=1e-3, rel=1e-4))
        for answer in chain(*engine.run(requests))
    }


@pytest.mark.parametrize(
    ("family", "numerics"),
    [(family, (SETTLE, BATCH)[number % 2]) for number, family in enumerate(sorted(FAMILIES))] + [("gpt2", INVARIANT)],
)
def test_every_family_answers_as_on_the_cpu(family: str, numerics: str) -> None:
    model = build(family)
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


def test_half_precision_is_invariant_there_too() -> None:
    model = build("llama").to(torch.bfloat16)
    head_map = find_heads(model)
    expected = answers(LocalEngine(model, Letters(), head_map), "L0H1,L2")
    with fake_cuda():
        engine = LocalEngine(to_fake_cuda(model), Letters(), head_map)
        assert engine.numerics.name == INVARIANT, engine.numerics.why
        assert answers(engine, "L0H1,L2") == expected
    assert (engine.counts.settled_singly, engine.counts.unequal_batches) == (0, 0)


@pytest.mark.parametrize("numerics", [SETTLE, INVARIANT])
@pytest.mark.parametrize("sampling", [Sampling(3, 0.5), Sampling(3, 0.5, top_p=0.8, top_k=20)], ids=["all", "some"])
def test_sampled_answers_are_those_of_the_cpu(sampling: Sampling, numerics: str) -> None:
    """The noise is drawn on the host."""

    def sampled(model: Any) -> dict[Any, str]:
        engine = LocalEngine(model, Letters(), find_heads(model), wanted_numerics=numerics)
        ablated = tuple((target, "zero") for target in parse_targets("L0H1,L1", engine.head_map))
        requests = [SweepRequest(each, ablated) for each in queries(STRIDE + 1)[:2]]
        return {
            (answer.item, answer.target, answer.query.draw): answer.response
            for answer in chain(*run_samples(engine, requests, sampling.draws(0)))
        }

    model = build("llama")
    on_cpu = sampled(model)
    assert len(on_cpu) == 2 * 3 * 3
    with fake_cuda() as cuda:
        assert sampled(to_fake_cuda(model)) == on_cpu
    assert not [line for line in cuda.waits if "engine/sampling.py" in line]


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_values_that_replace_heads_are_on_the_device(ablation: str) -> None:
    model = build("llama")
    head_map = find_heads(model)
    targets = "L0H1,L1,L2H3,L1MLP,L0H0+L2H1"
    expected = answers(LocalEngine(model, Letters(), head_map), targets, ablation=ablation)
    with fake_cuda():
        engine = LocalEngine(to_fake_cuda(model), Letters(), head_map)
        assert answers(engine, targets, ablation=ablation) == expected


def session_run(model: Any, tokenizer: Any, numerics: str) -> Run:
    """Return the run of a whole session on a circuit: screening, control task, random directions and curves."""
    session = ProbeSession(Settings(ablate_heads=True, max_new_tokens=3, screen=2, numerics=numerics))
    session.model_runner.use((model, tokenizer))
    cases = session.cases(session.dataset("arithmetic", sums(FEWEST)))
    session.select(cases)
    session.outcome(cases[0])
    session.run_post_sweep()
    run = session.finish()
    assert run is not None
    assert run.summary["engine"]["numerics"] == numerics, run.summary["engine"]["numerics_why"]
    return run


@pytest.mark.parametrize("numerics", [SETTLE, BATCH, INVARIANT])
def test_a_whole_session_measures_the_same(numerics: str) -> None:
    model, tokenizer = circuit()
    on_cpu = session_run(model, tokenizer, numerics)
    with fake_cuda():
        on_gpu = session_run(to_fake_cuda(model), tokenizer, numerics)
    assert [(o.item, o.target, o.response) for o in on_gpu.outcomes] == [
        (o.item, o.target, o.response) for o in on_cpu.outcomes
    ]
    for part in ("control", "curves", "screening", "directions"):
        assert on_cpu.summary.get(part) or part == "directions", f"{part}: nothing was measured"  # type: ignore[misc]
        assert rounded(on_gpu.summary.get(part)) == rounded(on_cpu.summary.get(part)), part


def rounded(value: Any) -> Any:
    """Return *value* with its numbers rounded to what the order of sums leaves alone."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-3, rel=1e-3)
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


def test_chat_and_multiple_choice_with_shared_beginnings() -> None:
    model, tokenizer = planted()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} says this to us all: {{ m.content }}\n{% endfor %}"
    items = [
        rp.Item(question=f"What colour is the {thing}?", answer="blue", id=thing, choices=("green", "blue", "black"))
        for thing in ("sky", "grass")
    ]

    def outcomes() -> list[Any]:
        return [
            (outcome.item, outcome.target, outcome.response, [rounded(choice.logprob) for choice in outcome.choices])
            for outcome in rp.sweep(model, tokenizer, items, "L0,L1H2", prompting=Prompting(chat="on"))
        ]

    expected = outcomes()
    with fake_cuda():
        to_fake_cuda(model)
        assert outcomes() == expected


# -- waits ----------------------------------------------------------------------------------------------------------


def endless(numerics: str) -> tuple[LocalEngine, FastPath]:
    """Return an engine on the pretended device, of a model whose answers never end, and its fast path."""
    model = build("llama", eos_token_id=None)
    model.generation_config.eos_token_id = None
    tokenizer = Letters()
    tokenizer.eos_token_id = None  # type: ignore[assignment]
    head_map = find_heads(model)
    engine = LocalEngine(to_fake_cuda(model), tokenizer, head_map, wanted_numerics=numerics)
    assert engine.numerics.name == numerics, engine.numerics.why
    assert isinstance(engine.path, FastPath)
    return engine, engine.path


def jobs_of(engine: LocalEngine, limit: int) -> list[AblationJob]:
    jobs = []
    for each in queries(limit):
        encoded = engine.codec.encode(each)
        jobs.append(
            AblationJob(
                encoded,
                (),
                engine.plain.baseline(encoded, ()),
                tuple(every_head(engine.head_map)),
                ZERO,
                resolves_near_ties=False,  # settling runs ``generate``, which has waits of its own
            )
        )
    return jobs


def diverging(jobs: Sequence[AblationJob], completions: Sequence[Sequence[Completion]]) -> list[int]:
    """Return after how many tokens each row leaves its draft, of those that do."""
    return [
        next(index + 1 for index, token in enumerate(job.draft) if token != completion.tokens[index])
        for job, of_job in zip(jobs, completions, strict=True)
        for completion in of_job
        if completion.tokens != job.draft
    ]


def parts_of_decoding(lengths: Sequence[int], limit: int) -> int:
    """Return in how many parts rows are decoded that join after *lengths* tokens: strides, cut where a row joins."""
    parts, decoded = 0, min(lengths)
    while decoded < limit:
        decoded = min([decoded + STRIDE, limit, *(length for length in lengths if length > decoded)])
        parts += 1
    return parts


@pytest.mark.parametrize("numerics", [SETTLE, INVARIANT])
def test_pooled_rows_wait_once_for_verification_and_once_in_a_stride_of_decoding(numerics: str) -> None:
    limit = 5 * STRIDE
    with fake_cuda() as cuda:
        engine, path = endless(numerics)
        assert path.pools_queries
        jobs = jobs_of(engine, limit)
        cuda.waits.clear()
        completions = completions_of(path, jobs)
        lengths = diverging(jobs, completions)
        pools, single = path._group_into_pools(jobs)
        assert not single
        assert lengths
        strides = -(-(limit - min(lengths)) // STRIDE)
        assert cuda.total() == sum(map(len, pools)) + strides * len(pools), cuda.waits


@pytest.mark.parametrize("numerics", [SETTLE, INVARIANT])
def test_a_query_alone_waits_once_a_window_and_once_in_a_stride_or_where_a_row_joins(numerics: str) -> None:
    limit = 5 * STRIDE
    with fake_cuda() as cuda:
        engine, path = endless(numerics)
        path.pools_queries = False
        jobs = jobs_of(engine, limit)[:1]
        cuda.waits.clear()
        lengths = diverging(jobs, completions_of(path, jobs))
        assert lengths
        last = max(lengths) if len(lengths) == len(jobs[0].targets) else limit  # verified, the rows that left apart
        assert cuda.total() == -(-last // WINDOW) + parts_of_decoding(lengths, limit), cuda.waits


@pytest.mark.parametrize(("numerics", "together"), [(SETTLE, False), (INVARIANT, False), (INVARIANT, True)])
def test_a_baseline_waits_once_in_a_stride(numerics: str, together: bool) -> None:
    waits = []
    with fake_cuda() as cuda:
        engine, path = endless(numerics)
        for limit in (2 * STRIDE + 1, 6 * STRIDE + 1):
            encoded = [(engine.codec.encode(each), ("\x00",)) for each in queries(limit)[:2]]
            cuda.waits.clear()
            baselines = path.baselines(encoded) if together else [engine.plain.baseline(*encoded[0])]
            waits.append(cuda.total())
            assert all(len(baseline.completion.tokens) == limit for baseline in baselines)
    assert waits[1] - waits[0] == 4, cuda.waits


@pytest.mark.parametrize(("numerics", "in_engine"), [(SETTLE, 15), (INVARIANT, 11)])
def test_a_sweep_of_four_items_and_64_rows_seldom_waits(numerics: str, in_engine: int) -> None:
    pairs = ((5, 3), (12, 9), (40, 17), (8, 8))
    sums_of_two = [rp.Item(question=f"What is {a} + {b}?", answer=str(a + b), id=str(a)) for a, b in pairs]
    model = build("llama", num_hidden_layers=4)
    head_map = find_heads(model)
    ablated = tuple((target, "zero") for target in every_head(head_map))
    with fake_cuda() as cuda:
        engine = LocalEngine(to_fake_cuda(model), Letters(), head_map, wanted_numerics=numerics)
        assert isinstance(engine.path, FastPath)
        cuda.waits.clear()
        requests = [SweepRequest(query("items", item, Generation(12, ())), ablated) for item in sums_of_two]
        assert sum(map(len, engine.run(requests))) == 68
    assert engine.counts.decoded > 32, "too few rows were decoded for the count to mean anything"
    assert cuda.total("reasoning_probe") <= in_engine, cuda.waits
    assert cuda.total() <= 43, "transformers' own generate waits more often than it did"
