"""What people read: the page, the terminal's lines, the Markdown; pure functions of a run."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from fake_runs import as_run, every_head, fake_outcomes, fake_run, full_run, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_probe.report import figures, flips, text, verdict
from reasoning_probe.report.differences import part
from reasoning_probe.report.findings import findings_html
from reasoning_probe.report.flips import script_data
from reasoning_probe.report.html import prose
from reasoning_probe.report.markdown import markdown_summary
from reasoning_probe.report.measures import ACCURACY, LOGPROB, Measure, category_shift
from reasoning_probe.report.page import standalone_page
from reasoning_probe.report.terminal import ablated_line, failure_text, summary_lines
from reasoning_probe.store import Run

VOID = {"meta", "br", "img", "hr"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></title></svg></pre></details>",
    "<!-- never closed",
    "\" onmouseover='alert(1)' x=\"",
    "<img src=x onerror=alert(1)>",
    "nul \x00 bell \x07 escape \x1b[31m c1 \x9b turn \u202e lone \ud800",
    "$x^2$ \\frac{1}{0} & &amp; ]]>",
]


class Page(HTMLParser):
    """Reads a page strictly: every element closed by its own end tag."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.headings: list[int] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data.replace("\xa0", " ")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:50]}")


@pytest.fixture(scope="module")
def run() -> Run:
    return fake_run()


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return standalone_page(run)


def hostile_run() -> Run:
    outcomes = []
    for index, evil in enumerate(HOSTILE):
        values = dict.fromkeys(("question", "prompt", "response", "expected", "answer"), evil)
        outcomes.append(outcome(evil, f"{evil}{index}", **values))
        off = dict.fromkeys(("response", "answer", "category", "kind", "reason"), evil + " off")
        outcomes.append(outcome(evil, f"{evil}{index}", "L0H0", correct=False, ablation=evil, **{**values, **off}))
        outcomes.append(outcome(evil, f"{evil}{index}", evil, correct=False, **off))
    model = {"name": HOSTILE[0], "architecture": HOSTILE[1], "layers": 1, "heads": 1, "dtype": HOSTILE[2]}
    evil = " ".join(HOSTILE)
    return as_run(
        outcomes,
        model=model,
        ablation=evil,
        versions={evil: evil},
        generation={evil: {"stop": [evil]}},
        skipped=[{"dataset": evil, "item": evil, "reason": evil}],
    )


HOSTILE_RUN = hostile_run()


# -- the page -----------------------------------------------------------------------------------------------------


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    parsed = Page(page)
    assert parsed.headings == [1, 2, 3, 3, 3, 3, 3, 3]
    assert parsed.tags["script"] == 2  # the data and what reads it
    assert ("lang", "en") in parsed.attributes
    assert "http" not in page
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
    assert (parsed.tags["script"], parsed.tags["img"]) == (2, 0)
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


def test_the_first_token_that_differs_parts_two_answers() -> None:
    assert part("a b c", "a b c", 99) == ("a b c", "", "")
    assert part("Yes. Max is.", "Yes. Mia is.", 99) == ("Yes. ", "Max", " is.")
    assert part("one", "one two", 99) == ("one", "", "")
    assert part("one two", "one", 99) == ("one ", "two", "")
    long = part("same " * 1000 + "here " + "rest " * 1000, "same " * 1000 + "there", 600)
    assert long.differs == "here"
    assert len("".join(long)) < 700


@given(st.text(), st.text())
def test_the_parts_of_a_short_answer_are_the_answer(one: str, other: str) -> None:
    parted = part(one, other, most=10_000)
    assert "".join(parted) == one
    assert part(other, one, most=10_000).before.split() == parted.before.split()


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
    assert "was asked nothing" in Page(standalone_page(as_run([]))).text


# -- pictures -----------------------------------------------------------------------------------------------------


def effects(targets: list[str], layers: int = 4, heads: int = 4) -> list[verdict.Row]:
    run = as_run(fake_outcomes({"arithmetic": 20}, targets), layers=layers, heads=heads)
    return list(run.summary["targets"])


def picture(rows: list[verdict.Row], layers: list[int], heads: int, measure: Measure = ACCURACY) -> str:
    picture = figures.heatmap(
        rows,
        layers,
        [f"H{head}" for head in range(heads)],
        measure=measure,
        name="x",
        title="A <title>",
        description="described",
    )
    return picture.svg()


@pytest.mark.parametrize("measure", [ACCURACY, LOGPROB, category_shift("off_by_one")])
def test_a_map_names_its_layers_and_heads(measure: Measure) -> None:
    svg = picture(effects(["L3H1", "L7H0", "L7", "L3H0+L7H1"]), [3, 7, 11], 2, measure)
    assert 'data-columns="H0 H1" data-layers="3 7 11"' in svg
    assert re.findall(r">([LH]\d+)</text>", svg) == ["H0", "H1", "L3", "L7", "L11"]
    assert '<title id="x-title">A &lt;title&gt;</title>' in svg
    Page(svg)


def test_a_map_has_columns_for_groups_and_mlps_where_they_were_off() -> None:
    targets = ["L1H2", "L0KV1", "L3MLP", "L1KV0", "L2MLP", "L1", "L1H0+L2MLP"]
    run = as_run(fake_outcomes({"arithmetic": 20}, targets), layers=4, heads=3)
    assert verdict.columns_of(run.summary["targets"], 3) == ["H0", "H1", "H2", "KV0", "KV1", "MLP"]
    page = findings_html(run)
    assert 'data-columns="H0 H1 H2 KV0 KV1 MLP" data-layers="0 1 2 3"' in page
    assert "with one head, key/value group or MLP off" in page
    (row,) = [row for row in run.summary["targets"] if row["target"] == "L3MLP"]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page[page.index(">L3</th>") :])
    assert str(abs(round(100 * row["delta"]))) in cells[5]
    alone = as_run(fake_outcomes({"arithmetic": 20}, ["L0MLP", "L1MLP"]), layers=4, heads=3)
    assert verdict.columns_of(alone.summary["targets"], 3) == ["MLP"]
    assert "with one MLP off" in findings_html(alone)
    assert (
        verdict.columns_of(as_run(fake_outcomes({"logic": 4}, ["L0"]), layers=4, heads=3).summary["targets"], 3) == []
    )


def test_a_map_marks_significant_heads_by_shape() -> None:
    rows = [row for row in fake_run().summary["targets"] if row["dataset"] == "arithmetic"]
    dull = [row | {"p_adjusted": 1.0} for row in rows]
    drawn, without = (picture(found, [0, 1, 2, 3], 4).count("<use ") for found in (rows, dull))
    assert drawn - without == 2


def test_maps_ignore_heads_that_the_model_lacks() -> None:
    Page(picture(effects(["L99H0", "L0H99", "L0H0"]), [0, 1], 2))
    Page(picture([], [], 0))


def test_pictures_leave_the_users_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    picture(effects(["L0H0"]), [0], 1)
    assert dict(matplotlib.rcParams) == before


def test_layers_have_bars_and_diamonds() -> None:
    rows = effects([*every_head(), "L1"])
    means, whole = figures.layer_means(rows, range(4)), figures.whole_layers(rows, range(4))
    assert list(means) == [0, 1, 2, 3]
    assert list(whole) == [1]
    assert means[1] == pytest.approx(sum(row["delta"] for row in rows if row["target"].startswith("L1H")) / 4)
    Page(figures.layer_bars(means, whole, [0, 1, 2, 3], name="b", title="t", description="d").svg())


def test_a_pie_of_any_counts() -> None:
    for counts in ({"hallucination": 3}, {"$x$ <b>": 1, "incomplete": 999}):
        Page(figures.error_pie(counts, name="p", title="t", description="d").svg())


# -- sentences ----------------------------------------------------------------------------------------------------


def test_sentences_for_each_finding() -> None:
    def said(sizes: dict[str, int], **values: object) -> list[str]:
        outcomes = [replace(found, **values) for found in fake_outcomes(sizes, noise=0)]  # type: ignore[arg-type]
        return verdict.sentences(as_run(outcomes))

    assert said({"logic": 8}) == [
        "With 8 items and 16 heads no single head can reach significance on logic;"
        " 10 flips are needed: try --probe-items 200."
    ]
    (one_grows,) = said({"logic": 8, "gsm8k": 5}, correct=True)
    assert one_grows.endswith(  # gsm8k has no 200 items of its own
        " 10 flips are needed: try --probe-items logic=200 and 200 items by --probe-dataset gsm8k=FILE."
    )
    (none_grows,) = said({"mine": 8, "gsm8k": 5}, correct=True)
    assert none_grows.endswith("try 200 items by --probe-dataset NAME=FILE.")
    assert said({"logic": 40}) == [
        "None of 16 heads matters for logic as far as 40 items can show:"
        " a change of 25 points (10 flips one way) would have been significant."
    ]
    assert said({"gsm8k": 40, "mine": 3}, correct=False) == [
        "No head can be judged on gsm8k and mine: the baseline is 0 %."
    ]


def test_advice_can_be_followed_whatever_the_dataset() -> None:
    """Only generated datasets have 200 items to give; ``--probe-items 200`` is an error for the built-in gsm8k."""
    outcomes = fake_outcomes({"gsm8k": 5}, noise=0)
    run = as_run([replace(found, correct=True, category=None) for found in outcomes])
    assert verdict.sentences(run) == [
        "With 5 items and 16 heads no single head can reach significance on gsm8k; 10 flips are needed:"
        " try 200 items by --probe-dataset gsm8k=FILE."
    ]


def test_the_logprob_speaks_where_the_accuracy_cannot() -> None:
    outcomes = [
        outcome(item=str(index), correct=False, answer="1", answer_logprob=-9 - index / 50) for index in range(40)
    ]
    outcomes += [
        replace(found, target=target, ablation="zero", answer_logprob=(found.answer_logprob or 0) - off)
        for found in outcomes
        for target, off in (("L0H0", 0.0), ("L0H1", 2.5), ("L1H0", -0.5), ("L1H1", 0.001))
    ]
    assert verdict.sentences(as_run(outcomes)) == [
        "No head can be judged on arithmetic: the baseline is 0 %.",
        "2 of 4 heads move the log-probability of the expected answer on arithmetic: L0H1 (-2.50 nats) and"
        " L1H0 (+0.50).",
    ]


def test_remarks_name_formatting_and_the_commonest_answer() -> None:
    solved = [
        outcome("gsm8k", "a", response="9 * 2 = 18\n#### 18", expected="18"),
        outcome("gsm8k", "b", response="She makes $1,000", expected="1000"),
    ]
    asked = [outcome("logic", str(index), expected=label) for index, label in enumerate(["yes", "yes", "no"])]
    run = as_run(solved + asked, formats={"gsm8k": "gsm8k", "logic": "plain"})
    said = verdict.remarks(run)
    assert (
        "gsm8k: strict extraction finds 50 % right, flexible 100 %; the difference is formatting, not reasoning."
        in said
    )
    assert "logic: always answering “yes” would score 67 %." in said
    assert "logic: every answer is right, so a target can only lose." in said


def test_few_right_answers_are_called_so() -> None:
    outcomes = [outcome(item=str(index), correct=index < 4, answer=str(index < 4)) for index in range(40)]
    outcomes += [replace(found, target=target, ablation="zero") for found in outcomes for target in every_head()]
    assert verdict.sentences(as_run(outcomes)) == [
        "No drop could be significant on arithmetic: 10 flips are needed, and only 4 of 40 items are answered right"
        " to begin with."
    ]


# -- terminal and Markdown ----------------------------------------------------------------------------------------


def test_the_terminal_summary_fits(run: Run) -> None:
    lines = summary_lines(run)
    assert 8 <= len(lines) <= 20
    assert all(len(line) <= 80 and line.isascii() and "\n" not in line for line in lines)
    assert lines[0].split() == [
        "arithmetic",
        "96",
        "%",
        "###############.",
        *["193", "of", "200", "(93", "%", "to", "98", "%)"],
    ]
    assert any(line.startswith("L1H3          -64* ----------") for line in lines)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(HOSTILE), st.integers(40, 120))
def test_the_terminal_obeys_nobody(evil: str, width: int) -> None:
    found = outcome(
        evil, question=evil, response=evil, expected=evil, answer=evil, correct=False, category=evil, reason=evil
    )
    run = HOSTILE_RUN
    shown = [*summary_lines(run, width), *failure_text(found).split("\n"), ablated_line(found, None)]
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]", "".join(shown))
    assert all(len(line) <= width for line in summary_lines(run, width))


def test_a_failure_is_short_and_an_ablated_case_one_line() -> None:
    wrong = outcome(target="L3H7", correct=False, answer="15", category="wrong_operation", reason="5 * 3 = 15")
    assert failure_text(wrong).split("\n") == [
        "question  What is 5 + 3?",
        "expected  8",
        "answered  15",
        "response  8",
        "mistake   wrong_operation: 5 * 3 = 15",
    ]
    assert ablated_line(wrong, outcome()) == "L3H7 off: wrong_operation, baseline was right"
    assert ablated_line(wrong, replace(wrong, target="baseline")) == "L3H7 off: wrong_operation, baseline was wrong too"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("70 % asked", "70\xa0% asked"),
        ("try --probe-items 200.", "try <code>--probe-items\xa0200</code>."),
        ("--ablate-heads shows", "<code>--ablate-heads</code> shows"),
        ("a <!-- b --> & x--y", "a &lt;!-- b --&gt; &amp; x--y"),
    ],
)
def test_no_line_ends_within_an_option_or_before_its_unit(said: str, shown: str) -> None:
    assert prose(said) == shown


def test_a_name_that_no_shell_takes_is_in_no_command() -> None:
    for name, said in {"mine": "mine=FILE.", "<b> x": "NAME=FILE.", "n" * 99: "NAME=FILE."}.items():
        sentence = verdict.sentences(as_run([outcome(name), outcome(name, target="L0H0")]))[0]
        assert sentence.endswith(said)
        assert len(sentence) < 250


def test_markdown_is_short_and_plain(run: Run) -> None:
    shown = markdown_summary(run)
    assert "| arithmetic | 193 of 200 | 96 % | 93 % to 98 % |" in shown
    assert len(markdown_summary(hostile_run()).encode()) < 60_000
    many = as_run([outcome(f"set {index}" * 9, target=t) for index in range(300) for t in ("baseline", "L0H0", "L0H1")])
    assert len(markdown_summary(many).encode()) < 60_000
    signs = {f"{index} {'<&>`|[]' * 40}": 20 for index in range(40)}  # each sign takes five characters
    long = as_run(fake_outcomes(signs, every_head(2, 8), noise=0.5))
    own = {"title": "<" * 99, "text": "<&" * 900, "head": ["<"] * 4, "rows": [["<" * 99] * 4] * 10}
    longest = markdown_summary(Run(long.summary | {"sections": [own] * 10}, long.outcomes))
    assert 40_000 < len(longest.encode()) < 60_000
    assert longest.endswith("There is more in run.json.\n")
    assert all(line.count("|") in (0, 5, 7) for line in longest.split("\n"))
    hostile = markdown_summary(hostile_run())
    assert not re.search(r"[<\x00\x1b\u202e]", hostile)
    assert all(line.count("|") in (0, 5, 7) for line in hostile.split("\n"))


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0 %"), (0.004, "0.4 %"), (0.5, "50 %"), (0.996, "99.6 %"), (1.0, "100 %")]
)
def test_percent_never_rounds_to_all_or_nothing(share: float, shown: str) -> None:
    assert text.percent(share) == shown
