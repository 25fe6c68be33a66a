"""Tests of ``rp.sweep``, whose list of outcomes converts to tables, figures and a run's files."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure

import reasoning_probe as rp
from reasoning_probe.cli import main
from reasoning_probe.models.heads import find_heads
from reasoning_probe.report.html.notebook import notebook_html
from reasoning_probe.results.compare import compare
from reasoning_probe.results.export import columns, csv_file
from reasoning_probe.results.outcome import Choice
from reasoning_probe.results.run import write_run
from tests.helpers.fake_runs import as_run, fake_run, full_run, outcome
from tests.helpers.planted_model import CARRIER, DEFAULT, KNOWN, OTHERS, planted
from tests.helpers.weight_edit_oracle import edited

NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebooks" / "notebook.ipynb"
ITEMS = [rp.Item(question=f"Is {name} an animal?", answer=answer) for name, answer in (("Max", "yes"), ("Rex", "no"))]


@pytest.fixture(scope="module")
def sweep() -> rp.Sweep:
    return rp.sweep(*planted(), ITEMS, "L1H2,L1H3,L0", "zero,mean", 4, dataset="animals")


def test_a_sweep_is_the_list_of_its_outcomes(sweep: rp.Sweep) -> None:
    assert isinstance(sweep, list)
    assert all(isinstance(outcome, rp.Outcome) for outcome in sweep)
    assert [(outcome.item, outcome.target, outcome.ablation) for outcome in sweep[:7]] == [
        ("q1", "baseline", None),
        *(("q1", target, ablation) for ablation in ("zero", "mean") for target in ("L1H2", "L1H3", "L0")),
    ]
    assert len(sweep) == 2 * 7
    assert sweep == list(sweep)
    assert repr(sweep) == "<Sweep: 14 outcomes, 2 items as they are and under 6 targets>"
    for twin in (copy.copy(sweep), pickle.loads(pickle.dumps(sweep))):
        assert (type(twin), twin, twin.run) == (rp.Sweep, sweep, sweep.run)


def test_a_sweep_is_a_run_and_its_files_come_back(sweep: rp.Sweep, tmp_path: Path) -> None:
    sweep.save(tmp_path / "run")
    assert rp.read_run(tmp_path / "run") == sweep.run
    assert "animals" in (tmp_path / "run" / "report.html").read_text("utf-8")
    summary = sweep.run.summary
    assert (summary["model"]["layers"], summary["model"]["heads"], summary["ablation"]) == (2, 4, "zero,mean")
    assert summary["reference"]["mean"]["datasets"]["animals"]["prompts"] == 2
    assert summary["generation"] == {"animals": {"max_new_tokens": 4, "stop": ["Question:"]}}
    assert {row["target"] for row in summary["targets"]} == {"L1H2", "L1H3", "L0"}


def test_tables_hold_the_outcomes_and_the_targets(sweep: rp.Sweep) -> None:
    table = sweep.to_dataframe()
    assert list(table.columns) == list(sweep[0].as_dict())
    for one, row in zip(sweep, table.to_dict("records"), strict=True):
        row["tags"] = json.loads(row["tags"])  # what holds several values is JSON's text
        assert {name: None if value is pd.NA else value for name, value in row.items()} == one.as_dict()
    chosen = as_run([outcome(choices=(Choice("a", -1.5), Choice("b", None)))]).to_dataframe()["choices"][0]
    assert json.loads(chosen) == [{"text": "a", "logprob": -1.5}, {"text": "b", "logprob": None}]
    targets = sweep.to_dataframe("targets")
    for row, values in zip(sweep.run.summary["targets"], targets.to_dict("records"), strict=True):
        assert (values["target"], values["delta"], values["p_adjusted"]) == (
            row["target"],
            row["delta"],
            row["p_adjusted"],
        )
        assert (values["delta_ci95_low"], values["delta_ci95_high"]) == tuple(row["delta_ci95"])
        assert json.loads(values["shift"]) == row["shift"]
    with pytest.raises(ValueError, match="unknown table 'heads': use outcomes or targets"):
        sweep.to_dataframe("heads")  # type: ignore[arg-type]


def test_tables_are_of_one_type_whatever_is_in_them() -> None:
    for run in (as_run([]), as_run([outcome(answer_logprob=None, item="\ud800")]), full_run(items=2)):
        for name in ("outcomes", "targets"):
            assert {column: str(dtype) for column, dtype in run.to_dataframe(name).dtypes.items()} == columns(name)
    assert columns("outcomes")["correct"] == "bool"
    assert columns("targets")["flips_to_wrong"] == "Int64"


def test_the_map_of_heads_is_a_figure(sweep: rp.Sweep) -> None:
    figure = sweep.heatmap()
    assert isinstance(figure, Figure)
    cells, bar = (axes.images[0] for axes in figure.axes)
    limit = cells.get_clim()[1]
    assert cells.get_clim() == bar.get_clim() == (-limit, limit)  # centred on no change
    values = cells.get_array()
    assert values.shape == (2, 4)
    deltas = {row["target"]: 100 * row["delta"] for row in sweep.run.summary["targets"] if row["ablation"] == "zero"}
    assert (values[1, 2], values[1, 3]) == (deltas["L1H2"], deltas["L1H3"])
    assert values.mask.tolist() == [[True] * 4, [True, True, False, False]]
    logprob = sweep.heatmap("logprob", "mean").axes[0].images[0].get_array()
    rows = {row["target"]: row["delta_logprob"] for row in sweep.run.summary["targets"] if row["ablation"] == "mean"}
    assert logprob[1, 2] == pytest.approx(rows["L1H2"])
    assert figure._repr_png_().startswith(b"\x89PNG")  # shown by a notebook without pyplot


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ((), {}, "nothing was switched off"),
        ("L0", {}, "no single head was switched off"),
        ("L1H2", {"measure": "loss"}, "unknown measure 'loss': use accuracy or logprob"),
        ("L1H2", {"ablation": "mean"}, "no target was measured with the ablation 'mean': use zero"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_one_line(targets: str, options: dict[str, str], message: str) -> None:
    swept = rp.sweep(*planted(), ITEMS[:1], targets, max_new_tokens=4)
    with pytest.raises(ValueError, match=message):
        swept.heatmap(**options)  # type: ignore[arg-type]


def test_a_notebook_shows_what_was_found(sweep: rp.Sweep) -> None:
    html = sweep._repr_html_()
    assert html.count("<svg") == 2  # one for each ablation, as pictures
    assert "animals, zero ablation" in html
    assert all(target in html for target in ("L1H2", "L1H3", "L0"))
    assert "<script" not in html
    ids = [part.split('"')[0] for both in (html, sweep._repr_html_()) for part in both.split(' id="')[1:]]
    assert len(set(ids)) == len(ids)
    assert html.count("<iframe ") == 1
    assert 'sandbox="allow-scripts"' in html
    text = notebook_html(fake_run())
    assert "2 of 16 heads matter for arithmetic" in text
    assert rp.sweep(*planted(), ITEMS[:1], (), max_new_tokens=4)._repr_html_().startswith("<div><p><strong>")


def test_a_notebook_shows_hostile_names_as_they_are() -> None:
    hostile = "<script>alert(1)</script>"
    html = notebook_html(as_run([outcome(hostile), outcome(hostile, target="L0H0"), outcome(hostile, target=hostile)]))
    assert "<script" not in html


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path, as_run([outcome(), outcome(response=' a,"b"\r\n\ud800;\x00', target="L0H0", answer=None)]))
    return tmp_path


def test_export_writes_tables_that_pandas_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rp.read_run(folder)
    assert main(["export", str(folder), "--format", "parquet"]) == 0
    assert main(["export", str(folder), "--format", "csv"]) == 0
    assert main(["export", str(folder), "--format", "csv", "--table", "targets", "-o", str(folder / "t.csv")]) == 0
    assert capsys.readouterr().out.split() == [
        str(folder / name) for name in ("outcomes.parquet", "outcomes.csv", "t.csv")
    ]
    expected = run.to_dataframe()
    assert expected["response"][1] == ' a,"b"\r\n\\ud800;\x00'
    assert b"\x00" in (folder / "outcomes.csv").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "outcomes.parquet"), expected)
    read = pd.read_csv(folder / "outcomes.csv", dtype=columns("outcomes"), keep_default_na=False, na_values=[""])
    if int(pd.__version__.split(".")[0]) < 3:  # older versions read a field only up to a NUL
        expected["response"] = expected["response"].str.split("\0").str[0].astype(expected["response"].dtype)
    pd.testing.assert_frame_equal(read, expected)
    assert pd.read_csv(folder / "t.csv")["target"].tolist() == ["L0H0"]


@pytest.mark.parametrize(
    ("gone", "what"), [("pandas", "a data frame needs pandas"), ("pyarrow", "Parquet needs pyarrow")]
)
def test_a_missing_package_is_one_line_that_names_the_extra(
    folder: Path, gone: str, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, gone, None)
    assert main(["export", str(folder), "--format", "parquet"]) == 2
    assert capsys.readouterr().err == f"reasoning-probe: {what}: pip install 'reasoning-probe[export]'\n"
    assert main(["export", str(folder), "--format", "csv"]) == 0
    if gone == "pandas":
        with pytest.raises(ImportError, match="needs pandas: pip install"):
            rp.read_run(folder).to_dataframe()


def test_export_names_what_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(folder), "--format", "csv", "-o", str(folder / "none" / "t.csv")]) == 2
    assert capsys.readouterr().err.startswith("reasoning-probe: cannot write")
    with pytest.raises(SystemExit):
        main(["export", str(folder), "--format", "xlsx"])


def test_nothing_heavy_is_imported_for_the_files() -> None:
    code = (
        "import sys, reasoning_probe as rp\n"
        "from reasoning_probe.cli import main\n"
        "rp.read_run, rp.Run, rp.Item\n"
        "print(sorted({'torch', 'transformers', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_rows_are_a_head() -> None:
    assert csv_file("outcomes", []).decode().split() == [",".join(columns("outcomes"))]


def test_the_example_notebook_runs_and_was_kept_as_it_ran() -> None:
    saved = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(saved)
    cells = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert NOTEBOOK.stat().st_size < 400_000  # with a whole page in a frame
    imported = [line for cell in cells for line in cell.source.splitlines() if line.startswith(("import ", "from "))]
    assert [line for line in imported if "reasoning_probe" in line] == ["import reasoning_probe as rp"]
    assert "site-packages" not in NOTEBOOK.read_text("utf-8")  # no warnings with paths of the machine that ran it
    fresh = copy.deepcopy(saved)
    nbclient.NotebookClient(fresh, timeout=300, kernel_name="python3").execute()
    for cell in fresh.cells:
        if cell.cell_type == "code":
            assert not [output for output in cell.outputs if output.output_type == "error"]
    for before, after in zip(saved.cells, fresh.cells, strict=True):
        assert output_kinds(before) == output_kinds(after)


def output_kinds(cell: nbformat.NotebookNode) -> list[tuple[str, tuple[str, ...]]]:
    """Return the types of a cell's outputs; its numbers may differ in the last digits between machines.

    Warnings are left out: some machines lack what draws progress bars in notebooks.
    """
    outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return [(output.output_type, tuple(sorted(output.get("data", ())))) for output in outputs]


def test_a_head_that_a_second_model_lost_is_what_the_comparison_names() -> None:
    """The second model is the first with one head's weights set to zero, so that its ablation has no effect."""
    model, tokenizer = planted()
    site = find_heads(model).attention_layers[1]
    names = [name for name, answer in KNOWN.items() if answer != DEFAULT and not name.isdigit()]
    names += [f"{first} {second}" for first in names for second in names][: 12 - len(names)]
    items = [rp.Item(question=f"Is {name} an animal?", answer="yes") for name in names]
    runs = [
        rp.sweep(one, tokenizer, items, [CARRIER, *OTHERS[:3]], max_new_tokens=4).run
        for one in (model, edited(model, site.path, site.heads, [2]))
    ]
    comparison = compare((Path("a"), runs[0]), (Path("b"), runs[1]))
    (change,) = [target for target in comparison.targets if target.significant]
    assert change.target == comparison.targets[0].target == CARRIER
    assert (change.second, change.change.mean) == (0.0, -change.first)
    lost = [each for each in comparison.changed if each.what == "lost"]
    assert len(lost) == round(-change.first * len(items)) >= 6
