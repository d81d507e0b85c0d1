"""NumPy arrays, computed in blocks that fit the cache, by threads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.typing import Shape
from ...ops.table import Table
from ..base import Device
from .recycler import Recycler
from .workers import Workers, usable_cores

logger = logging.getLogger("cpcnn")


class CpuDevice(Device):
    """Host memory, `threads` worker threads, and BLAS limited to one thread inside each."""

    name = "cpu"

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(compiled_ops())
        self.workers = Workers(threads or usable_cores())
        self._recycler = Recycler()
        self._blas: Any = None

    @property
    def threads(self) -> int:
        return self.workers.threads

    @property
    def description(self) -> str:
        plural = "" if self.threads == 1 else "s"
        return f"{self.threads} thread{plural}, {self._blas_name()}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Hold BLAS at one thread (ours are the threads) and keep NumPy's warnings quiet."""
        with self._controller().limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            yield

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        return self._recycler.empty(shape, dtype)

    def _controller(self) -> Any:
        if self._blas is None:  # finding the libraries takes a millisecond: once
            from threadpoolctl import ThreadpoolController

            self._blas = ThreadpoolController()
        return self._blas

    def _blas_name(self) -> str:
        libraries = self._controller().select(user_api="blas").info()
        names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}
        for library in libraries:
            name = names.get(library["internal_api"], library["internal_api"])
            return f"{name} {library.get('version') or ''}".strip()
        return "NumPy's own BLAS"


@cache
def compiled_ops() -> Table:
    """Return what Numba compiles; without Numba nothing, and one line that says so."""
    try:
        from .table import COMPILED
    except ImportError as error:
        if not (error.name or "").startswith(("numba", "llvmlite")):
            raise
        logger.warning(
            "Numba is missing, so the cpu device computes by the definitions of its ops: "
            "slowly. Try: pip install numba"
        )
        return {}
    return COMPILED


def create(index: int | None = None, threads: int | None = None) -> Device:
    """Make the device with `threads` threads (default: the cores this process may use)."""
    return CpuDevice(threads)
