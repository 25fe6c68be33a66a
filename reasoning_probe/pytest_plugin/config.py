"""What the options say together: the settings of a session and the rules of its gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning_probe.cluster.config import ClusterSpec
from reasoning_probe.data.prompts.prompting import PromptError, Prompting, read_template
from reasoning_probe.engine.cache.store import FOLDER
from reasoning_probe.pytest_plugin.options import OPTIONS, value_of
from reasoning_probe.results.gate import GateRules
from reasoning_probe.session.settings import Settings

_GATE = ("probe_min_accuracy", "probe_reference", "probe_max_drop", "probe_update_reference")


def load_settings(config: pytest.Config) -> Settings:
    """Return what command line and ini file say; raises ``pytest.UsageError`` for what cannot be read."""
    value = {option.ini: value_of(config, option) for option in OPTIONS if option.ini not in _GATE}
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
    except PromptError as error:
        raise pytest.UsageError(f"--probe-template: {error}") from None
    shots, source = value["probe_shots"]
    return Prompting(shots, source, value["probe_chat"], value["probe_cot"], text, value["probe_choices"])


def load_gate_rules(config: pytest.Config, directory: Path) -> GateRules:
    """Return what the gate asks of a run written to *directory*; raises ``pytest.UsageError`` for contradictions."""
    value = {option.ini: value_of(config, option) for option in OPTIONS if option.ini in _GATE}
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
    return GateRules(
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
    from reasoning_probe.models.targets import TargetError, check_spelling

    try:
        check_spelling(spec)
    except TargetError as error:
        raise pytest.UsageError(f"--probe-heads: {error}") from None
