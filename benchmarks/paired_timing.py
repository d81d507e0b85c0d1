"""Timing several programs against each other in one process, turn by turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]
Clock: TypeAlias = Callable[[Call, int], float]  # seconds of one call, measured over many

REPEATS = 9  # rounds, so that a median is worth something
WARM_UP_CALLS = 2
SLICE = 0.01  # seconds between two looks at whether the process has come to rest
AT_REST = 0.1  # share of a slice that a process at rest may compute
PATIENCE = 2.0  # seconds; threads that still spin then were told to spin for ever


@dataclass(frozen=True)
class Comparison:
    """Seconds per call of every contender, one entry per round: the same round, the same noise."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def fastest(self, prefix: str) -> str:
        """Return the contender with the lowest median among those whose names begin alike."""
        return min((name for name in self.seconds if name.startswith(prefix)), key=self.median)

    def ratios(self, other: str, ours: str) -> list[float]:
        """How many times longer `other` took, round by round; above 1 `ours` was faster."""
        pairs = zip(self.seconds[other], self.seconds[ours], strict=True)
        return [theirs / mine for theirs, mine in pairs]

    def ratio(self, other: str, ours: str) -> float:
        """The median of the ratios: a disturbance that a whole round shares cancels out."""
        return statistics.median(self.ratios(other, ours))

    def quartiles(self, other: str, ours: str) -> tuple[float, float]:
        """The bounds of the middle half of the ratios."""
        ratios = self.ratios(other, ours)
        if len(ratios) == 1:
            return ratios[0], ratios[0]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, high


def wall_clock(call: Call, count: int) -> float:
    """Time calls that are done when they return."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def waiting_clock(wait: Call) -> Clock:
    """Return a clock for calls that only start work, which `wait` waits for."""

    def clock(call: Call, count: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(count):
            call()
        wait()
        return (time.perf_counter() - start) / count

    return clock


def come_to_rest() -> None:
    """Wait until no thread of this process computes any more; RuntimeError if one never stops.

    Threads of OpenMP and BLAS libraries spin for a while after their work, in the hope of more. The
    next contender would have to share the cores with them.
    """
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(SLICE)
        if time.process_time() - before < AT_REST * SLICE:
            return
    raise RuntimeError(
        "idle threads of this process keep spinning. "
        "Unset OMP_WAIT_POLICY, GOMP_SPINCOUNT and KMP_BLOCKTIME."
    )


def compare(
    contenders: Mapping[str, Call],
    *,
    repeats: int,
    turn_seconds: float,
    clock: Clock = wall_clock,
    before_turn: Call = come_to_rest,
    around: Callable[[str], AbstractContextManager[object]] = lambda name: nullcontext(),
) -> Comparison:
    """Give every contender `repeats` turns, in rounds: a, b, c, a, b, c, …

    A turn begins when `before_turn` is done. It is one call that does not count, which wakes the
    contender's threads and fetches its memory, and then as many as fill `turn_seconds`. All calls
    of a contender are made within `around` its name.
    """
    counts = {}
    for name, call in contenders.items():
        with around(name):
            for _ in range(WARM_UP_CALLS):
                call()
            counts[name] = max(1, round(turn_seconds / clock(call, 1)))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            before_turn()
            with around(name):
                call()
                seconds[name].append(clock(call, counts[name]))
    return Comparison(seconds)
