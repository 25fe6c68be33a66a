"""From the options to the settings of a session and the rules of its gate."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.data.prompts.prompting import PromptError, Prompting, read_template
from reasoning_probe.data.prompts.sampling import Sampling
from reasoning_probe.engine.cache.store import FOLDER
from reasoning_probe.models.targets import PATCHES, TargetError, check_ablations
from reasoning_probe.pytest_plugin.option_types import ItemCounts
from reasoning_probe.pytest_plugin.options import OPTIONS, value_of
from reasoning_probe.results.cards.choice import AUTO, named_targets
from reasoning_probe.results.gate_rules import GateRules
from reasoning_probe.results.screening import METHODS
from reasoning_probe.session.settings import Settings

_GATE_OPTIONS = ("probe_min_accuracy", "probe_reference", "probe_max_drop", "probe_update_reference")


def load_settings(config: pytest.Config) -> Settings:
    """Return the settings of command line and ini file. Raises ``pytest.UsageError`` for what cannot be read."""
    values = {option.ini: value_of(config, option) for option in OPTIONS if option.ini not in _GATE_OPTIONS}
    if values["probe_heads"] is not None:
        _check_heads(values["probe_heads"])
    _check_screen_and_race(config, values)
    _check_describe(config, values)
    for flag in ("--probe-paths", "--probe-masks"):
        typed = config.getoption(f"reasoning_probe_{flag[2:].replace('-', '_')}")
        if typed and not _ablating(values):
            raise pytest.UsageError(f"{flag}: nothing is switched off: add --ablate-heads")
    _check_sampling(config, values)
    _check_thinking(values)
    _check_ablations(values["probe_ablation"], values["probe_where"])
    items = values["probe_items"] or ItemCounts()
    most, method = values["probe_screen"] or (None, METHODS[0])
    fresh_from = values["probe_fresh_items"]
    return Settings(
        model=values["probe_model"],
        remote_code=values["probe_trust_remote_code"],
        pickled=values["probe_allow_pickle"],
        ablate_heads=values["ablate_heads"],
        ablate_layers=values["ablate_layers"],
        heads=values["probe_heads"],
        screen=most if values["probe_heads"] is None else None,
        screen_method=method,
        race=values["probe_race"],
        sampling=_sampling(values),
        think_tokens=values["probe_think_tokens"],
        ablations=values["probe_ablation"],
        where=values["probe_where"],
        seed=values["probe_seed"],
        sources=dict(values["probe_dataset"]),
        items=items.counts,
        items_from=items.starts,
        fresh_from=Path(config.invocation_params.dir, fresh_from) if fresh_from else None,
        max_new_tokens=values["probe_max_new_tokens"],
        device=values["probe_device"],
        device_map=values["probe_device_map"],
        dtype=values["probe_dtype"],
        generation=values["probe_generation"],
        numerics=values["probe_numerics"],
        memory=values["probe_memory"],
        directory=Path(config.invocation_params.dir, _home("--probe-dir", values["probe_dir"])),
        cache=_cache(config, values["probe_cache"]),
        fresh=values["probe_fresh"],
        shard=values["probe_shard"],
        granularity=values["probe_granularity"],
        figures=values["probe_figures"],
        describe=values["probe_describe"] or AUTO,
        paths=values["probe_paths"],
        masks=values["probe_masks"],
        cluster=_cluster(values["probe_engine"], values["probe_replica_cpus"], values["probe_replica_gpus"]),
        prompting=_prompting(config, values),
    )


def _check_screen_and_race(config: pytest.Config, values: dict[str, Any]) -> None:
    """Raise ``pytest.UsageError`` where ``--probe-screen`` or ``--probe-race`` have nothing to choose from."""
    if config.getoption("reasoning_probe_probe_screen") is not None:  # in the ini file it is for --ablate-heads
        if values["probe_heads"] is not None:
            raise pytest.UsageError("--probe-screen chooses heads by itself: leave out --probe-heads")
        if not values["ablate_heads"]:
            raise pytest.UsageError("--probe-screen chooses among all heads: add --ablate-heads")
    if values["probe_race"] and values["probe_shard"] is not None:
        raise pytest.UsageError(
            "--probe-race looks at all items, of which a shard has a part: leave out --probe-shard, or divide the sweep"
            " with --probe-engine ray"
        )
    if config.getoption("reasoning_probe_probe_race") and not (
        values["ablate_heads"] or values["ablate_layers"] or values["probe_heads"] is not None
    ):
        raise pytest.UsageError("--probe-race stops heads, and nothing is switched off: add --ablate-heads")


def _check_sampling(config: pytest.Config, values: dict[str, Any]) -> None:
    """Raise ``pytest.UsageError`` where sampled answers have settings that they do not take, or there are none."""
    if values["probe_samples"] is None:
        for flag in ("--probe-temperature", "--probe-top-p", "--probe-top-k", "--probe-verdict"):
            if config.getoption(f"reasoning_probe_{flag[2:].replace('-', '_')}") is not None:
                raise pytest.UsageError(f"{flag} is for sampled answers: add --probe-samples N")
        return
    if greedy := _of_plain_answers(values, "--probe-race"):
        raise pytest.UsageError(f"{greedy[0]} takes answers that are decoded greedily: leave out --probe-samples")


def _check_thinking(values: dict[str, Any]) -> None:
    """Raise ``pytest.UsageError`` where a thought of its own cannot be asked."""
    if values["probe_think_tokens"] is None:
        return
    if values["probe_think"] == "off":
        raise pytest.UsageError("--probe-think-tokens needs the marks of a thought: leave out --probe-think off")
    if plain := _of_plain_answers(values):
        raise pytest.UsageError(f"{plain[0]} takes answers without a thought: leave out --probe-think-tokens")


def _of_plain_answers(values: dict[str, Any], *further: str) -> list[str]:
    """Return what was chosen of paths, masks, patches and *further* flags: none takes other answers than plain ones."""
    flags = (*further, "--probe-paths", "--probe-masks")
    return [flag for flag in flags if values[flag[2:].replace("-", "_")]] + [
        f"--ablation {name}" for name in values["probe_ablation"] if name in PATCHES
    ]


def _sampling(values: dict[str, Any]) -> Sampling | None:
    if values["probe_samples"] is None:
        return None
    return Sampling(
        values["probe_samples"],
        values["probe_temperature"],
        values["probe_top_p"],
        values["probe_top_k"],
        values["probe_verdict"],
    )


def _check_ablations(names: tuple[str, ...], where: str) -> None:
    """Refuse ablations that cannot go together, or not at the place where heads shall be off."""
    try:
        check_ablations(names, where)
    except TargetError as error:
        raise pytest.UsageError(f"--ablation: {error}") from None


def _check_describe(config: pytest.Config, values: dict[str, Any]) -> None:
    """Refuse cards of named targets where nothing is switched off; in the ini file they are for other runs."""
    typed = config.getoption("reasoning_probe_probe_describe")
    if typed is not None and named_targets(typed) and not _ablating(values):
        raise pytest.UsageError(f"--probe-describe {typed}: nothing is switched off: add --probe-heads {typed}")


def _ablating(values: dict[str, Any]) -> bool:
    """Tell whether anything is switched off."""
    return values["ablate_heads"] or values["ablate_layers"] or values["probe_heads"] is not None


def _prompting(config: pytest.Config, values: dict[str, Any]) -> Prompting:
    template = values["probe_template"]
    try:
        text = (
            None
            if template is None
            else read_template(Path(config.invocation_params.dir, _home("--probe-template", template)))
        )
    except PromptError as error:
        raise pytest.UsageError(f"--probe-template: {error}") from None
    shots, source = values["probe_shots"]
    return Prompting(
        shots=shots,
        shots_from=source,
        chat=values["probe_chat"],
        cot=values["probe_cot"],
        template=text,
        choices=values["probe_choices"],
        chat_kwargs=_chat_kwargs(config, values),
        think=values["probe_think"],
    )


def _chat_kwargs(config: pytest.Config, values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments for the chat template, of all times that the option was written."""
    kwargs: dict[str, Any] = {}
    for part in values["probe_chat_kwargs"]:
        for name, value in part.items():
            if name in kwargs:
                raise pytest.UsageError(f"--probe-chat-kwargs: {name} is given twice: write it once")
            kwargs[name] = value
    if kwargs and values["probe_chat"] == "off" and config.getoption("reasoning_probe_probe_chat_kwargs") is not None:
        raise pytest.UsageError("--probe-chat-kwargs is for the chat template, which is off: add --probe-chat on")
    return kwargs


def load_gate_rules(config: pytest.Config, directory: Path) -> GateRules:
    """Return the gate's rules for a run in the folder *directory*. Raises ``pytest.UsageError`` for contradictions."""
    values = {option.ini: value_of(config, option) for option in OPTIONS if option.ini in _GATE_OPTIONS}
    typed = {name: config.getoption(f"reasoning_probe_{name}") is not None for name in _GATE_OPTIONS}
    reference = values["probe_reference"]
    if reference is None:
        for name, flag in (
            ("probe_max_drop", "--probe-max-drop"),
            ("probe_update_reference", "--probe-update-reference"),
        ):
            if typed[name]:
                raise pytest.UsageError(f"{flag} needs a reference: name it with --probe-reference")
    else:  # a typed path starts where pytest was called, one of the ini file beside that file
        folder = config.invocation_params.dir if typed["probe_reference"] else config.rootpath
        reference = Path(folder, _home("--probe-reference", reference))
        if directory.resolve() in (reference.resolve(), reference.resolve().parent):
            raise pytest.UsageError(f"--probe-reference: this run writes to {reference}: name another --probe-dir")
    limits = values["probe_min_accuracy"] or {}
    return GateRules(
        min_accuracy=limits,
        reference=reference,
        max_drop=values["probe_max_drop"],
        update=values["probe_update_reference"] and reference is not None,
        named=frozenset(limits) if typed["probe_min_accuracy"] else frozenset(),
        typed=typed["probe_min_accuracy"] or typed["probe_reference"],
    )


def _home(option: str, path: str) -> str:
    """Return *path* with a home folder in place of ``~``, which a shell leaves where it follows an equals sign."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise pytest.UsageError(f"{option}: there is no home folder {Path(path).parts[0][:40]!r}: write ./~ for a name")
    return expanded


def _cache(config: pytest.Config, value: str | None) -> Path | None:
    """Return the folder of the outcome store, ``None`` for none."""
    if value is None:
        return config.rootpath / FOLDER
    return None if value == "off" else Path(config.invocation_params.dir, _home("--probe-cache", value))


def _cluster(spec: ClusterSpec | None, cpus: float, gpus: float | None) -> ClusterSpec | None:
    if not cpus and not gpus:
        raise pytest.UsageError("--probe-replica-cpus 0 needs --probe-replica-gpus: a replica must take something")
    return None if spec is None else replace(spec, cpus=cpus, gpus=gpus)


def _check_heads(spec: str) -> None:
    """Refuse targets that no model could have, before anything is collected."""
    from reasoning_probe.models.targets import check_spelling

    try:
        check_spelling(spec)
    except TargetError as error:
        raise pytest.UsageError(f"--probe-heads: {error}") from None
