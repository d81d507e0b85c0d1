"""Memory for arrays, used again and again.

A training step needs the same large arrays every time. Fresh memory costs a page fault per 4 KiB,
which for memory-bound work is as much as the work itself.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.typing import Shape

SMALL = 1 << 16  # bytes: below this the system's allocator does not return memory anyway
ALIGNMENT = 64  # bytes: a cache line and the widest vector


class Recycler:
    """Hands out arrays, and takes their memory back when nobody refers to them any more.

    Every array is a view of a buffer that is kept here. NumPy's views hold a reference to the
    buffer itself, so its reference count tells whether any are left.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, list[NDArray[np.uint8]]] = {}
        self._lock = threading.Lock()
        self._idle_count = self._reference_count_of_an_idle_buffer()

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        """Return an uninitialised array, aligned to a cache line."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALL:
            return np.empty(shape, dtype)
        with self._lock:
            view = self._take(_size_class(size))
        return view[:size].view(dtype).reshape(shape)

    def release(self) -> None:
        """Give all memory that is not in use back to the system."""
        with self._lock:
            self._buffers.clear()

    def _take(self, size: int) -> NDArray[np.uint8]:
        buffers = self._buffers.setdefault(size, [])
        for index in range(len(buffers)):
            if sys.getrefcount(buffers[index]) == self._idle_count:
                return self._aligned(buffers[index])
        buffers.append(np.empty(size + ALIGNMENT, np.uint8))
        return self._aligned(buffers[-1])

    @staticmethod
    def _aligned(buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
        start = -buffer.ctypes.data % ALIGNMENT
        return buffer[start : start + len(buffer) - ALIGNMENT]

    @staticmethod
    def _reference_count_of_an_idle_buffer() -> int:
        # asked rather than known: how many references a call adds depends on the interpreter
        buffers = [np.empty(1, np.uint8)]
        return sys.getrefcount(buffers[0])


def _size_class(size: int) -> int:
    """Round up to one of eight sizes per power of two, so that a short last batch fits as well."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step
