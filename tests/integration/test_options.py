"""Options and their ini twins."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.data.prompts.prompting import Prompting
from reasoning_probe.data.shards import Shard
from reasoning_probe.engine.cache.store import FOLDER
from reasoning_probe.models.device_map import DeviceMap
from reasoning_probe.pytest_plugin.config import load_settings
from reasoning_probe.pytest_plugin.option_types import OptionError
from reasoning_probe.pytest_plugin.options import OPTIONS
from reasoning_probe.results.gate_rules import GateRules
from reasoning_probe.session.settings import Settings
from tests.helpers.planted_model import COLOUR_PROBE
from tests.helpers.project import Project
from tests.helpers.usage_errors import GOOD, refused

READ = {option.ini: option.read for option in OPTIONS}
SHOW = """
def pytest_report_header(config):
    from reasoning_probe.pytest_plugin.config import load_settings
    return "settings " + repr(load_settings(config))
"""


def settings_line(project: Project, *args: str, ini: str = "", show: str = SHOW) -> str:
    """Return what the plugin read, as the settings' repr."""
    project.write("conftest.py", show)
    project.pytester.makeini(f"[pytest]\n{ini}\n")
    result = project.pytester.runpytest_inprocess("-p", "no:hypothesispytest", *args)
    return next(line for line in result.outlines if line.startswith("settings ")).removeprefix("settings ")


def test_without_options_the_bundled_model_is_asked_as_it_is(project: Project) -> None:
    assert settings_line(project) == repr(Settings(directory=project.path / "reports", cache=project.path / FOLDER))


TWINS = [
    (["--model", "gpt2"], "probe_model = gpt2", {"model": "gpt2"}),
    (["--probe-model=gpt2"], "probe_model = gpt2", {"model": "gpt2"}),
    (["--probe-trust-remote-code"], "probe_trust_remote_code = true", {"remote_code": True}),
    (["--probe-allow-pickle"], "probe_allow_pickle = true", {"pickled": True}),
    (["--ablate-heads"], "ablate_heads = true", {"ablate_heads": True}),
    (["--ablate-layers"], "ablate_layers = true", {"ablate_layers": True}),
    (["--probe-heads", "L3H7,L5,L8-L11"], "probe_heads = L3H7,L5,L8-L11", {"heads": "L3H7,L5,L8-L11"}),
    (["--ablation", "mean"], "probe_ablation = mean", {"ablations": ("mean",)}),
    (["--probe-ablation=zero,resample"], "probe_ablation = zero, resample", {"ablations": ("zero", "resample")}),
    (
        ["--probe-dataset", "gsm8k=a.jsonl", "--probe-dataset", "logic=b=c.jsonl"],
        "probe_dataset =\n    gsm8k=a.jsonl\n    logic=b=c.jsonl",
        {"sources": {"gsm8k": "a.jsonl", "logic": "b=c.jsonl"}},
    ),
    (["--probe-shots", "5"], "probe_shots = 5", {"prompting": Prompting(shots=5)}),
    (["--probe-shots=2:hf:a/b:train"], "probe_shots = 2:hf:a/b:train", {"prompting": Prompting(2, "hf:a/b:train")}),
    (["--probe-chat", "auto"], "probe_chat = auto", {"prompting": Prompting(chat="auto")}),
    (
        [
            "--probe-chat=on",
            "--probe-chat-kwargs",
            "enable_thinking=false,effort=low",
            "--probe-chat-kwargs",
            "budget=9",
        ],
        "probe_chat = on\nprobe_chat_kwargs =\n    enable_thinking=False, effort=low\n    budget=9",
        {"prompting": Prompting(chat="on", chat_kwargs={"enable_thinking": False, "effort": "low", "budget": 9})},
    ),
    (["--probe-generation", "plain"], "probe_generation = plain", {"generation": "plain"}),
    (["--probe-cot"], "probe_cot = true", {"prompting": Prompting(cot=True)}),
    (["--probe-think=off"], "probe_think = off", {"prompting": Prompting(think="off")}),
    (
        ["--probe-think=<plan>,</plan>"],
        "probe_think = <plan>,</plan>",
        {"prompting": Prompting(think="<plan>,</plan>")},
    ),
    (["--probe-choices=generation"], "probe_choices = generation", {"prompting": Prompting(choices="generation")}),
    (["--probe-items", "200"], "probe_items = 200", {"items": 200}),
    (["--probe-max-new-tokens", "8"], "probe_max_new_tokens = 8", {"max_new_tokens": 8}),
    (["--probe-device", "cuda:1"], "probe_device = cuda:1", {"device": "cuda:1"}),
    (["--probe-device-map", "auto"], "probe_device_map = auto", {"device_map": DeviceMap()}),
    (["--probe-engine", "ray"], "probe_engine = ray", {"cluster": ClusterSpec()}),
    (
        ["--probe-engine=ray=h:1", "--probe-replica-cpus=4", "--probe-replica-gpus=0.5"],
        "probe_engine = ray=h:1\nprobe_replica_cpus = 4\nprobe_replica_gpus = 0.5",
        {"cluster": ClusterSpec("h:1", 4.0, 0.5)},
    ),
    (["--probe-dtype", "bfloat16"], "probe_dtype = bfloat16", {"dtype": "bfloat16"}),
    (["--probe-numerics", "batch"], "probe_numerics = batch", {"numerics": "batch"}),
    (["--probe-memory", "1.5GiB"], "probe_memory = 1.5GiB", {"memory": 3 * 2**29}),
    (["--probe-cache=off"], "probe_cache = off", {"cache": None}),
    (["--probe-fresh"], "probe_fresh = true", {"fresh": True}),
    (["--probe-describe", "4"], "probe_describe = 4", {"describe": "4"}),
    (["--probe-figures"], "probe_figures = true", {"figures": True}),
    (
        ["--ablate-heads", "--probe-paths"],
        "ablate_heads = true\nprobe_paths = true",
        {"ablate_heads": True, "paths": True},
    ),
    (
        ["--ablate-heads", "--probe-masks=64"],
        "ablate_heads = true\nprobe_masks = 64",
        {"ablate_heads": True, "masks": 64},
    ),
    (["--probe-shard", "2/8"], "probe_shard = 2/8", {"shard": Shard(2, 8)}),
]


@pytest.mark.parametrize(("args", "ini", "values"), TWINS, ids=[" ".join(args) for args, *_ in TWINS])
def test_an_option_and_its_ini_twin_say_the_same(
    project: Project, args: list[str], ini: str, values: dict[str, object]
) -> None:
    folders = {"directory": project.path / "reports", "cache": project.path / FOLDER}
    expected = repr(Settings(**(folders | values)))  # type: ignore[arg-type]
    assert settings_line(project, *args) == expected
    assert settings_line(project, ini=ini) == expected


def test_options_go_together_in_any_combination(project: Project) -> None:
    rng = random.Random(0)
    for _ in range(30):
        sample = rng.sample(TWINS, rng.randint(2, 8))
        words = [word for args, *_ in sample for word in args]
        config = project.pytester.parseconfig("-p", "no:hypothesispytest", "-p", "no:html", *words)
        try:
            settings = load_settings(config)
        except pytest.UsageError as error:
            message = str(error)
        else:
            message = "--probe-"
            assert settings.ablating or not any("ablate" in word or "heads" in word for word in words)
        assert len(message.splitlines()) == 1, words
        assert "--probe-" in message, words


def test_the_command_line_wins_over_the_ini_file(project: Project) -> None:
    assert "items=3," in settings_line(project, "--probe-items=3", ini="probe_items = 5")


@pytest.mark.parametrize("where", ["out", "deep/er/out"])
def test_the_folder_of_the_files_starts_where_pytest_was_called(project: Project, where: str) -> None:
    project.probe("logic")
    project.run("--probe-dir", where, "-k", "max")
    assert (project.path / where / "run.json").exists()


def test_every_option_but_the_models_and_the_ablations_starts_with_probe() -> None:
    bare = {flag for option in OPTIONS for flag in option.flags if not flag.startswith("--probe-")}
    assert bare == {"--model", "--ablate-heads", "--ablate-layers", "--ablation"}


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("500MB", 500_000_000), ("4 GB", 4 * 10**9), ("2gib", 2**31), ("0.5KiB", 512)]
)
def test_sizes(text: str, size: int) -> None:
    read = READ["probe_memory"]
    assert read is not None
    assert read(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "4TB", "nan", "9" * 10_000, "0", "0.0001", "1 G", "٤GB"])
def test_what_is_no_size(text: str) -> None:
    read = READ["probe_memory"]
    assert read is not None
    with pytest.raises(OptionError):
        read(text)


# -- what they do -----------------------------------------------------------------------------------------------------


def test_a_path_may_follow_the_flags(project: Project) -> None:
    """The flags take no value."""
    project.probe("logic", "arithmetic")
    result = project.run("--ablate-heads", "test_logic.py", "--co", "-q")
    assert len([line for line in result.outlines if "::" in line]) == 36
    project.run("--ablate-layers", "test_logic.py", "-k", "max").assert_outcomes(passed=2, xfailed=1, deselected=9)


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        (["--ablate-layers"], ["L0", "L1"]),
        (["--probe-heads", "L1H2"], ["L1H2"]),
        (["--probe-heads", "L0-L1"], ["L0", "L1"]),
        (["--probe-heads", "l0h1+L1, L1H2"], ["L0H1+L1", "L1H2"]),
        (["--probe-heads", "L1H2", "--ablate-heads"], ["L1H2"]),
        (["--probe-heads", "L1H2", "--ablate-layers"], ["L1H2", "L0", "L1"]),
    ],
)
def test_what_is_switched_off(project: Project, options: list[str], targets: list[str]) -> None:
    project.probe("logic")
    project.run("-k", "max", *options)
    assert [outcome["target"] for outcome in project.outcomes()] == ["baseline", *targets]


def test_cards_are_those_of_the_heads_that_are_named(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads=L1H2,L0H1", "--probe-describe=L1H2")
    (card,) = project.summary()["heads"]
    assert (card["target"], card["dataset"], card["ablation"]) == ("L1H2", "logic", "zero")
    assert sum(mistake["count"] for mistake in card["mistakes"].values()) == 3  # answers of another label each
    project.pytester.makeini("[pytest]\nprobe_describe = 0\n")
    project.run("--probe-heads=L1H2")
    assert project.summary()["heads"] == []


def test_items_are_the_first_of_a_file_and_generated_where_there_is_a_generator(project: Project) -> None:
    project.probe("arithmetic", "gsm8k")
    result = project.run("--probe-items=2", "--co", "-q")
    assert sum("test_gsm8k[" in line for line in result.outlines) == 2
    arithmetic = [line for line in result.outlines if "test_arithmetic[" in line]
    assert len(arithmetic) == 2
    project.run("--probe-items=20", "--co", "-q", "test_arithmetic.py").stdout.fnmatch_lines(arithmetic)


def test_a_dataset_is_swapped_for_the_users_own(project: Project) -> None:
    project.probe("gsm8k", "logic")
    lines = [
        {"question": "What is 5 + 3?", "answer": "5 and 3 make <<5+3=8>>8\n#### 8"},
        {"question": "What is 7 * 8?", "answer": "7 times 8 is <<7*8=56>>56\n#### 56"},
    ]
    file = project.write("data/mine.jsonl", "\n".join(map(json.dumps, lines)))
    result = project.run("--probe-dataset", "gsm8k=data/mine.jsonl", "-k", "gsm8k")
    result.assert_outcomes(passed=1, failed=1, deselected=4)
    assert [outcome["expected"] for outcome in project.outcomes()] == ["8", "56"]
    assert project.summary()["generation"]["gsm8k"]["max_new_tokens"] == 256
    assert Path(file).exists()


def test_the_limit_of_new_tokens_is_kept(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-max-new-tokens=1", "-k", "max")
    assert project.summary()["generation"]["logic"]["max_new_tokens"] == 1
    assert [(outcome["response"], outcome["truncated"]) for outcome in project.outcomes()] == [("Yes", True)]


def test_resample_and_mean_are_run(project: Project) -> None:
    project.probe("logic")
    project.run("--probe-heads=L1H2", "--ablation=resample,mean", "-k", "mia")
    responses = {outcome["ablation"]: outcome["response"] for outcome in project.outcomes()}
    assert responses == {None: "No", "resample": "Yes", "mean": "Yes"}  # every other item makes the head say Yes


# -- the gate ---------------------------------------------------------------------------------------------------------

SHOW_RULES = """
def pytest_report_header(config):
    from pathlib import Path
    from reasoning_probe.pytest_plugin.config import load_gate_rules
    return "settings " + repr(load_gate_rules(config, Path("reports")))
"""
RULES = [
    (["--probe-min-accuracy=0.9"], "probe_min_accuracy = 0.9", {"min_accuracy": {"": 0.9}}),
    (
        ["--probe-min-accuracy", "arithmetic=0.9,logic=0.5"],
        "probe_min_accuracy = arithmetic=0.9, logic=0.5",
        {"min_accuracy": {"arithmetic": 0.9, "logic": 0.5}},
    ),
    (["--probe-reference=old"], "probe_reference = old", {"reference": "old"}),
    (
        ["--probe-reference=old.jsonl", "--probe-max-drop=0.1"],
        "probe_reference = old.jsonl\nprobe_max_drop = 0.1",
        {"reference": "old.jsonl", "max_drop": 0.1},
    ),
    (
        ["--probe-reference=old", "--probe-update-reference"],
        "probe_reference = old\nprobe_update_reference = true",
        {"reference": "old", "update": True},
    ),
]


@pytest.mark.parametrize(("args", "ini", "values"), RULES, ids=[" ".join(args) for args, *_ in RULES])
def test_the_gates_options_and_their_ini_twins_say_the_same(
    project: Project, args: list[str], ini: str, values: dict[str, Any]
) -> None:
    """They differ only in names of datasets, which must exist if they were typed."""
    if "reference" in values:
        values = values | {"reference": project.path / values["reference"]}
    typed = frozenset(values.get("min_accuracy", ()))
    assert settings_line(project, *args, show=SHOW_RULES) == repr(GateRules(**values, named=typed))
    assert settings_line(project, ini=ini, show=SHOW_RULES) == repr(GateRules(**values))


@pytest.mark.parametrize("option", ["--probe-min-accuracy=90", "--probe-max-drop=5%"])
def test_what_is_no_share_is_refused(project: Project, option: str) -> None:
    result = project.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*{option.partition('=')[0]}: cannot read *: write a number from 0 to 1, such as 0.9"]
    )


def test_a_dataset_with_fewer_items_is_asked_whole_and_said_once(project: Project) -> None:
    project.probe("logic", "gsm8k")
    result = project.run("--probe-items=7", "--co")
    assert result.ret == pytest.ExitCode.OK
    line = "reasoning-probe: gsm8k has 5 of the 7 items that --probe-items asks for: all are asked"
    assert result.outlines.count(line) == 1
    result.stdout.fnmatch_lines(["reasoning-probe: *, 12 items, 12 cases"])
    named = project.run("--probe-items=logic=7,gsm8k=7", "--co")
    assert named.ret == pytest.ExitCode.USAGE_ERROR
    named.stderr.fnmatch_lines(["ERROR: *the built-in gsm8k has 5 items, not 7: give more of them*"])


def test_a_tilde_is_the_home_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    home = project.path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    project.probe("logic")
    project.run("--probe-dir=~/r", "--probe-cache=~/cache")
    assert (home / "r" / "run.json").is_file()
    assert (home / "cache").is_dir()
    project.pytester.makeini("[pytest]\nprobe_dir = ~/from-ini\n")
    project.run()
    assert (home / "from-ini" / "run.json").is_file()
    assert not (project.path / "~").exists()


def test_marks_of_thoughts_are_the_users(project: Project) -> None:
    """The planted model says "blue", of which "lue" is left after the mark "b"."""
    project.write("test_colours.py", COLOUR_PROBE)
    project.write("colours.jsonl", GOOD)
    project.run().assert_outcomes(passed=1)
    assert project.summary()["prompting"]["think"] == "auto"
    project.run("--probe-think=a,b").assert_outcomes(failed=1)
    assert (project.outcomes()[0]["answer"], project.summary()["prompting"]["think"]) == ("lue", "a,b")
    assert refused(project.run("--probe-think=<plan>")).startswith(
        "argument --probe-think: '<plan>' is not a pair of marks"
    )
    project.write("pytest.ini", "[pytest]\nprobe_think = <plan>\n")
    assert "probe_think in the ini file: '<plan>' is not a pair of marks" in refused(project.run())
