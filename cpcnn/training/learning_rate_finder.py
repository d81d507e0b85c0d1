"""A learning rate to begin with: the range test."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from ..core.errors import UsageError
from .events import Event
from .input_stage import BatchLike
from .measure import LoaderLike
from .tally import Tally
from .trainer import Trainer

SMOOTHING = 0.9  # how much of its mean the smoothed loss keeps at each step


@dataclass
class LearningRateFinder:
    """Trains for some steps at rates that grow exponentially, and takes it all back.

    Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186. It ends
    early when the loss, smoothed by keeping 0.9 of its mean, is `divergence` times its lowest.
    Then `rates` and `losses` hold a number for every step, and `suggestion` is the rate at which
    the loss fell fastest, by straight lines through a quarter of the steps.

    As a callback of `fit` it measures before training and changes nothing; see also
    `Model.find_learning_rate`. Weights, statistics and optimizer are afterwards as they were.
    """

    min_learning_rate: float = 1e-6
    max_learning_rate: float = 1.0
    steps: int = 100
    divergence: float = 4.0

    rates: list[float] = field(default_factory=list, init=False)
    losses: list[float] = field(default_factory=list, init=False)
    _smoothed: list[float] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, valid in (
            ("min_learning_rate", self.min_learning_rate > 0),
            ("max_learning_rate", self.min_learning_rate < self.max_learning_rate < math.inf),
            ("steps", self.steps >= 10),
            ("divergence", self.divergence > 1),
        ):
            if not valid:
                raise UsageError(f"LearningRateFinder: {name} cannot be {getattr(self, name)!r}.")

    def attach(self, trainer: Trainer) -> None:
        """Measure on the trainer's network and training images."""
        self.rates, self.losses, self._smoothed = [], [], []
        learn = trainer.prepare()
        rates = np.geomspace(self.min_learning_rate, self.max_learning_rate, self.steps).tolist()
        with _taken_back(trainer):
            for rate, batch in zip(rates, _endless(trainer.train), strict=False):
                tally = Tally(trainer.model, learn.loss)
                learn(batch, rate, tally, update=True)
                tally.read()
                if not self._note(rate, tally.loss):
                    break

    def __call__(self, event: Event) -> None:
        """Nothing that happens later matters."""

    def _note(self, rate: float, loss: float) -> bool:
        """Keep a step's loss, and say whether to go on."""
        if not math.isfinite(loss):
            return False
        self.rates.append(rate)
        self.losses.append(loss)
        weights = SMOOTHING ** np.arange(len(self.losses))[::-1]
        self._smoothed.append(float(np.average(self.losses, weights=weights)))
        return self._smoothed[-1] <= self.divergence * min(self._smoothed)

    @property
    def suggestion(self) -> float:
        """The rate at which the loss fell fastest; UsageError when it never fell."""
        width = max(len(self.losses) // 4, 3)
        slopes = [_slope(part) for part in _windows(self.losses, width)]
        if min(slopes, default=0.0) >= 0:
            raise UsageError(
                f"the loss did not fall at any of {len(self.rates)} learning rates from "
                f"{self.min_learning_rate:g} on.",
                suggestion="Take smaller rates, more steps or another network.",
            )
        return self.rates[int(np.argmin(slopes)) + width // 2]


def _windows(values: list[float], width: int) -> list[list[float]]:
    return [values[start : start + width] for start in range(len(values) - width + 1)]


def _slope(values: list[float]) -> float:
    """The slope of the straight line through values that are equally far apart."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


@contextmanager
def _taken_back(trainer: Trainer) -> Iterator[None]:
    """Give network and optimizer back what they had, whatever happens."""
    store, optimizer = trainer.model.store, trainer.optimizer
    weights, state, step = store.get_weights(), optimizer.get_state(store), optimizer.step
    try:
        yield
    finally:
        store.set_weights(weights)
        optimizer.set_state(store, state, step)


def _endless(loader: LoaderLike) -> Iterator[BatchLike]:
    """Yield the batches of one epoch after the other."""
    for epoch in count():
        yield from loader.epoch(epoch)
