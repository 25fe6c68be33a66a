"""Write the pages that are made from the code: options, files, and the list of modules in architecture.md.

Run ``python docs/tools/generate.py`` after a change of an option, of a JSON Schema or of a module's docstring;
``tests/project/test_docs_up_to_date.py`` fails where a page differs from what this script writes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasoning_probe.pytest_plugin.options import OPTIONS, Option
from reasoning_probe.results.schema import OUTCOME, RUN, schema

DOCS = Path(__file__).parents[1]
PACKAGE = DOCS.parent / "reasoning_probe"

OPTIONS_HEAD = """# Options

This page is made from the parser by `python docs/tools/generate.py`. Every option can also be set in the ini file,
`[tool.pytest.ini_options]` or `pytest.ini`, under the name in the last column; the command line overrides the ini file.
There a flag takes `true`, and an option that may be given several times takes one value a line.

| option | meaning | ini |
| --- | --- | --- |
"""


def options_page() -> str:
    """Return the page of options, a row each, in the parser's order."""
    return OPTIONS_HEAD + "".join(_option_row(option) for option in OPTIONS)


def _option_row(option: Option) -> str:
    value = f" {option.metavar}" if option.metavar else ""
    names = ", ".join(f"`{flag}{value}`" for flag in option.flags).replace("|", "\\|")  # ends a cell in code, too
    default = f" (default: `{option.default}`)" if option.default else ""
    meaning = " ".join(option.help.split()).replace("|", "\\|")
    return f"| {names} | {meaning}{default} | `{option.ini}` |\n"


FILES_HEAD = """# Files

This page lists the keys of `run.json` and `outcomes.jsonl`. It is made from their JSON Schemas by
`python docs/tools/generate.py`. The schemas come with the package, `reasoning_probe/results/schemas/run.schema.json`
and `outcome.schema.json` (draft 2020-12); in Python they are `reasoning_probe.results.schema.schema("run")` and
`schema("outcome")`. `reasoning-probe` checks every file that it reads against them first, and reports an error in one
line that names the place.

- Both files are UTF-8. `outcomes.jsonl` has one JSON object a line; no line break stands within a line, whatever a
  model wrote.
- `schema_version` is {version}. It rises when a key is removed or changes its meaning; a run of another version is
  refused. Keys may be added without that, so readers ignore keys that they do not know.
- There is no `NaN` and no infinity: an unknown value is `null`. Whole numbers are written as such (`8`, never `8.0`)
  and are below 2^53.
- Below, `?` marks a key that may be missing, `[]` the entries of a list, `*` a name of the run's own: a dataset's, an
  ablation's, a category's.
"""


def files_page() -> str:
    """Return the page of the keys of the run's files, a row each."""
    version = schema(RUN)["properties"]["schema_version"]["const"]
    parts = [FILES_HEAD.format(version=version)]
    for name, file in ((RUN, "run.json"), (OUTCOME, "outcomes.jsonl")):
        root = schema(name)
        parts.append(f"\n## {file}\n\n{root['description']}\n\n| key | holds | meaning |\n| --- | --- | --- |\n")
        parts += [f"| `{key}` | {types} | {meaning} |\n" for key, types, meaning in _keys(root, root, "")]
    return "".join(parts)


def _keys(node: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Yield every key below *node* of the schema *root*, with its types and its meaning."""
    for name, entry in node.get("properties", {}).items():
        key = f"{path}.{name}" if path else name
        optional = "" if name in node.get("required", ()) else "?"
        yield key + optional, _types(entry, root), entry.get("description", "").replace("|", "\\|")
        yield from _keys(entry, root, key)
    for name, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        inner = node.get(name, {})
        if inner.get("properties"):
            yield from _keys(inner, root, path + suffix)


def _types(entry: dict[str, Any], root: dict[str, Any]) -> str:
    definition = root["$defs"][entry["$ref"].removeprefix("#/$defs/")] if "$ref" in entry else entry
    if "const" in definition:
        return f"`{definition['const']}`"
    names = [definition["type"]] if isinstance(definition["type"], str) else definition["type"]
    text = " or ".join(names)
    inner = definition.get("items") or definition.get("additionalProperties") or {}
    if inner and not inner.get("properties"):
        entries = _types(inner, root)
        text = text.replace("array", f"array of {entries}").replace("object", f"object of {entries}")
    if definition.get("maxItems") == 2:
        text = text.replace("array of", "two of")
    if definition.get("maximum") == 1:
        text += f", {definition['minimum']} to 1"
    return text


MODULES_MARK = "<!-- modules: written by python docs/tools/generate.py -->\n"
PACKAGES = (
    "pytest_plugin",
    "session",
    "report",
    "cluster",
    "analyses",
    "engine",
    "results",
    "scoring",
    "models",
    "data",
    "utils",
)
"""The packages in the order of the layers, the topmost first."""


def architecture_page() -> str:
    """Return architecture.md with a new list of modules behind its mark."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return text.partition(MODULES_MARK)[0] + MODULES_MARK + "".join(_modules())


def _modules() -> Iterator[str]:
    """Yield a heading for each package and a line for each of its modules, subpackages included."""
    yield "\n### The top of the package\n\n"
    yield from (_module_line(path, PACKAGE) for path in sorted(PACKAGE.glob("*.py")))
    for name in PACKAGES:
        folder = PACKAGE / name
        yield f"\n### `{name}/`\n\n{_first_sentence(folder / '__init__.py')}\n\n"
        paths = sorted(folder.rglob("*.py"), key=lambda path: (len(path.relative_to(folder).parts), path))
        yield from (_module_line(path, folder) for path in paths if path != folder / "__init__.py")


def _module_line(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    if name.endswith("/__init__.py"):
        name = name.removesuffix("__init__.py")
    return f"- `{name}`: {_first_sentence(path)}\n"


def _first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring as Markdown."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    text = " ".join(docstring.partition("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)\s+(?=[A-Z`:])", text, maxsplit=1)[0]
    sentence = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", sentence)  # a reference of reStructuredText
    return sentence.replace("``", "`")


PAGES = {
    "reference/options.md": options_page,
    "reference/files.md": files_page,
    "architecture.md": architecture_page,
}
"""The name of each page below docs/ with the function that writes it."""

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
