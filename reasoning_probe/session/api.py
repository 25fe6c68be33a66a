"""The Python API: a sweep as one call, for notebooks and scripts, and the outcomes that it returns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reasoning_probe.data.datasets import from_items
from reasoning_probe.data.items import Item
from reasoning_probe.data.prompts.prompting import Generation, Prompting
from reasoning_probe.models.loading import name_of
from reasoning_probe.models.targets import Target
from reasoning_probe.results.circuits import FEWEST_MASKS
from reasoning_probe.results.merge import merge_parts
from reasoning_probe.results.outcome import BASELINE, Outcome
from reasoning_probe.results.run import Run, check_folder, write_run
from reasoning_probe.session import arguments
from reasoning_probe.session.post_sweep import measure_heads
from reasoning_probe.session.session import ProbeSession, ProgressBar
from reasoning_probe.session.settings import Settings
from reasoning_probe.utils.files import atomic_write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from reasoning_probe.models.generation import GenerationMode
    from reasoning_probe.results.cards.card import HeadCard
    from reasoning_probe.results.export import Table
    from reasoning_probe.results.record import RunRecord


class Sweep(list[Outcome]):
    """The outcomes of a sweep, a list, and what can be made of them: tables, pictures, the files of a run.

    A notebook shows what was found; ``sweep[0]`` is an :class:`~reasoning_probe.Outcome` as in any list.
    """

    def __init__(self, outcomes: Iterable[Outcome], summary: RunRecord) -> None:
        super().__init__(outcomes)
        self._summary = summary

    def __repr__(self) -> str:
        """Say how much there is; all outcomes would fill the screen."""
        items = len({outcome.item_key for outcome in self})
        targets = len({(outcome.target, outcome.ablation) for outcome in self} - {(BASELINE, None)})
        return f"<Sweep: {len(self)} outcomes, {items} items as they are and under {targets} targets>"

    @property
    def run(self) -> Run:
        """The sweep as a run: what :func:`~reasoning_probe.read_run` returns where it was saved."""
        return Run(self._summary, list(self))

    def head(self, target: str, dataset: str | None = None, ablation: str | None = None) -> HeadCard:
        """Return what is known of *target*: ``print(sweep.head("L3H1").describe())``.

        Of several datasets and ablations it is that on which the effect is the largest. Raises ``ValueError`` with one
        line for a target that was not switched off.
        """
        return self.run.head(target, dataset, ablation)

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
        """Write ``run.json``, ``outcomes.jsonl`` and the page, ``report.html``, into *folder*; makes the folder.

        Raises ``ValueError`` with one line for what is no folder, or cannot be one.
        """
        from reasoning_probe.report.html.page import standalone_page

        run = self.run
        check_folder(folder)
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
    where: str = "all",
    seed: int = 0,
    dataset: str = "items",
    stop: Sequence[str] = Generation.stop,
    cache: str | Path | None = None,
    prompting: Prompting | None = None,
    generation: GenerationMode = "model",
    chat_kwargs: Mapping[str, Any] | None = None,
    numerics: str = "auto",
    progress: bool = False,
    describe: str | int | Sequence[str] = "auto",
    paths: bool = False,
    masks: int | None = None,
    race: bool = False,
    samples: int | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    verdict: str = "majority",
    think_tokens: int | None = None,
) -> Sweep:
    """Ask *model* every item, as it is and with each target switched off, and return the outcomes.

    The result is a list of :class:`~reasoning_probe.Outcome` that can show itself: see :class:`Sweep`.

    *targets* is a spec such as ``"L3H7,L5,L8-L11"``, a sequence of specs or of
    :class:`~reasoning_probe.models.targets.Target`, or ``None`` for every head one at a time; ``()`` asks for the
    baseline alone. *ablation* is ``zero``, ``mean``, ``resample``, ``patch``, ``patch-same`` or several of them, as a
    sequence or as ``"zero,mean"``, or ``restore`` by itself; *seed* is that of the items which ``resample`` draws.
    *where* says at which tokens heads are off: ``all``, ``prompt``, ``answer``, ``last`` (the prompt's last), with
    *think_tokens* ``thought``, or a part of the question that items mark, such as ``operands``. An item whose prompt
    does not fit the model's context, whose question has no such part, or which has no donor to patch from, yields no
    outcomes. Items without an id are called ``q1``, ``q2``, ... by their place.

    With *cache*, a folder, outcomes are kept in its store as they are found and taken from there where they are known.
    *prompting* says how questions are put: ``rp.Prompting(chat="auto", cot=True)``, ``rp.Prompting(shots=5,
    shots_from="train.jsonl")``. *chat_kwargs* are arguments for the chat template, ``{"enable_thinking": False}``.
    *generation* says whether settings of the model that change greedy answers, such as ``repetition_penalty``, apply
    (``"model"``) or are left out (``"plain"``).

    *numerics* is what keeps an answer independent of the rows that share its batch: ``"settle"``, ``"invariant"`` or
    ``"batch"``; ``"auto"`` is ``settle`` in float32 and ``invariant`` in half precision. *progress* shows a bar.

    *describe* says which heads have a card in the files and on the page: ``"auto"`` for those that matter, at most 8, a
    number for at most so many, ``0`` for none, or targets, ``"L3H1,L5H0"``. :meth:`Sweep.head` makes any other.
    With *paths*, what each head that matters writes is taken out of what each later one reads, one path at a time.
    *masks*, 16 or more, is how many random halves of the heads are switched off to find heads that lose together;
    these, and the heads that half of the items name, are scored on the other half.

    With *race* targets that will hardly be named are stopped after a part of the items, where there are 50 or more.
    They have no outcomes, and ``run.summary["races"]`` says after how many items each was stopped. With fewer items
    none is stopped, and a warning says so.

    *samples* draws so many answers to every case at *temperature*, from the *top_k* most likely tokens (0: all) and of
    these from the smallest set of probability *top_p*; without it answers are decoded greedily. The baseline and every
    target share the noise, which *seed* draws. An outcome then has ``samples``, and is right by *verdict*:
    ``"majority"`` (the most frequent answer is), ``"any"``, ``"all"`` or ``"mean>=0.5"``.

    With *think_tokens* a model that opens a thought has so many tokens for it; then the mark that closes it is put, and
    the answer is asked. An outcome then has its ``thought``; *where* may be ``thought``, too.

    Raises ``ArgumentError``, ``DatasetError``, ``PlaceError``, ``TargetError``, ``PromptError``, ``ModelError`` or
    ``HeadError`` (all ``ValueError``) with one line that says what is wrong.
    """
    arguments.check_model(model, tokenizer)
    ablations = arguments.ablation_names(ablation)
    arguments.check_numbers(max_new_tokens=(max_new_tokens, 1), seed=(seed, 0))
    arguments.check_texts(dataset, stop, cache)
    arguments.check_targets(targets)
    arguments.check_prompting(prompting)
    arguments.check_generation(generation)
    arguments.check_chat_kwargs(chat_kwargs)
    prompting = prompting or Prompting()
    if chat_kwargs is not None:
        prompting = replace(prompting, chat_kwargs=dict(chat_kwargs))
    arguments.check_chat(prompting)
    arguments.check_numerics(numerics)
    if masks is not None:
        arguments.check_numbers(masks=(masks, FEWEST_MASKS))
    sampling = arguments.sampling(samples, temperature, top_p, top_k, verdict)
    arguments.check_race(race, targets)
    arguments.check_greedy(sampling, ablations, paths=bool(paths), masks=masks, race=race)
    arguments.check_thinking(think_tokens, prompting.think, ablations, paths=bool(paths), masks=masks)
    settings = Settings(
        ablate_heads=targets is None,
        heads=targets or None,
        ablations=ablations,
        where=arguments.place(where, ablations),
        seed=seed,
        max_new_tokens=max_new_tokens,
        stop=tuple(stop),
        cache=None if cache is None else Path(cache),
        generation=generation,
        prompting=prompting,
        numerics=numerics,
        describe=arguments.described_heads(describe),
        paths=bool(paths),
        masks=masks,
        race=race,
        sampling=sampling,
        think_tokens=think_tokens,
    )
    return _swept(settings, (model, tokenizer), dataset, items, progress=progress)


def _swept(settings: Settings, model: tuple[Any, Any], dataset: str, items: Iterable[Item], *, progress: bool) -> Sweep:
    """Return the outcomes of *items* on *model* and its tokenizer. What it warns of points at the caller's call."""
    session = ProbeSession(settings)
    session.model_runner.use(model, _name(model[0]))
    session.select(session.cases(session.dataset(dataset, from_items(dataset, items).items)))
    session.check_plan()
    if note := session.race_line():
        warnings.warn(note, stacklevel=3)
    try:
        with _bar(progress) as report:
            session.sweep(session.items, report)
        measure_heads(session)
    finally:
        store = session.model_runner.store
        if store is not None:
            store.close()
            for note in store.notes:
                warnings.warn(note, stacklevel=3)
    run = merge_parts([session.export()])
    return Sweep(run.outcomes, run.summary)


@contextmanager
def _bar(wanted: bool) -> Iterator[ProgressBar | None]:
    """Yield what draws a bar, of the terminal or of the notebook; ``None`` where none is *wanted*."""
    if not wanted:
        yield None
        return
    from tqdm.auto import tqdm

    with tqdm(unit="case", desc="sweep") as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


def _name(model: Any) -> str:
    """Return what *model* was loaded as; of a path the last part, which says as much on other machines."""
    name = name_of(model)
    return Path(name).name if Path(name).is_absolute() else name
