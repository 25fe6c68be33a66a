"""The plugin's options and their ini twins."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe import values
from reasoning_probe.cache import FOLDER
from reasoning_probe.cluster.spec import ClusterSpec, parse_engine
from reasoning_probe.device_map import parse_device_map
from reasoning_probe.limits import MAX_DROP, Rules, parse_limits, parse_share
from reasoning_probe.prompter import read_template
from reasoning_probe.prompts import PromptError, Prompting
from reasoning_probe.settings import Settings
from reasoning_probe.shards import parse_shard
from reasoning_probe.values import Bad


@dataclass(frozen=True)
class Option:
    """One option: its names on the command line, its ini twin, how its text is read."""

    flags: tuple[str, ...]
    ini: str
    help: str
    read: Callable[[str], Any] | None = None  # None: a flag that takes no value
    metavar: str | None = None
    many: bool = False
    default: str = ""

    @property
    def dest(self) -> str:
        """Where pytest keeps the value."""
        return f"reasoning_probe_{self.ini}"


OPTIONS = (
    Option(
        ("--model", "--probe-model"),
        "probe_model",
        "the model to probe: tiny-reasoner (bundled), smollm2, a hub id (NAME@REVISION pins it), a folder (a model or a"
        " PEFT adapter) or a .gguf file",
        values.words,
        "NAME",
        default="tiny-reasoner",
    ),
    Option(
        ("--probe-trust-remote-code",),
        "probe_trust_remote_code",
        "run the Python code that a model brings with it (default: such a model is refused)",
    ),
    Option(
        ("--probe-allow-pickle",),
        "probe_allow_pickle",
        "read weights in Python's pickle format, which can run code (default: safetensors and .gguf alone)",
    ),
    Option(("--ablate-heads",), "ablate_heads", "switch off every attention head, one at a time"),
    Option(("--ablate-layers",), "ablate_layers", "switch off all heads of a layer, one layer at a time"),
    Option(
        ("--probe-heads",),
        "probe_heads",
        "switch off these only: L3H7 a head, L5 a layer's heads jointly, L8-L11 four layers, L3KV1 the heads that share"
        " a key, L3MLP an MLP, L3H7+L5H1 jointly",
        values.words,
        "SPEC",
    ),
    Option(
        ("--probe-screen",),
        "probe_screen",
        "of all heads measure only the K that first-order attribution ranks first, and a sample of the others",
        values.positive,
        "K",
    ),
    Option(
        ("--ablation", "--probe-ablation"),
        "probe_ablation",
        "what replaces a head's output: zero, mean, resample, or several of them",
        values.ablations,
        "KIND[,KIND]",
        default="zero",
    ),
    Option(
        ("--probe-seed",),
        "probe_seed",
        "seed of what resample, shots and screening draw",
        values.seed,
        "N",
        default="0",
    ),
    Option(
        ("--probe-dataset",),
        "probe_dataset",
        "ask other items in place of a dataset: a .jsonl, .json, .csv or .parquet file, hf:openai/gsm8k:test, or"
        " harder ones, arithmetic:digits=3,steps=4",
        values.source,
        "NAME=SOURCE",
        many=True,
    ),
    Option(
        ("--probe-items",),
        "probe_items",
        "ask N items of each dataset: a file's first N; arithmetic, multi_step and logic are generated",
        values.positive,
        "N",
    ),
    Option(
        ("--probe-shots",),
        "probe_shots",
        "so many worked examples before each question, never of those that are asked; N:SOURCE says where from",
        values.shots,
        "N[:SOURCE]",
        default="0",
    ),
    Option(
        ("--probe-chat",),
        "probe_chat",
        "put questions in the tokenizer's chat template: off, on, or auto: where it has one",
        values.one_of("auto", "on", "off"),
        "MODE",
        default="off",
    ),
    Option(("--probe-cot",), "probe_cot", 'ask for a chain of thought: "Let\'s think step by step."'),
    Option(
        ("--probe-template",),
        "probe_template",
        "file with the text around a question, which holds {question} once",
        values.words,
        "FILE",
    ),
    Option(
        ("--probe-choices",),
        "probe_choices",
        "read a choice from the log-probabilities of the choices, or from what is generated where they are listed",
        values.one_of("logprob", "generation"),
        "logprob|generation",
        default="logprob",
    ),
    Option(
        ("--probe-max-new-tokens",), "probe_max_new_tokens", "tokens an answer may have at most", values.positive, "N"
    ),
    Option(("--probe-device",), "probe_device", "auto, cpu, cuda or cuda:N", values.words, "DEVICE", default="auto"),
    Option(
        ("--probe-device-map",),
        "probe_device_map",
        "a model too big for one device: auto divides it among the GPUs, the CPU's memory and the disk;"
        " 0=20GB,cpu=60GB says how much of each",
        values.parsed(parse_device_map),
        "MAP",
    ),
    Option(
        ("--probe-dtype",),
        "probe_dtype",
        "float32, bfloat16, float16, or auto: float32 for models under 2 billion parameters",
        values.dtype,
        "DTYPE",
        default="auto",
    ),
    Option(
        ("--probe-memory",),
        "probe_memory",
        "memory the sweep may use, for example 4GB (default: half of what is free)",
        values.size,
        "SIZE",
    ),
    Option(
        ("--probe-engine",),
        "probe_engine",
        "where the sweep runs: local, or ray[=HOST:PORT] for the nodes of a Ray cluster (pip install"
        " 'reasoning-probe[ray]')",
        values.parsed(parse_engine),
        "ENGINE",
        default="local",
    ),
    Option(
        ("--probe-replica-cpus",),
        "probe_replica_cpus",
        "CPUs of each copy of the model on a cluster",
        values.amount,
        "N",
        default="1",
    ),
    Option(
        ("--probe-replica-gpus",),
        "probe_replica_gpus",
        "GPUs of each copy of the model on a cluster (default: 1 where the cluster has any)",
        values.amount,
        "N",
    ),
    Option(
        ("--probe-cache",),
        "probe_cache",
        "folder of the outcome store, from which a second run takes what it knows; off keeps none (default:"
        " .reasoning_probe_cache beside the ini file)",
        values.words,
        "DIR",
    ),
    Option(("--probe-fresh",), "probe_fresh", "compute every outcome anew, whatever the outcome store knows"),
    Option(
        ("--probe-shard",),
        "probe_shard",
        "ask one of several parts of the items, for example 2/8 for the second of eight",
        values.parsed(parse_shard),
        "K/N",
    ),
    Option(
        ("--probe-granularity",),
        "probe_granularity",
        "what a test case is: an item under a target (case), or all items under it (head), for sweeps of more than"
        " 100,000",
        values.one_of("case", "head"),
        "case|head",
        default="case",
    ),
    Option(
        ("--probe-min-accuracy",),
        "probe_min_accuracy",
        "pass where every dataset reaches an accuracy, and fail else, whatever single answers are: 0.9 for all, or"
        " arithmetic=0.9,logic=0.5",
        values.parsed(parse_limits),
        "LIMITS",
    ),
    Option(
        ("--probe-reference",),
        "probe_reference",
        "pass where no dataset falls too far below an earlier run over the same items: its folder, or a .jsonl file",
        values.words,
        "PATH",
    ),
    Option(
        ("--probe-max-drop",),
        "probe_max_drop",
        "how far the accuracy may fall below the reference's",
        values.parsed(parse_share),
        "SHARE",
        default=str(MAX_DROP),
    ),
    Option(
        ("--probe-update-reference",),
        "probe_update_reference",
        "make this run the reference that --probe-reference names",
    ),
    Option(("--probe-figures",), "probe_figures", "write the page's figures as SVG and PNG files, too: DIR/figures"),
    Option(
        ("--probe-dir",), "probe_dir", "folder of the page and the run's files", values.words, "DIR", default="reports"
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Add every option to the group "reasoning-probe", with its ini twin."""
    group = parser.getgroup("reasoning-probe", "reasoning-probe: reasoning questions and attention heads")
    for option in OPTIONS:
        twin = f" (default: {option.default})" if option.default else ""
        if option.read is None:
            group.addoption(*option.flags, dest=option.dest, action="store_true", default=None, help=option.help)
            parser.addini(option.ini, option.help, type="bool", default=False)
        elif option.many:
            group.addoption(
                *option.flags,
                dest=option.dest,
                action="append",
                default=None,
                metavar=option.metavar,
                type=_argument(option.read),
                help=option.help,
            )
            parser.addini(option.ini, option.help, type="linelist", default=[])
        else:
            group.addoption(
                *option.flags,
                dest=option.dest,
                default=None,
                metavar=option.metavar,
                type=_argument(option.read),
                help=option.help + twin,
            )
            parser.addini(option.ini, option.help, default=option.default)


def _argument(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except Bad as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return convert


def _value(config: pytest.Config, option: Option) -> Any:
    given = config.getoption(option.dest)
    if given is not None:
        return given
    ini = config.getini(option.ini)
    if option.read is None:
        return ini
    try:
        if option.many:
            return [option.read(line) for line in ini]
        return option.read(ini) if ini else None
    except Bad as problem:
        raise pytest.UsageError(f"{option.ini} in the ini file: {problem}") from None


def read_settings(config: pytest.Config) -> Settings:
    """Return what command line and ini file say; raises ``pytest.UsageError`` for what cannot be read."""
    value = {option.ini: _value(config, option) for option in OPTIONS if option.ini not in _GATE}
    if value["probe_heads"] is not None:
        _check_heads(value["probe_heads"])
    if config.getoption("reasoning_probe_probe_screen") is not None:  # in the ini file it waits for --ablate-heads
        if value["probe_heads"] is not None:
            raise pytest.UsageError("--probe-screen chooses heads by itself: leave out --probe-heads")
        if not value["ablate_heads"]:
            raise pytest.UsageError("--probe-screen chooses among all heads: add --ablate-heads")
    return Settings(
        model=value["probe_model"],
        remote_code=value["probe_trust_remote_code"],
        pickled=value["probe_allow_pickle"],
        ablate_heads=value["ablate_heads"],
        ablate_layers=value["ablate_layers"],
        heads=value["probe_heads"],
        screen=value["probe_screen"] if value["probe_heads"] is None else None,
        ablations=value["probe_ablation"],
        seed=value["probe_seed"],
        sources=dict(value["probe_dataset"]),
        items=value["probe_items"],
        max_new_tokens=value["probe_max_new_tokens"],
        device=value["probe_device"],
        device_map=value["probe_device_map"],
        dtype=value["probe_dtype"],
        memory=value["probe_memory"],
        directory=Path(config.invocation_params.dir, value["probe_dir"]),
        cache=_cache(config, value["probe_cache"]),
        fresh=value["probe_fresh"],
        shard=value["probe_shard"],
        granularity=value["probe_granularity"],
        figures=value["probe_figures"],
        cluster=_cluster(value["probe_engine"], value["probe_replica_cpus"], value["probe_replica_gpus"]),
        prompting=_prompting(config, value),
    )


def _prompting(config: pytest.Config, value: dict[str, Any]) -> Prompting:
    template = value["probe_template"]
    try:
        text = None if template is None else read_template(Path(config.invocation_params.dir, template))
    except PromptError as problem:
        raise pytest.UsageError(f"--probe-template: {problem}") from None
    shots, source = value["probe_shots"]
    return Prompting(shots, source, value["probe_chat"], value["probe_cot"], text, value["probe_choices"])


_GATE = ("probe_min_accuracy", "probe_reference", "probe_max_drop", "probe_update_reference")


def read_rules(config: pytest.Config, directory: Path) -> Rules:
    """Return what the gate asks of a run written to *directory*; raises ``pytest.UsageError`` for contradictions."""
    value = {option.ini: _value(config, option) for option in OPTIONS if option.ini in _GATE}
    given = {name: config.getoption(f"reasoning_probe_{name}") is not None for name in _GATE}
    reference = value["probe_reference"]
    if reference is None:
        for name, flag in (
            ("probe_max_drop", "--probe-max-drop"),
            ("probe_update_reference", "--probe-update-reference"),
        ):
            if given[name]:
                raise pytest.UsageError(f"{flag} needs a reference: name it with --probe-reference")
    else:  # what is typed starts where pytest was called, what the ini file says beside it
        reference = Path(config.invocation_params.dir if given["probe_reference"] else config.rootpath, reference)
        if directory.resolve() in (reference.resolve(), reference.resolve().parent):
            raise pytest.UsageError(f"--probe-reference: this run writes to {reference}: name another --probe-dir")
    limits = value["probe_min_accuracy"] or {}
    return Rules(
        min_accuracy=limits,
        reference=reference,
        max_drop=value["probe_max_drop"],
        update=value["probe_update_reference"] and reference is not None,
        named=frozenset(limits) if given["probe_min_accuracy"] else frozenset(),
    )


def _cache(config: pytest.Config, given: str | None) -> Path | None:
    if given is None:
        return config.rootpath / FOLDER
    return None if given == "off" else Path(config.invocation_params.dir, given)


def _cluster(spec: ClusterSpec | None, cpus: float, gpus: float | None) -> ClusterSpec | None:
    if not cpus and not gpus:
        raise pytest.UsageError("--probe-replica-cpus 0 needs --probe-replica-gpus: a replica must take something")
    return None if spec is None else replace(spec, cpus=cpus, gpus=gpus)


def _check_heads(spec: str) -> None:
    """Refuse what no model could have, before anything is collected."""
    from reasoning_probe.targets import TargetError, check_spelling

    try:
        check_spelling(spec)
    except TargetError as problem:
        raise pytest.UsageError(f"--probe-heads: {problem}") from None
