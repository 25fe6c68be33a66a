"""Pictures of a run: maps of heads, bars of layers, pies."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reasoning_probe.report.effects import columns_of, groups
from reasoning_probe.report.figures import plots
from reasoning_probe.report.figures.figure import SvgFigure
from reasoning_probe.report.figures.measures import ACCURACY, LOGPROB, Measure, category_shift
from reasoning_probe.report.figures.run_figures import GroupFigures
from reasoning_probe.report.html.findings import findings_html
from reasoning_probe.results.record import EffectRecord
from tests.helpers.fake_runs import as_run, every_head, fake_outcomes, fake_run
from tests.helpers.html_pages import Page


def effects(targets: list[str], layers: int = 4, heads: int = 4) -> list[EffectRecord]:
    run = as_run(fake_outcomes({"arithmetic": 20}, targets), layers=layers, heads=heads)
    return list(run.summary["targets"])


def picture(rows: list[EffectRecord], layers: list[int], heads: int, measure: Measure = ACCURACY) -> str:
    return map_of(rows, layers, heads, measure).svg()


def map_of(rows: list[EffectRecord], layers: list[int], heads: int, measure: Measure = ACCURACY) -> SvgFigure:
    return plots.heatmap(
        rows,
        layers,
        [f"H{head}" for head in range(heads)],
        measure=measure,
        name="x",
        title="A <title>",
        description="described",
    )


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


def test_zero_has_the_colour_of_the_page_and_effects_stand_out_on_any() -> None:
    rows = [row | {"delta": change} for row, change in zip(effects(["L0H0", "L0H1"]), (0.0, -0.5), strict=True)]
    figure = map_of(rows, [0], 2).figure
    (cells,) = figure.axes[0].images
    zero, worst = cells.to_rgba(cells.get_array())[0]
    assert zero[3] < 0.01
    assert worst[3] == 1
    for background in (0.0, 1.0):  # the page's, dark and light
        assert abs(worst[:3] - background).max() > 0.5


def test_a_colour_bar_has_a_number_at_each_end() -> None:
    rows = [row | {"delta": change} for row, change in zip(effects(["L0H0", "L0H1"]), (0.125, -0.37), strict=True)]
    bar = map_of(rows, [0], 2).figure.axes[1]
    assert [label.get_text() for label in bar.get_yticklabels()] == ["-37", "0", "+37"]
    low, high = bar.get_ylim()
    assert list(bar.get_yticks()) == [low, 0, high]


def test_a_map_that_cannot_be_tested_is_pale_and_says_so() -> None:
    run = as_run([replace(case, correct=True) for case in fake_outcomes({"logic": 5}, noise=0.3)])
    figures = GroupFigures(run, groups(run)[0], 0)
    assert figures.untestable(ACCURACY) == figures.untestable(LOGPROB) == "too few items to test"
    svg = figures.heatmap(ACCURACY, "a").svg()
    assert "too few items to test" in re.sub("<[^>]*>|\n", "", svg)
    cells = figures.heatmap(ACCURACY, "a").figure.axes[0].images[0]
    assert cells.to_rgba(cells.get_array())[..., 3].max() < 0.5
    enough = GroupFigures(fake_run(), groups(fake_run())[0], 0)
    assert enough.untestable(ACCURACY) == ""


def test_a_map_with_few_columns_is_wider_than_high() -> None:
    wide = plots.heatmap([], [0, 1], ["H0", "H1"], measure=ACCURACY, name="x", title="t", description="d", wide=True)
    _, _, width, height = map(float, re.findall(r'data-grid="([^"]*)"', wide.attributes)[0].split())
    assert width == 2 * height


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
