"""What a schedule is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


class Schedule(Protocol):
    """Anything that maps a step, counted from 0, to a learning rate."""

    def __call__(self, step: int) -> float: ...


@runtime_checkable
class ObservingSchedule(Protocol):
    """A schedule that also goes by what training tells it, and whose state can be stored."""

    def __call__(self, step: int) -> float: ...
    def observe(self, value: float) -> None: ...
    def get_state(self) -> dict[str, Any]: ...
    def set_state(self, state: Mapping[str, Any]) -> None: ...


def half_cosine(start: float, end: float, share: float) -> float:
    """Go from `start` to `end` along half a cosine, as `share` goes from 0 to 1."""
    share = min(max(share, 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
