"""Which heads read a sentence of a thought: planted ones are named, and heads drawn by chance are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.analyses import sentence_readers
from reasoning_probe.analyses.thought_anchors import thought_anchors
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Query, Thought
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.models.heads import find_heads
from tests.helpers.character_tokenizer import Letters
from tests.helpers.model_families import build

SENTENCES = ("First we look.", " It is 7.", " Then we go on.", " So we are done.")


def query_after(sentences: tuple[str, ...], answer: str = "yes", item: str = "a") -> Query:
    query = Query("items", rp.Item(question="Q", answer=answer, id=item), "Q: why?\n<think>", Generation())
    return query.after(Thought("".join(sentences), "</think>"))


def engine_of(model: Any, tokenizer: Any = None) -> LocalEngine:
    return LocalEngine(model, tokenizer or Letters(), find_heads(model))


def chance(seed: int, size: float = 0.6) -> Any:
    """Return a model whose heads look where weights of this *size*, drawn by chance, send them."""
    model = build("gpt2")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in model.transformer.h:
            weight = block.attn.c_attn.weight
            weight.copy_(size * torch.randn(weight.shape, generator=draw))
    return model


def plant(model: Any, layer: int, head: int, letter: str) -> None:
    """Let *head* look from every token at those of this *letter*: all tokens share what makes its query."""
    block = model.transformer.h[layer]
    size, heads = model.config.n_embd, model.config.n_head
    (token,) = Letters()(letter)["input_ids"]
    query, key = head * size // heads, size + head * size // heads  # their first features
    common = torch.zeros(size)
    common[::2], common[1::2] = 1.0, -1.0
    with torch.no_grad():
        block.ln_1.bias.copy_(common)
        words = block.ln_1(model.transformer.wte.weight)  # (vocabulary, size)
        direction = words[token] - words.mean(0)
        weight = block.attn.c_attn.weight
        for start in (query, key):
            weight[:, start : start + size // heads] = 0
        weight[:, query] = 20 * (size / heads) ** 0.5 * common / common.norm() ** 2
        weight[:, key] = direction / direction.norm() ** 2


def readers(model: Any, *sentences: str, seed: int = 0, answer: str = "yes") -> list[list[str]]:
    """Return the heads that are named beside each sentence of one thought."""
    (record,) = thought_anchors(engine_of(model), [query_after(sentences or SENTENCES, answer)], seed)
    assert "note" not in record
    return [[reader["target"] for reader in sentence["readers"]] for sentence in record["sentences"]]


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_a_planted_reader_is_named_beside_the_sentence_that_it_reads_and_no_other(seed: int) -> None:
    model = chance(seed, 0.2)
    assert readers(model, seed=seed) == [[], [], [], []]
    plant(model, 0, 2, "7")
    assert readers(model, seed=seed) == [[], ["L0H2"], [], []]


def test_heads_that_look_where_chance_sends_them_are_named_in_one_of_20_models_at_most() -> None:
    """Of 40 models 6 or more would have a name with a probability of 1 % if it were one of 20."""
    uneven = []
    named = 0
    for seed in range(40):
        model = chance(seed)
        named += any(readers(model, seed=seed))
        engine = engine_of(model)
        encoded = sentence_readers._encode(engine, divided(query_after(SENTENCES)))
        even = sentence_readers._attention(encoded, sentence_readers._even_weights(encoded))
        uneven.append(float((sentence_readers._recorded(engine, encoded).on_sentence / even.on_sentence).max()))
    assert min(uneven) > 1.5, "the heads look everywhere alike: nothing was tested"
    assert named <= 5


def divided(query: Query, sentences: tuple[str, ...] = SENTENCES) -> sentence_readers.DividedThought:
    return sentence_readers.DividedThought(query, sentences)


@pytest.mark.parametrize("most", [64, 7])
def test_shares_are_the_means_of_the_models_own_attention(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_readers, "MOST_POSITIONS", most)
    monkeypatch.setattr(sentence_readers, "PERMUTATIONS", 1)
    model = chance(0, 0.2)
    plant(model, 0, 2, "7")
    query = query_after(SENTENCES, answer="7!")
    prompt = Letters()(query.prompt)["input_ids"]
    ids = [*prompt, *Letters()(" 7!")["input_ids"][:-1]]  # the answer's last token predicts nothing of it
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(torch.tensor([ids]), output_attentions=True).attentions[0][0, 2]  # (tokens, tokens)
    start = query.prompt.index(SENTENCES[0])  # each character is a token
    end = start + len(SENTENCES[0])
    second = range(end, end + len(SENTENCES[1]))
    step = next(step for step in range(1, len(ids)) if step * most >= len(ids) - end)
    places = list(range(len(ids) - 1, end - 1, -step))
    assert (len(places) <= 7) == (most == 7)
    after = [place for place in places if place >= second.stop]
    thought = range(start, start + len("".join(SENTENCES)))
    share, whole = (
        sum(float(weights[place, token]) for place in after for token in tokens if token <= place)
        for tokens in (second, thought)
    )
    even, even_whole = (
        sum(1 / (place + 1) for place in after for token in tokens if token <= place) for tokens in (second, thought)
    )
    (record,) = thought_anchors(engine_of(model), [query])
    (reader,) = record["sentences"][1]["readers"]
    assert reader == {
        "target": "L0H2",
        "share": pytest.approx(share / whole, abs=1e-5),
        "even": pytest.approx(even / even_whole),
    }


def test_the_model_has_its_own_weights_again_and_the_same_seed_names_the_same_heads() -> None:
    model = chance(2, 0.2)
    plant(model, 0, 2, "7")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    engine, query = engine_of(model), query_after(SENTENCES)
    assert thought_anchors(engine, [query], 3) == thought_anchors(engine, [query], 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert engine.timing.describe_s > 0


def test_sentences_whose_tokens_cannot_be_told_have_a_reason_in_place_of_readers() -> None:
    class Counting(Letters):
        """Begins with the number of characters."""

        def __call__(
            self, text: str, add_special_tokens: bool = True, return_tensors: str | None = None
        ) -> dict[str, Any]:
            ids = [3 + len(text) % 90, *super().__call__(text)["input_ids"]]
            return {"input_ids": torch.tensor([ids]) if return_tensors else ids}

    (record,) = thought_anchors(engine_of(chance(0), Counting()), [query_after(SENTENCES)])
    reason = "the tokens of its sentences cannot be told"
    assert record["note"] == f"the heads that read its sentences are left out: {reason}"
    assert all(sentence["change"] is not None and "readers" not in sentence for sentence in record["sentences"])


def test_an_item_whose_thought_holds_one_sentence_is_left_alone() -> None:
    assert thought_anchors(engine_of(chance(0)), [query_after(("One sentence.",))]) == []


def test_the_first_thoughts_of_several_sentences_are_taken() -> None:
    thoughts = [("One sentence.",), ("Two. ", "It is."), ("One.",), SENTENCES, ("A. ", "B."), ("C. ", "D.")]
    queries = [query_after(sentences, item=f"i{number}") for number, sentences in enumerate(thoughts)]
    assert [record["item"] for record in thought_anchors(engine_of(chance(0)), queries)] == ["i1", "i3", "i4"]
