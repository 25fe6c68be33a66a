"""The last run's page and files stay as they are, byte for byte, where a session asks nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.planted_model import COLOUR_PROBE, COLOURS
from tests.helpers.project import Project


@pytest.fixture(scope="module")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a project with a finished run, which the first test that needs it makes."""
    return tmp_path_factory.mktemp("finished") / "project"


@pytest.fixture
def finished(project: Project, finished_folder: Path) -> Project:
    """A project with a finished run."""
    if not finished_folder.exists():
        project.write("test_colours.py", COLOUR_PROBE)
        project.write("colours.jsonl", COLOURS)
        project.run("--probe-heads=L1H2", "--probe-figures", page=True)
        shutil.copytree(project.path, finished_folder)
    else:
        shutil.copytree(finished_folder, project.path, dirs_exist_ok=True)
    return project


def files(project: Project) -> dict[str, tuple[bytes, int]]:
    folder = project.path / "reports"
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


LISTINGS: tuple[tuple[str, ...], ...] = (
    ("--fixtures",),
    ("--fixtures", "-v"),
    ("--fixtures-per-test",),
    ("--setup-plan",),
    ("--setup-only",),
    ("--setup-plan", "--probe-heads=L1H2"),
    ("--setup-only", "--probe-heads=L1H2", "--probe-min-accuracy=1"),
    ("--setup-only", "--probe-granularity=head"),
    ("--collect-only",),
    ("--collect-only", "-q", "--ablate-heads"),
    ("--help",),
    ("--version",),
    ("-VV",),
    ("--markers",),
    ("--cache-show",),
    ("--cache-clear", "--collect-only"),
    ("--trace-config", "--collect-only"),
)


@pytest.mark.parametrize("options", LISTINGS, ids=" ".join)
def test_a_listing_touches_no_file_and_loads_no_model(
    finished: Project, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("reasoning_probe.models.loading.load_model", refuse)
    before = files(finished)
    assert {"run.json", "outcomes.jsonl", "report.html"} < before.keys()
    result = finished.run(*options, page=True)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str() + result.stderr.str()
    assert "Traceback (most" not in result.stdout.str() + result.stderr.str()
    assert files(finished) == before


@pytest.mark.parametrize("options", LISTINGS, ids=" ".join)
def test_a_listing_makes_no_folder(project: Project, options: tuple[str, ...]) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", COLOURS)
    project.run(*options, page=True)
    assert not (project.path / "reports").exists()


FAILED_STARTS = {
    "a bad option": ("", "--probe-items=x"),
    "an option that does not exist": ("", "--probe-nonsense"),
    "a model that is missing": ("", "--model=no/such-model"),
    "a model that is missing, with heads": ("", "--model=./nowhere", "--ablate-heads"),
    "a dataset that is missing": ("", "--probe-dataset=colours=gone.jsonl"),
    "a head that is missing": ("", "--probe-heads=L9H9"),
    "a reference that is missing": ("", "--probe-reference=gone.jsonl"),
    "a module that cannot be imported": ("raise ImportError('x')",),
    "a conftest that cannot be imported": ("", "-p", "no_such_plugin"),
    "a path that is missing": ("", "no_such_file.py"),
    "nothing selected": ("", "-k", "no_such_test"),
    "an internal error": (
        "",
        "-p",
        "broken",
    ),
    "Ctrl-C while tests are collected": ("raise KeyboardInterrupt",),
    "Ctrl-C before the first answer": (
        "import pytest\n@pytest.fixture(scope='session')\ndef probe_model():\n    raise KeyboardInterrupt",
    ),
    "the end before the first answer": (
        "import pytest\n@pytest.fixture(scope='session')\ndef probe_model():\n    pytest.exit('enough', returncode=2)",
    ),
}


@pytest.mark.parametrize("start", FAILED_STARTS)
def test_a_failed_start_touches_no_file(finished: Project, start: str) -> None:
    module, *options = FAILED_STARTS[start]
    if module:
        finished.write("test_a.py" if "fixture" not in module else "conftest.py", module)
    finished.write("broken.py", "def pytest_runtestloop():\n    raise ValueError('broken')\n")
    finished.pytester.syspathinsert()
    before = files(finished)
    result = finished.run(*options, page=True)
    assert result.ret != pytest.ExitCode.OK
    assert files(finished) == before


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_model_that_cannot_be_loaded_touches_no_file(finished: Project, options: tuple[str, ...]) -> None:
    before = files(finished)
    result = finished.run_apart("--model=no/such-model", *options, page=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert files(finished) == before
    result.stdout.fnmatch_lines(["reasoning-probe: no run was written: reports/run.json is from an earlier session"])


def test_a_failed_start_writes_no_first_page(project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", COLOURS)
    project.run("--model=no/such-model", page=True)
    assert not (project.path / "reports" / "report.html").exists()


def test_a_page_of_the_users_name_stays_too(finished: Project) -> None:
    page = Path("mine.html")
    finished.run(f"--html={page}", "--self-contained-html", page=True)
    before = (finished.path / page).read_bytes()
    finished.run(f"--html={page}", "--self-contained-html", "--model=no/such-model", page=True)
    assert (finished.path / page).read_bytes() == before


@pytest.mark.parametrize("listing", ["--collect-only", "--setup-plan", "--fixtures", "--fixtures-per-test"])
def test_a_listing_leaves_a_page_of_the_users_name(finished: Project, listing: str) -> None:
    """As where ``addopts`` names the page."""
    options = ("--html=mine.html", "--self-contained-html")
    finished.run(*options, page=True)
    before = (finished.path / "mine.html").read_bytes()
    assert finished.run(*options, listing, page=True).ret == pytest.ExitCode.OK
    assert (finished.path / "mine.html").read_bytes() == before


def test_without_any_run_the_page_of_failing_tests_is_written(project: Project) -> None:
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", COLOURS)
    project.write("conftest.py", "import pytest\n@pytest.fixture\ndef item():\n    raise KeyError('mine')\n")
    project.write("test_colours.py", COLOUR_PROBE.replace("(answer)", "(item, answer)"))
    project.run(page=True).assert_outcomes(errors=3)
    assert "KeyError" in (project.path / "reports" / "report.html").read_text(encoding="utf-8")
