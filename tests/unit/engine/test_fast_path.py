"""Memory limits, near ties and passes shared by several questions change no answer."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.fast import decoding, path
from reasoning_probe.engine.fast.pooled_verification import PooledVerifier
from reasoning_probe.engine.fast.verification import WINDOW
from reasoning_probe.engine.plain_path import PlainPath, batch_noise
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.engine.tokenization import AblationJob, Baseline, Completion
from reasoning_probe.models.ablation import ZERO
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, every_head
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import ITEMS, check, run_in_order, zeroed
from tests.helpers.model_families import build


def test_a_byte_of_memory_is_enough() -> None:
    model = build("gpt_neox")
    head_map = find_heads(model)
    plan = [SweepRequest(query("items", item, Generation(10, ())), zeroed(every_head(head_map))) for item in ITEMS]
    tight = LocalEngine(model, Letters(), head_map, memory_cap=1)
    wide = LocalEngine(model, Letters(), head_map)
    pairs = zip(run_in_order(tight, plan), run_in_order(wide, plan), strict=True)
    for one, other in pairs:
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)
        assert one.answer_logprob == pytest.approx(other.answer_logprob, abs=1e-4)
    assert tight.path_name == wide.path_name == "fast"


@pytest.mark.parametrize("seed", range(3))
def test_memory_that_runs_out_at_a_random_moment_changes_no_outcome(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    undisturbed = rp.sweep(model, Letters(), ITEMS, max_new_tokens=10, stop=())
    generator = random.Random(seed)
    run = path.ForwardDriver.run
    raised = 0

    def fails_at_random(self: Any, ids: Any, kv_cache: Any, plan: Any, **positions: Any) -> Any:
        nonlocal raised
        halvable = max(ids.shape[0], sum(plan.joining_rows.values())) > 2  # more than one row and the canary
        if halvable and generator.random() < 0.3:
            raised += 1
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return run(self, ids, kv_cache, plan, **positions)

    head_map = find_heads(model)
    engine = LocalEngine(model, Letters(), head_map)
    assert isinstance(engine.path, path.FastPath)
    monkeypatch.setattr(path.ForwardDriver, "run", fails_at_random)
    plan = [SweepRequest(query("items", item, Generation(10, ())), zeroed(every_head(head_map))) for item in ITEMS]
    disturbed = run_in_order(engine, plan)
    assert raised > 0
    assert [(o.item, o.target, o.response) for o in disturbed] == [(o.item, o.target, o.response) for o in undisturbed]


@pytest.mark.parametrize("pairs", [40, 4])
def test_near_ties_are_settled_by_the_one_row_path(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight[50 : 50 + pairs] = head.weight[10 : 10 + pairs]  # tokens that no batch can tell apart
    head_map = find_heads(model)
    check(model, "L0-L2,L0H0,L1H1")
    near_ties: list[tuple[int, int]] = []  # where, of how many tokens

    def recording(
        plain: Any,
        job: AblationJob,
        target: Target,
        tokens: Any,
        near_tie: int,
        resolve: Any = PlainPath.resolve_near_tie,
    ) -> Any:
        near_ties.append((near_tie, len(tokens)))
        return resolve(plain, job, target, tokens, near_tie)

    monkeypatch.setattr(PlainPath, "resolve_near_tie", recording)
    engine = LocalEngine(model, Letters(), head_map)
    assert isinstance(engine.path, path.FastPath)
    near_ties.clear()  # drop those of the self-check
    request = SweepRequest(query("items", ITEMS[0], Generation(10, ())), zeroed(every_head(head_map)))
    list(engine.run([request]))
    assert engine.counts.settled_singly == len(near_ties) > 0
    assert all(0 < near_tie <= length for near_tie, length in near_ties)
    assert engine.counts.rows == len(every_head(head_map))
    assert engine.counts.verified + engine.counts.decoded == engine.counts.rows


def test_noise_is_what_a_canary_shows_and_a_step_of_its_numbers_at_least() -> None:
    baseline = Baseline(Completion((5, 6), 0.0), (16.0, -2.0), epsilon=2.0**-7)  # bfloat16's
    assert batch_noise(baseline, [16.0, -2.0]) == 0.125
    assert batch_noise(baseline, [16.0, -1.5]) == 0.5
    assert batch_noise(baseline, [-2.25], first=1) == 0.25
    model = build("llama")
    for dtype, epsilon in ((torch.float32, 2.0**-23), (torch.bfloat16, 2.0**-7)):
        engine = LocalEngine(model.to(dtype), Letters(), find_heads(model))
        encoded = engine.codec.encode(query("items", ITEMS[0], Generation(3, ())))
        assert engine.plain.baseline(encoded, ()).epsilon == epsilon


def test_settling_runs_the_one_row_path_up_to_the_near_tie_and_on_only_where_it_differs() -> None:
    model = build("llama")
    head_map = find_heads(model)
    engine = LocalEngine(model, Letters(), head_map)
    encoded = engine.codec.encode(query("items", ITEMS[0], Generation(10, ())))
    target = every_head(head_map)[3]
    job = AblationJob(encoded, (), engine.plain.baseline(encoded, ()), (target,), ZERO)
    alone = engine.plain.generate_alone(job, target)
    steps: list[int] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda *_: steps.append(1))
    for index in range(len(alone)):
        steps.clear()
        assert engine.plain.resolve_near_tie(job, target, alone, index + 1) == alone
        assert len(steps) == index + 1
        steps.clear()
        other = (*alone[:index], alone[index] + 1, *alone[index + 1 :])  # how a batch might have resolved the tie
        assert engine.plain.resolve_near_tie(job, target, other, index + 1) == alone
        assert len(steps) == len(alone) + (index + 1 if index + 1 < len(alone) else 0)
    handle.remove()


def test_queries_that_share_passes_answer_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    head_map = find_heads(model)
    items = [rp.Item(question="x" * n + "?", answer="12" if n % 2 else "8", id=f"n{n}") for n in (1, 9, 4, 17, 2)]
    plan = [SweepRequest(query("items", item, Generation(9, ())), zeroed(every_head(head_map))) for item in items]
    engine = LocalEngine(model, Letters(), head_map)
    passes = []
    monkeypatch.setattr(
        PooledVerifier,
        "verify",
        lambda self, verify=PooledVerifier.verify: passes.append(len(self.jobs)) or verify(self),
    )
    together = run_in_order(engine, plan)
    assert max(passes) > 1
    alone = [outcome for request in plan for outcome in chain(*LocalEngine(model, Letters(), head_map).run([request]))]
    for one, other in zip(together, alone, strict=True):
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)
        assert one.answer_logprob == pytest.approx(other.answer_logprob, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_of_long_answers_joint_targets_are_verified_at_the_beginning(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that agree so far are decoded like those that do not."""
    model = build(family)
    with torch.no_grad():  # without layer 2 its answers are the same
        model.get_submodule(find_heads(model).attention_layers[2].path).weight.mul_(1e-3)
    passes: list[tuple[PooledVerifier, list[tuple[AblationJob, tuple[int, ...]]]]] = []

    def recording(verifier: Any, verify: Any = PooledVerifier.verify) -> Any:
        to_decode = verify(verifier)
        passes.append((verifier, [(diverged.job, tuple(diverged.row.tokens)) for diverged in to_decode]))
        return to_decode

    monkeypatch.setattr(PooledVerifier, "verify", recording)
    items = [rp.Item(question="x" * n, answer="5", id=f"n{n}") for n in (3, 5, 8)]
    check(model, "L0,L1,L2,L0H0+L2H2", items=items, limit=20)
    verifier, to_decode = passes[-1]  # those before are the self-check
    assert verifier.longest == max(job.prompt_length for job in verifier.jobs) + WINDOW - 1
    assert len(to_decode) == len(items) * 4
    agreeing = [tokens == job.draft[:WINDOW] for job, tokens in to_decode]
    assert any(agreeing)
    assert not all(agreeing)


def test_pools_are_decoded_together_as_far_as_the_keys_and_values_of_their_rows_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Logits and hidden states of a pool are gone when the next one runs, so they do not bound how many rows wait."""
    model = build("llama")
    head_map = find_heads(model)
    items = [rp.Item(question="x" * n, answer="12", id=f"n{n}") for n in (1, 2, 16, 17, 31, 32, 46, 47)]
    plan = [SweepRequest(query("items", item, Generation(9, ())), zeroed(every_head(head_map))) for item in items]
    config = model.config
    token_bytes = 2 * 4 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim  # float32
    rows = len(items) * len(every_head(head_map))
    longest = max(int(LocalEngine(model, Letters(), head_map).codec.encode(r.query).prompt.shape[1]) for r in plan) + 9
    passes: list[int] = []
    batches: list[Any] = []
    monkeypatch.setattr(
        PooledVerifier,
        "verify",
        lambda self, verify=PooledVerifier.verify: passes.append(len(self.jobs)) or verify(self),
    )
    monkeypatch.setattr(
        path, "decode_ragged", lambda *args, decode=path.decode_ragged: batches.append(args[-1]) or decode(*args)
    )
    for share, expected in ((1, 1), (0.7, 2)):
        memory = int(share * 2 * token_bytes * longest * rows)
        engine = LocalEngine(model, Letters(), head_map, memory_cap=memory)
        assert isinstance(engine.path, path.FastPath)  # the self-check runs before the passes are counted
        passes.clear()
        batches.clear()
        run_in_order(engine, plan)
        assert len(passes) > 1
        assert len(batches) == expected


SHOTS = "Question: what is 2 + 2?\nAnswer: 4\n\n"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "falcon"])
def test_prompts_that_begin_alike_answer_as_edited_weights(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(family)
    items = [rp.Item(question=SHOTS + "x" * n, answer=f"{n}5", id=f"n{n}") for n in (1, 2)]
    prefix_lengths: list[int] = []

    def recording(driver: Any, prefix: Any, rows: Any, run: Any = path.run_ablated_prefix) -> Any:
        prefix_lengths.append(prefix.length)
        return run(driver, prefix, rows)

    monkeypatch.setattr(path, "run_ablated_prefix", recording)
    monkeypatch.setattr(path, "CPU_BYTES", 0)  # so that no queries are padded to share a pass
    check(model, "L0H0,L1,L2H3,L0H1+L2H2", items=items, limit=9)
    assert prefix_lengths.count(len("Question: " + SHOTS) + 1) == 1  # run once for all queries, with the "x" they share


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_rows_of_several_queries_are_decoded_in_step(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries that share no pass are decoded together: each row joins when the batch reaches its length."""
    model = build(family)
    batches: list[set[int]] = []

    def recording(decoder: Any, count: int, steps: Any = decoding.Decoder._steps) -> int:
        rows = [diverged for diverged in decoder.active if not diverged.is_canary]
        assert len({diverged.length for diverged in rows}) == 1
        assert any(diverged.is_canary for diverged in decoder.active) or all(
            len(diverged.row.tokens) >= len(diverged.job.draft) for diverged in rows
        )
        batches.append({id(diverged.job) for diverged in rows})
        return int(steps(decoder, count))

    monkeypatch.setattr(decoding.Decoder, "_steps", recording)
    monkeypatch.setattr(path, "CPU_BYTES", 0)  # so that no queries are padded to share a pass
    items = [rp.Item(question="x" * n, answer="5", id=f"n{n}") for n in (3, 5, 8)]
    check(model, "L0H0,L1,L2H3,L0H1+L2H2", items=items, limit=12)
    assert max(map(len, batches)) > 1


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
@pytest.mark.parametrize("pools", [False, True])
def test_looking_at_the_tokens_now_and_then_changes_no_answer(
    family: str, pools: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the host reads the tokens every few steps; tokens after a row's end are cut."""
    model = build(family)
    undisturbed = rp.sweep(model, Letters(), ITEMS, max_new_tokens=11, stop=("t",))
    initialise = path.ForwardDriver.__init__

    def with_stride(self: Any, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.stride = 4

    monkeypatch.setattr(path.ForwardDriver, "__init__", with_stride)
    if not pools:
        monkeypatch.setattr(path, "CPU_BYTES", 0)
    for one, other in zip(rp.sweep(model, Letters(), ITEMS, max_new_tokens=11, stop=("t",)), undisturbed, strict=True):
        assert (one.item, one.target, one.response) == (other.item, other.target, other.response)
