"""Compiling kernels: with which flags, where the result is kept, and what is said meanwhile."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numba
from numba.core import caching

logger = logging.getLogger("cpcnn")

SOURCES = Path(__file__).parent
# Never "nnan" or "ninf": a diverging network must show its NaN.
FAST = {"reassoc", "contract", "nsz", "arcp"}


def kernel(function: Callable[..., Any]) -> Any:
    """Mark a function that Python calls: compiled at its first call, without the GIL, and kept."""
    compiled = numba.njit(nogil=True, fastmath=FAST, error_model="numpy")(function)
    compiled._cache = _KernelCache(function)
    return compiled


def part(function: Callable[..., Any]) -> Any:
    """Mark a function that only kernels call: it becomes a part of theirs."""
    return numba.njit(inline="never", fastmath=FAST, error_model="numpy")(function)


@cache
def _folder() -> str:
    """The folder of compiled code: one per state of the sources, as a kernel contains its parts."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(base, "cpcnn", f"kernels-{digest.hexdigest()[:16]}"))


class _Locator(caching._SourceFileBackedLocatorMixin, caching._CacheLocator):
    """Where Numba looks: NUMBA_CACHE_DIR, the user's cache, or else a folder of this process."""

    def __init__(self, function: Any, source: str) -> None:
        self._py_file = source
        self._lineno = function.__code__.co_firstlineno
        self._path = os.environ.get("NUMBA_CACHE_DIR") or _folder()

    def get_cache_path(self) -> str:
        return self._path

    def ensure_cache_path(self) -> None:
        try:
            super().ensure_cache_path()
        except OSError:
            self._path = _temporary()
            super().ensure_cache_path()


class _CacheImplementation(caching.CompileResultCacheImpl):
    _locator_classes: ClassVar[list[type]] = [_Locator]


class _KernelCache(caching.FunctionCache):
    _impl_class = _CacheImplementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = super().load_overload(sig, target_context)
        if found is None:
            _announce()
        return found


@cache
def _announce() -> None:
    logger.warning("Compiling CPU kernels: the first run only.")


@cache
def _temporary() -> str:
    return tempfile.mkdtemp(prefix="cpcnn-kernels-")
