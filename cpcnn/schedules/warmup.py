"""A warm-up before any schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.options import check_number, check_whole
from .base import ObservingSchedule, Schedule


@dataclass(frozen=True)
class Warmup:
    """`steps` steps straight up from `start` to where `schedule` begins, and then the schedule.

    `start` itself is the rate that a step before the first would have: the last step of the warm-up
    has the schedule's first rate, and so has the step after it, which is the schedule's step 0.
    """

    schedule: Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        check_whole(self, "steps", least=0)
        check_number(self, "start", least=0)

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.schedule(step - self.steps)
        return self.start + (self.schedule(0) - self.start) * (step + 1) / self.steps

    def observe(self, value: float) -> None:
        """Pass on what training tells, to a schedule that listens."""
        if isinstance(self.schedule, ObservingSchedule):
            self.schedule.observe(value)

    def get_state(self) -> dict[str, Any]:
        """Return the schedule's state; empty when it has none."""
        return self.schedule.get_state() if isinstance(self.schedule, ObservingSchedule) else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the schedule from a state that `get_state` returned."""
        if isinstance(self.schedule, ObservingSchedule):
            self.schedule.set_state(state)
