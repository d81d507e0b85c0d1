"""Learning-rate schedules: functions from the step (counted from 0) to the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from ..core.errors import UsageError
from .base import ObservingSchedule, Schedule
from .cosine import CosineDecay, CosineDecayRestarts, OneCycle
from .decay import (
    Constant,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)
from .plateau import ReduceOnPlateau
from .warmup import Warmup

__all__ = [
    "SCHEDULES",
    "Constant",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "ObservingSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "ReduceOnPlateau",
    "Schedule",
    "Warmup",
    "get_schedule",
]

# By name: the schedule for a highest rate and a number of steps.
_MAKERS: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda rate, steps: Constant(rate),
    "cosine": lambda rate, steps: CosineDecay(rate, _last(steps)),
    "one-cycle": lambda rate, steps: OneCycle(rate, steps),
    # a tenth after each third
    "step": lambda rate, steps: ExponentialDecay(rate, max(ceil(steps / 3), 1), 0.1, True),
    # parts of 1, 2 and 4 sevenths
    "cosine-restarts": lambda rate, steps: CosineDecayRestarts(rate, max(steps / 7, 1)),
    # down to a hundredth
    "exponential": lambda rate, steps: ExponentialDecay(rate, _last(steps), 0.01),
    "polynomial": lambda rate, steps: PolynomialDecay(rate, _last(steps), 0.0),
    "reduce-on-plateau": lambda rate, steps: ReduceOnPlateau(rate),
}
SCHEDULES = tuple(_MAKERS)


def get_schedule(
    name: str, learning_rate: float, total_steps: int, *, warmup_steps: int = 0
) -> Schedule:
    """Make a schedule by name, from its highest rate; UsageError lists the known names.

    What falls reaches its end at the last step: "cosine" and "polynomial" (a straight line) zero,
    "exponential" a hundredth. "step" falls to a tenth after each third, "cosine-restarts" has
    three parts of 1, 2 and 4 sevenths. `warmup_steps` go before, and are part of `total_steps`;
    "one-cycle" has a warm-up of its own, which then takes so many steps.
    """
    if name not in _MAKERS:
        raise UsageError(
            f"there is no schedule named {name!r}.",
            suggestion=f"Known schedules: {', '.join(SCHEDULES)}.",
        )
    if warmup_steps == 0:
        return _MAKERS[name](learning_rate, total_steps)
    if name == "one-cycle":
        return OneCycle(learning_rate, total_steps, warmup_steps / max(total_steps, 1))
    return Warmup(_MAKERS[name](learning_rate, total_steps - warmup_steps), warmup_steps)


def _last(steps: int) -> int:
    """The number of the last step; at least 1, since something has to be divided by it."""
    return max(steps - 1, 1)
