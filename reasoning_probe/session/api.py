"""The sweep as one call, for notebooks and scripts, and what it returns: outcomes that can show themselves."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from reasoning_probe.data.datasets import from_items
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.few_shot import few_shot_examples
from reasoning_probe.data.prompts.prompting import ChatMode, ChoiceMode, Generation, Prompting
from reasoning_probe.data.prompts.render import PromptRenderer
from reasoning_probe.engine import multiple_choice
from reasoning_probe.engine.cache.cached_engine import CachedEngine
from reasoning_probe.engine.cache.key import model_context
from reasoning_probe.engine.cache.store import OutcomeCache
from reasoning_probe.engine.engine import Engine, SweepRequest
from reasoning_probe.models.ablation import reference_record
from reasoning_probe.models.head_map import HeadMap
from reasoning_probe.models.heads import find_heads, verify_heads
from reasoning_probe.models.loading import name_of
from reasoning_probe.models.targets import ABLATIONS, Target, TargetError, every_head, parse_targets
from reasoning_probe.models.weights import fingerprint
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run, write_run
from reasoning_probe.results.summary import summarise
from reasoning_probe.session import api
from reasoning_probe.utils.files import atomic_write_text
from reasoning_probe.utils.text import one_line
from reasoning_probe.utils.versions import versions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from reasoning_probe.results.export import Table


class Sweep(list[Outcome]):
    """The outcomes of a sweep, a list, and what can be made of them: tables, pictures, the files of a run.

    A notebook shows what was found; ``sweep[0]`` is an :class:`~reasoning_probe.Outcome` as in any list.
    """

    def __init__(self, outcomes: Iterable[Outcome] = (), facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(outcomes)
        self._facts = dict(facts or {})

    def __repr__(self) -> str:
        """Say how much there is; all outcomes would fill the screen."""
        items = len({outcome.item_key for outcome in self})
        targets = len({(outcome.target, outcome.ablation) for outcome in self} - {(BASELINE, None)})
        return f"<Sweep: {len(self)} outcomes, {items} items as they are and under {targets} targets>"

    @property
    def run(self) -> Run:
        """The sweep as a run: what :func:`~reasoning_probe.read_run` returns where it was saved."""
        return Run(summarise(self, **self._facts), list(self))

    def to_dataframe(self, table: Table = "outcomes") -> pd.DataFrame:
        """Return a row an outcome, or with ``"targets"`` a row a target: its effect with interval and p-values.

        Raises ``ImportError`` with one line where pandas is missing.
        """
        return self.run.to_dataframe(table)

    def heatmap(self, measure: Literal["accuracy", "logprob"] = "accuracy", ablation: str | None = None) -> Figure:
        """Return the map of heads as a matplotlib figure: layer x head, red loses, blue gains, white is no change.

        *measure* is the change of the accuracy in points, or of the expected answer's log-probability in nats;
        *ablation* is which one is shown where there are several (the first). Raises ``ValueError`` where no single
        head was switched off.
        """
        from reasoning_probe.report.html.notebook import group_of, head_map

        return head_map(self.run, group_of(self.run, ablation), measure).figure

    def save(self, folder: str | Path) -> None:
        """Write ``run.json``, ``outcomes.jsonl`` and the page, ``report.html``, into *folder*; makes the folder."""
        from reasoning_probe.report.html.page import standalone_page

        run = self.run
        write_run(folder, run)
        atomic_write_text(Path(folder) / "report.html", standalone_page(run))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was found, the map of heads, the strongest targets."""
        from reasoning_probe.report.html.notebook import notebook_html

        return notebook_html(self.run)


def sweep(
    model: Any,
    tokenizer: Any,
    items: Iterable[Item],
    targets: str | Sequence[str | Target] | None = None,
    ablation: str | Sequence[str] = "zero",
    max_new_tokens: int = 32,
    *,
    seed: int = 0,
    dataset: str = "items",
    stop: Sequence[str] = Generation.stop,
    cache: str | Path | None = None,
    prompting: Prompting | None = None,
) -> Sweep:
    """Ask *model* every item, as it is and with each target switched off, and return the outcomes.

    The result is a list of :class:`~reasoning_probe.Outcome` that can show itself: see :class:`Sweep`.

    *targets* is a spec such as ``"L3H7,L5,L8-L11"``, a sequence of specs or of
    :class:`~reasoning_probe.models.targets.Target`, or ``None`` for every head one at a time; ``()`` asks for the
    baseline alone. *ablation* is ``zero``, ``mean``, ``resample`` or several of them, as a sequence or as
    ``"zero,mean"``; *seed* is that of the items which ``resample`` draws. An item whose prompt does not fit the model's
    context yields no outcomes. Items without an id are called ``q1``, ``q2``, ... by their place.

    With *cache*, a folder, outcomes are kept in its store as they are found and taken from there where they are known.
    *prompting* says how questions are put: ``rp.Prompting(chat="auto", cot=True)``, ``rp.Prompting(shots=5,
    shots_from="train.jsonl")``.

    Raises ``ArgumentError``, ``DatasetError``, ``TargetError``, ``PromptError`` or ``HeadError`` (all ``ValueError``)
    with one line that says what is wrong.
    """
    api.check_model(model, tokenizer)
    ablations = api.ablations(ablation)
    api.check_numbers(max_new_tokens=(max_new_tokens, 1), seed=(seed, 0))
    api.check_texts(dataset, stop, cache)
    api.check_targets(targets)
    api.check_prompting(prompting)
    started = time.perf_counter()
    data = from_items(dataset, items)
    head_map = HeadMap(())
    chosen: list[Target] = []
    if targets is None or len(targets):
        head_map = find_heads(model)
        if targets is None:
            chosen = every_head(head_map)
        else:
            for part in [targets] if isinstance(targets, str) else targets:
                chosen += [part] if isinstance(part, Target) else parse_targets(part, head_map)
        verify_heads(model, head_map, chosen)
    if len({target.name: target for target in chosen}) < len(set(chosen)):
        raise TargetError("two targets have the same name and other heads: give each a name of its own")
    prompting = prompting or Prompting()
    prompter = PromptRenderer(prompting, tokenizer, {dataset: few_shot_examples(data, prompting, seed)})
    ends = tuple(stop)
    if prompter.chat and ends == Generation.stop:
        ends = ()  # a chat's turn ends by a token of its own
    queries = [prompter.query(dataset, item, Generation(max_new_tokens, ends)) for item in data.items]
    prompts = {dataset: [query.prompt for query in queries]}
    chats = frozenset(prompts) if prompter.chat else frozenset[str]()
    engine = Engine(model.eval(), tokenizer, head_map, prompts, seed=seed, chats=chats)
    plan = [SweepRequest(query, tuple((target, name) for name in ablations for target in chosen)) for query in queries]
    item_place = {work.query.item_id: at for at, work in enumerate(plan)}
    keys = [(BASELINE, None), *((target.name, name) for name in ablations for target in chosen)]
    target_place = {key: at for at, key in enumerate(keys)}
    with _resuming(engine, cache) as runner:
        found = multiple_choice.run_multiple_choice(runner, plan, engine.skipped, listed=prompting.listing)
        outcomes = [outcome for batch in found for outcome in batch]
    outcomes.sort(
        key=lambda outcome: (item_place[outcome.item], target_place[outcome.target, outcome.ablation]),
    )
    facts = _facts(engine, ablations, prompts if chosen else {}, seed)
    facts |= {"generation": {dataset: {"max_new_tokens": max_new_tokens, "stop": list(ends)}}}
    facts["prompting"] = prompter.describe()
    facts["formats"] = {dataset: data.format}
    facts["timing"]["total_s"] = time.perf_counter() - started
    return Sweep(outcomes, facts)


def _facts(engine: Engine, ablations: Sequence[str], references: dict[str, list[str]], seed: int) -> dict[str, Any]:
    """Return what is known of a sweep beside its outcomes, as ``summarise`` takes it."""
    model, timing = engine.model, engine.timing
    return {
        "model": {
            "name": _name(model),
            "architecture": type(model).__name__,
            "layers": len(engine.head_map.attention_layers),
            "heads": max((site.heads for site in engine.head_map.attention_layers), default=0),
            "layer_indices": list(engine.head_map.layers),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
        },
        "ablation": ",".join(ablations),
        "reference": reference_record(ablations, references, seed) if references else {},
        "timing": {"proof_s": timing.proof_s, "baseline_s": timing.baseline_s, "sweep_s": timing.sweep_s},
        "engine": engine.facts(),
        "versions": versions(),
        "skipped": list(engine.skipped),
    }


def _name(model: Any) -> str:
    """Return what the model was loaded as; of a path the last part, which says as much on other machines."""
    given = name_of(model)
    return Path(given).name if Path(given).is_absolute() else given


@contextmanager
def _resuming(engine: Engine, folder: str | Path | None) -> Iterator[Engine | CachedEngine]:
    """Yield what runs a plan: *engine*, with the store in *folder* before it where that can be used."""
    context = None if folder is None else model_context(engine.model, engine.tokenizer, fingerprint(engine.model))
    if folder is None or context is None:
        yield engine
        return
    cache = OutcomeCache(Path(folder))
    try:
        yield CachedEngine(engine, cache, context, name_of(engine.model))
    finally:
        cache.close()
        for note in cache.notes:
            warnings.warn(note, stacklevel=4)


class ArgumentError(ValueError):
    """An argument that makes no sense; the message is one line that names the mend."""


def _shown(value: object) -> str:
    return one_line(ascii(value), 60)


def check_model(model: Any, tokenizer: Any) -> None:
    """Refuse what is no model, or no tokenizer."""
    if not (hasattr(model, "config") and hasattr(model, "named_modules")):
        raise ArgumentError(f"{_shown(model)} is no model: give a causal language model of transformers, loaded")
    if not callable(tokenizer) or hasattr(tokenizer, "named_modules"):
        raise ArgumentError(f"{_shown(tokenizer)} is no tokenizer: give the model's own")


def ablations(given: Any) -> tuple[str, ...]:
    """Return the names of ablations, each once."""
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, list | tuple) or not parts:
        raise ArgumentError(f"ablation={_shown(given)} names none: use {', '.join(ABLATIONS)}")
    names = [part.strip() if isinstance(part, str) else part for part in parts]
    for name in names:
        if not isinstance(name, str) or name not in ABLATIONS:
            raise ArgumentError(f"unknown ablation {_shown(name)}: use {', '.join(ABLATIONS)}")
    return tuple(dict.fromkeys(names))


def check_numbers(**given: tuple[Any, int]) -> None:
    """Refuse what is no whole number from the least on; each is given with its least."""
    for name, (value, least) in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"{name}={_shown(value)} is not a whole number from {least} on")


def check_texts(dataset: Any, stop: Any, cache: Any) -> None:
    """Refuse names, stop strings and folders that are none."""
    if not isinstance(dataset, str) or not dataset.strip():
        raise ArgumentError(f"dataset={_shown(dataset)} is no name: give a text")
    if not isinstance(stop, list | tuple) or not all(isinstance(word, str) and word for word in stop):
        raise ArgumentError(f"stop={_shown(stop)} holds no stop strings: give a tuple of texts, () for none")
    if cache is not None and not (isinstance(cache, str | Path) and str(cache).strip()):
        raise ArgumentError(f"cache={_shown(cache)} is no folder: give its path, or None")


def check_targets(given: Any) -> None:
    """Refuse what is neither a spec nor a sequence of specs and targets."""
    if given is None or isinstance(given, str | Target):
        parts: Sequence[Any] = () if given is None else [given]
        if given == "":
            raise ArgumentError("targets is empty: write L3H7, ..., None for every head, or () for the baseline alone")
    elif isinstance(given, list | tuple):
        parts = given
    else:
        raise ArgumentError(f"targets={_shown(given)} names none: write 'L3H7,L5', or a list of such")
    for part in parts:
        if not isinstance(part, str | Target):
            raise ArgumentError(f"{_shown(part)} is no target: write 'L3H7', or give a Target")
        if isinstance(part, Target) and not part.heads:
            raise ArgumentError(f"the target {_shown(part.name)} switches nothing off: leave it out")


def check_prompting(given: Any) -> None:
    """Refuse ways of putting questions that do not exist."""
    if given is None:
        return
    if not isinstance(given, Prompting):
        raise ArgumentError(f"prompting={_shown(given)} is none: give rp.Prompting(...)")
    check_numbers(shots=(given.shots, 0))
    for name, known in (("chat", get_args(ChatMode)), ("choices", get_args(ChoiceMode))):
        if getattr(given, name) not in known:
            raise ArgumentError(f"{name}={_shown(getattr(given, name))} is none of {', '.join(known)}")
