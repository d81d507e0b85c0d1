"""Holding BLAS at one thread while the CPU device's own threads are at work."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, TypeAlias

Limited: TypeAlias = "list[tuple[Any, int]]"  # libraries, and how many threads they had


class _OneThread:
    """A context that any number of threads may be in at a time: the last one out restores.

    Most libraries have one limit for the process, and so has this; those on OpenMP have one for
    every thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limited: Limited = []
        self._own = threading.local()

    def __enter__(self) -> None:
        shared, own = _libraries()
        with self._lock:
            if self._inside == 0:
                self._limited = _limit(shared)
            self._inside += 1
        if own:
            vars(self._own).setdefault("limited", []).append(_limit(own))

    def __exit__(self, *error: object) -> None:
        if _libraries()[1]:
            _restore(self._own.limited.pop())
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _restore(self._limited)


def _limit(libraries: list[Any]) -> Limited:
    found = [(library, library.get_num_threads()) for library in libraries]
    limited = [(library, count) for library, count in found if count not in (None, 1)]
    for library, _ in limited:
        _set(library, 1)
    return limited


def _restore(limited: Limited) -> None:
    for library, count in limited:
        _set(library, count)


def _set(library: Any, count: int) -> None:
    # threadpoolctl gives control to the first thread that asks, and ignores the others
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release(force=True)
    library.set_num_threads(count)
    if release is not None:
        release(force=True)


one_blas_thread = _OneThread()


def blas_name() -> str:
    """Return the name and version of the BLAS library, for people."""
    names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}
    for library in (library for kind in _libraries() for library in kind):
        name = names.get(library.internal_api, library.internal_api)
        return f"{name} {library.version or ''}".strip()
    return "NumPy's own BLAS"


@cache
def _libraries() -> tuple[list[Any], list[Any]]:
    """Return those with one number of threads, and those in which every thread has its own."""
    from threadpoolctl import ThreadpoolController

    # finding them takes a millisecond: once
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [library for library in found if getattr(library, "threading_layer", "") == "openmp"]
    return [library for library in found if library not in own], own
