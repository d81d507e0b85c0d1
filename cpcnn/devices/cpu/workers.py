"""The CPU device's threads, and how work is cut for them.

Work is cut by its size alone, never by the number of threads, so that results are the same bits
with any number of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...core.context import Context

PARTS = 8
LEAST_WORK = 1 << 14  # elements a piece touches: some ten microseconds
VECTOR = 8  # elements: a compiled pass that uses vectors touches them in the time of one


def usable_cores() -> int:
    """Cores this process may use: its affinity, and the CPU quota of its cgroup."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _cgroup_quota() or cores))


def _cgroup_quota() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return None


def cut(length: int, work: int, parts: int = PARTS) -> list[slice]:
    """Cut range(length) into at most `parts` even slices; `work` elements are touched in all.

    Little work stays in one piece: handing it over would take longer than doing it.
    """
    count = max(1, min(parts, length, work // LEAST_WORK))
    edges = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


class Workers:
    """A pool of threads that run the pieces of one op and then wait for the next."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        """Call `work` on every piece; returns when all are done, raises what one of them raised."""
        if len(pieces) == 1 or self.threads == 1:
            for piece in pieces:
                work(piece)
            return
        queue = iter(pieces)

        def drain() -> None:
            for piece in queue:
                work(piece)

        helpers = [self._threads().submit(drain) for _ in range(min(self.threads, len(pieces)) - 1)]
        try:
            drain()
        finally:
            wait(helpers)  # also after an error: they write into this call's arrays
        for helper in helpers:
            helper.result()

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # the calling thread works as well
            self._pool = ThreadPoolExecutor(self.threads - 1, "cpcnn-cpu", initializer=_quiet)
        return self._pool


def in_threads(ctx: Context, work: Callable[[slice], None], pieces: list[slice]) -> None:
    """Call `work` on every piece in the threads of the context's device."""
    device: Any = ctx.device
    device.workers.run(work, pieces)


def _quiet() -> None:
    # a diverging network is reported by the trainer, not by NumPy's warnings
    np.seterr(all="ignore")
