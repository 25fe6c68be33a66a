"""A sweep on several machines: how the driver handles replicas that die, join, raise or differ.

Replicas run in this process and die when the test decides, which a real cluster
(``tests/integration/test_ray_two_nodes.py``) leaves to chance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.analyses.control_task import control_task
from reasoning_probe.analyses.mechanism import DescribedHead, measure_heads
from reasoning_probe.analyses.screening import screen
from reasoning_probe.cluster import cluster_engine
from reasoning_probe.cluster.actor_pool import ClusterError, Event, PooledActor
from reasoning_probe.cluster.chunk_queue import GIVEN_UP_AFTER, ChunkQueue
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.cluster.replica import Replica, ReplicaConfig, context_mismatch, name_on_nodes
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.protocol import SweepRequest
from reasoning_probe.models import weights
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head
from reasoning_probe.results.outcome import Outcome
from tests.helpers.model_families import build
from tests.helpers.planted_model import planted
from tests.helpers.ray_plan import HEAD_MAP, MODEL, REFERENCES, TOKENIZER, WORDS, plan, replica_config, same


@pytest.fixture(scope="module")
def expected() -> list[Outcome]:
    """Return the outcomes of one engine in this process."""
    engine = LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES)
    return [outcome for batch in engine.run(plan()) for outcome in batch]


class InProcess:
    """A pool of ``size`` real replicas in this process; each call ends its replica with probability ``chance``."""

    size, chance, seed = 3, 0.0, 0

    def __init__(self, spec: ClusterSpec, replica_config: ReplicaConfig, in_memory_model: Any = None) -> None:
        self.replica_config, self.in_memory_model = replica_config, in_memory_model
        self.random = random.Random(self.seed)
        self.actors: list[PooledActor] = []
        self.pending: list[tuple[PooledActor, str, Any, Any]] = []
        self.context, self.notes, self.lost, self.started = replica_config.context, [], 0, 0  # type: ignore[var-annotated]
        self.numerics_why = ""

    def scale_up(self) -> None:
        while len(self.actors) < self.size:
            replica = Replica()
            assert replica.load(self.replica_config, self.in_memory_model, self.size).error == ""
            self.started += 1
            self.actors.append(PooledActor(f"node-{self.started}", "here", replica, "idle"))

    def idle(self) -> list[PooledActor]:
        return [actor for actor in self.actors if actor.stage == "idle"]

    def submit(self, actor: PooledActor, method: str, task: Any, argument: Any) -> None:
        actor.stage = "busy"
        self.pending.append((actor, method, task, argument))

    def events(self) -> Iterator[Event]:
        if not self.pending:
            return
        actor, method, task, argument = self.pending.pop(self.random.randrange(len(self.pending)))
        if self.dies(task):
            self.actors.remove(actor)
            self.lost += 1
            yield Event(actor, task, None)
            return
        result = getattr(actor.handle, method)(argument)
        actor.stage = "idle"
        yield Event(actor, task, result)

    def dies(self, task: Any) -> bool:
        return self.random.random() < self.chance

    def close(self) -> None:
        self.actors.clear()


def cluster(
    monkeypatch: pytest.MonkeyPatch, pool: type[InProcess] = InProcess, **values: Any
) -> cluster_engine.ClusterEngine:
    rows = values.pop("chunk_rows", None)
    monkeypatch.setattr(cluster_engine, "ActorPool", type("Pool", (pool,), values))
    return cluster_engine.ClusterEngine(ClusterSpec(), replica_config(), (MODEL, TOKENIZER), chunk_rows=rows)


def collect(shared: cluster_engine.ClusterEngine, outcomes: list[Outcome]) -> None:
    """Add the outcomes that *shared* yields before it raises to *outcomes*."""
    for batch in shared.run(plan()):
        outcomes += batch


@pytest.mark.parametrize("rows", [2, 20, 1000, None])
def test_outcomes_are_those_of_one_engine_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], rows: int | None
) -> None:
    shared = cluster(monkeypatch, chunk_rows=rows)
    batches = list(shared.run(plan()))
    assert same([outcome for batch in batches for outcome in batch], expected)
    assert all(len({outcome.item for outcome in batch}) <= 1 for batch in batches)  # one transaction of the store
    assert shared.skipped == [{"dataset": "colours", "item": "too-long", "reason": shared.skipped[0]["reason"]}]
    assert shared.facts()["rows"] == len(WORDS) * 2 * len(HEAD_MAP)
    assert shared.facts()["verified"] + shared.facts()["decoded"] == shared.facts()["rows"]


@pytest.mark.parametrize("seed", range(4))
def test_replicas_that_die_lose_nothing(monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], seed: int) -> None:
    shared = cluster(monkeypatch, chance=0.25, seed=seed, chunk_rows=(6, 11, 18, 25)[seed])
    outcomes = [outcome for batch in shared.run(plan()) for outcome in batch]
    assert same(outcomes, expected)
    assert shared.facts()["lost"] > 0


def test_each_baseline_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_probe.engine.plain_path import PlainPath

    calls: list[int] = []
    baseline = PlainPath.baseline
    monkeypatch.setattr(
        PlainPath, "baseline", lambda self, encoded, stop: calls.append(1) or baseline(self, encoded, stop)
    )
    shared = cluster(monkeypatch, chunk_rows=3)
    list(shared.run(plan()))
    self_checks = 2 * len(shared._hosts)  # each replica checks its fast path with two prompts
    assert len(calls) == len(WORDS) + self_checks


class _Raising:
    """An engine method that raises at one item."""

    def __init__(self, word: str) -> None:
        self.word, self.make_jobs = word, LocalEngine._jobs

    def __call__(self, engine: LocalEngine, request: SweepRequest, *encoded: Any) -> Any:
        if request.query.item_id == self.word:
            raise RuntimeError("the model raised")
        return self.make_jobs(engine, request, *encoded)


@pytest.mark.parametrize("rows", [4, 1000])
def test_an_item_at_which_the_model_raises_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], rows: int
) -> None:
    raising = _Raising("snow")
    monkeypatch.setattr(LocalEngine, "_jobs", lambda engine, request, *encoded: raising(engine, request, *encoded))
    shared = cluster(monkeypatch, chunk_rows=rows)
    outcomes: list[Outcome] = []
    message = r"RuntimeError: the model raised \(item snow of colours, on the node here"
    with pytest.raises(cluster_engine.ItemError, match=message) as error:
        collect(shared, outcomes)
    assert "in __call__" in str(error.value.__cause__)  # the remote traceback
    assert same(outcomes, [outcome for outcome in expected if outcome.item != "snow"])


class Poisoned(InProcess):
    """Every replica that answers one item dies, as when memory runs out."""

    def dies(self, task: Any) -> bool:
        return any(request.query.item_id == "snow" for request in getattr(task, "requests", ()))


def test_an_item_that_ends_every_process_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, Poisoned, chunk_rows=40)
    outcomes: list[Outcome] = []
    with pytest.raises(cluster_engine.ItemError, match=r"every process that answered item snow of colours ended"):
        collect(shared, outcomes)
    assert same(outcomes, [outcome for outcome in expected if outcome.item != "snow"])
    assert shared.facts()["lost"] == GIVEN_UP_AFTER


def test_a_caller_that_goes_away_spoils_nothing_for_the_next(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, chunk_rows=5)
    for number, _ in enumerate(shared.run(plan())):
        if number == 4:
            break
    assert same([outcome for batch in shared.run(plan()) for outcome in batch], expected)


@pytest.mark.parametrize("chance", [0.0, 0.2])
def test_the_control_task_is_that_of_one_engine(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    variants = [(target, name) for name in ("zero", "mean") for target in every_head(HEAD_MAP)]
    alone = control_task(LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), variants)
    shared = control_task(cluster(monkeypatch, chance=chance, seed=3), variants)
    assert alone is not None
    assert shared is not None
    for ours, theirs in zip(shared.pop("targets"), alone.pop("targets"), strict=True):
        assert (ours.pop("target"), ours.pop("ablation")) == (theirs.pop("target"), theirs.pop("ablation"))
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert shared == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("chance", [0.0, 0.4])
def test_the_screening_is_that_of_one_engine(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    queries = [request.query for request in plan()]
    alone = screen(LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), queries, ("zero", "mean"), 2, 0)
    shared = screen(cluster(monkeypatch, chance=chance, seed=1), queries, ("zero", "mean"), 2, 0)
    assert [(heads.ranked, heads.sampled) for heads in shared] == [(heads.ranked, heads.sampled) for heads in alone]
    for ours, theirs in zip(shared, alone, strict=True):
        assert ours.scores == pytest.approx(dict(theirs.scores), abs=1e-5)


def test_what_heads_do_is_measured_by_one_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = tuple(request.query for request in plan() if request.query.item_id != "too-long")
    heads = [DescribedHead(target, queries[0].dataset, "mean", queries[:2]) for target in every_head(HEAD_MAP)[-2:]]
    engines = LocalEngine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), cluster(monkeypatch)
    alone, shared = (measure_heads(engine, heads, {queries[0].dataset: queries[:4]}, 0) for engine in engines)
    assert [card.record() for card in shared] == [card.record() for card in alone]
    assert [card.target for card in alone] == [head.target.name for head in heads]
    assert all(card.scores and card.labels is not None for card in alone)


def test_baselines_of_an_earlier_plan_are_not_answered_again(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    from reasoning_probe.engine.plain_path import PlainPath

    shared = cluster(monkeypatch, size=1)
    first = [SweepRequest(request.query, request.ablated[:3]) for request in plan()]
    list(shared.run(first))
    monkeypatch.setattr(PlainPath, "baseline", lambda *_: pytest.fail("the baseline is known"))
    again = [outcome for batch in shared.run(plan()) for outcome in batch]
    assert same(again, expected)
    only = [SweepRequest(request.query) for request in plan()]
    assert len([outcome for batch in shared.run(only) for outcome in batch]) == len(WORDS)


class Doomed(InProcess):
    """Every replica that gets a task other than a chunk dies."""

    def dies(self, task: Any) -> bool:
        return not hasattr(task, "requests")


def test_a_control_task_that_ends_every_process_is_left_out(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, Doomed)
    assert control_task(shared, [(target, "zero") for target in every_head(HEAD_MAP)]) is None
    assert shared.facts()["lost"] >= GIVEN_UP_AFTER
    assert same([outcome for batch in shared.run(plan()) for outcome in batch], expected)


def test_a_screening_that_ends_every_process_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [request.query for request in plan()]
    with pytest.raises(ClusterError, match=r"every process that screened the heads ended: .* run without --probe-scr"):
        screen(cluster(monkeypatch, Doomed), queries, ("zero",), 2, 0)


def test_a_model_that_cannot_be_screened_is_told_as_by_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no gradient of this kernel")

    monkeypatch.setattr("torch.autograd.grad", fails)
    queries = [request.query for request in plan()]
    error = "its heads cannot be screened, since taking gradients failed .*no gradient of this kernel.*: run it without"
    with pytest.raises(HeadError, match=error):
        screen(cluster(monkeypatch), queries, ("zero",), 2, 0)


def test_no_control_without_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert control_task(cluster(monkeypatch), []) is None


def test_chunks_grow_with_the_speed_and_shrink_towards_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = cluster(monkeypatch, size=2)
    actor = shared.actor_pool.actors[0]
    assert shared._rows_for(actor, 10_000) == cluster_engine.FIRST_ROWS
    actor.rate = 100.0
    assert shared._rows_for(actor, 10_000) == 100 * cluster_engine.CHUNK_S
    assert shared._rows_for(actor, 800) == 200
    assert shared._rows_for(actor, 4) == 25  # never so few that sending them costs more
    actor.rate = 0.01
    assert shared._rows_for(actor, 10_000) == cluster_engine.LEAST_ROWS["cpu"]


def test_no_work_is_left_and_none_is_handed_out_twice() -> None:
    requests = plan(ablations=("zero",))[:3]
    chunks = ChunkQueue(requests)
    assert chunks.remaining_rows == 3 * (1 + len(HEAD_MAP))
    taken = []
    while (chunk := chunks.take(4)) is not None:
        taken.append(chunk)
    assert [len(chunk.requests) for chunk in taken] == [1, 1, 1]  # the rest waits for the baselines
    assert chunks
    assert chunks.remaining_rows == sum(len(HEAD_MAP) - 3 for _ in requests)


# -- replicas that differ ---------------------------------------------------------------------------------------------


def test_a_replica_with_other_weights_is_refused() -> None:
    import torch

    model, tokenizer = planted()
    with torch.no_grad():
        model.lm_head.weight[-1, -1] += 1e-3
    status = Replica().load(replica_config(), (model, tokenizer), 1)
    assert status.error == "the model has other weights than here: give every node the same files"


@pytest.mark.parametrize("library", ["torch", "transformers", "reasoning-probe", "engine"])
def test_a_replica_with_another_version_is_refused(library: str) -> None:
    ours = replica_config().context
    status = Replica().load(replica_config(context=ours | {library: "0.1"}), (MODEL, TOKENIZER), 1)
    assert status.error == f"{library} is {ours[library]} and 0.1 here: install the same version on every node"


def test_builds_of_one_version_are_the_same() -> None:
    ours = replica_config().context
    assert context_mismatch(ours | {"torch": "2.13.0+cpu"}, ours | {"torch": "2.13.0+cu126", "device": "cuda"}) == ""


def test_a_node_without_the_model_says_so(tmp_path: Path) -> None:
    status = Replica().load(replica_config(model=str(tmp_path / "gone")), None, 1)
    assert status.error.startswith(f"there is no model at {tmp_path / 'gone'}")


def test_a_node_whose_model_has_other_heads_says_so() -> None:
    other = find_heads(build("gpt2"))
    assert Replica().load(replica_config(head_map=other), (MODEL, TOKENIZER), 1).error == "its model has other heads"


def test_whatever_a_node_lacks_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: Any) -> Any:
        raise OSError("no space\nleft on device")

    config = replica_config()
    monkeypatch.setattr(weights, "fingerprint", lacks)
    status = Replica().load(config, (MODEL, TOKENIZER), 1)
    assert status.error == "OSError: no space left on device"


def test_a_path_is_sent_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path)
    names = ("mine", "./mine", "smollm2", "gpt2", "org/model@v1")
    assert [name_on_nodes(name) for name in names] == [str(tmp_path / "mine")] * 2 + ["smollm2", "gpt2", "org/model@v1"]
