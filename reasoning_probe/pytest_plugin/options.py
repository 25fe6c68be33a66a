"""The options of the plugin and their ini twins.

The module has more than 400 lines because it is one list, in the order of ``--help``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from reasoning_probe.cluster.config import parse_engine
from reasoning_probe.data.places import parse_where
from reasoning_probe.data.prompts.chat import parse_chat_kwargs
from reasoning_probe.data.shards import parse_shard
from reasoning_probe.engine import NUMERICS
from reasoning_probe.models.device_map import parse_device_map
from reasoning_probe.pytest_plugin import option_types
from reasoning_probe.pytest_plugin.option_types import OptionError
from reasoning_probe.results.cards.choice import parse_describe
from reasoning_probe.results.gate_rules import MAX_DROP, parse_limits, parse_share
from reasoning_probe.results.samples import MAJORITY, parse_verdict
from reasoning_probe.utils.text import one_line


@dataclass(frozen=True)
class Option:
    """An option: its flags on the command line, the name of its ini twin, and the type of its value."""

    flags: tuple[str, ...]
    ini: str
    help: str
    read: Callable[[str], Any] | None = None  # None: a flag that takes no value
    metavar: str | None = None
    many: bool = False
    default: str = ""

    @property
    def dest(self) -> str:
        """The name under which pytest stores the value."""
        return f"reasoning_probe_{self.ini}"


OPTIONS = (
    Option(
        ("--model", "--probe-model"),
        "probe_model",
        "the model to probe: tiny-reasoner (bundled), smollm2, a hub id (NAME@REVISION pins it), a folder (a model or a"
        " PEFT adapter) or a .gguf file",
        option_types.non_empty_text,
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
        option_types.non_empty_text,
        "SPEC",
    ),
    Option(
        ("--probe-screen",),
        "probe_screen",
        "of all heads measure only the first K by attribution (K:ig5: integrated gradients) and a sample of the others",
        option_types.screen,
        "K[:METHOD]",
    ),
    Option(("--probe-race",), "probe_race", "stop heads that will hardly be named, in sweeps of 50 items and more"),
    Option(
        ("--ablation", "--probe-ablation"),
        "probe_ablation",
        "what replaces a head's output: zero, mean, resample, patch (at each token of the prompt, its output in a"
        " question with another answer), patch-same (in one with the same answer), or several of them; or restore (the"
        " other question is asked, and heads have their output in the item's own)",
        option_types.ablations,
        "KIND[,KIND]",
        default="zero",
    ),
    Option(
        ("--probe-where",),
        "probe_where",
        "where heads are off: all, on the prompt's tokens, on the answer's, at the last token of the prompt, or on the"
        " tokens of a part of the question that items mark, such as operands",
        option_types.as_option_type(parse_where),
        "all|prompt|answer|last|PART",
        default="all",
    ),
    Option(
        ("--probe-seed",),
        "probe_seed",
        "seed of what resample, shots and screening draw",
        option_types.non_negative_int,
        "N",
        default="0",
    ),
    Option(
        ("--probe-dataset",),
        "probe_dataset",
        "ask other items in place of a dataset: a .jsonl, .json, .csv or .parquet file, hf:openai/gsm8k:test, or"
        " harder ones, arithmetic:digits=3,steps=4; FILE:question=q,context=c,answer=a names the fields of a file",
        option_types.source,
        "NAME=SOURCE",
        many=True,
    ),
    Option(
        ("--probe-items",),
        "probe_items",
        "ask N items of each dataset, or of those that are named, arithmetic=200,logic=100: a file's first N;"
        " arithmetic, multi_step and logic are generated; without names a dataset that has fewer is asked whole;"
        " N@K skips the first K, so that 200@40 confirms what 40 items showed",
        option_types.item_counts,
        "N[@K]|NAME=N[@K]",
    ),
    Option(
        ("--probe-fresh-items",),
        "probe_fresh_items",
        "ask no question that the run in this folder asked: items that chose a head cannot confirm it",
        option_types.non_empty_text,
        "RUN",
    ),
    Option(
        ("--probe-shots",),
        "probe_shots",
        "put N worked examples before each question, never one that is asked; N:SOURCE names their source",
        option_types.shots,
        "N[:SOURCE]",
        default="0",
    ),
    Option(
        ("--probe-chat",),
        "probe_chat",
        "put questions in the tokenizer's chat template: off, on, or auto: where it has one",
        option_types.choice("auto", "on", "off"),
        "MODE",
        default="off",
    ),
    Option(
        ("--probe-chat-kwargs",),
        "probe_chat_kwargs",
        "arguments for the chat template, for example enable_thinking=false; with --probe-chat on or auto",
        option_types.as_option_type(parse_chat_kwargs),
        "NAME=VALUE[,...]",
        many=True,
    ),
    Option(("--probe-cot",), "probe_cot", 'ask for a chain of thought: "Let\'s think step by step."'),
    Option(
        ("--probe-template",),
        "probe_template",
        "file with the text around a question, which holds {question} once",
        option_types.non_empty_text,
        "FILE",
    ),
    Option(
        ("--probe-choices",),
        "probe_choices",
        "read a choice from the log-probabilities of the choices, or from what is generated where they are listed",
        option_types.choice("logprob", "generation"),
        "logprob|generation",
        default="logprob",
    ),
    Option(
        ("--probe-think",),
        "probe_think",
        "where a model writes its thoughts, in which no answer is looked for: auto for the marks that models use, off"
        " to read everything, or another pair of marks, <plan>,</plan>",
        option_types.think,
        "auto|off|OPEN,CLOSE",
        default="auto",
    ),
    Option(
        ("--probe-max-new-tokens",),
        "probe_max_new_tokens",
        "maximum number of tokens in an answer",
        option_types.positive_int,
        "N",
    ),
    Option(
        ("--probe-samples",),
        "probe_samples",
        "draw N answers to each case, with the same noise for the baseline and every head, in place of greedy decoding",
        option_types.sample_count,
        "N",
    ),
    Option(
        ("--probe-temperature",),
        "probe_temperature",
        "temperature at which answers are sampled",
        option_types.temperature,
        "T",
        default="1",
    ),
    Option(
        ("--probe-top-p",),
        "probe_top_p",
        "sample from the smallest set of tokens with at least this probability",
        option_types.top_p,
        "P",
        default="1",
    ),
    Option(
        ("--probe-top-k",),
        "probe_top_k",
        "sample from the K most likely tokens; 0: from all",
        option_types.non_negative_int,
        "K",
        default="0",
    ),
    Option(
        ("--probe-verdict",),
        "probe_verdict",
        "when a case with several samples is right: the most frequent answer is, any sample is, all are, or a share is",
        option_types.as_option_type(parse_verdict),
        "majority|any|all|mean>=X",
        default=MAJORITY,
    ),
    Option(
        ("--probe-think-tokens",),
        "probe_think_tokens",
        "let the model think for at most N tokens, then close its thought and ask for the answer",
        option_types.positive_int,
        "N",
    ),
    Option(
        ("--probe-device",),
        "probe_device",
        "auto, cpu, cuda or cuda:N",
        option_types.non_empty_text,
        "DEVICE",
        default="auto",
    ),
    Option(
        ("--probe-device-map",),
        "probe_device_map",
        "a model too big for one device: auto divides it among the GPUs, the CPU's memory and the disk;"
        " 0=20GB,cpu=60GB says how much of each",
        option_types.as_option_type(parse_device_map),
        "MAP",
    ),
    Option(
        ("--probe-dtype",),
        "probe_dtype",
        "float32, bfloat16, float16, or auto: float32 for models under 2 billion parameters",
        option_types.dtype,
        "DTYPE",
        default="auto",
    ),
    Option(
        ("--probe-generation",),
        "probe_generation",
        "what the model's generation_config.json changes in greedy answers, such as repetition_penalty: model applies"
        " it, plain leaves it out",
        option_types.choice("model", "plain"),
        "model|plain",
        default="model",
    ),
    Option(
        ("--probe-numerics",),
        "probe_numerics",
        "what keeps an answer independent of its batch: invariant (every kernel in one shape), settle (near ties are"
        " answered alone), batch (nothing: what a batch gives is taken), or auto: settle in float32, else invariant",
        option_types.choice(*NUMERICS),
        "|".join(NUMERICS),
        default="auto",
    ),
    Option(
        ("--probe-memory",),
        "probe_memory",
        "memory the sweep may use beside the model, for example 4GB (default: half of what is free, and on a CPU no"
        " more than 16 bytes a parameter, or 1GB if that is more)",
        option_types.byte_size,
        "SIZE",
    ),
    Option(
        ("--probe-engine",),
        "probe_engine",
        "where the sweep runs: local, or ray[=HOST:PORT] for the nodes of a Ray cluster (pip install"
        " 'reasoning-probe[ray]')",
        option_types.as_option_type(parse_engine),
        "ENGINE",
        default="local",
    ),
    Option(
        ("--probe-replica-cpus",),
        "probe_replica_cpus",
        "CPUs of each copy of the model on a cluster",
        option_types.non_negative_float,
        "N",
        default="1",
    ),
    Option(
        ("--probe-replica-gpus",),
        "probe_replica_gpus",
        "GPUs of each copy of the model on a cluster (default: 1 where the cluster has any)",
        option_types.non_negative_float,
        "N",
    ),
    Option(
        ("--probe-cache",),
        "probe_cache",
        "folder of the outcome store, from which a second run takes its answers; off keeps none (default:"
        " .reasoning_probe_cache beside the ini file)",
        option_types.non_empty_text,
        "DIR",
    ),
    Option(("--probe-fresh",), "probe_fresh", "compute every outcome again, whatever the outcome store holds"),
    Option(
        ("--probe-shard",),
        "probe_shard",
        "ask one of several parts of the items, for example 2/8 for the second of eight",
        option_types.as_option_type(parse_shard),
        "K/N",
    ),
    Option(
        ("--probe-describe",),
        "probe_describe",
        "make a card for each head that matters: auto for at most 8 heads of each dataset, another number, 0"
        " for none, or targets, L3H1,L5H0",
        option_types.as_option_type(parse_describe),
        "auto|N|TARGETS",
        default="auto",
    ),
    Option(
        ("--probe-paths",),
        "probe_paths",
        "after the sweep, cut the path from each head that matters to each later one, one path at a time",
    ),
    Option(
        ("--probe-masks",),
        "probe_masks",
        "after the sweep, switch off N random halves of the heads to find those that lose together; score these, and"
        " the heads that half of the items name, on the other half beside random sets",
        option_types.mask_count,
        "N",
    ),
    Option(
        ("--probe-granularity",),
        "probe_granularity",
        "what a test case is: an item under a target (case), or all items under it (head), for sweeps of more than"
        " 100,000",
        option_types.choice("case", "head"),
        "case|head",
        default="case",
    ),
    Option(
        ("--probe-min-accuracy",),
        "probe_min_accuracy",
        "pass if every dataset reaches an accuracy, else fail, whatever single answers are: 0.9 for all, or"
        " arithmetic=0.9,logic=0.5",
        option_types.as_option_type(parse_limits),
        "LIMITS",
    ),
    Option(
        ("--probe-reference",),
        "probe_reference",
        "pass if no dataset falls too far below an earlier run over the same items: its folder, or a .jsonl file",
        option_types.non_empty_text,
        "PATH",
    ),
    Option(
        ("--probe-max-drop",),
        "probe_max_drop",
        "how far the accuracy may fall below the reference's",
        option_types.as_option_type(parse_share),
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
        ("--probe-dir",),
        "probe_dir",
        "folder of the page and the run's files",
        option_types.non_empty_text,
        "DIR",
        default="reports",
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Add every option to the group "reasoning-probe", with its ini twin."""
    group = parser.getgroup("reasoning-probe", "reasoning-probe: reasoning questions and attention heads")
    for option in OPTIONS:
        default = f" (default: {option.default})" if option.default else ""
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
                type=_argparse_type(option.read),
                help=option.help,
            )
            parser.addini(option.ini, option.help, type="linelist", default=[])
        else:
            group.addoption(
                *option.flags,
                dest=option.dest,
                default=None,
                metavar=option.metavar,
                type=_argparse_type(option.read),
                help=option.help + default,
            )
            parser.addini(option.ini, option.help, default=option.default)


def _argparse_type(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except OptionError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def value_of(config: pytest.Config, option: Option) -> Any:
    """Return the value of *option* on the command line, or else in the ini file. Raises ``pytest.UsageError``."""
    value = config.getoption(option.dest)
    if value is not None:
        return value
    try:
        ini = config.getini(option.ini)
    except (ValueError, TypeError, pytest.UsageError) as error:  # no truth value, or in TOML another type
        hint = ": write true or false" if option.read is None else ""
        raise pytest.UsageError(f"{option.ini} in the ini file: {one_line(error, 300)}{hint}") from None
    if option.read is None:
        return ini
    try:
        if option.many:
            return [option.read(line) for line in ini]
        return option.read(ini) if ini else None
    except OptionError as error:
        raise pytest.UsageError(f"{option.ini} in the ini file: {error}") from None
