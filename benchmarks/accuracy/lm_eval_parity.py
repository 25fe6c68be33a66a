"""Compares ``strict`` and ``flexible`` with lm-eval's own filters and metric, response by response.

    python -m benchmarks.accuracy.lm_eval_parity
    python -m benchmarks.accuracy.lm_eval_parity reports/outcomes.jsonl

The script needs ``lm-eval`` (its filters alone: ``pip install --no-deps lm-eval``, with numpy, PyYAML and sacrebleu).
It reads one JSON line per response, with ``response`` and ``expected`` (or ``answer``); without a path it reads the
labelled responses. The regular expressions, and what a comparison ignores, come from lm-eval's ``gsm8k.yaml``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reasoning_probe.results.stats import wilson
from reasoning_probe.scoring.lm_eval_filters import flexible_match, same_number, strict_match
from reasoning_probe.utils.numbers import parse_number

LABELLED = Path(__file__).parents[2] / "tests/data/labelled/first.jsonl"
OURS: dict[str, Callable[[str], str | None]] = {"strict-match": strict_match, "flexible-extract": flexible_match}
INVALID = "[invalid]"
"""The text that lm-eval extracts where nothing matches."""


@dataclass(frozen=True)
class Compared:
    """One response under one filter: the extracted text and whether it counts as right, in lm-eval and here."""

    filter: str
    expected: str
    lm_eval_text: str
    our_text: str
    right_there: bool
    right_here: bool


def compare(rows: list[tuple[str, str]]) -> list[Compared]:
    """Return each (response, expected) pair of *rows* under both filters of lm-eval's GSM8K task."""
    import yaml
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    task: dict[str, Any] = yaml.safe_load((Path(spec.origin).parent / "tasks/gsm8k/gsm8k.yaml").read_text())
    metric = {key: value for key, value in task["metric_list"][0].items() if key.startswith(("ignore", "regexes"))}
    compared = []
    for setting in task["filter_list"]:
        arguments = {key: value for key, value in setting["filter"][0].items() if key != "function"}
        extracted = list(RegexFilter(**arguments).apply([[response] for response, _ in rows], [{} for _ in rows]))
        for (response, expected), (lm_eval_text, *_) in zip(rows, extracted, strict=True):
            gold = f"#### {expected}"
            score = exact_match_hf_evaluate(predictions=[lm_eval_text], references=[gold], **metric)["exact_match"]
            our_text = OURS[setting["name"]](response)
            right = same_number(our_text, expected)
            compared.append(
                Compared(setting["name"], expected, lm_eval_text, our_text or INVALID, bool(score == 1), right)
            )
    return compared


def trap(pair: Compared) -> str | None:
    """Return the documented trap of lm-eval that makes the two scores differ, or ``None``."""
    plain = re.sub(r"[,$]", "", pair.lm_eval_text).rstrip(".")
    if pair.right_there or not pair.right_here or parse_number(plain) is None:
        return None
    return "decimals that end in zeros" if "." in plain else "leading zeros or full stops"


def read(path: Path) -> list[tuple[str, str]]:
    """Return the (response, expected) pairs of the number questions in a file of JSON lines."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [(row["response"], str(row.get("expected") or row["answer"])) for row in rows]
    return [pair for pair in pairs if parse_number(pair[1]) is not None]


def _share(right: list[bool]) -> str:
    low, high = wilson(sum(right), len(right))
    return f"{sum(right)} ({sum(right) / len(right):.1%}, {low:.1%} to {high:.1%})"


def main() -> None:
    """Print how many responses agree, and each that does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=LABELLED)
    compared = compare(read(parser.parse_args().path))
    print(f"lm-eval {version('lm_eval')}")
    for name in OURS:
        part = [pair for pair in compared if pair.filter == name]
        text = sum(pair.lm_eval_text == pair.our_text for pair in part)
        score = sum(pair.right_there == pair.right_here for pair in part)
        print(f"{name}: {len(part)} responses, same text {text}, same score {score}")
        print(f"  right there: {_share([pair.right_there for pair in part])}")
        print(f"  right here: {_share([pair.right_here for pair in part])}")
    for pair in compared:
        if pair.lm_eval_text != pair.our_text or pair.right_there != pair.right_here:
            print(f"  {trap(pair) or 'UNEXPLAINED'}: {pair}")


if __name__ == "__main__":
    main()
