"""Synthetic runs for the tests of files and reports: seeded, with two heads that matter for arithmetic."""

from __future__ import annotations

import random
from collections.abc import Mapping

from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.paths import path_record, with_tests
from reasoning_probe.results.record import PathItemRecord, PathRecord
from reasoning_probe.results.run import Run
from reasoning_probe.results.summary import RunContext, summarise

LAYERS, HEADS = 4, 4
SIZES = {"arithmetic": 200, "logic": 4, "multi_step": 5, "gsm8k": 5}
ACCURACY = {"arithmetic": 0.96, "logic": 1.0, "multi_step": 0.4, "gsm8k": 0.0}
LOSSES = {"L1H3": 0.62, "L2H0": 0.31}
MISTAKES = (
    ("off_by_one", "above", "34 is 1 more than 33"),
    ("wrong_operation", "subtracted", "52 - 27 was asked, 79 is 52 + 27"),
    ("hallucination", "from_nowhere", "nothing in the question gives the number"),
    ("incomplete", "cut_off", "the response was cut off before an answer"),
)


def every_head(layers: int = LAYERS, heads: int = HEADS) -> list[str]:
    return [f"L{layer}H{head}" for layer in range(layers) for head in range(heads)]


def outcome(dataset: str = "arithmetic", item: str = "add-5-3", target: str = BASELINE, **values: object) -> Outcome:
    """Return an outcome, by default a correct one; *values* override its fields."""
    defaults = {
        "ablation": None if target == BASELINE else "zero",
        "question": "What is 5 + 3?",
        "prompt": "Question: What is 5 + 3?\nAnswer:",
        "response": " 8",
        "expected": "8",
        "answer": "8",
        "correct": True,
        "category": None,
        "kind": None,
        "reason": None,
        "answer_logprob": -0.5,
        "truncated": False,
    }
    return Outcome(dataset=dataset, item=item, target=target, **(defaults | values))  # type: ignore[arg-type]


def fake_outcomes(
    sizes: Mapping[str, int] = SIZES, targets: list[str] | None = None, noise: float = 0.01, seed: int = 0
) -> list[Outcome]:
    """Return an outcome for every item of every dataset under every target."""
    rng = random.Random(seed)
    outcomes = []
    for dataset, size in sizes.items():
        for index in range(size):
            first, second = rng.randint(10, 99), rng.randint(10, 99)
            question = {
                "logic": "All dogs are animals. Max is a dog. Is Max an animal?",
                "gsm8k": f"Lena bakes {first} rolls, gives {second} away and bakes as many again. How many now?",
            }.get(dataset, f"What is {first} + {second}?")
            expected = ("yes", "yes", "no", "unknown")[index % 4] if dataset == "logic" else str(first + second)
            right = rng.random() < ACCURACY.get(dataset, 0.5)
            if dataset == "logic":
                right = True
            logprob = rng.uniform(-1, -0.05) if right else rng.uniform(-9, -4)
            for target in [BASELINE, *(every_head() if targets is None else targets)]:
                loss = LOSSES.get(target, 0.0) if dataset == "arithmetic" else 0.0
                flip = target != BASELINE and rng.random() < max(loss, noise if dataset != "gsm8k" else 0)
                correct = right != flip if target != BASELINE else right
                category, kind, reason = MISTAKES[min(3, int(rng.expovariate(1.1)))]
                if dataset == "logic":
                    category, kind, reason = "wrong_label", "opposite", f"no was answered, {expected} is right"
                if not correct and (target == BASELINE or flip):
                    answer: str | None = (
                        rng.choice(["no", "unknown"]) if dataset == "logic" else str(first + second + 1)
                    )
                else:
                    answer = expected if correct else str(first + second - 10)
                answer = None if category == "incomplete" and not correct else answer
                outcomes.append(
                    Outcome(
                        dataset=dataset,
                        item=f"{dataset}-{index}",
                        target=target,
                        ablation=None if target == BASELINE else "zero",
                        question=question,
                        prompt=f"Question: {question}\nAnswer:",
                        response=f" {answer}\n\nThe answer is: {answer}" if answer else " It depends on what you",
                        expected=expected,
                        answer=answer,
                        correct=correct,
                        category=None if correct else category,
                        kind=None if correct else kind,
                        reason=None if correct else reason,
                        answer_logprob=logprob + rng.gauss(0, 0.02) - 4 * loss * rng.random(),
                        truncated=category == "incomplete" and not correct,
                    )
                )
    return outcomes


def as_run(outcomes: list[Outcome], *, layers: int = LAYERS, heads: int = HEADS, **settings: object) -> Run:
    """Return a run of *outcomes* with the metadata that a session writes."""
    names = dict.fromkeys(entry.dataset for entry in outcomes)
    defaults = {
        "model": {
            "name": "tiny-reasoner",
            "fingerprint": "sha256:0f1e2d3c4b5a6978",
            "architecture": "GPT2LMHeadModel",
            "layers": layers,
            "heads": heads,
            "layer_indices": list(range(layers)),
            "dtype": "float32",
            "device": "cpu",
        },
        "generation": {name: {"max_new_tokens": 32, "stop": ["\nQuestion:"]} for name in names},
        "ablation": "zero",
        "formats": dict.fromkeys(names, "plain"),
        "timing": {"baseline_s": 3.2, "sweep_s": 41.7, "total_s": 52.0},
        "engine": {"rows": 3424, "verified": 3001, "decoded": 423, "settled_singly": 2},
        "versions": {"reasoning-probe": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "python": "3.11.2"},
        "skipped": [],
    }
    return Run(summarise(outcomes, RunContext(**(defaults | settings))), outcomes)  # type: ignore[arg-type]


def fake_run(seed: int = 0) -> Run:
    return as_run(fake_outcomes(seed=seed))


def smollm2_run() -> Run:
    """Return a run as large as that of SmolLM2: 270 heads, 22 items of four datasets, many of them changed."""
    sizes = {"arithmetic": 8, "multi_step": 5, "logic": 5, "gsm8k": 4}
    return as_run(fake_outcomes(sizes, every_head(30, 9), noise=0.08), layers=30, heads=9)


def full_run(layers: int = LAYERS, heads: int = HEADS, items: int = 200, seed: int = 0, noise: float = 0.01) -> Run:
    """Return a run with every optional part: shifts, curves, control, screening, rank changes, gate."""
    outcomes = fake_outcomes({**SIZES, "arithmetic": items}, every_head(layers, heads), noise=noise, seed=seed)
    run = as_run(outcomes, layers=layers, heads=heads)
    shifts = _shifts(outcomes)
    for row in run.summary["targets"]:
        shift = shifts[row["dataset"], row["target"]]
        row["shift"] = {category: change for category, change in shift.items() if change}
    ranked = sorted(
        (row for row in run.summary["targets"] if row["dataset"] == "arithmetic"), key=lambda row: row["delta"]
    )
    order = [row["target"] for row in ranked[:8]]
    summary = run.summary | {
        "curves": _curves(order, items),
        "paths": _paths(outcomes, order),
        "control": _control([row["target"] for row in ranked]),
        "reference": {
            "mean": {
                "averaged": "positions",
                "seed": None,
                "datasets": {"arithmetic": {"prompts": 32, "sha256": "9f" * 32}},
            }
        },
        "rank_changes": [{"dataset": "arithmetic", "target": order[1], "ranks": {"zero": 2, "mean": 9}}],
        "screening": [_screening(order)],
        "gate": _gate(),
    }
    return Run(summary, run.outcomes)


def _shifts(outcomes: list[Outcome]) -> dict[tuple[str, str], dict[str, int]]:
    """Return, by dataset and target, how the number of outcomes in each category differs from the baseline's."""
    baselines = {(each.dataset, each.item): each for each in outcomes if each.target == BASELINE}
    shifts: dict[tuple[str, str], dict[str, int]] = {}
    for each in outcomes:
        shift = shifts.setdefault((each.dataset, each.target), {})
        for case, step in ((each, 1), (baselines[each.dataset, each.item], -1)):
            category = case.category or "correct"
            shift[category] = shift.get(category, 0) + step
    return shifts


def _curves(order: list[str], items: int) -> list[dict[str, object]]:
    accuracies = {"off": (0.96, 0.33, 0.2, 0.12, 0.08), "kept": (0.02, 0.3, 0.75, 0.9, 0.95)}
    return [
        {
            "dataset": "arithmetic",
            "ablation": "zero",
            "kind": kind,
            "order": order,
            "held_out": True,
            "ranked_on": items,
            "orders": 1,
            "points": [
                {
                    "heads": heads,
                    "items": items,
                    "correct": round(items * accuracy),
                    "accuracy": accuracy,
                    "ci95": [max(0.0, accuracy - 0.06), min(1.0, accuracy + 0.06)],
                    "mean_answer_logprob": -1.5 - heads,
                    "logprobs": items,
                    "if_added": -1.5 - 0.5 * heads,
                }
                for heads, accuracy in zip((0, 1, 2, 4, 8), points, strict=True)
            ],
        }
        for kind, points in accuracies.items()
    ]


def layer_of_head(name: str) -> int:
    """Return the layer of the head *name*."""
    return int(name[1:].partition("H")[0])


def _paths(outcomes: list[Outcome], order: list[str]) -> list[PathRecord]:
    """Return the paths between the heads of *order*, of which the first and the last matter."""
    items = [each.item for each in outcomes if each.dataset == "arithmetic" and each.target == BASELINE][:12]
    ends = [
        (one, other) for one in sorted(order) for other in sorted(order) if layer_of_head(one) < layer_of_head(other)
    ]
    rows = []
    for number, (one, other) in enumerate(ends):
        size = {0: -2.0, len(ends) - 1: 1.0}.get(number, 0.0)
        entries: list[PathItemRecord] = [
            {
                "item": item,
                "change": size,
                "answer": "9" if size else None,
                "correct": False if size else None,
                "changed": bool(size) or None,
            }
            for item in items
        ]
        rows.append(path_record(("arithmetic", "zero", one, other), entries))
    return with_tests(rows)


def _control(targets: list[str]) -> dict[str, object]:
    """Return a control task on which the second target alone has an effect."""
    rows = [
        {"target": target, "ablation": "zero", "logprob": -3.4, "delta": -0.62 if place == 1 else -0.004}
        for place, target in enumerate(targets)
    ]
    return {"sentences": 12, "tokens": 212, "logprob": -3.35, "targets": rows}


def _screening(order: list[str]) -> dict[str, object]:
    return {
        "dataset": "arithmetic",
        "ablation": "zero",
        "items": 200,
        "seed": 0,
        "candidates": 144,
        "ranked": 24,
        "sampled": 20,
        "rest": 120,
        "missed": 1,
        "miss_rate": 0.05,
        "ci95": [0.009, 0.236],
        "moved": 3,
        "found": 2,
        "scores": [{"target": target, "score": 0.5, "measured": "ranked"} for target in order],
    }


def _gate() -> dict[str, object]:
    return {
        "passed": False,
        "checks": [
            {
                "dataset": "arithmetic",
                "rule": "min-accuracy",
                "limit": 0.9,
                "value": 0.965,
                "passed": True,
                "p_value": None,
                "line": "arithmetic: accuracy 96 %, at least 90 % required",
            },
            {
                "dataset": "multi_step",
                "rule": "max-drop",
                "limit": 0.05,
                "value": 0.4,
                "passed": False,
                "p_value": 0.031,
                "line": "multi_step: accuracy dropped by 40 points, at most 5 allowed",
            },
        ],
    }
