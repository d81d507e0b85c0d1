"""The CPU device's threads, and how work is cut for them.

Work is cut by its size alone, never by the number of threads, so that results are the same bits
with any number of them.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Shape

PARTS = 8
LEAST_WORK = 1 << 15  # elements a piece touches: twenty microseconds, twice what waking takes
LEAST_SHARE = 8  # images
SHARED_WEIGHTS = 1 << 21  # numbers: of more, transforming them takes a tenth of the time of a share
TRANSFORMED = 4  # numbers that Winograd's convolution makes of one
WHOLE = [slice(None)]
PATIENCE = 1.0  # seconds in which a thread that was woken has surely begun
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


def cut(ctx: Context, length: int, work: int, parts: int = PARTS) -> list[slice]:
    """Cut range(length) into at most `parts` even slices; `work` elements are touched in all.

    Little work stays in one piece: handing it over would take longer than doing it. So does that of
    a pass which has a thread of its own.
    """
    return evenly(length, 1 if ctx.undivided else min(parts, length, work // LEAST_WORK))


def share(images: int, weights: Iterable[Shape]) -> list[slice]:
    """Cut a batch into what passes through a network of such weights in one thread.

    Threads then wait for each other once, and what a layer gives is in the cache when the next one
    takes it. Each share reads all weights, and transforms them for its convolutions: they must be
    few.
    """
    count = images // LEAST_SHARE
    if count < 2 or _numbers_read(weights) > SHARED_WEIGHTS:
        return [slice(0, images)]
    count = max(2, count // 2)  # shares of twice that, if threads of all may have one
    return evenly(images, min(PARTS, 1 << (count.bit_length() - 1)))


def _numbers_read(weights: Iterable[Shape]) -> int:
    return sum(math.prod(shape) * (TRANSFORMED if len(shape) == 4 else 1) for shape in weights)


def evenly(length: int, count: int) -> list[slice]:
    """Cut range(length) into `count` slices, or one."""
    if count <= 1:
        return [slice(0, length)]
    edges = [length * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


class Workers:
    """Threads that run the pieces of one op together with the calling thread, then wait."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._helpers: list[_Helper] = []
        self._process = 0  # that the helpers live in: a fork does not take threads along
        self._busy = threading.Lock()

    def run(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        """Call `work` on every piece; returns when all are done, raises what one of them raised."""
        if len(pieces) == 1 or self.threads == 1 or not self._busy.acquire(blocking=False):
            # the threads are at work for another thread of the program, which does its own part too
            for piece in pieces:
                work(piece)
            return
        try:
            self._share(work, pieces)
        finally:
            self._busy.release()

    def _share(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        queue = iter(pieces)
        started: list[_Helper] = []
        try:
            for helper in self._threads()[: len(pieces) - 1]:
                started.append(helper)
                helper.start(work, queue)
            for piece in queue:
                work(piece)
        finally:
            for _ in queue:  # after an error nobody begins another piece
                pass
            # also after another interruption: they write into this call's arrays
            errors = [helper.wait() for helper in started]
        for error in errors:
            if error is not None:
                raise error

    def _threads(self) -> list[_Helper]:
        if self._process != os.getpid():
            self._process = os.getpid()
            self._helpers = [_Helper() for _ in range(self.threads - 1)]
            for helper in self._helpers:
                weakref.finalize(self, helper.stop).atexit = False
        return self._helpers


class _Helper:
    """One thread, handed its work through two locks: a quarter of what an executor takes for it."""

    def __init__(self) -> None:
        self._job: tuple[Callable[[slice], None], Iterator[slice]] | None = None
        self._error: BaseException | None = None
        self._working = False
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        threading.Thread(target=self._live, name="cpcnn-cpu", daemon=True).start()

    def start(self, work: Callable[[slice], None], queue: Iterator[slice]) -> None:
        """Let the thread work on what it finds in the queue."""
        self._job, self._working = (work, queue), True
        self._go.release()

    def wait(self) -> BaseException | None:
        """Wait, when the queue is empty, until the thread is done; return what it raised."""
        if self._go.acquire(blocking=False):  # it has not even woken up: let it sleep on
            self._job, self._working = None, False
            return None
        raised: BaseException | None = None
        while self._working:
            try:
                if not self._done.acquire(timeout=PATIENCE) and self._job is not None:
                    break  # an interruption came before it was told to go
            except KeyboardInterrupt as interruption:
                raised = interruption
        raised, self._error = raised or self._error, None
        return raised

    def stop(self) -> None:
        """End the thread."""
        self._job = None
        self._go.release()

    def _live(self) -> None:
        # a diverging network is reported by the trainer, not by NumPy's warnings
        np.seterr(all="ignore")
        while True:
            self._go.acquire()
            if self._job is None:
                return
            (work, queue), self._job = self._job, None
            try:
                for piece in queue:
                    work(piece)
            except BaseException as error:
                self._error = error
            del work, queue  # they hold on to the arrays of the call
            self._working = False
            if self._done.locked():  # it is not if an interruption came just after this wait
                self._done.release()


def in_threads(ctx: Context, work: Callable[[slice], None], pieces: list[slice]) -> None:
    """Call `work` on every piece in the threads of the context's device."""
    if ctx.recorder is not None:
        ctx.recorder.note(work, pieces)
    device: Any = ctx.device
    device.workers.run(work, pieces)


def sum_in_threads(
    ctx: Context,
    work: Callable[[slice, NDArray[Any]], None],
    pieces: list[slice],
    size: int,
) -> NDArray[Any]:
    """Let `work` write `size` numbers for every piece; return their sum, in the pieces' order."""
    partial = ctx.empty((len(pieces), size), np.float32)
    number = {piece.start: index for index, piece in enumerate(pieces)}
    in_threads(ctx, lambda piece: work(piece, partial[number[piece.start]]), pieces)
    return partial[0] if len(pieces) == 1 else partial.sum(axis=0)


def at_once(ctx: Context, work: Callable[[], None]) -> None:
    """Call `work`, which is too little to be cut: this way it is part of what is recorded."""
    if ctx.recorder is not None:
        ctx.recorder.note(lambda _: work(), WHOLE)
    work()
