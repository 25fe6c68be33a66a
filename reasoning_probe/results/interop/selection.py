"""Which answers of a run are exported: those of the baseline, or those with one target off."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from reasoning_probe.data.datasets import safe_id, safe_ids
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.record import GenerationRecord, prompting_of, where_of
from reasoning_probe.results.run import Run, RunError
from reasoning_probe.utils.text import join_names, shorten, well_formed

Export = Callable[["Selection"], dict[str, str]]
"""What a format's module offers: a selection's files, texts by their paths in the folder."""


@dataclass(frozen=True)
class Selection:
    """The answers of one *target* under one *ablation* (``None`` for the baseline), by dataset, and the run's time."""

    run: Run
    target: str
    ablation: str | None
    by_dataset: dict[str, list[Outcome]]
    time: datetime

    @property
    def model(self) -> str:
        """The model's name."""
        return well_formed(str(self.run.summary["model"]["name"]))

    @property
    def identity(self) -> str:
        """A UUID of version 4's form, the same for the same answers of the same model."""
        digest = hashlib.sha256(f"{self.model}\n{self.target}\n{self.ablation}\n".encode())
        for outcomes in self.by_dataset.values():
            for outcome in (line for case in outcomes for line in case.lines):
                line = f"{outcome.dataset}\n{outcome.item}\n{outcome.prompt}\n{outcome.response}\n"
                digest.update(line.encode("utf-8", "backslashreplace"))
        text = digest.hexdigest()
        variant = "89ab"[int(text[16], 16) % 4]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"

    @property
    def metadata(self) -> dict[str, str]:
        """What the other format has no place for: target, ablation, fingerprint, version; texts all of them."""
        model = self.run.summary["model"]
        facts = {
            "target": self.target,
            "ablation": self.ablation or "none",
            "where": where_of(self.run.summary) if self.ablation else None,
            "fingerprint": model.get("fingerprint"),
            "architecture": model.get("architecture"),
            "dtype": model.get("dtype"),
            "device": model.get("device"),
            "reasoning_probe": self.version,
        }
        return {name: str(value) for name, value in facts.items() if value is not None}

    @property
    def version(self) -> str:
        """The version of this package that made the run."""
        return str(self.run.summary["versions"].get("reasoning-probe") or "unknown")

    @cached_property
    def file_names(self) -> dict[str, str]:
        """A part of a file's name for each dataset, all of them different."""
        return dict(zip(self.by_dataset, safe_ids(name[:80] for name in self.by_dataset), strict=True))

    @property
    def shots(self) -> int:
        """The number of solved examples before each question."""
        return int(prompting_of(self.run.summary).get("shots") or 0)

    @property
    def samples(self) -> int:
        """How many answers each case has."""
        sampling = self.run.summary.get("sampling")
        return sampling["samples"] if sampling else 1

    @property
    def sampling(self) -> dict[str, float]:
        """How answers are drawn, by the names that all tools share: ``temperature``, ``top_p``, ``top_k``."""
        sampling = self.run.summary.get("sampling")
        if not sampling:
            return {"temperature": 0.0}
        shares = {"top_p": sampling["top_p"]} if sampling["top_p"] < 1 else {}
        return (
            {"temperature": sampling["temperature"]}
            | shares
            | ({"top_k": sampling["top_k"]} if sampling["top_k"] else {})
        )

    def max_new_tokens(self, dataset: str) -> int:
        """Return the limit of an answer in tokens."""
        return int(self._generation(dataset)["max_new_tokens"])

    def stop(self, dataset: str) -> list[str]:
        """Return the strings before which an answer is cut."""
        return list(self._generation(dataset)["stop"])

    def _generation(self, dataset: str) -> GenerationRecord:
        """Return where the answers to *dataset* end. Raises :class:`RunError` where the run does not say it."""
        for name, generation in self.run.summary["generation"].items():
            if well_formed(name) == dataset:
                return generation
        raise RunError(f"run.json does not say where answers to {shorten(dataset, 60)} end: its generation lacks it")


def select(run: Run, time: datetime, target: str = BASELINE, ablation: str | None = None) -> Selection:
    """Return the answers of *run* with *target* off; *ablation* is needed where it was off in several ways.

    Raises :class:`RunError` with one line where the run holds none.
    """
    chosen = [outcome for outcome in run.outcomes if outcome.target == target]
    ablations = sorted({outcome.ablation for outcome in chosen if outcome.ablation is not None})
    if not chosen:
        names = list(dict.fromkeys(outcome.target for outcome in run.outcomes))
        raise RunError(f"the run has no target {target[:40]!r}: it has {join_names(names, 8) or 'no outcome'}")
    if target == BASELINE:
        ablation = None
    elif ablation is None and len(ablations) > 1:
        raise RunError(f"{target} was off by {join_names(ablations)}: name one with --ablation")
    elif ablation is not None and ablation not in ablations:
        raise RunError(f"{target} was not off by {ablation[:40]!r}, but by {join_names(ablations)}")
    else:
        ablation = ablation or ablations[0]
    by_dataset: dict[str, list[Outcome]] = {}
    for outcome in chosen:
        if outcome.ablation == ablation:
            formed = _well_formed(outcome)
            by_dataset.setdefault(formed.dataset, []).append(formed)
    return Selection(run, target, ablation, by_dataset, time)


def _well_formed(outcome: Outcome) -> Outcome:
    """Return *outcome* with lone surrogates as escapes: other tools encode texts as UTF-8, which has none."""
    texts = {name: value for name, value in vars(outcome).items() if isinstance(value, str)}
    changes: dict[str, Any] = {name: well_formed(text) for name, text in texts.items() if well_formed(text) != text}
    if outcome.samples:
        changes["samples"] = tuple(map(_well_formed, outcome.samples))
    return replace(outcome, **changes) if changes else outcome


def accuracy_of(outcomes: list[Outcome]) -> tuple[float, float | None]:
    """Return the mean over items of the share of right answers and its standard error; none for a single item."""
    n = len(outcomes)
    shares = [outcome.share_correct for outcome in outcomes]
    share = sum(shares) / n
    return share, math.sqrt(sum((one - share) ** 2 for one in shares) / n / (n - 1)) if n > 1 else None


def file_name(text: str) -> str:
    """Return *text* as a part of a file's name."""
    return safe_id(text)[:80].strip(".") or "unnamed"
