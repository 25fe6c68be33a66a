"""What a user of the plugin sees: cases, verdicts, lines. The model's answers are known: see ``planted_model``."""

from __future__ import annotations

import json
import re

import pytest

from tests.helpers.planted_model import CARRIER, COLOUR_PROBE, COLOURS, MAX, OTHERS, RIGHT_LOGIC, WRONG_LOGIC
from tests.helpers.project import Project

LOGIC = ("syllogism-max-animal", "exclusion-mia-cat", "converse-leo-poet", "compare-tom-taller")


def ids(result: pytest.RunResult) -> list[str]:
    """The node ids that ``--co -q`` printed."""
    return [line for line in result.outlines if "::" in line]


# -- cases --------------------------------------------------------------------------------------------------------


def test_an_item_is_a_case_and_every_head_a_variant_of_it(project: Project) -> None:
    project.probe("logic")
    result = project.run("--co", "-q", "--ablate-heads")
    heads = [f"-L{layer}H{head}" for layer in range(2) for head in range(4)]
    assert ids(result) == [f"test_logic.py::test_logic[{item}{off}]" for item in LOGIC for off in ("", *heads)]
    assert not (project.path / "reports").exists()


def test_ids_do_not_depend_on_what_else_is_there(project: Project) -> None:
    project.probe("logic")
    alone = ids(project.run("--co", "-q", "--probe-heads", "L1H2"))
    project.probe("arithmetic")
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", COLOURS)
    together = ids(project.run("--co", "-q", "--probe-heads", "L0,L1H2"))
    assert set(alone) < set(together)


def test_ids_name_the_ablation_where_there_are_several(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-heads", CARRIER, "--ablation", "zero,mean", "-v", "-k", "mia")
    result.assert_outcomes(passed=1, xfailed=2, deselected=9)
    result.stdout.fnmatch_lines(["*[[]exclusion-mia-cat-L1H2-zero] XFAIL*", "*[[]exclusion-mia-cat-L1H2-mean] XFAIL*"])
    assert [outcome["ablation"] for outcome in project.outcomes()] == [None, "zero", "mean"]


def test_ablations_may_be_mixed_over_several_items(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-heads", "--ablation", "zero,mean,resample").stdout.no_fnmatch_line("*error*")
    assert len(project.outcomes()) == 4 * (1 + 3 * 8)


def test_ids_hold_no_character_that_pytest_or_a_shell_reads(project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    hostile = ["a[b]", "a::b", "a/b", "sky\nblue", "größe", "A", "a"]
    lines = [json.dumps({"id": id, "question": "What colour is the sky?", "answer": "blue"}) for id in hostile]
    project.write("colours.jsonl", "\n".join(lines))
    node_ids = ids(project.run("--co", "-q"))
    assert len(node_ids) == len(set(node_ids)) == len(hostile)
    assert all(re.fullmatch(r"test_colours\.py::test_colours\[[\w.-]+\]", id, re.ASCII) for id in node_ids)
    project.run(node_ids[1]).assert_outcomes(passed=1)
    assert [outcome["item"] for outcome in project.outcomes()] == ["a::b"]


def colliding(project: Project, *item_ids: str) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    lines = [json.dumps({"id": id, "question": "What colour is the sky?", "answer": "blue"}) for id in item_ids]
    project.write("colours.jsonl", "\n".join(lines))


@pytest.mark.parametrize("strict", ["", "strict_parametrization_ids = true\n"], ids=["", "strict"])
def test_an_item_that_is_called_as_a_variant_keeps_its_id(project: Project, strict: str) -> None:
    if strict and pytest.version_tuple < (9, 0):
        pytest.skip("pytest 9 brings strict ids")
    project.pytester.makeini(f"[pytest]\n{strict}")
    colliding(project, "sky", "sky-L1H2", "sky-L1H2-off", "grass")
    alone = ids(project.run("--co", "-q"))
    together = ids(project.run("--co", "-q", "--probe-heads", "L1H2"))
    names = [id.partition("[")[2].rstrip("]") for id in together]
    assert names == [
        *("sky", "sky-L1H2-off-off", "sky-L1H2", "sky-L1H2-L1H2"),
        *("sky-L1H2-off", "sky-L1H2-off-L1H2", "grass", "grass-L1H2"),
    ]
    assert set(alone) < set(together)
    project.run("--probe-heads", "L1H2", "test_colours.py::test_colours[sky-L1H2]").assert_outcomes(passed=1)
    assert project.computed() == {("sky-L1H2", "baseline")}
    project.run("--probe-heads", "L1H2", "test_colours.py::test_colours[sky-L1H2-off-off]").assert_outcomes(xfailed=1)
    assert project.computed() == {("sky", "baseline"), ("sky", "L1H2")}


def test_ids_that_collide_with_nothing_are_as_they_always_were(project: Project) -> None:
    colliding(project, "sky", "grass-L0H0")
    together = ids(project.run("--co", "-q", "--probe-heads", "L1H2", "--ablation", "zero,mean"))
    assert [id.partition("[")[2].rstrip("]") for id in together][:3] == ["sky", "sky-L1H2-zero", "sky-L1H2-mean"]


# -- what is left is what is computed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "computed"),
    [
        (["-k", "max"], {(MAX, "baseline"), (MAX, "L1H2"), (MAX, "L1H3")}),
        (["-k", "max and L1H2"], {(MAX, "baseline"), (MAX, "L1H2")}),
        (["-m", "not ablated"], {(item, "baseline") for item in LOGIC}),
        (["-m", "ablated", "-k", "tom"], {("compare-tom-taller", off) for off in ("baseline", "L1H2", "L1H3")}),
        ([f"test_logic.py::test_logic[{MAX}-L1H3]"], {(MAX, "baseline"), (MAX, "L1H3")}),
        (["--deselect", "test_logic.py::test_logic", "-k", "sub-10-4-L1H3"], set()),
    ],
)
def test_only_what_is_left_is_computed(project: Project, options: list[str], computed: set[tuple[str, str]]) -> None:
    """The baselines with which selected ablated cases are compared are computed as well."""
    project.probe("logic")
    project.run("--probe-heads", "L1H2,L1H3", *options)
    if computed:
        assert project.computed() == computed
    else:
        assert not (project.path / "reports").exists()


def test_k_logic_runs_the_logic_probes_and_nothing_else(project: Project) -> None:
    project.probe("arithmetic", "logic", "multi_step")
    result = project.run("-k", "logic")
    result.assert_outcomes(passed=3, failed=1, deselected=13)
    assert set(project.summary()["datasets"]) == {"logic"}


def test_lf_asks_what_failed_again(project: Project) -> None:
    project.probe("logic")
    project.run("--ablate-layers").assert_outcomes(passed=7, failed=1, xfailed=4)
    result = project.run("--ablate-layers", "--lf")
    result.assert_outcomes(failed=1)
    assert project.computed() == {("converse-leo-poet", "baseline")}


def test_x_computes_no_item_after_the_first_failure(project: Project) -> None:
    project.probe("logic")
    project.run("-x").assert_outcomes(passed=2, failed=1)
    assert project.computed() == {(item, "baseline") for item in LOGIC[:3]}


def test_cases_may_run_in_any_order(project: Project) -> None:
    project.probe("logic")
    project.write(
        "conftest.py", "def pytest_collection_modifyitems(items):\n    items[:] = items[1::2] + items[0::2][::-1]\n"
    )
    project.run("--probe-heads", "L1H2,L1H3").assert_outcomes(passed=7, failed=1, xfailed=4)
    shuffled = {json.dumps(outcome, sort_keys=True) for outcome in project.outcomes()}
    project.write("conftest.py", "")
    project.run("--probe-heads", "L1H2,L1H3")
    assert {json.dumps(outcome, sort_keys=True) for outcome in project.outcomes()} == shuffled


# -- verdicts -------------------------------------------------------------------------------------------------------


def test_a_right_baseline_passes_and_a_wrong_one_fails(project: Project) -> None:
    project.probe("logic")
    result = project.run("-v")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"*[[]{item}] PASSED*" for item in RIGHT_LOGIC[:2]])
    result.stdout.fnmatch_lines([f"*[[]{item}] FAILED*" for item in WRONG_LOGIC])


def test_a_failure_is_a_few_readable_lines(project: Project) -> None:
    project.probe("logic")
    result = project.run("-k", "leo")
    result.stdout.fnmatch_lines(
        [
            "*_ test_logic[[]converse-leo-poet] _*",
            "question  All poets are readers. Leo is a reader. Is Leo a poet?",
            "expected  Unknown",
            "answered  yes",
            "response  Yes",
            "mistake   wrong_label*",
            "=*= short test summary info =*",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*Error*")
    result.stdout.no_fnmatch_line("*assert*")


def test_a_wrong_answer_of_an_ablated_model_never_fails_the_build(project: Project) -> None:
    project.probe("logic")
    result = project.run("--ablate-heads", "-k", "max or mia or tom", "-rx")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3 + 3 * len(OTHERS), xfailed=3, deselected=9)
    result.stdout.fnmatch_lines(
        [
            f"XFAIL test_logic.py::test_logic[[]{item}-L1H2] - *L1H2 off: wrong_label, answered *, baseline was right"
            for item in RIGHT_LOGIC
        ]
    )


def test_an_ablated_model_may_be_right_where_the_baseline_was_wrong(project: Project) -> None:
    project.probe("logic")
    result = project.run("--probe-heads", "L1H2,L0", "-k", "leo", "-v", "-rx")
    result.stdout.fnmatch_lines(
        ["*-L1H2] PASSED*", "*-L0] XFAIL*", "XFAIL*L0 off: wrong_label, answered *, baseline was wrong too"]
    )


@pytest.mark.parametrize(
    "body", ["raise KeyError('mine')", "assert answer.correct; assert not answer.correct", "1 / 0"]
)
def test_any_other_error_in_a_test_fails(project: Project, body: str) -> None:
    project.write("colours.jsonl", COLOURS.splitlines()[0])
    project.write("test_colours.py", COLOUR_PROBE.replace("assert answer.correct", body))
    result = project.run("--probe-heads", "L0H0")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*test_colours.py:*"])


def test_an_error_fails_an_ablated_case_that_is_wrong_too(project: Project) -> None:
    project.write("colours.jsonl", COLOURS.splitlines()[0])
    project.write("test_colours.py", COLOUR_PROBE.replace("assert answer.correct", "raise KeyError('mine')"))
    project.run("--probe-heads", CARRIER).assert_outcomes(failed=2)


def test_runxfail_shows_the_wrong_answers_as_failures(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads", CARRIER, "-k", "max", "--runxfail").assert_outcomes(passed=1, failed=1, deselected=6)


def test_an_item_too_long_for_the_model_is_skipped_with_its_reason(project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    long = json.dumps({"id": "long", "question": "What is the " + "sky " * 60 + "?", "answer": "blue"})
    project.write("colours.jsonl", COLOURS + long + "\n")
    result = project.run("-rs")
    result.assert_outcomes(passed=2, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*does not fit the context of 48*"])
    assert [skip["item"] for skip in project.summary()["skipped"]] == ["long"]
    assert "long" not in {item for item, _ in project.computed()}


# -- writing one's own probe ----------------------------------------------------------------------------------------


def test_a_probe_reads_the_file_beside_its_module(project: Project) -> None:
    project.write("mine/test_colours.py", COLOUR_PROBE)
    project.write("mine/colours.jsonl", COLOURS)
    project.run("--probe-heads", CARRIER).assert_outcomes(passed=2, failed=1, xfailed=3)
    assert set(project.summary()["datasets"]) == {"colours"}


def test_a_probe_takes_any_iterable_of_items(project: Project) -> None:
    project.write(
        "test_mine.py",
        """
        import reasoning_probe as rp

        @rp.probe(rp.Item(question=f"What colour is the {word}?", answer="blue") for word in ("sky", "grass"))
        def test_blue_things(answer, item, ablation):
            assert item.question.startswith("What colour")
            assert ablation == "baseline"
            assert answer.correct
        """.replace("\n        ", "\n"),
    )
    project.run("-v").assert_outcomes(passed=1, failed=1)
    assert set(project.summary()["datasets"]) == {"blue_things"}
    assert project.computed() == {("q1", "baseline"), ("q2", "baseline")}


def test_a_probe_stands_among_ordinary_tests(project: Project) -> None:
    project.write("colours.jsonl", COLOURS.splitlines()[0])
    project.write(
        "test_colours.py",
        COLOUR_PROBE + "\ndef test_plain(): pass\n\nclass TestMine:\n    def test_in_class(self): assert 0\n",
    )
    result = project.run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E   *assert 0*"])


def test_a_test_may_be_parametrised_further(project: Project) -> None:
    project.write("colours.jsonl", COLOURS.splitlines()[0])
    project.write(
        "test_colours.py",
        COLOUR_PROBE.replace("@rp", "import pytest\n@pytest.mark.parametrize('n', [1, 2])\n@rp").replace(
            "(answer)", "(answer, n)"
        ),
    )
    project.run("--probe-heads", CARRIER).assert_outcomes(passed=2, xfailed=2)
    assert len(project.outcomes()) == 2


IN_MEMORY = """
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

@pytest.fixture(scope="session")
def probe_model():
    folder = {folder!r}
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
"""


@pytest.mark.parametrize("options", [[], ["--ablate-heads"]], ids=["baseline", "ablated"])
@pytest.mark.parametrize("place", ["conftest.py", "test_colours.py"])
def test_a_model_in_memory_takes_the_place_of_model(project: Project, place: str, options: list[str]) -> None:
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    file = project.path / place
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    file.write_text(IN_MEMORY.format(folder=str(project.model)) + before, encoding="utf-8")
    result = project.run("--model", "no/such-model", *options)
    result.stdout.fnmatch_lines(
        [
            "reasoning-probe: a model in memory, * items, * cases" if not options else "reasoning-probe: a model in *",
            "reasoning-probe: --model is not used: the fixture probe_model gives the model; leave one of them out",
        ]
    )
    result.assert_outcomes(passed=2 + 2 * 7 if options else 2, failed=1, xfailed=2 + 8 if options else 0)
    assert project.summary()["model"]["name"] == str(project.model)
    if options:
        result.stdout.fnmatch_lines(["reasoning-probe: *a model in memory*8 heads in 2 layers, 3 items, 27 cases"])


def test_a_fixture_that_yields_its_model_is_cleaned_up(project: Project) -> None:
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    text = IN_MEMORY.format(folder=str(project.model)).replace("return", "yield") + "    open('closed', 'w').close()\n"
    project.write("conftest.py", text)
    project.run("--probe-heads", CARRIER, "-k", "sky").assert_outcomes(passed=1, xfailed=1, deselected=4)
    assert (project.path / "closed").exists()


def test_a_fixture_of_another_plugin_takes_the_place_of_ours(project: Project) -> None:
    project.write("mine.py", "import pytest\n@pytest.fixture\ndef item(): return 'mine'\n")
    project.write("conftest.py", "pytest_plugins = ['mine']\n")
    project.write("test_item.py", "def test_item(item): assert item == 'mine'\n")
    project.pytester.syspathinsert()
    project.run().assert_outcomes(passed=1)


# -- what is printed ------------------------------------------------------------------------------------------------


def test_the_header_says_what_will_run(project: Project) -> None:
    project.probe("logic")
    result = project.run("--ablate-heads", "-k", "max or mia")
    result.stdout.fnmatch_lines([f"reasoning-probe: {project.model}, 8 heads in 2 layers, 2 items, 18 cases"])


def test_the_summary_fits_eighty_columns(project: Project) -> None:
    project.probe("logic")
    lines = project.run("--ablate-heads").outlines
    first = next(index for index, line in enumerate(lines) if re.fullmatch("=+ reasoning-probe =+", line))
    summary = lines[first + 1 :][: next(index for index, line in enumerate(lines[first + 1 :]) if line.startswith("="))]
    assert summary[0].startswith("logic    75 %")
    assert any(line.startswith(CARRIER) and "3 lost, 1 won" in line for line in summary)
    assert all(len(line) <= 80 for line in summary)


def test_q_lists_bare_tests_and_says_nothing_of_progress(project: Project) -> None:
    project.probe("logic")
    project.run("--co", "-q").stdout.no_fnmatch_line("reasoning-probe:*")
    project.run("-q").stdout.no_fnmatch_line("reasoning-probe:*")


def test_progress_is_an_occasional_line_where_there_is_no_terminal(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoning_probe.pytest_plugin.progress.LINE_EVERY_S", 0.0)
    project.write(
        "test_sweep.py",
        "from reasoning_probe.pytest_plugin.progress import progress_bar\n"
        "def test_sweep(pytestconfig):\n"
        "    with progress_bar(pytestconfig) as progress:\n"
        "        progress(2, 8), progress(8, 8)\n",
    )
    lines = [line for line in project.run().outlines if line.startswith("reasoning-probe: ")]
    assert len(lines) == 1  # none for the last: the summary follows
    assert re.fullmatch(r"reasoning-probe: 2 of 8 cases, [\d.]+ a second, \d+ s left", lines[0])
    project.run("-q").stdout.no_fnmatch_line("*a second*")


def test_markers_options_and_fixtures_are_listed(project: Project) -> None:
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.probe(*", "@pytest.mark.ablated: *"])
    result = project.run("--help")
    result.stdout.fnmatch_lines(["reasoning-probe: *", "  --model*", "  --ablate-heads*", "  --probe-heads*"])
    result.stdout.fnmatch_lines(["  ablate_heads (bool):*", "  probe_dataset (linelist):*"])
    result = project.run("--fixtures")
    result.stdout.fnmatch_lines(["probe_model [[]session scope]*", "*override it to probe a model in memory.", "item*"])
