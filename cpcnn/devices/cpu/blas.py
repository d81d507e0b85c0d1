"""Holding BLAS at one thread while the CPU device's own threads are at work."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any


class _OneThread:
    """A context that any number of threads may be in at a time: the last one out restores.

    The limit is one of the whole process, and so is this.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limited: list[tuple[Any, int]] = []  # libraries, and how many threads they had

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limited = [
                    (library, count)
                    for library in _libraries()
                    if (count := library.get_num_threads()) not in (None, 1)
                ]
                for library, _ in self._limited:
                    library.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for library, count in self._limited:
                    library.set_num_threads(count)


one_blas_thread = _OneThread()


def blas_name() -> str:
    """Return the name and version of the BLAS library, for people."""
    names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}
    for library in _libraries():
        name = names.get(library.internal_api, library.internal_api)
        return f"{name} {library.version or ''}".strip()
    return "NumPy's own BLAS"


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    # finding them takes a millisecond: once
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
