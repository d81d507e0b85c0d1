"""Compiling kernels: with which flags, what is kept of it, and what is said meanwhile."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, compiler, serialize

from ..code_folder import CodeFolder, cache_folder
from .vector import LANES

logger = logging.getLogger("cpcnn")

SOURCES = Path(__file__).parent
# Never "nnan" or "ninf": a diverging network must show its NaN.
FAST = {"reassoc", "contract", "nsz", "arcp"}
OPTIONS: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy"}


def kernel(function: Callable[..., Any]) -> Any:
    """Mark a function that Python calls: compiled at its first call, without the GIL, and kept."""
    options = {"nogil": True, "no_cfunc_wrapper": True, **OPTIONS}
    compiled = numba.njit(**options)(function)
    compiled._cache = _KeptCode(function)
    return compiled


def part(function: Callable[..., Any]) -> Any:
    """Mark a function that only kernels call: it becomes a part of theirs."""
    # nothing else calls it: what Python or C would call takes a tenth of all compilation
    return numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)(function)


class _KeptCode(caching.NullCache):
    """What Numba asks for a kernel's code before it compiles, and gives it to afterwards.

    Numba's own cache names files by an index that two processes may write at the same time, takes
    damaged ones for good, and asks for a folder that can be written as early as at import.
    """

    def __init__(self, function: Any) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        code = _folder().read(self._file(sig, target_context))
        if code is not None:
            try:
                return compiler.CompileResult._rebuild(target_context, *pickle.loads(code))
            except Exception:  # of whatever kind: compiling anew is the answer
                logger.debug("%s cannot be loaded", self._name, exc_info=True)
        _announce()
        return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        if cres.library.has_dynamic_globals:  # addresses, which the next process does not have
            return
        try:
            code = serialize.dumps(cres._reduce())
        except Exception:
            logger.debug("%s cannot be kept", self._name, exc_info=True)
            return
        _folder().write(self._file(sig, cres.target_context), code)

    def _file(self, sig: Any, target_context: Any) -> str:
        """Name the file of a kernel for these types of arguments, on this processor."""
        key = f"{sig} {target_context.codegen().magic_tuple()}"
        return f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


@cache
def _folder() -> CodeFolder:
    """The folder of compiled code: one per state of the sources, as a kernel contains its parts.

    And one per Python, Numba, and size of a vector, which are not seen in a kernel's arguments.
    """
    digest = hashlib.sha256(f"{EXTENSION_SUFFIXES[0]} {numba.__version__} {LANES}".encode())
    for source in sorted(SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    return CodeFolder(cache_folder(), digest.hexdigest())


@cache
def _announce() -> None:
    folder = _folder()
    if folder.prepare():
        logger.warning("Compiling CPU kernels: the first run only.")
    else:
        logger.warning(
            "Compiling CPU kernels, and again in every run, as %s cannot be written. "
            "Try: set XDG_CACHE_HOME to a folder that can",
            folder.path or "a cache folder",
        )
