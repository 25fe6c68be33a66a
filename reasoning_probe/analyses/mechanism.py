"""What a head does, measured on the model: its attention where it changes an answer, what it writes there, its scores.

The answer that a head changes is followed token by token: with the head off, the first token of the model's own answer
that would be another is the first that differs. There the head's attention is read, and its direct logit attribution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reasoning_probe.engine.protocol import Engine
from reasoning_probe.models.targets import Target
from reasoning_probe.results.cards.card import Direct, Example, HeadCard
from reasoning_probe.results.cards.measured import MOST_EXAMPLES
from reasoning_probe.results.outcome import BASELINE, ItemKey, Key, Outcome
from reasoning_probe.utils.target_names import head_of

if TYPE_CHECKING:
    from reasoning_probe.analyses.direct_attribution import Flip
    from reasoning_probe.analyses.head_scores import ScoredHeads
    from reasoning_probe.analyses.prompt_scores import AnsweredPrompt
    from reasoning_probe.data.prompts.query import Query
    from reasoning_probe.engine.engine import LocalEngine
    from reasoning_probe.models.residual_stream import Component

PROMPTS = 10
"""Questions of each dataset on which heads are scored, at most."""


@dataclass(frozen=True)
class DescribedHead:
    """A head to describe, on one dataset under one ablation, with the questions whose answers it changes."""

    target: Target
    dataset: str
    ablation: str
    queries: tuple[Query, ...]


def described_heads(
    chosen: Mapping[str, Sequence[str]],
    targets: Mapping[str, Target],
    ablations: Sequence[str],
    queries: Mapping[ItemKey, Query],
    outcomes: Mapping[Key, Outcome],
) -> list[DescribedHead]:
    """Return the single heads among those *chosen* by dataset, each with the first *queries* that it flips.

    Right answers that become wrong come first. Targets of several heads, key/value groups and MLPs have no attention
    of their own and are left out.
    """
    heads = []
    for dataset, names in chosen.items():
        of_dataset = {key: query for key, query in queries.items() if key[0] == dataset}
        for name in names if of_dataset else ():
            for ablation in ablations if head_of(name) and name in targets else ():
                flipped: dict[bool, list[Query]] = {True: [], False: []}  # by whether the model is right with the head
                for key, query in of_dataset.items():
                    with_head, without = outcomes.get((*key, BASELINE, None)), outcomes.get((*key, name, ablation))
                    if with_head is not None and without is not None and with_head.correct != without.correct:
                        flipped[with_head.correct].append(query)
                first = (*flipped[True], *flipped[False])[:MOST_EXAMPLES]
                heads.append(DescribedHead(targets[name], dataset, ablation, first))
    return heads


def measure_heads(
    engine: Engine, heads: Sequence[DescribedHead], prompts: Mapping[str, Sequence[Query]], seed: int
) -> list[HeadCard]:
    """Return a card with the measured parts of each of *heads*; *prompts* are questions of each dataset.

    It adds to ``engine.timing``.
    """
    if not heads:
        return []
    with engine.aside("describe_s"):
        return engine.measure(Mechanism(tuple(heads), {name: tuple(of) for name, of in prompts.items()}, seed)) or []


@dataclass(frozen=True)
class Mechanism:
    """The measurement as an :class:`~reasoning_probe.engine.protocol.Analysis`, which one process makes."""

    heads: tuple[DescribedHead, ...]
    prompts: Mapping[str, tuple[Query, ...]]
    seed: int
    timing: str = "describe_s"
    failure: str = ""

    def measure(self, engine: LocalEngine) -> list[HeadCard]:
        """Return the measured parts of each card; what the model does not allow has a note in its place."""
        started = time.perf_counter()
        scored, note = _scored(engine, self.prompts, self.seed)
        measured = {index: _Measured() for index in range(len(self.heads))}
        by_query: dict[Query, list[int]] = {}
        for index, head in enumerate(self.heads):
            for query in head.queries:
                by_query.setdefault(query, []).append(index)
        for query, indices in by_query.items():
            _follow(engine, query, [(self.heads[index], measured[index]) for index in indices])
        cards = [_card(head, measured[index], scored, note) for index, head in enumerate(self.heads)]
        engine.timing.describe_s += time.perf_counter() - started
        return cards

    def split(self, parts: int) -> list[Mechanism]:
        """Return the whole measurement: its heads share most of its passes."""
        return [self]

    def merge(self, results: Sequence[list[HeadCard]]) -> list[HeadCard]:
        """Return the cards of the one part."""
        return [card for result in results for card in result]


@dataclass
class _Measured:
    """What was measured of a head so far: its examples, and the parts of all heads and MLPs at each."""

    examples: list[Example] = field(default_factory=list)
    parts: list[dict[Component, float]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)


def _follow(engine: LocalEngine, query: Query, heads: Sequence[tuple[DescribedHead, _Measured]]) -> None:
    """Add the example that *query* is to each of *heads*."""
    from reasoning_probe.analyses.direct_attribution import first_differences, read_flips
    from reasoning_probe.engine.tokenization import ContextError
    from reasoning_probe.models.head_map import HeadError

    try:
        encoded, baseline = engine.baseline(query)
        flips: list[tuple[Flip, DescribedHead, _Measured]] = []
        for ablation in dict.fromkeys(head.ablation for head, _ in heads):
            of_ablation = [(head, measured) for head, measured in heads if head.ablation == ablation]
            replacement = engine.replacement(ablation, query, encoded)
            targets = [head.target for head, _ in of_ablation]
            differences = first_differences(engine, encoded, baseline.completion.tokens, targets, replacement)
            for (head, measured), flip in zip(of_ablation, differences, strict=True):
                if flip is not None:
                    flips.append((flip, head, measured))
        readings = read_flips(engine, query, encoded, baseline.completion.tokens, [flip for flip, _, _ in flips])
    except (ContextError, HeadError) as error:
        for _, measured in heads:
            measured.notes[f"its attention is left out: {error}"] = None
        return
    for (_, _, measured), reading in zip(flips, readings, strict=True):
        measured.notes |= dict.fromkeys(filter(None, [reading.note]))
        if reading.example is not None:
            whole = not measured.examples  # its picture is on the first alone
            measured.examples.append(reading.example if whole else replace(reading.example, pattern=()))
            measured.parts += [reading.parts] if reading.parts else []


def _card(head: DescribedHead, measured: _Measured, scored: ScoredHeads | None, note: str) -> HeadCard:
    ((layer, number),) = head.target.heads
    notes = dict.fromkeys([*filter(None, [note]), *(scored.notes if scored else ()), *measured.notes])
    return HeadCard(
        head.target.name,
        head.dataset,
        head.ablation,
        scores=scored.of_head(head.dataset, (layer, number)) if scored else None,
        labels=scored.labels(head.dataset, (layer, number)) if scored else None,
        direct=mean_direct(measured.parts, (layer, number)),
        examples=tuple(measured.examples),
        note="; ".join(notes),
    )


def mean_direct(parts: Sequence[Mapping[Component, float]], head: Component) -> Direct | None:
    """Return what *head* writes in the mean of the examples' *parts*, and its rank among all heads and MLPs."""
    if not parts:
        return None
    means = {component: math.fsum(one[component] for one in parts) / len(parts) for component in parts[0]}
    return Direct(means[head], 1 + sum(mean > means[head] for mean in means.values()))


def _scored(engine: LocalEngine, prompts: Mapping[str, Sequence[Query]], seed: int) -> tuple[ScoredHeads | None, str]:
    """Return the scores of all heads, or in a line why there are none."""
    from reasoning_probe.analyses.head_scores import repeated_tokens, score_heads
    from reasoning_probe.engine.tokenization import ContextError
    from reasoning_probe.models.head_map import HeadError

    codec = engine.codec
    try:
        tokens = repeated_tokens(
            codec.vocabulary_size or 0,
            seed,
            special=[*codec.eos, *getattr(codec.tokenizer, "all_special_ids", ())],
            prefix=codec.added.before,
            context=codec.context,
        )
        answered = {name: list(_answered(engine, of_name)) for name, of_name in prompts.items()}
        return score_heads(engine.model, engine.head_map, tokens, answered, seed), ""
    except (ContextError, HeadError) as error:
        return None, f"its scores are left out: {error}"


def _answered(engine: LocalEngine, queries: Iterable[Query]) -> Iterable[AnsweredPrompt]:
    """Yield *queries* with their expected answers, in tokens; those that do not fit the model are left out."""
    from reasoning_probe.analyses.direct_attribution import tokens_of_parts
    from reasoning_probe.analyses.prompt_scores import AnsweredPrompt
    from reasoning_probe.engine.tokenization import ContextError

    for query in queries:
        try:
            encoded = engine.codec.encode(query)
        except ContextError:
            continue  # the sweep skips this item, and says why
        prompt = tuple(encoded.prompt[0].tolist())
        parts = tokens_of_parts(engine, query, prompt)
        operands = frozenset([*parts.get("operands", ()), *parts.get("names", ())])
        yield AnsweredPrompt((*prompt, *encoded.answer), len(prompt), operands)
