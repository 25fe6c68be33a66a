"""The page says in words what keeps an answer independent of its batch."""

from __future__ import annotations

from typing import Any

import pytest

from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.report.numerics import numerics_sentence
from tests.helpers.fake_runs import fake_run


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (
            {"numerics": "invariant", "sampled": 8, "sampled_equal": 7},
            "bit for bit the same in any batch; each batch was checked. Of a sample of 8 responses, 7 equal plain"
            " generate's.",
        ),
        (
            {"numerics": "invariant", "unequal_batches": 2},
            "each batch was checked. Batches that failed the check and were settled: 2.",
        ),
        (
            {"numerics": "settle", "numerics_why": "not invariant: no interface", "settled_singly": 3},
            "Numerics settle (not invariant: no interface): answers are those of plain generate for one row; 3 rows too"
            " close to call in a batch ran alone.",
        ),
        (
            {"numerics": "batch", "canaries": 40, "canaries_changed": 1},
            "Noise alone changed 1 of 40 rows with nothing switched off (2 %, 95 % interval 0.4 % to 13 %).",
        ),
        ({"numerics": "batch"}, "Noise alone changed 0 of 0 rows with nothing switched off."),
    ],
)
def test_the_page_says_what_answers_depend_on(engine: dict[str, Any], words: str) -> None:
    run = fake_run()
    run.summary["engine"].update(engine)
    assert numerics_sentence(run).endswith(words)
    assert "Numerics " + engine["numerics"] in findings_html(run)


def test_older_runs_say_nothing_of_it() -> None:
    assert numerics_sentence(fake_run()) == ""
