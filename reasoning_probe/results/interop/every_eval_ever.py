"""A run as a record of Every Eval Ever (EvalEval Coalition): the results, and a line for each answer."""

from __future__ import annotations

import hashlib
from typing import Any

from reasoning_probe.results.interop.selection import Selection, accuracy_of, file_name
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.utils.files import encode, to_json

SCHEMA_VERSION = "0.3.0"
"""The version of the schemas that the records follow."""

COLLECTION = "reasoning-probe"


def every_eval_ever_files(selection: Selection) -> dict[str, str]:
    """Return the record and its samples at their place in the datastore, ``data/COLLECTION/DEVELOPER/MODEL``."""
    developer, model = _model_names(selection.model)
    folder = f"data/{COLLECTION}/{developer}/{model}"
    samples = "".join(
        to_json(_sample(selection, f"{developer}/{model}", outcome)) + "\n"
        for outcomes in selection.by_dataset.values()
        for outcome in outcomes
    )
    path = f"{folder}/{selection.identity}_samples.jsonl"
    record = _record(selection, (developer, model)) | {
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": path,
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(encode(samples)).hexdigest(),
            "total_rows": samples.count("\n"),
        }
    }
    return {f"{folder}/{selection.identity}.json": to_json(record, indent=1) + "\n", path: samples}


def _model_names(name: str) -> tuple[str, str]:
    """Return a model's developer and name; what is on no hub is filed under ``local``."""
    developer, slash, model = name.strip("/").rpartition("/")
    return (file_name(developer.rpartition("/")[2]) if slash else "local"), file_name(model.partition("@")[0])


def _evaluation_id(selection: Selection) -> str:
    return f"{COLLECTION}/{'/'.join(_model_names(selection.model))}/{selection.identity}"


def _record(selection: Selection, names: tuple[str, str]) -> dict[str, Any]:
    developer, model = names
    time = f"{selection.time.timestamp():.0f}"
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": _evaluation_id(selection),
        "evaluation_timestamp": time,
        "retrieved_timestamp": time,
        "source_metadata": {
            "source_name": "reasoning-probe",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "reasoning-probe", "version": selection.version},
        "model_info": {
            "name": selection.model,
            "id": f"{developer}/{model}",
            "developer": developer,
            "inference_engine": {
                "name": "transformers",
                "version": str(selection.run.summary["versions"].get("transformers") or "unknown"),
            },
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown" if developer == "local" else "open_weights",
                **selection.metadata,
            },
        },
        "evaluation_results": [_result(selection, dataset) for dataset in selection.by_dataset],
    }


def _result(selection: Selection, dataset: str) -> dict[str, Any]:
    outcomes = selection.by_dataset[dataset]
    accuracy, stderr = accuracy_of(outcomes)
    uncertainty: dict[str, Any] = {"num_samples": len(outcomes)}
    if stderr is not None:
        uncertainty["standard_error"] = {"value": stderr, "method": "analytic"}
    off = "nothing switched off" if selection.ablation is None else f"{selection.target} off ({selection.ablation})"
    return {
        "evaluation_result_id": _result_id(selection, dataset),
        "evaluation_name": dataset,
        "source_data": {"dataset_name": dataset, "source_type": "other"},
        "metric_config": {
            "evaluation_description": f"Share of right answers to {dataset}, {off}",
            "metric_id": "accuracy",
            "metric_name": "Accuracy",
            "metric_kind": "accuracy",
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
        },
        "score_details": {"score": accuracy, "uncertainty": uncertainty},
        "generation_config": {
            "generation_args": {**selection.sampling, "max_tokens": selection.max_new_tokens(dataset)}
        },
    }


def _result_id(selection: Selection, dataset: str) -> str:
    return f"{_evaluation_id(selection)}/{selection.file_names[dataset]}/accuracy"


def _sample(selection: Selection, model_id: str, outcome: Outcome) -> dict[str, Any]:
    text = outcome.prompt + outcome.expected
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": _evaluation_id(selection),
        "evaluation_result_id": _result_id(selection, outcome.dataset),
        "model_id": model_id,
        "evaluation_name": outcome.dataset,
        "sample_id": outcome.item,
        "sample_hash": hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest(),
        "interaction_type": "single_turn",
        "input": {
            "raw": outcome.question,
            "formatted": outcome.prompt,
            "reference": [outcome.expected],
            "choices": None if outcome.choices is None else [choice.text for choice in outcome.choices],
        },
        "output": {"raw": [line.response for line in outcome.lines]},
        "answer_attribution": []
        if outcome.answer is None
        else [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": outcome.answer,
                "extraction_method": "custom",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": float(outcome.share_correct), "is_correct": outcome.correct},
    }
