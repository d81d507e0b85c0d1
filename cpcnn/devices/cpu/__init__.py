"""NumPy arrays, computed in blocks that fit the cache, by threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.typing import Shape
from ...ops.table import Table
from ..base import Device
from .blas import blas_name, one_blas_thread
from .recording import LARGEST, Recorder
from .recycler import Recycler
from .workers import Workers, share, usable_cores

logger = logging.getLogger("cpcnn")


class CpuDevice(Device):
    """Host memory, `threads` worker threads, and BLAS limited to one thread inside each."""

    name = "cpu"

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(compiled_ops())
        self.workers = Workers(threads or usable_cores())
        self._recycler = Recycler()

    @property
    def threads(self) -> int:
        return self.workers.threads

    @property
    def description(self) -> str:
        plural = "" if self.threads == 1 else "s"
        slow = "" if compiled_ops() else ", without Numba"
        return f"{self.threads} thread{plural}, {blas_name()}{slow}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Hold BLAS at one thread (ours are the threads) and keep NumPy's warnings quiet."""
        with one_blas_thread, np.errstate(all="ignore"):
            yield

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        return self._recycler.empty(shape, dtype)

    @property
    def memory_reached(self) -> int:
        """The most bytes that arrays of `empty` have taken at a time."""
        return self._recycler.reached

    def share(self, images: int, weights: Iterable[Shape]) -> list[slice]:
        return share(images, weights)

    def run(self, work: Callable[[slice], None], pieces: list[slice]) -> None:
        self.workers.run(work, pieces)

    def recorder(self, x: Any, parts: int) -> Recorder:
        return Recorder(self.workers, x, LARGEST // parts)


@cache
def compiled_ops() -> Table:
    """Return what Numba compiles; where it cannot, nothing, and one line that says so."""
    reason = _why_not_compiled()
    if reason:
        logger.warning(
            "%s, so the cpu device computes by the definitions of its ops: slowly.%s", *reason
        )
        return {}
    from .table import COMPILED

    return COMPILED


def _why_not_compiled() -> tuple[str, str] | None:
    """Say why Numba cannot be used, and what to try; None if it can."""
    try:
        import numba
    except Exception as error:  # also a NumPy too new for it, or a library that it lacks
        if isinstance(error, ModuleNotFoundError) and error.name == "numba":
            return "Numba is missing", " Try: pip install numba"
        return f"Numba cannot be imported ({error})", " Try: pip install --upgrade numba"
    return ("NUMBA_DISABLE_JIT is set", "") if numba.config.DISABLE_JIT else None


def create(index: int | None = None, threads: int | None = None) -> Device:
    """Make the device with `threads` threads (default: the cores this process may use)."""
    return CpuDevice(threads)
