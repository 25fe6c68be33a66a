"""A run as the files of lm-evaluation-harness (EleutherAI): its results, and a file of samples for each dataset."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from reasoning_probe.results.interop.selection import Selection, accuracy_of, file_name
from reasoning_probe.results.outcome import Outcome
from reasoning_probe.utils.files import to_json

METRIC, FILTER = "exact_match", "reasoning-probe"
"""The metric's name, and that of the filter by which a response becomes an answer: this package's own extraction."""

NO_ANSWER = "[invalid]"
"""What lm-evaluation-harness writes where a filter finds no answer."""


def lm_eval_files(selection: Selection) -> dict[str, str]:
    """Return ``results_TIME.json`` and ``samples_TASK_TIME.jsonl`` in a folder of the model's name."""
    folder = file_name(selection.model)
    time = selection.time.isoformat(timespec="seconds").replace(":", "-")
    samples = {
        task: [_sample(selection, task, number, outcome) for number, outcome in enumerate(outcomes)]
        for task, outcomes in selection.by_dataset.items()
    }
    files = {f"{folder}/results_{time}.json": to_json(_results(selection, samples), indent=2) + "\n"}
    for task, lines in samples.items():
        name = f"{folder}/samples_{selection.file_names[task]}_{time}.jsonl"
        files[name] = "".join(to_json(line) + "\n" for line in lines)
    return files


def _results(selection: Selection, samples: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    tasks = selection.by_dataset
    results = {}
    for task, outcomes in tasks.items():
        accuracy, stderr = accuracy_of(outcomes)
        results[task] = {
            "alias": task,
            f"{METRIC},{FILTER}": accuracy,
            f"{METRIC}_stderr,{FILTER}": "N/A" if stderr is None else stderr,
        }
    configs = {
        task: {
            "task": task,
            "output_type": "generate_until",
            "num_fewshot": selection.shots,
            "generation_kwargs": {
                "until": selection.stop(task),
                "max_gen_toks": selection.max_new_tokens(task),
                "do_sample": selection.sampling["temperature"] > 0,
                **selection.sampling,
            },
            **({"repeats": selection.samples} if selection.samples > 1 else {}),
            "metric_list": [{"metric": METRIC, "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": selection.version},
        }
        for task in tasks
    }
    return {
        "results": results,
        "group_subtasks": {task: [] for task in tasks},
        "configs": configs,
        "versions": dict.fromkeys(tasks, selection.version),
        "n-shot": dict.fromkeys(tasks, selection.shots),
        "higher_is_better": {task: {METRIC: True} for task in tasks},
        "n-samples": {task: {"original": len(lines), "effective": len(lines)} for task, lines in samples.items()},
        "config": {"model": "reasoning-probe", "model_args": selection.metadata, "limit": None},
        "date": selection.time.timestamp(),
        "task_hashes": {
            task: _hash("".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in lines))
            for task, lines in samples.items()
        },
        "model_source": "reasoning-probe",
        "model_name": selection.model,
        "model_name_sanitized": file_name(selection.model),
        "transformers_version": selection.run.summary["versions"].get("transformers"),
    }


def _sample(selection: Selection, task: str, number: int, outcome: Outcome) -> dict[str, Any]:
    """Return a line of the samples; the hashes are those that lm-evaluation-harness takes of the same texts."""
    doc = {"id": outcome.item, "question": outcome.question, "answer": outcome.expected}
    limits = {"until": selection.stop(task), "max_gen_toks": selection.max_new_tokens(task)}
    return {
        "doc_id": number,
        "doc": doc,
        "target": outcome.expected,
        "arguments": {"gen_args_0": {"arg_0": outcome.prompt, "arg_1": limits}},
        "resps": [[line.response for line in outcome.lines]],
        "filtered_resps": [NO_ANSWER if outcome.answer is None else outcome.answer],
        "filter": FILTER,
        "metrics": [METRIC],
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(outcome.prompt),
        "target_hash": _hash(outcome.expected),
        METRIC: outcome.share_correct if outcome.samples else float(outcome.correct),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
