"""The pages that are made from the code: ``python docs/tools/generate.py`` writes them, the tests hold them to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    pass
else:
    pass

from reasoning_probe.pytest_plugin.options import OPTIONS, Option
from reasoning_probe.results.schema import OUTCOME, RUN, schema

DOCS = Path(__file__).parents[1]

HEAD = """# Options

Made from the parser by `python docs/tools/generate.py`. Every option has an ini twin, for `[tool.pytest.ini_options]`
or `pytest.ini`; what the command line says wins. In the ini file a flag takes `true`, and an option that may be given
several times a line each.

| option | meaning | ini |
| --- | --- | --- |
"""


def options_page() -> str:
    """Return the page of options, a row each, in the parser's order."""
    return HEAD + "".join(_row(option) for option in OPTIONS)


def _row(option: Option) -> str:
    value = f" {option.metavar}" if option.metavar else ""
    names = ", ".join(f"`{flag}{value}`" for flag in option.flags).replace("|", "\\|")  # ends a cell in code, too
    default = f" (default: `{option.default}`)" if option.default else ""
    meaning = " ".join(option.help.split()).replace("|", "\\|")
    return f"| {names} | {meaning}{default} | `{option.ini}` |\n"


FILES_HEAD = """# Files

What `run.json` and `outcomes.jsonl` hold, made from their JSON Schemas by `python docs/tools/generate.py`. The schemas
come with the package, `reasoning_probe/schemas/run.schema.json` and `outcome.schema.json` (draft 2020-12); in Python
they are `reasoning_probe.results.schema.schema("run")` and `schema("outcome")`. What `reasoning-probe` reads is checked
by them first, and what is wrong is one line that names the place.

- Both files are UTF-8. `outcomes.jsonl` has one JSON object a line; no line break stands within a line, whatever a
  model wrote.
- `schema_version` is {version}. It rises when a key goes or changes its meaning; a run of another version is refused.
  Keys may come without that, so readers pass over those that they do not know.
- There is no `NaN` and no infinity: what is not known is `null`. Whole numbers are written as such (`8`, never `8.0`)
  and are below 2^53.
- Below, `?` marks a key that may be missing, `[]` the entries of a list, `*` a name of the run's own: a dataset's, an
  ablation's, a category's.
"""


def files_page() -> str:
    """Return the page of what the files hold, a row a key."""
    version = schema(RUN)["properties"]["schema_version"]["const"]
    parts = [FILES_HEAD.format(version=version)]
    for name, file in ((RUN, "run.json"), (OUTCOME, "outcomes.jsonl")):
        whole = schema(name)
        parts.append(f"\n## {file}\n\n{whole['description']}\n\n| key | holds | meaning |\n| --- | --- | --- |\n")
        parts += [f"| `{key}` | {holds} | {meaning} |\n" for key, holds, meaning in _keys(whole, whole, "")]
    return "".join(parts)


def _keys(shape: dict[str, Any], whole: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Yield every key below *shape* with what it holds and what it means."""
    for key, entry in shape.get("properties", {}).items():
        at = f"{path}.{key}" if path else key
        optional = "" if key in shape.get("required", ()) else "?"
        yield at + optional, _holds(entry, whole), entry.get("description", "").replace("|", "\\|")
        yield from _keys(entry, whole, at)
    for key, part in (("items", "[]"), ("additionalProperties", ".*")):
        inner = shape.get(key, {})
        if inner.get("properties"):
            yield from _keys(inner, whole, path + part)


def _holds(entry: dict[str, Any], whole: dict[str, Any]) -> str:
    known = whole["$defs"][entry["$ref"].removeprefix("#/$defs/")] if "$ref" in entry else entry
    if "const" in known:
        return f"`{known['const']}`"
    names = [known["type"]] if isinstance(known["type"], str) else known["type"]
    said = " or ".join(names)
    inner = known.get("items") or known.get("additionalProperties") or {}
    if inner and not inner.get("properties"):
        said = said.replace("array", f"array of {_holds(inner, whole)}").replace(
            "object", f"object of {_holds(inner, whole)}"
        )
    if known.get("maxItems") == 2:
        said = said.replace("array of", "two of")
    if known.get("maximum") == 1:
        said += f", {known['minimum']} to 1"
    return said


PAGES = {"reference/options.md": options_page, "reference/files.md": files_page}
"""File names with what writes them."""

if __name__ == "__main__":
    for name, write in PAGES.items():
        (DOCS / name).write_text(write(), encoding="utf-8")
