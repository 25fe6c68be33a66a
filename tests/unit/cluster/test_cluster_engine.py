"""A sweep on several machines: what the driver does with replicas that die, join, raise or differ.

What chance would have to bring about on a real cluster (``tests/integration/test_ray_two_nodes.py``) is tried on
replicas in this process, which die as the test says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.analyses.control_task import control_task
from reasoning_probe.analyses.screening import screen
from reasoning_probe.cluster import cluster_engine as sweeps
from reasoning_probe.cluster.actor_pool import ClusterError, Event, PooledActor
from reasoning_probe.cluster.chunk_queue import GIVEN_UP_AFTER, ChunkQueue
from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.cluster.replica import Replica, ReplicaConfig, difference, name_on_nodes
from reasoning_probe.engine.engine import Engine, SweepRequest
from reasoning_probe.models import weights
from reasoning_probe.models.head_map import HeadError
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import every_head
from reasoning_probe.results.outcome import Outcome
from tests.helpers.model_families import build
from tests.helpers.planted_model import planted
from tests.helpers.ray_plan import HEAD_MAP, MODEL, REFERENCES, TOKENIZER, WORDS, order, plan, same


@pytest.fixture(scope="module")
def expected() -> list[Outcome]:
    """What one engine in this process finds."""
    engine = Engine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES)
    return [outcome for batch in engine.run(plan()) for outcome in batch]


class InProcess:
    """A fleet of real replicas in this process, ``size`` of them; each call has the *chance* to end its replica."""

    size, chance, seed = 3, 0.0, 0

    def __init__(self, spec: ClusterSpec, given_order: ReplicaConfig, given: Any = None) -> None:
        self.order, self.given = given_order, given
        self.random = random.Random(self.seed)
        self.members: list[PooledActor] = []
        self.pending: list[tuple[PooledActor, str, Any, Any]] = []
        self.context, self.notes, self.lost, self.started = given_order.context, [], 0, 0  # type: ignore[var-annotated]

    def scale_up(self) -> None:
        while len(self.members) < self.size:
            replica = Replica()
            assert replica.load(self.order, self.given, self.size).error == ""
            self.started += 1
            self.members.append(PooledActor(f"node-{self.started}", "here", replica, "idle"))

    def idle(self) -> list[PooledActor]:
        return [member for member in self.members if member.stage == "idle"]

    def ask(self, member: PooledActor, method: str, task: Any, argument: Any) -> None:
        member.stage = "busy"
        self.pending.append((member, method, task, argument))

    def events(self) -> Iterator[Event]:
        if not self.pending:
            return
        member, method, task, argument = self.pending.pop(self.random.randrange(len(self.pending)))
        if self.dies(task):
            self.members.remove(member)
            self.lost += 1
            yield Event(member, task, None)
            return
        result = getattr(member.actor, method)(argument)
        member.stage = "idle"
        yield Event(member, task, result)

    def dies(self, task: Any) -> bool:
        return self.random.random() < self.chance

    def close(self) -> None:
        self.members.clear()


def cluster(monkeypatch: pytest.MonkeyPatch, fleet: type[InProcess] = InProcess, **values: Any) -> sweeps.ClusterEngine:
    rows = values.pop("chunk_rows", None)
    monkeypatch.setattr(sweeps, "ActorPool", type("Fleet", (fleet,), values))
    return sweeps.ClusterEngine(ClusterSpec(), order(), (MODEL, TOKENIZER), chunk_rows=rows)


def collect(shared: sweeps.ClusterEngine, found: list[Outcome]) -> None:
    """Add what *shared* finds before it raises."""
    for batch in shared.run(plan()):
        found += batch


@pytest.mark.parametrize("rows", [2, 20, 1000, None])
def test_outcomes_are_those_of_one_engine_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], rows: int | None
) -> None:
    shared = cluster(monkeypatch, chunk_rows=rows)
    found = list(shared.run(plan()))
    assert same([outcome for batch in found for outcome in batch], expected)
    assert all(len({outcome.item for outcome in batch}) <= 1 for batch in found)  # what a store's transaction holds
    assert shared.skipped == [{"dataset": "colours", "item": "too-long", "reason": shared.skipped[0]["reason"]}]
    assert shared.facts()["rows"] == len(WORDS) * 2 * len(HEAD_MAP)
    assert shared.facts()["verified"] + shared.facts()["decoded"] == shared.facts()["rows"]


@pytest.mark.parametrize("seed", range(4))
def test_replicas_that_die_lose_nothing(monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], seed: int) -> None:
    shared = cluster(monkeypatch, chance=0.25, seed=seed, chunk_rows=(6, 11, 18, 25)[seed])
    found = [outcome for batch in shared.run(plan()) for outcome in batch]
    assert same(found, expected)
    assert shared.facts()["lost"] > 0


def test_each_baseline_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_probe.engine.plain_path import PlainPath

    asked: list[int] = []
    baseline = PlainPath.baseline
    monkeypatch.setattr(
        PlainPath, "baseline", lambda self, encoded, stop: asked.append(1) or baseline(self, encoded, stop)
    )
    shared = cluster(monkeypatch, chunk_rows=3)
    list(shared.run(plan()))
    self_checks = 2 * len(shared._hosts)  # each replica's proof of its fast path asks two questions of its own
    assert len(asked) == len(WORDS) + self_checks


class _Raising:
    """The model raises at one item."""

    def __init__(self, word: str) -> None:
        self.word, self.encode = word, Engine._jobs

    def __call__(self, engine: Engine, work: SweepRequest, encoded: Any) -> Any:
        if work.query.item_id == self.word:
            raise RuntimeError("the model raised")
        return self.encode(engine, work, encoded)


@pytest.mark.parametrize("rows", [4, 1000])
def test_an_item_at_which_the_model_raises_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome], rows: int
) -> None:
    raising = _Raising("snow")
    monkeypatch.setattr(Engine, "_jobs", lambda engine, work, encoded: raising(engine, work, encoded))
    shared = cluster(monkeypatch, chunk_rows=rows)
    found: list[Outcome] = []
    said = r"RuntimeError: the model raised \(item snow of colours, on the node here"
    with pytest.raises(sweeps.ItemError, match=said) as error:
        collect(shared, found)
    assert "in __call__" in str(error.value.__cause__)  # where it raised, there
    assert same(found, [outcome for outcome in expected if outcome.item != "snow"])


class Poisoned(InProcess):
    """Whoever answers one item dies, as when memory runs out."""

    def dies(self, task: Any) -> bool:
        return any(work.query.item_id == "snow" for work in getattr(task, "works", ()))


def test_an_item_that_ends_every_process_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, Poisoned, chunk_rows=40)
    found: list[Outcome] = []
    with pytest.raises(sweeps.ItemError, match=r"every process that answered item snow of colours ended"):
        collect(shared, found)
    assert same(found, [outcome for outcome in expected if outcome.item != "snow"])
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
    alone = control_task(Engine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), variants)
    shared = control_task(cluster(monkeypatch, chance=chance, seed=3), variants)
    assert alone is not None
    assert shared is not None
    for ours, theirs in zip(shared.pop("targets"), alone.pop("targets"), strict=True):
        assert (ours.pop("target"), ours.pop("ablation")) == (theirs.pop("target"), theirs.pop("ablation"))
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert shared == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("chance", [0.0, 0.4])
def test_the_screening_is_that_of_one_engine(monkeypatch: pytest.MonkeyPatch, chance: float) -> None:
    queries = [work.query for work in plan()]
    alone = screen(Engine(MODEL, TOKENIZER, HEAD_MAP, REFERENCES), queries, ("zero", "mean"), 2, 0)
    shared = screen(cluster(monkeypatch, chance=chance, seed=1), queries, ("zero", "mean"), 2, 0)
    assert [(made.ranked, made.sampled) for made in shared] == [(made.ranked, made.sampled) for made in alone]
    for ours, theirs in zip(shared, alone, strict=True):
        assert ours.scores == pytest.approx(dict(theirs.scores), abs=1e-5)


def test_baselines_of_an_earlier_plan_are_not_answered_again(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    from reasoning_probe.engine.plain_path import PlainPath

    shared = cluster(monkeypatch, size=1)
    first = [SweepRequest(work.query, work.ablated[:3]) for work in plan()]
    list(shared.run(first))
    monkeypatch.setattr(PlainPath, "baseline", lambda *_: pytest.fail("the baseline is known"))
    again = [outcome for batch in shared.run(plan()) for outcome in batch]
    assert same(again, expected)
    only = [SweepRequest(work.query) for work in plan()]
    assert len([outcome for batch in shared.run(only) for outcome in batch]) == len(WORDS)


class Doomed(InProcess):
    """Whoever is asked for anything beside outcomes dies."""

    def dies(self, task: Any) -> bool:
        return not hasattr(task, "works")


def test_a_control_task_that_ends_every_process_is_left_out(
    monkeypatch: pytest.MonkeyPatch, expected: list[Outcome]
) -> None:
    shared = cluster(monkeypatch, Doomed)
    assert control_task(shared, [(target, "zero") for target in every_head(HEAD_MAP)]) is None
    assert shared.facts()["lost"] >= GIVEN_UP_AFTER
    assert same([outcome for batch in shared.run(plan()) for outcome in batch], expected)


def test_a_screening_that_ends_every_process_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [work.query for work in plan()]
    with pytest.raises(ClusterError, match=r"every process that screened the heads ended: .* run without --probe-scr"):
        screen(cluster(monkeypatch, Doomed), queries, ("zero",), 2, 0)


def test_a_model_that_cannot_be_screened_is_told_as_by_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no gradient of this kernel")

    monkeypatch.setattr("torch.autograd.grad", fails)
    queries = [work.query for work in plan()]
    said = "its heads cannot be screened, since taking gradients failed .*no gradient of this kernel.*: run it without"
    with pytest.raises(HeadError, match=said):
        screen(cluster(monkeypatch), queries, ("zero",), 2, 0)


def test_no_control_without_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert control_task(cluster(monkeypatch), []) is None


def test_chunks_grow_with_the_speed_and_shrink_towards_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = cluster(monkeypatch, size=2)
    member = shared.fleet.members[0]
    assert shared._rows_for(member, 10_000) == sweeps.FIRST_ROWS
    member.rate = 100.0
    assert shared._rows_for(member, 10_000) == 100 * sweeps.CHUNK_S
    assert shared._rows_for(member, 800) == 200
    assert shared._rows_for(member, 4) == 25  # never so little that sending it costs more
    member.rate = 0.01
    assert shared._rows_for(member, 10_000) == sweeps.LEAST_ROWS["cpu"]


def test_no_work_is_left_and_none_is_handed_out_twice() -> None:
    work = plan(ablations=("zero",))[:3]
    chunks = ChunkQueue(work)
    assert chunks.left == 3 * (1 + len(HEAD_MAP))
    taken = []
    while (chunk := chunks.take(4)) is not None:
        taken.append(chunk)
    assert [len(chunk.works) for chunk in taken] == [1, 1, 1]  # the rest waits for the baselines
    assert chunks
    assert chunks.left == sum(len(HEAD_MAP) - 3 for _ in work)


# -- replicas that are otherwise --------------------------------------------------------------------------------------


def test_a_replica_with_other_weights_is_refused() -> None:
    import torch

    model, tokenizer = planted()
    with torch.no_grad():
        model.lm_head.weight[-1, -1] += 1e-3
    ready = Replica().load(order(), (model, tokenizer), 1)
    assert ready.error == "the model has other weights than here: give every node the same files"


@pytest.mark.parametrize("library", ["torch", "transformers", "reasoning-probe", "engine"])
def test_a_replica_with_another_version_is_refused(library: str) -> None:
    ours = order().context
    ready = Replica().load(order(context=ours | {library: "0.1"}), (MODEL, TOKENIZER), 1)
    assert ready.error == f"{library} is {ours[library]} and 0.1 here: install the same version on every node"


def test_builds_of_one_version_are_the_same() -> None:
    ours = order().context
    assert difference(ours | {"torch": "2.13.0+cpu"}, ours | {"torch": "2.13.0+cu126", "device": "cuda"}) == ""


def test_a_node_without_the_model_says_so(tmp_path: Path) -> None:
    ready = Replica().load(order(model=str(tmp_path / "gone")), None, 1)
    assert ready.error.startswith(f"there is no model at {tmp_path / 'gone'}")


def test_a_node_whose_model_has_other_heads_says_so() -> None:
    other = find_heads(build("gpt2"))
    assert Replica().load(order(head_map=other), (MODEL, TOKENIZER), 1).error == "its model has other heads"


def test_whatever_a_node_lacks_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: Any) -> Any:
        raise OSError("no space\nleft on device")

    given = order()
    monkeypatch.setattr(weights, "fingerprint", lacks)
    ready = Replica().load(given, (MODEL, TOKENIZER), 1)
    assert ready.error == "OSError: no space left on device"


def test_a_path_is_sent_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "smollm2").mkdir()
    monkeypatch.chdir(tmp_path)
    names = ("mine", "./mine", "smollm2", "gpt2", "org/model@v1")
    assert [name_on_nodes(name) for name in names] == [str(tmp_path / "mine")] * 2 + ["smollm2", "gpt2", "org/model@v1"]
