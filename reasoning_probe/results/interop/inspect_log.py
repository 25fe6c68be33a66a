"""A run as logs of Inspect (UK AI Security Institute), one a dataset, for ``inspect view`` and ``read_eval_log``."""

from __future__ import annotations

from typing import Any

from reasoning_probe.results.interop.selection import Selection, accuracy_of
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.utils.files import to_json

LOG_VERSION = 2
"""The version of Inspect's log format."""

SCORER = "reasoning_probe"


def inspect_files(selection: Selection) -> dict[str, str]:
    """Return an Inspect log for each dataset, a sample an item; where answers are sampled, each is an epoch."""
    return {
        f"{selection.file_names[dataset]}_{selection.identity[:8]}.json": to_json(_log(selection, dataset), indent=1)
        + "\n"
        for dataset in selection.by_dataset
    }


def _log(selection: Selection, dataset: str) -> dict[str, Any]:
    outcomes = selection.by_dataset[dataset]
    created = selection.time.isoformat(timespec="seconds")
    identity = f"{selection.identity}-{selection.file_names[dataset]}"
    accuracy, stderr = accuracy_of(outcomes)
    metrics = {"accuracy": {"name": "accuracy", "value": accuracy}}
    if stderr is not None:
        metrics["stderr"] = {"name": "stderr", "value": stderr}
    limits: dict[str, Any] = {"max_tokens": selection.max_new_tokens(dataset), **selection.sampling}
    if stop := selection.stop(dataset):
        limits["stop_seqs"] = stop
    return {
        "version": LOG_VERSION,
        "status": "success",
        "eval": {
            "created": created,
            "eval_id": identity,
            "run_id": selection.identity,
            "task_id": identity,
            "task": dataset,
            "dataset": {"name": dataset, "samples": len(outcomes), "sample_ids": [each.item for each in outcomes]},
            "model": selection.model,
            "model_generate_config": limits,
            "config": {"epochs": selection.samples} if selection.samples > 1 else {},
            "packages": {"reasoning-probe": selection.version},
            "metadata": selection.metadata,
        },
        "plan": {"steps": [{"solver": "generate", "params": {}}], "config": limits},
        "results": {
            "total_samples": len(outcomes) * selection.samples,
            "completed_samples": len(outcomes) * selection.samples,
            "scores": [
                {"name": SCORER, "scorer": SCORER, "scored_samples": len(outcomes), "params": {}, "metrics": metrics}
            ],
        },
        "stats": {"started_at": created, "completed_at": created},
        "samples": [_sample(selection, line) for outcome in outcomes for line in outcome.lines],
    }


def _sample(selection: Selection, outcome: Outcome) -> dict[str, Any]:
    reply = {"role": "assistant", "content": outcome.response, "source": "generate", "model": selection.model}
    facts = {
        "question": outcome.question,
        "category": outcome.category,
        "kind": outcome.kind,
        "form": outcome.form,
        "thought": outcome.thought,
        "answer_logprob": outcome.answer_logprob,
    }
    return {
        "id": outcome.item,
        "epoch": 1 + (outcome.sample or 0),
        "input": outcome.prompt,
        "choices": None if outcome.choices is None else [choice.text for choice in outcome.choices],
        "target": outcome.expected,
        "messages": [{"role": "user", "content": outcome.prompt, "source": "input"}, reply],
        "output": {
            "model": selection.model,
            "choices": [{"message": reply, "stop_reason": "max_tokens" if outcome.truncated else "stop"}],
        },
        "scores": {
            SCORER: {
                "value": "C" if outcome.correct else "I",
                "answer": outcome.answer,
                "explanation": outcome.reason,
            }
        },
        "metadata": {name: value for name, value in facts.items() if value is not None},
    }
