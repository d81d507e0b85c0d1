"""Learning-rate schedules: functions from the step (counted from 0) to the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from .core.errors import UsageError


class Schedule(Protocol):
    """Anything that maps a step to a learning rate."""

    def __call__(self, step: int) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    learning_rate: float

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up to `peak`, then half a cosine down to `final` at the last step.

    Loshchilov and Hutter, "SGDR", 2017, arXiv:1608.03983, without restarts.
    """

    peak: float
    total_steps: int
    warmup_steps: int = 0
    final: float = 0.0

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        span = max(self.total_steps - 1 - self.warmup_steps, 1)
        return _cosine(self.peak, self.final, (step - self.warmup_steps) / span)


@dataclass(frozen=True)
class OneCycle:
    """Up from peak / 25 to `peak` in the first 30 % of the steps, then down to peak / 250,000.

    Both ways half a cosine (Smith and Topin, 2018, arXiv:1708.07120, in the common form).
    """

    peak: float
    total_steps: int
    warmup_share: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4

    def __call__(self, step: int) -> float:
        start = self.peak / self.start_divisor
        top = self.warmup_share * self.total_steps - 1
        if step <= top:
            return _cosine(start, self.peak, step / max(top, 1))
        span = max(self.total_steps - 1 - top, 1)
        return _cosine(self.peak, start / self.final_divisor, (step - top) / span)


SCHEDULES = ("constant", "cosine", "one-cycle")


def get_schedule(
    name: str, learning_rate: float, total_steps: int, *, warmup_steps: int = 0
) -> Schedule:
    """Make a schedule by name; UsageError lists the known names."""
    if name == "constant":
        return Constant(learning_rate)
    if name == "cosine":
        return Cosine(learning_rate, total_steps, warmup_steps)
    if name == "one-cycle":
        return OneCycle(learning_rate, total_steps)
    raise UsageError(
        f"there is no schedule named {name!r}.",
        suggestion=f"Known schedules: {', '.join(SCHEDULES)}.",
    )


def _cosine(start: float, end: float, share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
