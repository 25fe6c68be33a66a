"""Sets of heads scored as circuits, on items that did not choose them, beside random sets of the same size.

One half of a dataset's items chooses: the heads that its single effects name, and those that a Lasso finds where random
halves of all heads are switched off (Bair et al. 2026): heads that back each other up cost nothing alone. The other
half scores the set, left on alone (faithfulness) and off alone (completeness), and both without parts of it. Joint
targets run through the same engine as the sweep, so answers are judged, too.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.analyses.circuit_statistics import lasso_set, recovered, share
from reasoning_probe.engine.protocol import Engine, SweepRequest
from reasoning_probe.models.targets import Target
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome
from reasoning_probe.results.record import CircuitRecord, RecoveredRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasoning_probe.data.prompts.query import Query

    Floats = NDArray[np.float64]

NAMED, MASKS = "named", "masks"
"""Where a set comes from: the heads that single effects name, or those that masks find."""

FEWEST_ITEMS, MOST_ITEMS = 8, 20
"""Items that score a set."""

MASK_ITEMS = 6
"""Items that are asked under each mask, at most."""

RANDOM_SETS = 19
"""Random sets beside each: one that does more than all of them has p = 1 / 20."""

PARTS = 5
"""Random parts of a set, without which it is scored, too."""

Run = Callable[[Sequence[SweepRequest]], Iterable[list[Outcome]]]


def halves(ids: Iterable[str], dataset: str) -> tuple[list[str], list[str]]:
    """Return the items that choose a set, and those that score it, dealt out by a hash of dataset and id."""
    mixed = sorted(ids, key=lambda id: hashlib.sha256(f"circuit\0{dataset}\0{id}".encode("utf-8", "replace")).digest())
    middle = len(mixed) - len(mixed) // 2
    return mixed[:middle], mixed[middle:]


@dataclass(frozen=True)
class Circuit:
    """A set of single *heads* of one dataset under one ablation, and the items that score it.

    ``chosen_on`` counts the items that chose it; ``masks`` the masks, ``None`` where none did.
    """

    dataset: str
    ablation: str
    source: str
    heads: tuple[Target, ...]
    chosen_on: int
    items: tuple[str, ...]
    masks: int | None = None

    def targets(self, every: Sequence[Target], seed: int) -> dict[str, Target]:
        """Return the joint targets that score the set, by what is left on or off.

        ``kept`` and ``off`` are the set's, ``empty`` is every head; a number comes behind those of random sets, and
        ``less`` and a number behind those without a part: the rest of the set on alone, and the part off alone.
        """
        members = frozenset(self.heads)
        others = _other_sets(members, every, self._name(seed))
        sets = {"": members} | {f" {number}": other for number, other in enumerate(others)}
        targets = {"empty": _joint("every head", every)}
        for suffix, members in sets.items():
            rest = [head for head in every if head not in members]
            targets[f"kept{suffix}"] = _joint(f"{self.source} kept{suffix}", rest)
            targets[f"off{suffix}"] = _joint(f"{self.source} off{suffix}", [head for head in every if head in members])
        for number, part in enumerate(self.parts(seed)):
            rest = [head for head in every if head in part or head not in self.heads]
            targets[f"kept less {number}"] = _joint(f"{self.source} kept less {number}", rest)
            targets[f"off less {number}"] = _joint(f"{self.source} off less {number}", part)
        return targets

    def parts(self, seed: int) -> list[tuple[Target, ...]]:
        """Return random parts of the set, at most :data:`PARTS`: neither nothing nor all of it, and none twice."""
        draw = random.Random(f"parts {self._name(seed)}")
        size, parts = len(self.heads), dict[tuple[Target, ...], None]()
        while len(parts) < min(PARTS, 2 ** min(size, 30) - 2):
            part = tuple(head for head in self.heads if draw.random() < 0.5)
            if 0 < len(part) < size:
                parts[part] = None
        return list(parts)

    def _name(self, seed: int) -> str:
        return f"{seed} {self.dataset} {self.ablation} {self.source}"


def _other_sets(members: frozenset[Target], every: Sequence[Target], name: str) -> list[frozenset[Target]]:
    """Return random sets as large as *members*, which are none of them; *name* alone draws them."""
    draw = random.Random(name)
    sets: list[frozenset[Target]] = []
    while len(sets) < RANDOM_SETS:
        other = frozenset(draw.sample(list(every), len(members)))
        sets += [other] if other != members else []
    return sets


def _joint(name: str, heads: Iterable[Target]) -> Target:
    return Target(name, frozenset[tuple[int, int]]().union(*(head.heads for head in heads)))


def random_masks(every: Sequence[Target], count: int, name: str) -> list[Target]:
    """Return *count* joint targets, each a random half of the heads; *name* alone draws them."""
    draw = random.Random(name)
    return [_joint(f"mask {number}", draw.sample(list(every), len(every) // 2)) for number in range(count)]


def mask_set(
    run: Run, every: Sequence[Target], masks: Sequence[Target], ablation: str, queries: Sequence[Query]
) -> tuple[Target, ...]:
    """Return the heads that a Lasso finds to lower the expected answers' log-probability where *masks* are off."""
    import numpy as np

    requests = [SweepRequest(query, tuple((mask, ablation) for mask in masks)) for query in queries]
    logprobs: dict[str, list[float]] = {mask.name: [] for mask in masks}
    for outcome in (outcome for batch in run(requests) for outcome in batch):
        if outcome.ablation is not None and outcome.answer_logprob is not None:
            logprobs[outcome.target].append(outcome.answer_logprob)
    known = [mask for mask in masks if logprobs[mask.name] and all(map(math.isfinite, logprobs[mask.name]))]
    if len(known) < 2:
        return ()
    off = np.array([[head.heads <= mask.heads for head in every] for mask in known], dtype=np.float64)
    means = np.array([sum(logprobs[mask.name]) / len(logprobs[mask.name]) for mask in known])
    return tuple(every[column] for column in lasso_set(off, means))


def scored_circuits(
    run: Run,
    engine: Engine,
    circuits: Sequence[Circuit],
    every: Sequence[Target],
    queries: Mapping[ItemKey, Query],
    outcomes: Mapping[Key, Outcome],
) -> list[CircuitRecord]:
    """Score *circuits* by *run*, beside random sets. Adds to the timing of *engine*."""
    records = []
    with engine.aside("circuits_s"):
        for circuit in circuits:
            measured = dict(outcomes)
            targets = circuit.targets(every, engine.seed) if 0 < len(circuit.heads) < len(every) else {}
            ablated = tuple((target, circuit.ablation) for target in targets.values())
            requests = [SweepRequest(queries[circuit.dataset, item], ablated) for item in circuit.items if ablated]
            for batch in run(requests):
                measured |= {outcome.key: outcome for outcome in batch}
            parts = circuit.parts(engine.seed) if targets else []
            records.append(_record(circuit, targets, parts, measured))
    return records


def _record(
    circuit: Circuit,
    targets: Mapping[str, Target],
    parts: Sequence[Sequence[Target]],
    outcomes: Mapping[Key, Outcome],
) -> CircuitRecord:
    def of(name: str, ablation: str | None) -> list[Outcome]:
        return [outcomes[circuit.dataset, item, name, ablation] for item in circuit.items]

    whole = of(BASELINE, None)
    by_part = {part: of(target.name, circuit.ablation) for part, target in targets.items()}
    singles = [
        outcome
        for head in circuit.heads
        for item in circuit.items
        if (outcome := outcomes.get((circuit.dataset, item, head.name, circuit.ablation))) is not None
    ]
    return {
        "dataset": circuit.dataset,
        "ablation": circuit.ablation,
        "source": circuit.source,
        "heads": [head.name for head in circuit.heads],
        "chosen_on": circuit.chosen_on,
        "masks": circuit.masks,
        "items": len(circuit.items),
        "sum_of_single": _sum_of_single(whole, singles, len(circuit.heads)),
        "logprob": _recovered(by_part, parts, whole, _logprob) if targets else None,
        "answers": _recovered(by_part, parts, whole, lambda outcome: float(outcome.correct)) if targets else None,
        "note": "" if targets else ("no head" if not circuit.heads else "every head") + " is in the set",
    }


def _logprob(outcome: Outcome) -> float:
    return math.nan if outcome.answer_logprob is None else outcome.answer_logprob


def _sum_of_single(whole: Sequence[Outcome], singles: Sequence[Outcome], heads: int) -> float | None:
    """Return what the single effects of the heads add up to in the mean of the items, in nats."""
    before = {outcome.item: _logprob(outcome) for outcome in whole}
    changes = [change for one in singles if math.isfinite(change := _logprob(one) - before[one.item])]
    return heads * math.fsum(changes) / len(changes) if changes else None


def _recovered(
    by_part: Mapping[str, Sequence[Outcome]],
    parts: Sequence[Sequence[Target]],
    whole: Sequence[Outcome],
    measure: Callable[[Outcome], float],
) -> RecoveredRecord | None:
    """Return faithfulness and completeness by *measure*, beside those of the random sets and without *parts*."""
    import numpy as np

    values = {part: np.array([measure(outcome) for outcome in of_part]) for part, of_part in by_part.items()}
    full = np.array([measure(outcome) for outcome in whole])
    known = np.isfinite(np.array([full, *values.values()])).all(axis=0)
    values, full = {part: of_part[known] for part, of_part in values.items()}, full[known]
    empty = values["empty"]
    faithful, complete = share(values["kept"], empty, full), share(values["off"], empty, full, of_rest=True)
    if faithful is None or complete is None:
        return None
    random_kept = [recovered(values[f"kept {n}"], empty, full) or 0.0 for n in range(RANDOM_SETS)]
    random_complete = [1 - (recovered(values[f"off {n}"], empty, full) or 0.0) for n in range(RANDOM_SETS)]
    return {
        "items": len(full),
        "model": float(full.mean()),
        "empty": float(empty.mean()),
        "faithfulness": faithful["share"],
        "faithfulness_ci95": faithful["ci95"],
        "random_faithfulness": random_kept,
        "faithfulness_p": _rank(faithful["share"], random_kept),
        "completeness": complete["share"],
        "completeness_ci95": complete["ci95"],
        "random_completeness": random_complete,
        "completeness_p": _rank(complete["share"], random_complete),
        "parts": [
            {
                "heads": [head.name for head in part],
                "circuit": recovered(values[f"kept less {number}"], empty, full) or 0.0,
                "model": recovered(values[f"off less {number}"], empty, full) or 0.0,
            }
            for number, part in enumerate(parts)
        ],
    }


def _rank(value: float, others: Sequence[float]) -> float:
    """Return the share of the set and the random ones that do as much as the set, which is exact if it is like them."""
    return (1 + sum(other >= value for other in others)) / (1 + len(others))
