"""The settings of a session, in Python's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from reasoning_probe.data.places import ALL
from reasoning_probe.data.prompts.prompting import Prompting
from reasoning_probe.data.prompts.sampling import Sampling
from reasoning_probe.data.shards import Shard
from reasoning_probe.results.cards.choice import AUTO
from reasoning_probe.results.screening import METHODS

if TYPE_CHECKING:
    from reasoning_probe.cluster.config import ClusterSpec
    from reasoning_probe.models.device_map import DeviceMap
    from reasoning_probe.models.generation import GenerationMode
    from reasoning_probe.models.targets import Target


@dataclass(frozen=True)
class Settings:
    """The settings of a session; ``pytest --help`` describes the options that they come from."""

    model: str = "tiny-reasoner"
    remote_code: bool = False  # whether a model's own Python code is run
    pickled: bool = False  # whether weights in Python's pickle format are read
    ablate_heads: bool = False
    ablate_layers: bool = False
    heads: str | Sequence[str | Target] | None = None  # a spec, or specs and targets
    screen: int | None = None  # so many heads are measured, and a sample of the others
    screen_method: str = METHODS[0]  # how heads are ranked
    race: bool = False  # targets are stopped that will hardly be named
    sampling: Sampling | None = None  # None: answers are decoded greedily
    think_tokens: int | None = None  # tokens of a thought, which is then closed; None: thoughts are part of the answer
    ablations: tuple[str, ...] = ("zero",)
    where: str = ALL  # the place at which heads are off
    seed: int = 0
    sources: dict[str, str] = field(default_factory=dict)
    items: int | Mapping[str, int] | None = None  # at most so many of every dataset, or exactly so many by its name
    items_from: int | Mapping[str, int] = 0  # so many items of every dataset, or by name, are passed over
    fresh_from: Path | None = None  # the folder of a run whose questions are not asked again
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None  # stop strings; None: those of the dataset and its prompt
    device: str = "auto"
    dtype: str = "auto"
    generation: GenerationMode = "model"  # "plain" leaves out what the model's own settings change in greedy answers
    numerics: str = "auto"  # what keeps an answer independent of its batch
    memory: int | None = None  # bytes
    directory: Path = Path("reports")
    cache: Path | None = None  # the outcome store's folder
    fresh: bool = False
    shard: Shard | None = None
    granularity: str = "case"  # of tests: "head" makes one of all items under a target
    figures: bool = False  # whether they are written as files, too
    describe: str = AUTO  # which heads have a card: so many of each dataset, or those that are named
    paths: bool = False  # whether paths between the heads that matter are measured
    masks: int | None = None  # so many random halves of the heads are switched off to find a set of heads
    cluster: ClusterSpec | None = None  # None: this process sweeps
    device_map: DeviceMap | None = None  # None: the model is on one device
    prompting: Prompting = field(default_factory=Prompting)

    def items_of(self, dataset: str) -> int | None:
        """Return how many items of *dataset* are asked; ``None`` is all there are."""
        return self.items.get(dataset) if isinstance(self.items, Mapping) else self.items

    def items_start(self, dataset: str) -> int:
        """Return how many items of *dataset* are passed over before those that are asked."""
        return self.items_from.get(dataset, 0) if isinstance(self.items_from, Mapping) else self.items_from

    @property
    def ablating(self) -> bool:
        """Whether anything is switched off."""
        return self.ablate_heads or self.ablate_layers or self.heads is not None
