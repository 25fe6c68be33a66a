"""The pages that are made from the code: ``python docs/generate.py`` writes them, the tests hold them to it."""

from __future__ import annotations

from pathlib import Path

from reasoning_probe.options import OPTIONS, Option

DOCS = Path(__file__).parent

HEAD = """# Options

Made from the parser by `python docs/generate.py`. Every option has an ini twin, for `[tool.pytest.ini_options]` or
`pytest.ini`; what the command line says wins. In the ini file a flag takes `true`, and an option that may be given
several times a line each.

| option | meaning | ini |
| --- | --- | --- |
"""


def options_page() -> str:
    """Return the page of options, a row each, in the parser's order."""
    return HEAD + "".join(_row(option) for option in OPTIONS)


def _row(option: Option) -> str:
    value = f" {option.metavar}" if option.metavar else ""
    names = ", ".join(f"`{flag}{value}`" for flag in option.flags)
    default = f" (default: `{option.default}`)" if option.default else ""
    meaning = " ".join(option.help.split()).replace("|", "\\|")
    return f"| {names} | {meaning}{default} | `{option.ini}` |\n"


PAGES = {"options.md": options_page}
"""File names with what writes them."""

if __name__ == "__main__":
    for name, write in PAGES.items():
        (DOCS / name).write_text(write(), encoding="utf-8")
