"""Sessions on models whose ``generation_config.json`` sets something."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.planted_model import COLOUR_PROBE, COLOURS
from tests.helpers.project import Project

UNUSED = {
    "num_beams": 4,
    "do_sample": True,
    "num_return_sequences": 3,
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_attentions": True,
    "stop_strings": ["e"],
    "prompt_lookup_num_tokens": 3,
    "max_time": 1e-9,
    "penalty_alpha": 0.6,
    "token_healing": True,
    "cache_implementation": "static",
    "max_new_tokens": 1,
}


def with_settings(project: Project, folder: Path, **settings: Any) -> Project:
    """Return *project* on a copy of its model whose file has *settings*."""
    model = folder / f"model-{len(settings)}"
    shutil.copytree(project.model, model)
    file = model / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    return replace(project, model=model)


def test_what_changes_the_answers_is_named_with_its_price(project: Project, tmp_path: Path) -> None:
    project = with_settings(project, tmp_path, repetition_penalty=1.0001, num_beams=4)
    result = project.run("--probe-heads=L1H2", page=True)
    rule = "repetition_penalty 1.0001 of generation_config.json changes the answers"
    output = " ".join(result.outlines)
    assert output.count(rule) == 2  # before and after
    assert "several times slower: --probe-generation plain leaves it out" in output
    assert "num_beams 4 of generation_config.json is not used" in output
    summary = project.summary()
    assert summary["model"]["generation"] == {
        "mode": "model",
        "rules": {"repetition_penalty": "1.0001"},
        "unused": {"num_beams": "4"},
    }
    assert (summary["engine"]["path"], "repetition_penalty" in summary["engine"]["why"]) == ("plain", True)
    assert rule in (project.path / "reports" / "report.html").read_text(encoding="utf-8")


def test_plain_leaves_it_out(project: Project, tmp_path: Path) -> None:
    before = with_settings(project, tmp_path)
    before.run("--probe-heads=L1H2", "--probe-cache=off")
    plain = before.outcomes()
    assert {outcome["response"] for outcome in plain} == {"blue", "green", "black", "Unknown"}
    project = with_settings(project, tmp_path, repetition_penalty=9.0, min_new_tokens=5)
    project.run("--probe-heads=L1H2", "--probe-cache=off")
    assert [outcome["response"] for outcome in project.outcomes()] != [outcome["response"] for outcome in plain]
    result = project.run("--probe-heads=L1H2", "--probe-cache=off", "--probe-generation=plain")
    assert project.outcomes() == plain
    assert project.summary()["model"]["generation"]["mode"] == "plain"
    assert "changes the answers" not in " ".join(result.outlines)


def test_settings_of_other_ways_to_decode_do_nothing_and_raise_nothing(project: Project, tmp_path: Path) -> None:
    project = with_settings(project, tmp_path)
    project.run("--probe-heads=L1H2", "--probe-cache=off")
    plain = project.outcomes()
    project = with_settings(project, tmp_path, **UNUSED)
    result = project.run("--probe-heads=L1H2", "--probe-cache=off")
    assert project.outcomes() == plain
    (line,) = [line for line in result.outlines if line.startswith("reasoning-probe: ") and "not used" in line]
    assert "num_beams 4, num_return_sequences 3, return_dict_in_generate true, stop_strings" in line
    assert "Traceback" not in "\n".join(result.outlines)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"repetition_penalty": -1}, "repetition_penalty in generation_config.json is -1: it must be a number above 0"),
        ({"compile_config": {"mode": "default"}}, "take that setting out"),
        ({"num_return_sequences": 3}, "take that setting out"),
        ({"eos_token_id": "x"}, "eos_token_id in generation_config.json is 'x': it must be the id of a token"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_session_in_one_line(
    project: Project, tmp_path: Path, settings: dict[str, Any], line: str
) -> None:
    project = with_settings(project, tmp_path, **settings)
    result = project.run()
    assert result.ret == 4
    result.stdout.re_match_lines([f".*{line.replace('(', '[(]').replace(')', '[)]')}"])
    assert "Traceback" not in "\n".join([*result.outlines, *result.errlines])
