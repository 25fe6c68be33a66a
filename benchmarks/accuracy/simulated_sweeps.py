"""Simulated sweeps for the error rates and the power of the tests: what each setting draws.

Every sweep has a baseline answer for each item, and for each head which items it flips and by how much it changes the
log-probability of the expected answer. Under a null setting no head has an effect: it flips as many items to wrong as
to right in expectation, and lowers the log-probability on as many items as it raises it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HEADS = 144
ACCURACY = 0.7
FLIPS = 0.05
"""The share of items that a head without an effect flips, half of them to wrong."""


@dataclass(frozen=True)
class Sweep:
    """The arguments of ``paired_effects``: correctness and log-probabilities, with and without ablation."""

    right: Floats  # (items,)
    right_off: Floats  # (heads, items)
    logprob: Floats  # (items,)
    logprob_off: Floats  # (heads, items)


@dataclass(frozen=True)
class Setting:
    """Parameters of simulated sweeps.

    ``shape`` is the distribution of the log-probability's changes, ``spread`` how much the items differ in how easily
    they flip, ``correlation`` that between heads. The first head makes a share ``loss`` of all items wrong, and lowers
    the log-probability by ``shift`` standard deviations.
    """

    items: int
    heads: int = HEADS
    accuracy: float = ACCURACY
    flips: float = FLIPS
    shape: str = "heavy"
    spread: float = 0.0
    correlation: float = 0.0
    families: int = 1
    loss: float = 0.0
    shift: float = 0.0
    seed: int = 0

    @property
    def null(self) -> bool:
        """Whether no head has an effect."""
        return not self.loss and not self.shift


SHAPES: Mapping[str, Callable[[Floats], Floats]] = {
    "normal": lambda z: z,
    "heavy": lambda z: np.sign(z) * np.expm1(1.2 * np.abs(z)) / 3.5,  # tails like a t distribution's of 2 to 3 degrees
    "skewed": lambda z: np.where(z < 0, -np.expm1(1.5 * np.abs(z)), 0.2 * z) / 4,  # falls are large and rises small
}
"""Changes of median 0 as functions of a normal variable; each has a standard deviation of about 1."""


def draw(setting: Setting, number: int) -> list[Sweep]:
    """Return the sweeps of one page, one for each family; *number* makes them independent of all others."""
    rng = np.random.default_rng((setting.seed, number))
    return [_sweep(setting, rng) for _ in range(setting.families)]


def _sweep(setting: Setting, rng: np.random.Generator) -> Sweep:
    items, heads = setting.items, setting.heads
    right = (rng.random(items) < setting.accuracy).astype(float)
    # The flip rate depends on the answer, so that equally many flips are expected in both directions.
    rate = np.where(right == 1, setting.flips / 2 / setting.accuracy, setting.flips / 2 / (1 - setting.accuracy))
    ease = np.exp(setting.spread * rng.normal(size=items))
    ease = np.minimum(ease, 1 / rate.max()) if setting.spread else ease  # a rate is at most 1
    rates = np.broadcast_to(rate * ease, (heads, items)).copy()
    rates[0] += np.where(right == 1, setting.loss / setting.accuracy, 0.0)
    flipped = _uniform(_correlated(setting, rng)) < rates
    change = SHAPES[setting.shape](_correlated(setting, rng)) * ease
    change[0] -= setting.shift
    logprob = -rng.exponential(2.0, items)
    return Sweep(right, np.abs(right - flipped), logprob, logprob + change)


def _correlated(setting: Setting, rng: np.random.Generator) -> Floats:
    """Return standard normal variables, (heads, items), that correlate between the heads of an item."""
    alone = rng.normal(size=(setting.heads, setting.items))
    if not setting.correlation:
        return alone
    common = rng.normal(size=setting.items)
    return math.sqrt(1 - setting.correlation) * alone + math.sqrt(setting.correlation) * common


def _uniform(z: Floats) -> Floats:
    from scipy import special

    return np.asarray(special.ndtr(z))


def shifted_criterion(setting: Setting, number: int) -> Sweep:
    """Return a sweep of yes/no questions that the model guesses, where every head shifts how often it says yes.

    No head carries any knowledge, but each changes many answers: half of them to right, half to wrong, since half of
    the questions have the answer yes.
    """
    rng = np.random.default_rng((setting.seed, number))
    items, heads = setting.items, setting.heads
    yes = rng.random(items) < 0.5
    lean = rng.normal(size=items)  # how much the model leans to yes, whatever the answer is
    criterion = rng.normal(scale=0.5, size=heads)
    noise = 0.2 * rng.normal(size=(heads, items))
    leaning = lean + criterion[:, None] + noise  # (heads, items)

    def logprob(z: Floats) -> Floats:
        return -np.logaddexp(0.0, np.where(yes, -z, z))

    return Sweep(
        ((lean > 0) == yes).astype(float), ((leaning > 0) == yes).astype(float), logprob(lean), logprob(leaning)
    )


NULL_SETTINGS: Mapping[str, Setting] = {
    "symmetric": Setting(200, shape="normal"),
    "heavy-tailed": Setting(200),
    "skewed": Setting(200, shape="skewed"),
    "unlike items": Setting(200, spread=1.5),
    "correlated heads (0.6)": Setting(200, correlation=0.6),
    "baseline 5 %": Setting(200, accuracy=0.05, flips=0.02),
    "baseline 95 %": Setting(200, accuracy=0.95, flips=0.02),
    "eight families": Setting(200, families=8),
}
"""Settings in which no head has an effect; the baseline is 70 % where nothing else is said, over 144 heads."""


def with_items(setting: Setting, items: int) -> Setting:
    """Return *setting* with another number of items."""
    return replace(setting, items=items)
