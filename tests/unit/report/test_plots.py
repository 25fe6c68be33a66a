"""Pictures of a run: maps of heads, bars of layers, pies."""

from __future__ import annotations

import re

import pytest

from reasoning_probe.report.effects import columns_of
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB, Measure, category_shift
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.results.record import EffectRecord
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, fake_run
from tests.helpers.html_pages import Page


def effects(targets: list[str], layers: int = 4, heads: int = 4) -> list[EffectRecord]:
    run = as_run(fake_outcomes({"arithmetic": 20}, targets), layers=layers, heads=heads)
    return list(run.summary["targets"])


def picture(rows: list[EffectRecord], layers: list[int], heads: int, measure: Measure = ACCURACY) -> str:
    picture = plots.heatmap(
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
    assert columns_of(run.summary["targets"], 3) == ["H0", "H1", "H2", "KV0", "KV1", "MLP"]
    page = findings_html(run)
    assert 'data-columns="H0 H1 H2 KV0 KV1 MLP" data-layers="0 1 2 3"' in page
    assert "with one head, key/value group or MLP off" in page
    (row,) = [row for row in run.summary["targets"] if row["target"] == "L3MLP"]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page[page.index(">L3</th>") :])
    assert str(abs(round(100 * row["delta"]))) in cells[5]
    alone = as_run(fake_outcomes({"arithmetic": 20}, ["L0MLP", "L1MLP"]), layers=4, heads=3)
    assert columns_of(alone.summary["targets"], 3) == ["MLP"]
    assert "with one MLP off" in findings_html(alone)
    assert columns_of(as_run(fake_outcomes({"logic": 4}, ["L0"]), layers=4, heads=3).summary["targets"], 3) == []


def test_a_map_marks_significant_heads_by_shape() -> None:
    rows = [row for row in fake_run().summary["targets"] if row["dataset"] == "arithmetic"]
    dull = [row | {"p_discrete": 1.0} for row in rows]
    drawn, without = (picture(marked, [0, 1, 2, 3], 4).count("<use ") for marked in (rows, dull))
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
    means, whole = plots.layer_means(rows, range(4)), plots.whole_layers(rows, range(4))
    assert list(means) == [0, 1, 2, 3]
    assert list(whole) == [1]
    assert means[1] == pytest.approx(sum(row["delta"] for row in rows if row["target"].startswith("L1H")) / 4)
    Page(plots.layer_bars(means, whole, [0, 1, 2, 3], name="b", title="t", description="d").svg())


def test_a_pie_of_any_counts() -> None:
    for counts in ({"hallucination": 3}, {"$x$ <b>": 1, "incomplete": 999}):
        Page(plots.error_pie(counts, name="p", title="t", description="d").svg())
