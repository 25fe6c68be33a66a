"""The hub: whether a model is there to be downloaded, in seconds, and which name was meant if it is not.

transformers asks the hub for many files and tries each several times, so that a mistyped name takes a minute where
there is no network. One question with a deadline comes first.
"""

from __future__ import annotations

import difflib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_probe.models.errors import ModelError
from reasoning_probe.utils.text import one_line

if TYPE_CHECKING:
    from reasoning_probe.models.loading import ModelSource

DEADLINE_S = 1.5
"""Seconds in which the hub must answer; the variable of huggingface_hub, ``HF_HUB_ETAG_TIMEOUT``, allows more."""

KNOWN = (
    *("tiny-reasoner", "smollm2", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2", "openai-gpt"),
    *("openai-community/gpt2", "EleutherAI/pythia-70m", "EleutherAI/pythia-160m", "EleutherAI/gpt-neo-125m"),
    *(
        "facebook/opt-125m",
        "bigscience/bloom-560m",
        "HuggingFaceTB/SmolLM2-135M",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    *("HuggingFaceTB/SmolLM2-360M", "HuggingFaceTB/SmolLM2-1.7B", "HuggingFaceTB/SmolLM3-3B", "Qwen/Qwen2.5-0.5B"),
    *("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B", "google/gemma-2-2b"),
    *("google/gemma-3-1b-it", "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B-Instruct", "microsoft/phi-2"),
    *("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "mistralai/Mistral-7B-v0.1", "allenai/OLMo-1B-hf", "microsoft/Phi-3-mini"),
)
"""Names that are often meant, for a name that is nearly one of them."""


def check_hub(source: ModelSource) -> None:
    """Raise :class:`ModelError`, one line, if *source* lies on the hub and neither the hub nor the cache has it.

    Nothing is asked for with ``HF_HUB_OFFLINE=1``, and nothing for what is in the cache.
    """
    if os.path.isdir(source.location):
        return
    from huggingface_hub import constants, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(source.location, "config.json", revision=source.revision)
    except ValueError as error:  # no name that a hub could know
        wanted = "give an existing folder, a .gguf file or a hub id"
        raise ModelError(f"there is no model at {one_line(source.name, 80)}: {wanted}") from error
    if isinstance(cached, str):
        return
    problem = _NOT_THERE if constants.HF_HUB_OFFLINE else _ask(source)
    if problem:
        raise ModelError(f"cannot load the model {source.name}: {problem}{_meant(source)}")


def local_folder(source: ModelSource) -> Path:
    """Return the folder on this machine that the files of *source* lie in, in the hub's cache for a hub id.

    There is none yet for what is not downloaded.
    """
    if os.path.isdir(source.location):
        return Path(source.location)
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(source.location, "config.json", revision=source.revision)
    return Path(config).parent if isinstance(config, str) else Path(source.location)


_NOT_THERE = "there is no such folder, and the hub has no such model or cannot be reached: check the name"


def _ask(source: ModelSource) -> str:
    """Ask the hub for the model's config; return what is wrong, or nothing: what loading explains better is left."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    answer: list[Exception | None] = []
    seconds = max(DEADLINE_S, _patience())

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(source.location, "config.json", revision=source.revision), timeout=seconds)
            answer.append(None)
        except Exception as error:  # of the network, of the hub, or of the name itself
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # it may wait for a name server, which has no deadline
    thread.start()
    thread.join(seconds)
    if not answer:
        return f"{_NOT_THERE}, or set HF_HUB_ETAG_TIMEOUT=30 to wait longer than {seconds:g} s"
    error = answer[0]
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the hub has no revision {one_line(source.revision, 60)} of it: check the name after @"
    if error is None or isinstance(error, errors.GatedRepoError | errors.EntryNotFoundError):
        return ""
    return _NOT_THERE


def _patience() -> float:
    """Return the seconds that the user allows the hub; 0 where nothing is set."""
    try:
        return float(os.environ.get("HF_HUB_ETAG_TIMEOUT", ""))
    except ValueError:
        return 0.0


def _meant(source: ModelSource) -> str:
    """Return which known name or name in the cache is meant, as the end of a message; empty if none is near."""
    near = difflib.get_close_matches(source.location, [*KNOWN, *_cached()], n=2, cutoff=0.7)
    if not near:
        by_last = {name.rpartition("/")[2].lower(): name for name in [*KNOWN, *_cached()]}
        last = source.location.rpartition("/")[2].lower()
        near = [by_last[name] for name in difflib.get_close_matches(last, by_last, n=2, cutoff=0.7)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _cached() -> list[str]:
    """Return the names of the models in the hub's cache on this machine."""
    from huggingface_hub import constants

    try:
        folders = [entry.name for entry in os.scandir(constants.HF_HUB_CACHE) if entry.name.startswith("models--")]
    except OSError:
        return []
    return [name.removeprefix("models--").replace("--", "/") for name in folders]
