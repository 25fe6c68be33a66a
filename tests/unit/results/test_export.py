"""CSV files of a run: no spreadsheet runs a text in them, and every text comes back."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_probe.results.export import csv_file
from tests.helpers.fake_runs import outcome


def test_no_text_in_a_csv_file_is_run_by_a_spreadsheet() -> None:
    harmless = ["-3", "+4.5", "-1,000.50", " -3", "8", ""]
    active = ["=1+1", "+cmd", "-x", "@sum", "\t=1", "\r=1", "'=1", "'", "- 4 = 2", " =1+1", '" =1', "\uff1d1", "\n+cmd"]
    texts = [*harmless, *active]
    rows = [outcome(response=text, answer=text).as_dict() for text in texts]
    text = csv_file("outcomes", rows).decode()
    cells = [row["response"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert [re.sub(r"(?<=[\n\t\r])'", "", cell) for cell in cells] == [*harmless, *(f"'{text}" for text in active)]
    assert ",-0.5," in text  # numbers are not quoted


FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"\s*[+-]?[0-9]+([.,][0-9]+)*\s*")


@pytest.mark.parametrize(
    "evil",
    [
        "a;=1+1;b",
        "a; =1+1",
        "a;\t=1",
        'a;"=1"',
        "a\n=cmd|' /C calc'!A0;b",
        "a\r\n+cmd",
        "a;@sum(1)",
        "a;-x",
        ";=1;;+2",
        "a;'=1",
        "-3;=1",
        "a;\uff1d1",
        "=1;=2",
        "a\t=1",
        " \n =1",
        ';""=1',
    ],
)
def test_no_text_in_a_csv_file_is_run_where_lines_are_split_at_semicolons(evil: str) -> None:
    file = csv_file("outcomes", [outcome(response=evil, answer=evil, question=evil).as_dict()]).decode()
    _, _, body = file.partition("\n")
    cells = [cell.strip('"') for cell in re.split("[;\t\r\n]", body)]
    assert [cell for cell in cells if FORMULA.match(cell) and not NUMBER.fullmatch(cell)] == []
    assert [cell for cell in next(csv.reader(io.StringIO(body, newline=""))) if FORMULA.match(cell)] == ["-0.5"]


@given(st.text(st.sampled_from("a1 \t\r\n;'\"=+-@,|\uff1d"), max_size=12))
def test_the_apostrophes_of_a_csv_file_can_be_taken_away(text: str) -> None:
    file = csv_file("outcomes", [outcome(response=text).as_dict()]).decode()
    (cell,) = [row["response"] for row in csv.DictReader(io.StringIO(file, newline=""))]
    without = re.sub(
        r"""([;\t\r\n][\s"]*)'(?='*[=+\-@\uff1d\uff0b\uff0d\uff20])""", r"\1", cell.removeprefix("'"), flags=re.ASCII
    )
    assert without == text
