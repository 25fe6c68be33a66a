"""The page: a pure function of a run, whatever others wrote into it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.report.html import script_data as flips
from reasoning_probe.report.html.diff import fold_blanks, split_at_difference
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.html.page import standalone_page
from reasoning_probe.report.html.script_data import script_data
from reasoning_probe.results.run import Run
from reasoning_probe.utils import text
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, fake_run, full_run, outcome
from tests.helpers.html_pages import Page, hostile_run


@pytest.fixture(scope="module")
def run() -> Run:
    return fake_run()


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return standalone_page(run)


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    parsed = Page(page)
    assert parsed.headings == [1, 2, 3, 3, 3, 3, 3, 3, 3]
    assert parsed.tags["script"] == 3  # the data, what reads it, and the navigation
    assert ("lang", "en") in parsed.attributes
    assert re.findall("http[^-][^ ]*", page) == []
    assert "url(" not in re.sub(r"url\(#", "", page)
    for name, value in parsed.attributes:
        assert name != "src"
        assert name != "href" or str(value).startswith(("#", "data:image/png;base64,"))
    assert parsed.tags["caption"] == parsed.tags["table"] > 0
    assert parsed.tags["svg"] == parsed.tags["desc"] == parsed.tags["figcaption"] > 0


def test_ids_are_unique_and_what_refers_finds(page: str) -> None:
    ids = [value for name, value in Page(page).attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 10
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    for labels in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(labels.split()) <= set(ids)


def test_the_page_is_the_same_twice(run: Run, page: str) -> None:
    assert standalone_page(run) == page
    assert findings_html(run) in page


def test_the_page_says_what_was_found(page: str) -> None:
    shown = Page(page).text
    assert "200 items: 2 of 16 heads matter for arithmetic: L1H3 (-64 points) and L2H0 (-32)." in shown
    assert "No head can be judged on gsm8k: the baseline is 0 %." in shown
    assert "No baseline answer is right, so no accuracy can be lost." in shown
    assert "logic: always answering “yes” would score 50 %." in shown
    assert "3,424 ablated cases, 2,937 unchanged (not listed)." in shown
    assert "193 of 200" in shown


@pytest.mark.parametrize("render", [standalone_page, findings_html])
def test_what_others_wrote_is_escaped(render: object) -> None:
    page = render(hostile_run())  # type: ignore[operator]
    parsed = Page(page)
    assert (parsed.tags["script"], parsed.tags["img"]) == (3, 0)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", page)
    page.encode("utf-8")
    assert "<script>alert(1)</script>" in parsed.text
    assert "escape \\x1b[31m" in parsed.text


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_escape_leaves_only_text(written: str) -> None:
    escaped = text.escape(written)
    assert not set(escaped) & set("<>\"'\x00\x1b\u202e")
    escaped.encode("utf-8")
    assert Page(f'<p title="{escaped}">{escaped}</p>').tags == {"p": 1}


def test_items_show_changed_cases_together() -> None:
    outcomes = [outcome(), outcome(item="b")]
    for target in ("L0H1", "L2H2", "L3H0"):
        outcomes.append(outcome(target=target, response=" 80", answer="80", correct=False, category="hallucination"))
    outcomes.append(outcome(target="L0H0", response=" 8, I think"))
    shown = Page(findings_html(as_run(outcomes))).text
    assert "4 ablated cases, 1 unchanged (not listed)." in shown
    assert "L0H1, L2H2 and L3H0" in shown
    assert "3 of 4 changed it" in shown
    assert "I think" not in shown


def test_the_sentences_of_a_thought_stand_beside_the_heads_that_read_them() -> None:
    def shown(*sentences: dict[str, object], **values: object) -> str:
        run = as_run([outcome(thought="It is 7. Or 8.", thought_cut=False)])
        anchors = {"dataset": "arithmetic", "item": "add-5-3", "sentences": list(sentences), **values}
        return Page(findings_html(replace(run, summary=run.summary | {"thought_anchors": [anchors]}))).text

    readers = [{"target": "L1H2", "share": 0.41, "even": 0.1}, {"target": "L0H3", "share": 0.2, "even": 0.1}]
    first, second = {"text": "It is 7.", "change": -1.5}, {"text": " Or 8.", "change": None}
    named = shown(first | {"readers": readers}, second | {"readers": []})
    assert "sentencenatsread by" in named
    assert "It is 7.-1.50L1H2 (41 %; 10 %) and L0H3 (20 %; 10 %)Or 8.-" in named.replace("\xa0", " ")
    assert "No head attends" not in named
    none = shown(first | {"readers": []}, second | {"readers": []})
    assert "No head attends to any of these sentences more than chance explains." in none
    unknown = shown(first, second, note="the heads that read its sentences are left out: <why>")
    assert "The heads that read its sentences are left out: <why>." in unknown
    for without in (none, unknown, shown(first, second)):  # an older run
        assert "sentencenatsread by" not in without
        assert "No head attends" not in shown(first, second)


def test_the_first_difference_is_marked() -> None:
    off = {"correct": False, "answer": "9", "category": "off_by_one"}
    outcomes = [
        outcome(response=" 5 + 3 = 8 so"),
        outcome(target="L0H0", response=" 5 + 3 = 9 so", **off),
        outcome(target="L0H1", response=" 5 + 3 = 85 so", **off),
        outcome(target="L0H2", response=" 5 + 3", **off),
    ]
    html = findings_html(as_run(outcomes))
    assert re.findall("<mark>(.*?)</mark>", html) == ["9", "85"]  # the third only stops early


def test_long_runs_of_blanks_fold() -> None:
    assert fold_blanks("8" + "\n" * 1200 + "so" + " " * 60 + "\n.") == "8\n[1,200 line breaks]\nso [61 blanks] ."
    assert fold_blanks("a\n\n\n    b") == "a\n\n\n    b"
    blank = outcome(response=" 8" + "\n" * 3000)
    page = findings_html(as_run([blank, replace(blank, target="L0H0", ablation="zero", correct=False, answer=None)]))
    assert "[3,000 line breaks]" in page
    assert "\n" * 20 not in page


def test_the_first_token_that_differs_parts_two_answers() -> None:
    assert split_at_difference("a b c", "a b c", 99) == ("a b c", "", "")
    assert split_at_difference("Yes. Max is.", "Yes. Mia is.", 99) == ("Yes. ", "Max", " is.")
    assert split_at_difference("one", "one two", 99) == ("one", "", "")
    assert split_at_difference("one two", "one", 99) == ("one ", "two", "")
    long = split_at_difference("same " * 1000 + "here " + "rest " * 1000, "same " * 1000 + "there", 600)
    assert long.differs == "here"
    assert len("".join(long)) < 700


@given(st.text(), st.text())
def test_the_parts_of_a_short_answer_are_the_answer(one: str, other: str) -> None:
    parted = split_at_difference(one, other, most=10_000)
    assert "".join(parted) == one
    assert split_at_difference(other, one, most=10_000).before.split() == parted.before.split()


def test_the_script_finds_every_flip_in_its_data() -> None:
    run = fake_run()
    data = json.loads(script_data(run))
    texts, (arithmetic, *_) = data["texts"], data["maps"]
    row = next(row for row in run.summary["targets"] if row["target"] == "L1H3")
    listed = arithmetic["targets"]["L1H3"]["flips"]
    kinds = Counter(data["kinds"][flip[0]] for flip in listed)
    assert (kinds["right to wrong"], kinds["wrong to right"]) == (row["flips_to_wrong"], row["flips_to_right"])
    asked = {found.question: found for found in run.outcomes if found.target == "L1H3"}
    for _, question, expected, _, answered, _, shown in listed:
        found = asked[texts[question]]
        assert texts[expected] == found.expected
        assert "".join(texts[piece] for piece in shown) == found.response
        assert texts[answered].startswith(found.answer or "nothing")


def test_the_data_cannot_leave_its_element() -> None:
    assert not set(script_data(hostile_run())) & set("<>&")


def test_every_target_gets_its_first_flips_where_the_page_has_no_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    run = as_run(fake_outcomes({"arithmetic": 200}, every_head(3, 4), noise=0.4))
    every = {name: len(entry["flips"]) for name, entry in json.loads(script_data(run))["maps"][0]["targets"].items()}
    monkeypatch.setattr(flips, "MOST_CHARACTERS", 20_000)
    entries = json.loads(script_data(run))["maps"][0]["targets"]
    listed = [len(entry["flips"]) for entry in entries.values()]
    assert 0 < min(listed) <= max(listed) <= min(listed) + 1
    assert {name: len(entry["flips"]) + entry["more"] for name, entry in entries.items()} == every


def test_large_runs_stay_small() -> None:
    sizes = {"arithmetic": 1500, "logic": 1500}
    run = as_run(fake_outcomes(sizes, every_head(3, 4), noise=0.4))
    page = standalone_page(run)
    assert len(page) < 6_000_000
    assert "more items are in outcomes.jsonl" in page
    long = [replace(found, response="x" * 100_000) for found in run.outcomes[:400]]
    assert len(standalone_page(as_run(long))) < 3_500_000


def test_everything_that_a_run_may_hold_is_shown() -> None:
    page = Page(standalone_page(full_run()))
    for said in (
        "✗ Gate failed",
        "multi_step: accuracy dropped by 40 points, at most 5 allowed",
        "Category shift: how the mistakes change",
        "Cumulative curve",
        "only the strongest heads on",
        "⚑ harms plain text",
        "12 neutral sentences",
        "1 target whose rank changes between ablations",
        "a miss rate of 5 % (1 % to 24 %)",
        "32 reference prompts",
    ):
        assert said in page.text
    assert page.tags["caption"] == page.tags["table"]


@pytest.mark.parametrize("gone", ["gate", "curves", "control", "rank_changes", "screening", "reference"])
def test_what_a_run_does_not_hold_is_left_out(gone: str) -> None:
    run = full_run(items=20)
    without = {key: value for key, value in run.summary.items() if key != gone}
    none = run.summary | {gone: None}
    assert standalone_page(Run(without, run.outcomes)) == standalone_page(Run(none, run.outcomes))


def test_a_run_without_targets_and_one_without_anything() -> None:
    shown = Page(standalone_page(as_run([outcome(), outcome(item="b")]))).text
    assert "tiny-reasoner answers 2 of 2 questions right (100 %)." in shown
    assert "No answer was wrong." in shown
    assert "Nothing was switched off" in shown
    assert "was asked no question" in Page(standalone_page(as_run([]))).text
