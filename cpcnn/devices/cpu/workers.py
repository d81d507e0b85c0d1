"""The CPU device's threads, and how work is cut for them.

Work is cut by its size alone, never by the number of threads, so that results are the same bits
with any number of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ...core.context import Context

PARTS = 8


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


def cut(length: int, parts: int = PARTS, *, least: int = 1) -> list[slice]:
    """Cut range(length) into at most `parts` even slices of at least `least`."""
    count = max(1, min(parts, length // max(least, 1)))
    edges = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


class Workers:
    """A pool of threads that run the pieces of one op and then wait for the next."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        """Call `work` on every piece; returns when all are done, raises what one of them raised."""
        if self.threads == 1 or len(pieces) == 1:
            for piece in pieces:
                work(piece)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, "cpcnn-cpu", initializer=_quiet)
        futures = [self._pool.submit(work, piece) for piece in pieces]
        for future in futures:
            future.result()


def in_threads(ctx: Context, work: Callable[[slice], None], pieces: list[slice]) -> None:
    """Call `work` on every piece in the threads of the context's device."""
    device: Any = ctx.device
    device.workers.run(work, pieces)


def _quiet() -> None:
    # a diverging network is reported by the trainer, not by NumPy's warnings
    np.seterr(all="ignore")
