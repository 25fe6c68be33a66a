"""Items that a second look asks: those from a place on, and those that a run did not ask."""

from __future__ import annotations

import json

import pytest

from reasoning_probe.data.generators import generate
from tests.helpers.project import Project
from tests.helpers.usage_errors import refused


def questions(project: Project, folder: str = "reports", dataset: str = "logic") -> list[str]:
    outcomes = project.outcomes(folder)
    return [each["question"] for each in outcomes if each["dataset"] == dataset and each["target"] == "baseline"]


def ids(project: Project, folder: str = "reports") -> list[str]:
    return [each["item"] for each in project.outcomes(folder)]


@pytest.mark.parametrize("spelling", ["4@6", "logic=4@6", " logic = 4@6 "])
def test_items_from_a_place_on_are_those_of_a_larger_run(project: Project, spelling: str) -> None:
    project.probe("logic")
    project.run(f"--probe-items={spelling}")
    assert questions(project) == [item.question for item in generate("logic", 10)[6:]]


@pytest.mark.parametrize("spelling", ["2@0", "2"])
def test_from_the_first_on_is_the_same_as_without(project: Project, spelling: str) -> None:
    project.probe("logic")
    project.run(f"--probe-items={spelling}")
    assert questions(project) == [item.question for item in generate("logic", 2)]


@pytest.fixture
def colours(project: Project) -> Project:
    lines = [{"question": f"Colour {number}?", "answer": "red"} for number in range(6)]
    project.write("colours.jsonl", "\n".join(map(json.dumps, lines)))
    project.write(
        "test_colours.py",
        "import reasoning_probe as rp\n\n\n@rp.probe('colours.jsonl')\ndef test_colours(answer):\n    pass\n",
    )
    return project


def test_a_file_is_read_from_the_place_on(colours: Project) -> None:
    colours.run("--probe-items=colours=2@3")
    assert ids(colours) == ["q4", "q5"]
    colours.run("--probe-items=9@4", "--probe-dir=rest")  # without a name a dataset that has fewer is asked whole
    assert ids(colours, "rest") == ["q5", "q6"]


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--probe-items=colours=3@4", "colours has 2 items from item 5 on, not 3: ask for fewer, or give it more"),
        ("--probe-items=2@6", "colours has 0 items from item 7 on, not 2: ask for fewer, or give it more"),
        ("--probe-items=2@", "argument --probe-items: '' is not a whole number from 0 on"),
        ("--probe-items=@2", "argument --probe-items: '' is not a whole number from 1 on"),
        ("--probe-items=colours=2@-1", "argument --probe-items: '-1' is not a whole number from 0 on"),
        ("--probe-items=2@1@1", "argument --probe-items: '1@1' is not a whole number from 0 on"),
        ("--probe-fresh-items=nowhere", "--probe-fresh-items: "),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(colours: Project, option: str, line: str) -> None:
    assert line in refused(colours.run(option))


def test_a_second_run_asks_what_the_first_did_not(colours: Project) -> None:
    colours.run("--probe-items=colours=4")
    colours.run("--probe-fresh-items=reports", "--probe-dir=second")
    assert ids(colours, "second") == ["q5", "q6"]
    colours.run("--probe-items=1", "--probe-fresh-items=reports", "--probe-dir=third")
    assert ids(colours, "third") == ["q5"]
    colours.run("--probe-dir=whole")
    line = refused(colours.run("--probe-fresh-items=whole", "--probe-dir=none"))
    assert "colours has 0 items that --probe-fresh-items leaves: ask for fewer, or give it more" in line


def test_generated_items_are_fresh_whatever_the_first_run_asked(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-items=3@1")
    project.run("--probe-items=4", "--probe-fresh-items=reports", "--probe-dir=second")
    first, second = questions(project), questions(project, "second")
    assert second == [item.question for item in generate("logic", 7) if item.question not in first][:4]
    assert not set(first) & set(second)


def test_shots_are_neither_asked_nor_lost(colours: Project) -> None:
    colours.run("--probe-items=colours=2@1", "--probe-shots=3")
    asked = {"Colour 1?", "Colour 2?"}
    assert set(colours.summary()["prompting"]["shot_questions"]["colours"]).isdisjoint(asked)
