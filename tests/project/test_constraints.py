"""Tests that the oldest tested versions are the oldest that pyproject.toml allows."""

from __future__ import annotations

import re
import sys

from tests.helpers.project import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # a dependency of pytest
    import tomli as tomllib


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_lowest_environment_has_the_lowest_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["test"], *extras["export"], *extras["math"]]
    requirements = [one for one in requirements if not one.startswith("reasoning-probe[")]
    bounds = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", one).groups() for one in requirements)  # type: ignore[union-attr]
    lowest = pins("constraints-lowest.txt")
    assert lowest.keys() >= {re.split("[>[]", one)[0] for one in project["dependencies"]}
    for name in lowest:
        bound = bounds[name]
        wanted = (bound + ".0").split(".")[:2]
        assert lowest[name].split(".")[:2] == wanted, f"{name}: pyproject.toml says {bound}"


def test_the_tested_versions_are_no_older_than_the_lowest() -> None:
    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text))

    tested = pins("constraints.txt")
    for name, oldest in pins("constraints-lowest.txt").items():
        assert name not in tested or number(tested[name]) >= number(oldest), name
