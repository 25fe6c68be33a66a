"""A second run computes only what is missing, and nothing stale is ever returned."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from planted import CARRIER, planted

from reasoning_probe import Item, cache, resume, weights
from reasoning_probe.cache import FILE, Answer, OutcomeCache
from reasoning_probe.engine.run import Engine, Work
from reasoning_probe.heads import find_heads
from reasoning_probe.outcome import Outcome
from reasoning_probe.prompts import Generation, Query, query
from reasoning_probe.targets import parse_targets

SKY = Item(question="What colour is the sky?", answer="blue", id="sky")
GRASS = Item(question="What colour is the grass?", answer="green", id="grass")


class Asked:
    """A model, what is asked of it, and how; each test changes one thing."""

    def __init__(self) -> None:
        self.model, self.tokenizer = planted()
        self.items = [SKY, GRASS]
        self.targets = f"{CARRIER},L0"
        self.ablation = "zero"
        self.generation = Generation(8)
        self.references: list[str] | None = None
        self.fresh = False

    def queries(self) -> list[Query]:
        return [query("colours", item, self.generation) for item in self.items]

    def run(self, folder: Path) -> tuple[list[Outcome], int, list[str]]:
        """Return the outcomes, how many of them were computed, and the notes of the store."""
        head_map = find_heads(self.model)
        references = self.references or [asked.prompt for asked in self.queries()]
        engine = Engine(self.model, self.tokenizer, head_map, {"colours": references})
        computed = 0

        def counted(plan: Any) -> Any:
            nonlocal computed
            for batch in Engine.run(engine, plan):
                computed += len(batch)
                yield batch

        engine.run = counted  # type: ignore[method-assign]
        context = resume.context_of(self.model, self.tokenizer, weights.fingerprint(self.model))
        assert context is not None
        store = OutcomeCache(folder, fresh=self.fresh)
        off = tuple((target, self.ablation) for target in parse_targets(self.targets, head_map))
        outcomes = [
            outcome
            for batch in resume.Resumer(engine, store, context).run([Work(asked, off) for asked in self.queries()])
            for outcome in batch
        ]
        store.close()
        return outcomes, computed, store.notes


@pytest.fixture
def asked() -> Asked:
    return Asked()


def by_case(outcomes: list[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: (outcome.item, outcome.target))


def test_a_second_run_computes_nothing_and_says_the_same(asked: Asked, tmp_path: Path) -> None:
    first, computed, notes = asked.run(tmp_path)
    assert (len(first), computed, notes) == (6, 6, [])
    again, computed, notes = Asked().run(tmp_path)
    assert (computed, notes) == (0, [])
    assert by_case(again) == by_case(first)


def test_only_what_is_missing_is_computed(asked: Asked, tmp_path: Path) -> None:
    """The baseline is needed to sweep the new target, but it is not an outcome twice."""
    first, _, _ = asked.run(tmp_path)
    asked.targets += ",L1H3"
    more, computed, _ = asked.run(tmp_path)
    assert computed == 2 * (1 + 1)
    assert len(more) == len({(outcome.item, outcome.target) for outcome in more}) == 8
    assert [outcome for outcome in by_case(more) if outcome.target != "L1H3"] == by_case(first)


def test_heads_count_and_not_how_they_are_written(asked: Asked, tmp_path: Path) -> None:
    asked.run(tmp_path)
    asked.targets = "L0H0+L0H1+L0H2+L0H3"
    assert asked.run(tmp_path)[1] == 0


def test_the_name_and_the_ids_do_not_count(asked: Asked, tmp_path: Path) -> None:
    asked.run(tmp_path)
    asked.model.config.name_or_path = "elsewhere"
    asked.items = [Item(question=item.question, answer=item.answer, id=f"q-{item.id}") for item in asked.items]
    outcomes, computed, _ = asked.run(tmp_path)
    assert computed == 0
    assert {outcome.item for outcome in outcomes} == {"q-sky", "q-grass"}


def one_weight(asked: Asked) -> None:
    with torch.no_grad():
        asked.model.transformer.h[0].mlp.c_fc.weight[0, 0] += 1e-7


def other_dtype(asked: Asked) -> None:
    asked.model = asked.model.to(torch.float64)


def other_attention(asked: Asked) -> None:
    asked.model.set_attn_implementation("eager")


def other_config(asked: Asked) -> None:
    asked.model.config.layer_norm_epsilon *= 2


def other_tokenizer(asked: Asked) -> None:
    asked.tokenizer.add_tokens(["colour sky"])


def other_end(asked: Asked) -> None:
    asked.model.generation_config.eos_token_id = 3


def one_character(asked: Asked) -> None:
    asked.items = [Item(question=item.question + " ", answer=item.answer, id=item.id) for item in asked.items]


def other_expected_answer(asked: Asked) -> None:
    asked.items = [Item(question=item.question, answer="white", id=item.id) for item in asked.items]


def other_limit(asked: Asked) -> None:
    asked.generation = Generation(9)


def other_stop(asked: Asked) -> None:
    asked.generation = Generation(8, ("Question:", "green"))


CHANGES = [
    *(one_weight, other_dtype, other_attention, other_config, other_tokenizer, other_end),
    *(one_character, other_expected_answer, other_limit, other_stop),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_determines_an_outcome_makes_it_new(
    asked: Asked, tmp_path: Path, change: Callable[[Asked], None]
) -> None:
    asked.run(tmp_path)
    change(asked)
    outcomes, computed, _ = asked.run(tmp_path)
    assert computed == len(outcomes) == 6
    assert asked.run(tmp_path)[1] == 0  # and both are kept
    assert Asked().run(tmp_path)[1] == 0


def test_another_ablation_is_computed_and_shares_the_baseline(asked: Asked, tmp_path: Path) -> None:
    asked.run(tmp_path)
    asked.ablation = "mean"
    outcomes, computed, _ = asked.run(tmp_path)
    assert (len(outcomes), computed) == (6, 6)  # 2 baselines are answered again to sweep from, and not kept twice
    assert len(asked.run(tmp_path)[0]) == 6
    assert rows(tmp_path) == 2 + 4 + 4


def test_another_reference_set_makes_a_mean_new(asked: Asked, tmp_path: Path) -> None:
    asked.ablation = "mean"
    asked.run(tmp_path)
    asked.references = ["Question: What is 5 + 3?\nAnswer:"]
    assert asked.run(tmp_path)[1] == 6
    assert asked.run(tmp_path)[1] == 0


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "reasoning-probe"])
def test_another_version_of_a_library_makes_it_new(
    asked: Asked, tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    asked.run(tmp_path)
    known = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == library else known(name))
    assert asked.run(tmp_path)[1] == 6


def test_another_engine_makes_it_new(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.run(tmp_path)
    monkeypatch.setattr(resume, "ENGINE_VERSION", resume.ENGINE_VERSION + 1)
    assert asked.run(tmp_path)[1] == 6


def test_judgements_are_made_anew(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_probe import judged
    from reasoning_probe.judging.errors import Judgement

    asked.run(tmp_path)
    monkeypatch.setattr(judged, "judge", lambda *_: Judgement(None, False, "incomplete", "empty", "a new rule"))
    outcomes, computed, _ = asked.run(tmp_path)
    assert computed == 0
    assert {outcome.reason for outcome in outcomes} == {"a new rule"}


def test_code_put_into_a_model_cannot_be_told_from_outside(asked: Asked) -> None:
    mark = weights.fingerprint(asked.model)
    hooked = asked.model.transformer.h[0].register_forward_hook(lambda *_: None)
    assert resume.context_of(asked.model, asked.tokenizer, mark) is None
    hooked.remove()
    assert resume.context_of(asked.model, asked.tokenizer, mark) is not None
    asked.model.transformer.h[0].forward = asked.model.transformer.h[1].forward
    assert resume.context_of(asked.model, asked.tokenizer, mark) is None


def test_a_tokenizer_that_shows_nothing_of_itself_cannot_be_told_from_outside(asked: Asked) -> None:
    mark = weights.fingerprint(asked.model)
    assert resume.context_of(asked.model, lambda text: {"input_ids": [1]}, mark) is None
    slow = SimpleNamespace(get_vocab=lambda: {"a": 0, "b": 1}, init_kwargs={"name_or_path": "here", "lower": True})
    known = resume.context_of(asked.model, slow, mark)
    assert known is not None
    slow.init_kwargs["name_or_path"] = "there"
    assert resume.context_of(asked.model, slow, mark) == known
    slow.init_kwargs["lower"] = False
    assert resume.context_of(asked.model, slow, mark) != known


def test_fresh_ignores_what_is_known_and_replaces_it(asked: Asked, tmp_path: Path) -> None:
    asked.run(tmp_path)
    spoil(tmp_path, "UPDATE outcomes SET response = 'stale'")
    asked.fresh = True
    outcomes, computed, _ = asked.run(tmp_path)
    assert computed == 6
    assert "stale" not in {outcome.response for outcome in outcomes}
    asked.fresh = False
    again, computed, _ = asked.run(tmp_path)
    assert computed == 0
    assert by_case(again) == by_case(outcomes)


# -- the file is input like any other -----------------------------------------------------------------------------


def rows(folder: Path) -> int:
    with sqlite3.connect(folder / FILE) as db:
        (count,) = db.execute("SELECT count(*) FROM outcomes").fetchone()
    return int(count)


def spoil(folder: Path, statement: str) -> None:
    db = sqlite3.connect(folder / FILE)
    with db:
        db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    "value",
    ["response = x'ff'", "response = CAST(x'ff' AS TEXT)", "truncated = 2", "truncated = 'yes'", "logprob = 'high'"],
)
def test_a_value_of_another_type_is_computed_again(asked: Asked, tmp_path: Path, value: str) -> None:
    first, _, _ = asked.run(tmp_path)
    spoil(tmp_path, f"UPDATE outcomes SET {value} WHERE rowid = 2")
    outcomes, computed, notes = asked.run(tmp_path)
    assert notes == []
    assert by_case(outcomes) == by_case(first)
    assert computed > 0


def overwritten(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look at" * 50)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6000])


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def foreign(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE outcomes (key TEXT)")
    db.execute("CREATE TRIGGER t AFTER INSERT ON outcomes BEGIN DELETE FROM outcomes; END")
    db.close()


@pytest.mark.parametrize("damage", [overwritten, cut, scribbled, foreign], ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_moved_aside_and_nothing_is_lost(
    asked: Asked, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    first, _, _ = asked.run(tmp_path)
    damage(tmp_path / FILE)
    outcomes, _, notes = asked.run(tmp_path)
    assert by_case(outcomes) == by_case(first)
    assert len(notes) == 1
    assert "moved to outcomes-1.damaged" in notes[0]
    assert asked.run(tmp_path)[1:] == (0, [])


def test_a_damaged_file_that_cannot_be_moved_is_left_alone(asked: Asked, tmp_path: Path) -> None:
    first, _, _ = asked.run(tmp_path)
    cut(tmp_path / FILE)
    (tmp_path / "outcomes-1.damaged").mkdir()
    outcomes, computed, notes = asked.run(tmp_path)
    assert by_case(outcomes) == by_case(first)
    assert computed == 6
    assert len(notes) == 1
    assert "is damaged, the run goes on without" in notes[0]


@pytest.mark.parametrize(("times", "waits"), [(1, 1), (3, 3), (1000, 20)])
def test_a_store_that_is_locked_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, waits: int
) -> None:
    """Two sessions that begin a store at the same moment do not wait for each other by themselves."""
    waited: list[float] = []
    opened = sqlite3.connect

    def locked(*args: Any, **options: Any) -> Any:
        db = opened(*args, **options)
        if len(waited) < times:
            other = opened(args[0], isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            monkeypatch.setattr(cache.time, "sleep", lambda seconds: (waited.append(seconds), other.close()))
            db.execute("PRAGMA busy_timeout = 0")
        return db

    monkeypatch.setattr(cache.sqlite3, "connect", locked)
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    assert len(waited) == waits
    if times < 20:
        store.put({b"a" * 16: Answer("kept", False, None)})
        assert store.get([b"a" * 16]) == {b"a" * 16: Answer("kept", False, None)}
        assert store.notes == []
    else:
        assert ["cannot be used, the run goes on without: database is locked" in note for note in store.notes] == [True]


def test_an_empty_file_is_a_new_store(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    asked.run(tmp_path)
    assert asked.run(tmp_path)[1:] == (0, [])


def folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)


def file_as_its_folder(path: Path) -> None:
    path.parent.write_text("a file")


@pytest.mark.parametrize("hindrance", [folder_in_its_place, file_as_its_folder], ids=lambda given: given.__name__)
def test_without_a_store_the_run_goes_on(asked: Asked, tmp_path: Path, hindrance: Callable[[Path], None]) -> None:
    folder = tmp_path / "cache"
    hindrance(folder / FILE)
    outcomes, computed, notes = asked.run(folder)
    assert len(outcomes) == computed == 6
    assert len(notes) == 1
    assert "cannot be used, the run goes on without" in notes[0]
    assert "\n" not in notes[0]


def test_a_file_that_becomes_full_stops_the_store_and_not_the_run(tmp_path: Path) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    store.put({b"a" * 16: Answer("kept", False, None)})
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 1")  # what SQLite says of a full disk
    store.put({bytes([at]) * 16: Answer("x" * 4000, False, None) for at in range(100)})
    store.put({b"b" * 16: Answer("late", False, None)})
    assert [("full" in note) for note in store.notes] == [True]
    again = OutcomeCache(tmp_path)
    again.attach(b"m" * 16, {})
    assert again.get([b"a" * 16, b"b" * 16, b"\0" * 16]) == {b"a" * 16: Answer("kept", False, None)}


def test_any_text_and_number_comes_back_as_it_was(tmp_path: Path) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    answers = [("", True, None), ("nul \0 end", False, -0.0), ("\u2028\U0001f600", False, float("-inf"))]
    kept = {bytes([at]) * 16: Answer(*answer) for at, answer in enumerate(answers)}
    store.put(kept)
    assert store.get(list(kept)) == kept


def test_more_keys_than_a_query_takes(tmp_path: Path) -> None:
    store = OutcomeCache(tmp_path)
    store.attach(b"m" * 16, {})
    kept = {at.to_bytes(16, "big"): Answer(str(at), False, 0.0) for at in range(1234)}
    store.put(kept)
    assert store.get(list(kept)) == kept


# -- showing and pruning ------------------------------------------------------------------------------------------


def test_the_store_of_a_model_that_nobody_uses_can_be_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for model, day in ((b"old", 1), (b"new", 100)):
        monkeypatch.setattr("time.time", lambda day=day: day * cache.DAY_S)
        store = OutcomeCache(tmp_path)
        store.attach(model, {"architecture": model.decode()})
        store.put({model * 4: Answer("", False, None)})
        store.close()
    monkeypatch.setattr("time.time", lambda: 101 * cache.DAY_S)
    assert [(entry.facts["architecture"], entry.outcomes) for entry in cache.entries(tmp_path)] == [
        ("new", 1),
        ("old", 1),
    ]
    assert cache.prune(tmp_path, unused_days=30) == 1
    assert [entry.facts["architecture"] for entry in cache.entries(tmp_path)] == ["new"]
    assert cache.prune(tmp_path) == 1
    assert cache.entries(tmp_path) == []


def test_the_fingerprint_is_of_the_weights_and_not_of_their_place() -> None:
    model, _ = planted()
    twin = copy.deepcopy(model)
    assert weights.fingerprint(model) == weights.fingerprint(twin)
    with torch.no_grad():
        twin.lm_head.weight[-1, -1] += 1e-7
    assert weights.fingerprint(model) != weights.fingerprint(twin)
