"""What is measured of heads on cards, on a circuit whose weights are set by hand: where they look, what they write."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.data.items import Item
from reasoning_probe.models.heads import find_heads
from reasoning_probe.results.cards.card import Direct, Example, HeadCard, card_of
from reasoning_probe.results.cards.measured import merged_measured
from reasoning_probe.results.cards.sentence import read_part
from reasoning_probe.results.record import HeadRecord
from reasoning_probe.session.api import Sweep
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import ITEMS
from tests.helpers.known_circuits import COPIERS, DECIDER, circuit, sums
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edited, greedy


@pytest.fixture(scope="module")
def model() -> Any:
    return circuit()


@pytest.fixture(scope="module")
def sweep(model: Any) -> Sweep:
    return rp.sweep(*model, sums(40))


def cards_of(sweep: Sweep) -> list[HeadCard]:
    return [card_of(record) for record in sweep.run.summary["heads"] or ()]


def test_heads_of_the_circuit_have_the_labels_of_their_roles(sweep: Sweep) -> None:
    labels = {card.target: card.labels for card in cards_of(sweep)}
    assert labels == {DECIDER: ("deciding",)} | dict.fromkeys(COPIERS, ("retrieval",))


def test_examples_are_the_first_tokens_that_differ_with_edited_weights(model: Any, sweep: Sweep) -> None:
    network, tokenizer = model
    items = {item.id: item for item in sums(40)}
    count = 0
    for card in cards_of(sweep):
        layer, head = int(card.target[1]), int(card.target[3])
        path = find_heads(network).attention_layer(layer).path
        assert len(card.examples or ()) == 3
        for example in card.examples or ():
            ids = tokenizer(f"Question: {items[example.item].question}\nAnswer:")["input_ids"]
            without = greedy(edited(network, path, 4, [head]), ids, 4, eos=0)
            answers = zip(greedy(network, ids, 4, eos=0), without, strict=False)
            place, (on, off) = next((place, pair) for place, pair in enumerate(answers) if pair[0] != pair[1])
            assert example.position == len(ids) - 1 + place
            assert (example.token_on, example.token_off) == (tokenizer.decode([on]), tokenizer.decode([off]))
            assert len(example.tokens) == len(example.attention) == example.position + 1
            count += 1
    assert count == 9


def test_attention_is_that_of_eager_attention_and_lies_on_the_operand(model: Any, sweep: Sweep) -> None:
    network, tokenizer = model
    questions = {item.id: item.question for item in sums(40)}
    eager = copy.deepcopy(network)
    eager.set_attn_implementation("eager")
    for name, part in zip(COPIERS, ("operand_1", "operand_2"), strict=True):
        card = sweep.head(name)
        assert read_part(card) == (part, pytest.approx(1, abs=1e-5))
        assert f"reads {part.replace('_', ' ')} (100 % of its attention)" in card.sentence
        example = (card.examples or ())[0]
        prompt = f"Question: {questions[example.item]}\nAnswer:"
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            attentions = eager(ids, output_attentions=True).attentions
        assert example.attention == pytest.approx(attentions[0][0, int(name[3]), example.position].tolist(), abs=1e-5)
        square = (100 * attentions[0][0, int(name[3]), : example.position + 1]).round().int().tolist()
        lower = tuple(tuple(row[: number + 1]) for number, row in enumerate(square))
        assert example.pattern == (lower if example is card.examples[0] else ())
        assert "".join(example.tokens) == prompt


def test_the_head_that_adds_has_the_largest_direct_effect(sweep: Sweep) -> None:
    decider = sweep.head(DECIDER)
    assert decider.direct is not None
    assert decider.direct.rank == 1
    assert decider.direct.mean == pytest.approx(sum(one.direct or 0 for one in decider.examples or ()) / 3)
    for name in COPIERS:  # they write to the decider, and not to the logits
        assert [one.direct for one in sweep.head(name).examples or ()] == pytest.approx([0] * 3, abs=1e-6)
    assert (sweep.run.summary["timing"]["describe_s"] or 0) > 0


def test_where_nothing_is_significant_nothing_is_measured(model: Any) -> None:
    run = rp.sweep(*model, sums(3), targets="L0").run
    assert run.summary["timing"]["describe_s"] == 0
    assert run.summary["heads"] == []


def test_known_answers_make_the_same_cards(model: Any, sweep: Sweep, tmp_path: Path) -> None:
    first, second = (rp.sweep(*model, sums(40), cache=tmp_path) for _ in range(2))
    assert second.run.summary["engine"]["recalled"] == len(second)
    assert first.run.summary["heads"] == second.run.summary["heads"] == sweep.run.summary["heads"]


def test_cards_do_not_depend_on_the_order_of_the_tests(model: Any) -> None:
    def cards_in_order(*, backwards: bool) -> list[HeadRecord]:
        session = ProbeSession(Settings(ablate_heads=True, max_new_tokens=4))
        session.model_runner.use(model, "circuit")
        cases = session.cases(session.dataset("sums", sums(40)))
        session.select(cases[::-1] if backwards else cases)
        session.sweep(session.items)
        session.run_post_sweep()
        return session.post_sweep.heads

    assert len(cards_in_order(backwards=False)) == 3
    by_target = [{card["target"]: card for card in cards_in_order(backwards=order)} for order in (False, True)]
    assert by_target[0] == by_target[1]


def test_what_a_model_does_not_allow_is_said_on_the_card() -> None:
    run = rp.sweep(build("openai-gpt"), Letters(), ITEMS, "L0H0,L1", max_new_tokens=4, describe="L0H0,L1").run
    cards = {record["target"]: card_of(record) for record in run.summary["heads"] or ()}
    assert "scores of what heads write are left out: layer 0: what it adds" in cards["L0H0"].note
    assert cards["L0H0"].direct is None
    assert "copying" not in (cards["L0H0"].scores or {})
    assert "induction" in (cards["L0H0"].scores or {})
    assert "Not measured: " in cards["L0H0"].describe()
    assert (cards["L1"].scores, cards["L1"].examples) == (None, None)  # several heads have no one attention


def test_questions_with_choices_are_no_examples(model: Any) -> None:
    items = [Item(question=item.question, answer=item.answer, choices=(item.answer, "0")) for item in sums(6)[1:]]
    run = rp.sweep(*model, items, DECIDER, describe=DECIDER).run
    assert [record["examples"] for record in run.summary["heads"] or ()] == [None]


def test_examples_of_several_processes_join() -> None:
    def part(item: str, direct: float, rank: int) -> Any:
        example = Example(item, 3, "a", "b", ("x",), (1.0,), direct)
        scores = {"induction": 0.9}
        return HeadCard(
            "L0H0", "sums", "zero", scores=scores, direct=Direct(direct, rank), examples=(example,)
        ).record()

    (merged,) = merged_measured([[part("one", 1.0, 2)], None, [part("two", 3.0, 1)]])
    assert [example["item"] for example in merged["examples"] or ()] == ["one", "two"]
    assert merged["direct"] == {"mean": 2.0, "rank": 2}
    assert merged["scores"] == {"induction": 0.9}
