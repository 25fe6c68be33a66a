"""Every command and snippet in README and docs works.

Commands of pytest and of ``reasoning-probe`` run for real, reduced to seconds: on the bundled model, two items of each
dataset, a few tokens. Of benchmarks and other long programs every option must be one that they have.
"""

from __future__ import annotations

import configparser
import importlib
import io
import itertools
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from reasoning_probe.pytest_plugin.options import OPTIONS
from tests.helpers.project import ROOT, Project

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it
    import tomli as tomllib

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

TOOLS = {
    ".ci/run",
    "apt-get",
    "cd",
    "coverage",
    "export",
    "git",
    "lint-imports",
    "mypy",
    "pip",
    "pre-commit",
    "ruff",
    "sphinx-build",
    "tox",
    "twine",
}
"""Programs of others; what they do is theirs to test. ``.ci/run`` runs most of them."""

VALUES = {"-o", "--output", "--format", "--prune", "--min-accuracy", "--reference", "--max-drop"}
"""Options of ``reasoning-probe`` that take a value."""

SHELL = ("", "bash", "console", "sh", "shell")


@dataclass(frozen=True)
class Snippet:
    """A block of code on a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets() -> Iterator[Snippet]:
    for page in PAGES:
        for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
            if token.type in ("fence", "code_block") and token.map is not None:
                yield Snippet(page.name, token.map[0] + 1, token.info.strip(), token.content)


EVERY = list(snippets())


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a shell block in words, without comments, prompts, variables and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        for separator, part in itertools.groupby(words, lambda word: word in ("&&", "||", "|", ";")):
            command = list(part)
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                del command[0]
            if command and not separator:
                yield command[: next((index for index, word in enumerate(command) if word.startswith(">")), None)]


SHELL_COMMANDS = [
    (snippet, command) for snippet in EVERY if snippet.language in SHELL for command in commands(snippet.text)
]


def program(command: list[str]) -> list[str]:
    """Return *command* with its program's plain name: ``.venv/bin/pytest`` is pytest."""
    first = command[0].removeprefix(".venv/bin/")
    if first in ("python", "python3") and command[1:2] == ["-m"]:
        return command[2:]
    return [first, *command[1:]]


def ident(value: Any) -> str:
    return str(value) if isinstance(value, Snippet) else " ".join(value)[:60].replace("/", "\\")


def of(*names: str) -> list[tuple[Snippet, list[str]]]:
    """Return the commands of these programs, each once."""
    by_text: dict[str, tuple[Snippet, list[str]]] = {}
    for snippet, command in SHELL_COMMANDS:
        words = program(command)
        if words[0] in names:
            by_text.setdefault(shlex.join(words), (snippet, words[1:]))
    return list(by_text.values())


def test_every_command_is_one_that_is_tested() -> None:
    """A program that no test here knows would go untested for ever."""
    known = {"pytest", "reasoning-probe", "python", "venv", "ipykernel", "unshare", "ray", "build", *TOOLS}
    for snippet, command in SHELL_COMMANDS:
        words = program(command)
        assert words[0] in known or words[0].startswith("benchmarks.") or words[0] == ".", f"{snippet}: {command}"


@pytest.fixture
def clone(pytester: pytest.Pytester, planted_folder: Path) -> Path:
    """A folder with what a clone of the repository has for its users, and the files that commands name."""
    for name in ("probes", "examples"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, pytester.path / name, ignore=shutil.ignore_patterns("__pycache__", "reports"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, pytester.path)
    return pytester.path


DATA = {
    ".jsonl": "".join(f'{{"question": "What is {n} + 2?", "answer": "#### {n + 2}"}}\n' for n in (2, 3)),
    ".csv": "question,answer\nWhat is 2 + 2?,4\nWhat is 3 + 2?,5\n",
    ".txt": "Question: {question}\nAnswer:",
}


def reduced(words: list[str], folder: Path) -> list[str]:
    """Return the arguments of a pytest command so that it takes seconds and needs no hub, GPU or cluster."""
    arguments: list[str] = []
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    rest = iter(words)
    for word in rest:
        if word in ("--model", "--probe-model"):
            next(rest)
        elif word in ("--probe-items", "--probe-max-new-tokens", "--probe-device", "--probe-engine", "--probe-dtype"):
            next(rest)  # what is left takes the small default below
        elif word in ("-n", "--dist"):
            next(rest)  # one process
        elif word == "--probe-dataset":
            name, _, source = next(rest).partition("=")
            suffix = Path(source).suffix
            if suffix in DATA:
                (folder / Path(source).name).write_text(DATA[suffix], encoding="utf-8")
                arguments += [word, f"{name}={Path(source).name}"]
        elif word == "--probe-heads":  # the bundled model has 4 layers of 4 heads
            arguments += [word, re.sub(r"\d+", lambda number: str(int(number[0]) % 4), next(rest))]
        elif word == "--probe-template":
            source = Path(next(rest)).name
            (folder / source).write_text(DATA[".txt"], encoding="utf-8")
            arguments += [word, source]
        else:
            arguments.append(word)
    small = ["--model=tiny-reasoner", "--probe-items", "2", "--probe-max-new-tokens", "4", "--probe-cache=off"]
    return [*arguments, *small, *(f"-pno:{name}" for name in ("hypothesispytest", "cacheprovider", "randomly"))]


@pytest.mark.parametrize(("snippet", "words"), of("pytest"), ids=ident)
def test_commands_of_pytest(snippet: Snippet, words: list[str], clone: Path, pytester: pytest.Pytester) -> None:
    if any(word.startswith("tests") for word in words):
        for word in words:
            assert word.startswith("-") or word.isdigit() or (ROOT / word.split("::")[0]).exists(), snippet
        return
    if "--probe-reference" in words and "--probe-update-reference" not in words:  # what it is held to is made first
        first = [word for word in reduced(words, clone) if not word.startswith("--probe-min")]
        pytester.runpytest_inprocess(*first, "--probe-update-reference", "--probe-dir=first")
    if "--probe-fresh-items" in words:  # the run whose items are left out is made first
        folder = words[words.index("--probe-fresh-items") + 1]
        pytester.runpytest_inprocess(*words[:1], "--probe-items=1", f"--probe-dir={folder}", "--probe-cache=off")
    result = pytester.runpytest_inprocess(*reduced(words, clone))
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), snippet
    outcomes = result.parseoutcomes()
    assert {"passed", "failed", "xfailed"} & outcomes.keys(), snippet
    assert "errors" not in outcomes, snippet


ASKING = [
    (snippet, words)
    for snippet, words in of("pytest")
    if any(word.startswith("--probe-items") for word in words) and not any(word.startswith("tests") for word in words)
]


@pytest.mark.parametrize(("snippet", "words"), ASKING, ids=ident)
def test_there_are_as_many_items_as_commands_ask_for(
    snippet: Snippet, words: list[str], clone: Path, pytester: pytest.Pytester
) -> None:
    """The commands above are reduced to two items; files and hubs are the reader's and may hold any number."""
    rest = iter([part for word in words for part in (word.split("=", 1) if word.startswith("--probe-i") else [word])])
    arguments = ["--collect-only", "-q", "-pno:cacheprovider", "-pno:randomly"]
    for word in rest:
        if word == "--probe-items":
            arguments += [word, number := next(rest)]
            number = number.partition("@")[0]
        elif word == "--probe-dataset":
            name, _, source = next(rest).partition("=")
            if Path(source).suffix:
                (clone / "many.jsonl").write_text(
                    "".join(f'{{"question": "Say {n}", "answer": "{n}"}}\n' for n in range(1000)), encoding="utf-8"
                )
                source = "many.jsonl"
            arguments += [word, f"{name}={source}"]
        elif not word.startswith("-") and (clone / word).exists():
            arguments.append(word)
    result = pytester.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.OK, snippet
    assert result.parseoutcomes()["tests" if int(number) > 1 else "test"] >= int(number), snippet


CLI = "show", "report", "compare", "merge", "export", "gate", "cache"


@pytest.mark.parametrize(("snippet", "words"), of("reasoning-probe"), ids=ident)
def test_commands_of_reasoning_probe(snippet: Snippet, words: list[str], project: Project, capsys: Any) -> None:
    """Folders that a command names are runs of the planted model, two of them divided where shards are merged."""
    from reasoning_probe.cli import main

    assert words[0] in CLI, snippet
    project.probe("logic", *(["arithmetic"] if words[0] == "gate" else []))  # whose limits are named
    named = [word for word in words[1:] if not word.startswith("-") and words[words.index(word) - 1] not in VALUES]
    for number, folder in enumerate(named, start=1):
        shard = [f"--probe-shard={number}/{len(named)}"] if words[0] == "merge" else []
        project.run("--probe-heads=L1H2", f"--probe-dir={folder}", *shard)
    assert main(words) in (0, 1), capsys.readouterr().err


def options_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


@pytest.mark.parametrize(
    ("snippet", "words"),
    [(s, program(c)) for s, c in SHELL_COMMANDS if program(c)[0].startswith("benchmarks.")],
    ids=ident,
)
def test_benchmarks_have_the_options_that_are_named(
    snippet: Snippet, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(words[0])
    monkeypatch.setattr(sys, "argv", [words[0], "--help"])
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert options_of(" ".join(words)) <= options_of(output.getvalue()), snippet


@pytest.mark.parametrize(("snippet", "words"), of("python"), ids=ident)
def test_scripts_that_are_run_exist(snippet: Snippet, words: list[str]) -> None:
    assert (ROOT / words[0]).is_file(), snippet


@pytest.mark.parametrize(("snippet", "words"), of("pip"), ids=ident)
def test_what_pip_is_asked_to_install_is_there(snippet: Snippet, words: list[str]) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for word in words:
        for extra in re.findall(r"(?:^\.|reasoning-probe)\[([\w,-]+)\]", word):
            assert set(extra.split(",")) <= extras.keys(), snippet


@pytest.mark.parametrize("snippet", [s for s in EVERY if s.language in ("toml", "ini", "json", "yaml")], ids=str)
def test_files_can_be_read_and_ini_options_exist(snippet: Snippet) -> None:
    known = {option.ini for option in OPTIONS}
    if snippet.language == "json":
        json.loads(snippet.text)
    elif snippet.language == "yaml":
        yaml = pytest.importorskip("yaml")
        assert yaml.safe_load(snippet.text), snippet
    else:
        if snippet.language == "toml":
            settings = tomllib.loads(snippet.text).get("tool", {}).get("pytest", {}).get("ini_options", {})
        else:
            parser = configparser.ConfigParser()
            parser.read_string(snippet.text)
            settings = dict(parser["pytest"]) if "pytest" in parser else {}
        assert {name for name in settings if name.startswith(("probe_", "ablat"))} <= known, snippet


@pytest.mark.parametrize("snippet", [s for s in EVERY if s.language in ("python", "pycon")], ids=str)
def test_python_snippets_run(
    snippet: Snippet, pytester: pytest.Pytester, planted_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in set(re.findall(r"[\w.-]+\.(?:jsonl|csv)", snippet.text)):
        (pytester.path / name).write_text(DATA[Path(name).suffix], encoding="utf-8")
    if re.search(r"^\s*(def test_|@rp\.probe|@pytest\.)", snippet.text, re.MULTILINE):
        name = "conftest.py" if "def test_" not in snippet.text else "test_snippet.py"
        (pytester.path / name).write_text(snippet.text, encoding="utf-8")
        if name == "conftest.py":
            (pytester.path / "test_nothing.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
        result = pytester.runpytest_inprocess("--probe-max-new-tokens=4", "--probe-cache=off", "-pno:randomly")
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), snippet
        assert "errors" not in result.parseoutcomes(), snippet
        return
    import reasoning_probe as rp
    from reasoning_probe.models import loading

    loaded = loading.load_model(loading.resolve_model("tiny-reasoner"))
    known = {"rp": rp, "model": loaded.model, "tokenizer": loaded.tokenizer, "__name__": "__main__"}
    exec(compile(snippet.text, str(snippet), "exec"), known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


FOLDERS = "reasoning_probe", "tests", "docs", "benchmarks", "training", "examples", "probes", ".ci", ".github"
CODE = re.compile(r"`([\w./-]+(?:/|\.(?:py|md|json|jsonl|ini|toml|txt|cff|yml)))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_repository_that_are_named_exist(page: Path) -> None:
    for path in CODE.findall(page.read_text(encoding="utf-8")):
        assert path.split("/")[0] not in FOLDERS or (ROOT / path).exists(), f"{page.name} names {path}"


def test_files_that_contributors_are_sent_to_exist() -> None:
    """In the table of what to change where, a path starts in its column's folder, or in that of the path before it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [row.split("|")[2:4] for row in text.partition("| to change |")[2].partition("\n\n")[0].splitlines()[2:]]
    assert len(rows) > 15
    for row in rows:
        for cell, start in zip(row, ("reasoning_probe", "tests/unit"), strict=True):
            folder = ROOT / start
            for path in CODE.findall(cell):
                tops = folder, ROOT / start, ROOT
                named = next((top / path for top in tops if (top / path).exists()), None)
                assert named is not None, f"CONTRIBUTING.md names {path}"
                if "/" in path.rstrip("/"):
                    folder = named if named.is_dir() else named.parent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_rows_of_tables_have_as_many_cells_as_the_head(page: Path) -> None:
    """A bar in a cell begins the next one, in code, too, and what is over at the end is not shown."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for token in MarkdownIt().enable("table").parse("\n".join(lines)):
        if token.type == "table_open" and token.map is not None:
            bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[slice(*token.map)] if line.strip()]
            assert set(bars) == {bars[0]}, f"{page.name}:{token.map[0] + 1}"
