"""Paths between the heads that matter: what one writes, taken out of what a later one reads, and what that changes.

Single heads that matter may work side by side or hand something on. A path patched out shows which: the receiver alone
lacks what the sender writes into the residual stream, while all other heads and MLPs have it. One pass of a few rows
gives what each receiver reads without each sender; the paths themselves are rows that join a pass at the receiver's
layer, as the sweep's do, so their cost is that of as many ablated cases and less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasoning_probe.analyses.drawn_items import drawn_items
from reasoning_probe.engine.protocol import Engine
from reasoning_probe.results.record import EffectRecord
from reasoning_probe.utils.target_names import head_of

if TYPE_CHECKING:
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.engine.tokenization import EncodedQuery
    from reasoning_probe.models.path_patching import Head, Path
    from reasoning_probe.results.outcome import ItemKey

MOST_HEADS = 12
"""Heads of a dataset and ablation between which paths are measured, the strongest first."""

FEWEST_ITEMS, MOST_ITEMS = 12, 40
"""Items on which a path is measured, as far as there are so many; of fewer no path among 28 could be significant."""

FEWEST_ANSWERED, MOST_ANSWERED = 3, 10
"""Items that are answered along each path that matters."""

ANSWER_SHARE = 0.003
"""The share of the sweep's cases that these answers may be: one takes about as long as ten cases."""

ROW_SHARE = 0.12
"""The share of the sweep's cases that the rows of paths may be, beyond the fewest items.

A row takes about half as long as a case (``python -m benchmarks.speed.paths``).
"""


@dataclass(frozen=True)
class PathSpec:
    """The paths to measure on one dataset under one ablation, and the questions that are asked."""

    dataset: str
    ablation: str
    paths: tuple[Path, ...]
    queries: tuple[Query, ...]


def paths_between(rows: Iterable[EffectRecord]) -> dict[tuple[str, str], tuple[Path, ...]]:
    """Return by dataset and ablation the paths from each earlier to each later one of the heads that *rows* name.

    They are the strongest heads first, at most :data:`MOST_HEADS`; heads of one layer do not read each other.
    """
    from reasoning_probe.models.path_patching import Path

    heads: dict[tuple[str, str], list[Head]] = {}
    for row in rows:
        if (head := head_of(row["target"])) is not None:
            heads.setdefault((row["dataset"], str(row["ablation"])), []).append(head)
    return {
        key: tuple(
            Path(sender, receiver)
            for receiver in sorted(of_map[:MOST_HEADS])
            for sender in sorted(of_map[:MOST_HEADS])
            if sender[0] < receiver[0]
        )
        for key, of_map in heads.items()
    }


def path_items(
    items: Mapping[ItemKey, bool], paths: Mapping[tuple[str, str], Sequence[Path]], cases: int, seed: int
) -> dict[str, list[ItemKey]]:
    """Return by dataset the items on which *paths* are measured, drawn by *seed* among those answered right.

    *items* says which were; others follow where too few were. They are as many as a sweep of *cases* cases affords.
    """
    rows = sum(len(of_map) + len({path.sender for path in of_map}) + 1 for of_map in paths.values() if of_map)
    most = min(MOST_ITEMS, max(FEWEST_ITEMS, int(ROW_SHARE * cases / max(1, rows))))
    return drawn_items(items, FEWEST_ITEMS, most, f"paths {seed}")


def answered_items(paths: int, cases: int) -> int:
    """Return on how many items each of so many *paths* that matter is answered after a sweep of *cases* cases."""
    return min(MOST_ANSWERED, max(FEWEST_ANSWERED, int(ANSWER_SHARE * cases / max(1, paths))))


@dataclass(frozen=True)
class PathResult:
    """How each path's questions change: nats by path and question, ``nan`` where there is no log-probability.

    ``note`` says in a line why nothing is measured.
    """

    changes: tuple[tuple[float, ...], ...] = ()
    note: str = ""


def path_changes(engine: Engine, specs: Sequence[PathSpec]) -> list[PathResult]:
    """Return how the expected answers change along the paths of *specs*, in nats; adds to ``engine.timing``."""
    if not specs:
        return []
    with engine.aside("paths_s"):
        results = engine.measure(PathChanges(tuple(specs)))
    return (
        results if results is not None else [PathResult(note="no process of the cluster could measure it")] * len(specs)
    )


@dataclass(frozen=True)
class PathChanges:
    """The measurement as an :class:`~reasoning_probe.engine.protocol.Analysis`, which one process makes."""

    specs: tuple[PathSpec, ...]
    timing: str = "paths_s"
    failure: str = ""

    def measure(self, engine: LocalEngine) -> list[PathResult]:
        """Return the result of each spec; one that the model does not allow has a note."""
        return [_measured(engine, spec) for spec in self.specs]

    def split(self, parts: int) -> list[PathChanges]:
        """Return the whole measurement: its paths share most of its passes."""
        return [self]

    def merge(self, results: Sequence[list[PathResult]]) -> list[PathResult]:
        """Return the results of the one part."""
        return [result for part in results for result in part]


def _measured(engine: LocalEngine, spec: PathSpec) -> PathResult:
    from reasoning_probe.analyses.path_passes import PathPrompt, reads_without
    from reasoning_probe.data.places import PlaceError
    from reasoning_probe.engine.tokenization import ContextError
    from reasoning_probe.models.head_map import HeadError
    from reasoning_probe.models.path_patching import outputs_along, verify_paths

    prompts: dict[int, PathPrompt] = {}  # by the place of the question
    for place, query in enumerate(spec.queries):
        try:
            encoded = engine.codec.encode(query)
            replacement = engine.replacement(spec.ablation, query, encoded)
        except (ContextError, PlaceError):
            continue  # the sweep skips this item, and says why
        prompts[place] = PathPrompt(encoded, encoded.answer, replacement)
    changes = [[math.nan] * len(spec.queries) for _ in spec.paths]
    try:
        verify_paths(engine.model, engine.head_map, spec.paths)
        reads = reads_without(engine, list(prompts.values()), spec.paths)
        edits = [
            (place, indices, (number, outputs))
            for number, (place, of_prompt) in enumerate(zip(prompts, reads, strict=True))
            for indices, outputs in outputs_along(engine.head_map, spec.paths, of_prompt)
        ]
        encoded_queries = [prompt.encoded for prompt in prompts.values()]
        rows = engine.changes_of_edits(encoded_queries, [edit for _, _, edit in edits])
    except HeadError as error:
        return PathResult(note=" ".join(str(error).split()))
    for (place, indices, _), of_edit in zip(edits, rows, strict=True):
        for index, change in zip(indices, of_edit, strict=True):
            changes[index][place] = change
    return PathResult(tuple(map(tuple, changes)))


@dataclass(frozen=True)
class PathQuestion:
    """A question to answer along each of some paths, one at a time."""

    query: Query
    ablation: str
    paths: tuple[Path, ...]


PathReply = tuple[str, bool]
"""What the model says along a path, and whether the answer was cut."""


def path_answers(engine: Engine, questions: Sequence[PathQuestion]) -> list[list[PathReply]]:
    """Return by question what the model says along each of its paths; adds to ``engine.timing``.

    It is empty where a cluster could not measure it.
    """
    if not questions:
        return []
    with engine.aside("paths_s"):
        return engine.measure(PathAnswers(tuple(questions))) or []


@dataclass(frozen=True)
class PathAnswers:
    """The answers as an :class:`~reasoning_probe.engine.protocol.Analysis`, split by questions."""

    questions: tuple[PathQuestion, ...]
    timing: str = "paths_s"
    failure: str = ""

    def measure(self, engine: LocalEngine) -> list[list[PathReply]]:
        """Return the answers: the model's own one where no token of it would be another, else a new one."""
        return _replies(engine, self.questions)

    def split(self, parts: int) -> list[PathAnswers]:
        """Return the answers in at most *parts* parts of as many questions each."""
        size = max(1, -(-len(self.questions) // parts))
        return [PathAnswers(self.questions[first : first + size]) for first in range(0, len(self.questions), size)]

    def merge(self, results: Sequence[list[list[PathReply]]]) -> list[list[PathReply]]:
        """Return the answers of all parts, which come in the order of the questions."""
        return [replies for part in results for replies in part]


def _replies(engine: LocalEngine, questions: Sequence[PathQuestion]) -> list[list[PathReply]]:
    from reasoning_probe.analyses.path_passes import PathPrompt, diverging, spoken_along

    prompts = []
    for question in questions:
        encoded, baseline = engine.baseline(question.query)
        replacement = engine.replacement(question.ablation, question.query, encoded)
        prompts.append(PathPrompt(encoded, baseline.completion.tokens, replacement))
    pairs = [(number, path) for number, question in enumerate(questions) for path in question.paths]
    if not engine.plain.rules.rules:  # a repetition penalty, say, changes which token is the likeliest
        pairs = diverging(engine, prompts, pairs)
    stops = [question.query.generation.stop for question in questions]
    spoken = spoken_along(engine, prompts, pairs, stops)
    return [
        [
            _reply(engine, spoken.get((number, path), prompt.answer), prompt.encoded, question.query)
            for path in question.paths
        ]
        for number, (question, prompt) in enumerate(zip(questions, prompts, strict=True))
    ]


def _reply(engine: LocalEngine, tokens: tuple[int, ...], encoded: EncodedQuery, query: Query) -> PathReply:
    stop = query.generation.stop
    return engine.codec.text(tokens, stop), engine.codec.truncated(tokens, stop, encoded.limit)
