"""The figures as files: the page's own pictures, under names that no dataset can lead astray."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib import image

from reasoning_probe.report.figures.run_figures import write_figures
from reasoning_probe.report.html.page import standalone_page
from tests.helpers.fake_runs import as_run, fake_outcomes, full_run, outcome
from tests.helpers.project import Project

SVG = "{http://www.w3.org/2000/svg}"


def test_the_files_are_the_pages_pictures(tmp_path: Path) -> None:
    run = full_run()
    page = standalone_page(run)
    written = write_figures(tmp_path / "new" / "figures", run)
    assert sorted(written) == sorted((tmp_path / "new" / "figures").iterdir())
    drawn = [path for path in written if path.suffix == ".svg"]
    assert len(drawn) == page.count('<svg role="img"')  # the graph of paths is no picture: it leads to items
    assert {"arithmetic-accuracy", "arithmetic-logprob", "arithmetic-curve", "arithmetic-layers", "mistakes"} <= {
        path.stem for path in drawn
    }
    assert "gsm8k-accuracy" not in {path.stem for path in drawn}  # nothing right, nothing to lose
    for path in drawn:
        svg = path.read_text("utf-8")
        assert svg.strip().replace(' xmlns="http://www.w3.org/2000/svg"', "") in page
        root = ET.fromstring(svg)
        assert (root.tag, root.find(f"{SVG}title") is not None) == (f"{SVG}svg", True)
        height, width, _ = image.imread(path.with_suffix(".png")).shape
        size = [float(str(root.get(side))) for side in ("width", "height")]  # in points, of which an inch has 72
        assert (width / size[0], height / size[1]) == pytest.approx((150 / 72, 150 / 72), rel=0.02)


def test_no_name_leads_out_of_the_folder_or_replaces_another(tmp_path: Path) -> None:
    names = ["../../etc", "a b", "a/b", "a\x00b", "ü" * 300, ""]
    outcomes = fake_outcomes(dict.fromkeys(names, 2), ["L0H0"], noise=1.0)
    written = write_figures(tmp_path / "deep" / "figures", as_run(outcomes))
    assert len(set(written)) == len(written) >= 2 * 2 * len(names)
    assert {path.parent for path in written} == {tmp_path / "deep" / "figures"}
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["figures"]


def test_several_ablations_have_files_of_their_own(tmp_path: Path) -> None:
    outcomes = [outcome(), *(outcome(target="L0H0", ablation=ablation, answer="7") for ablation in ("zero", "mean"))]
    stems = {path.stem for path in write_figures(tmp_path, as_run(outcomes))}
    assert {"arithmetic-zero-accuracy", "arithmetic-mean-accuracy"} <= stems


def test_a_session_writes_them_on_request(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads", "L1H2")
    assert not (project.path / "reports" / "figures").exists()
    project.run("--probe-heads", "L1H2", "--probe-figures")
    names = {path.name for path in (project.path / "reports" / "figures").iterdir()}
    assert {"logic-accuracy.svg", "logic-accuracy.png", "logic-logprob.svg"} <= names


def test_a_folder_that_takes_no_figures_is_told(project: Project) -> None:
    project.probe("logic")
    project.write("reports/figures", "a file where the folder should be")
    result = project.run("--probe-heads", "L1H2", "--probe-figures")
    assert result.ret == 4
    result.stdout.fnmatch_lines(["*reasoning-probe: cannot write *figures: *"])
    assert project.outcomes()
