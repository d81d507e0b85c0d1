"""How long single calls take: not their mean, but what the slow ones among them take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from paired_timing import WARM_UP_CALLS, Call, come_to_rest

CALLS = 1000
LEAST_CALLS = 20  # of a network so slow that its calls do not fit the time
ROUNDS = 20
PERCENTILES = (50, 90, 99)

Latencies: TypeAlias = dict[str, list[float]]


def measure_latencies(
    contenders: Mapping[str, Call],
    *,
    calls: int = CALLS,
    seconds: float,
    before_turn: Call = come_to_rest,
) -> Latencies:
    """Time every call by itself: `calls` of each contender, in rounds as in `compare`.

    Fewer where the slowest contender would take longer than `seconds` for its own.
    """
    slowest = max(warm_up(call) for call in contenders.values())
    turn = max(1, max(LEAST_CALLS, min(calls, int(seconds / slowest))) // ROUNDS)
    taken: Latencies = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            before_turn()
            call()
            taken[name] += [time_one(call) for _ in range(turn)]
    return taken


def warm_up(call: Call) -> float:
    for _ in range(WARM_UP_CALLS):
        call()
    return time_one(call)


def time_one(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def percentiles(taken: Latencies) -> dict[str, list[float]]:
    """Return the percentiles of PERCENTILES of every contender's calls, in seconds."""
    return {name: np.percentile(seconds, PERCENTILES).tolist() for name, seconds in taken.items()}
