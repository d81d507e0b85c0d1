"""Rates that stay, or fall by a power, a factor or a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import UsageError
from ..core.options import check_number


@dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    learning_rate: float

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class ExponentialDecay:
    """`initial_learning_rate` times `decay_rate` for every `decay_steps` steps.

    In between the power is broken; with `staircase` the rate waits and then drops at once.
    """

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False

    def __post_init__(self) -> None:
        check_number(self, "initial_learning_rate", least=0)
        check_number(self, "decay_steps", above=0)
        check_number(self, "decay_rate", above=0)

    def __call__(self, step: int) -> float:
        periods = step / self.decay_steps
        power = math.floor(periods) if self.staircase else periods
        return float(self.initial_learning_rate * self.decay_rate**power)


@dataclass(frozen=True)
class InverseTimeDecay:
    """`initial_learning_rate` / (1 + `decay_rate` · step / `decay_steps`).

    With `staircase` the quotient is rounded down.
    """

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False

    def __post_init__(self) -> None:
        check_number(self, "initial_learning_rate", least=0)
        check_number(self, "decay_steps", above=0)
        check_number(self, "decay_rate", least=0)

    def __call__(self, step: int) -> float:
        periods = step / self.decay_steps
        count = math.floor(periods) if self.staircase else periods
        return self.initial_learning_rate / (1 + self.decay_rate * count)


@dataclass(frozen=True)
class PolynomialDecay:
    """From `initial_learning_rate` to `end_learning_rate` in `decay_steps` steps, along a power.

    The way that is left, 1 at first and 0 at last, is raised to `power`: 1 is a straight line. With
    `cycle` the end is put off, to the next multiple of `decay_steps`, whenever it is passed.
    """

    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False

    def __post_init__(self) -> None:
        check_number(self, "initial_learning_rate", least=0)
        check_number(self, "decay_steps", above=0)
        check_number(self, "end_learning_rate", least=0)
        check_number(self, "power", above=0)

    def __call__(self, step: int) -> float:
        total = self.decay_steps
        if self.cycle:
            total *= max(math.ceil(step / total), 1)
        left = 1 - min(step / total, 1.0)
        drop = self.initial_learning_rate - self.end_learning_rate
        return float(drop * left**self.power + self.end_learning_rate)


@dataclass(frozen=True)
class PiecewiseConstantDecay:
    """`values[0]` up to and including step `boundaries[0]`, then `values[1]`, and so on.

    There is one value more than there are boundaries.
    """

    boundaries: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        boundaries, values = tuple(self.boundaries), tuple(self.values)
        object.__setattr__(self, "boundaries", boundaries)
        object.__setattr__(self, "values", values)
        if list(boundaries) != sorted(set(boundaries)):
            raise UsageError(
                f"PiecewiseConstantDecay: boundaries must ascend, not be {list(boundaries)}."
            )
        if len(values) != len(boundaries) + 1:
            raise UsageError(
                f"PiecewiseConstantDecay: {len(boundaries)} boundaries need "
                f"{len(boundaries) + 1} values, not {len(values)}."
            )
        if not all(0 <= value < math.inf for value in values):
            raise UsageError(
                f"PiecewiseConstantDecay: values must be finite and at least 0, not {list(values)}."
            )

    def __call__(self, step: int) -> float:
        return self.values[sum(step > boundary for boundary in self.boundaries)]
