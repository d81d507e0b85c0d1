"""Passes that are done again on other numbers, without asking what there is to do.

For few images a network's kernels take no longer than choosing them, making arrays and working out
geometries, which is the same in every pass over images of one shape.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .workers import Workers

LARGEST = 1 << 25  # bytes of results of all passes of a batch: they are kept

Work = Callable[[slice], None]


class Recorder:
    """Takes down the work of a pass, on a copy of its input `x`; at most `most` bytes of results.

    An op whose class says that it `repeats` leaves all that it computes to `in_threads`, on arrays
    of which it makes no copies before. Of any other op nothing can be repeated.
    """

    def __init__(self, workers: Workers, x: NDArray[Any], most: int) -> None:
        self.x = x.copy()
        self._most = most
        self._workers = workers
        self._calls: list[tuple[Work, list[slice]]] = []
        self._bytes = x.nbytes
        self._complete = True

    def note(self, work: Work, pieces: list[slice]) -> None:
        self._calls.append((work, pieces))

    def finish(self, op: Any, result: Any) -> None:
        """Hear of an op that has run."""
        self._complete &= op.repeats
        self._bytes += result.nbytes

    def recording(self, y: NDArray[Any]) -> Recording | None:
        """Return the pass, which gave `y`; None if it cannot be repeated, or keeps too much."""
        # what was noted is handed over: contexts, which the work refers to, refer to this
        calls, self._calls = self._calls, []
        if not self._complete or self._bytes > self._most:
            return None
        return Recording(self._workers, calls, self.x, y)


class Recording:
    """A pass over a network at inference; its arrays are used again each time."""

    def __init__(
        self,
        workers: Workers,
        calls: list[tuple[Work, list[slice]]],
        x: NDArray[Any],
        y: NDArray[Any],
    ) -> None:
        self._run = workers.run
        self._calls = calls
        self._x, self._y = x, y
        self._lock = threading.Lock()

    def repeat(self, x: NDArray[Any]) -> NDArray[Any] | None:
        """Return the result for other numbers; None while another thread waits for its own."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            np.copyto(self._x, x)
            for work, pieces in self._calls:
                self._run(work, pieces)
            return self._y.copy()
        finally:
            self._lock.release()
