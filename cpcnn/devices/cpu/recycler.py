"""Memory for arrays, used again and again.

A training step needs the same large arrays every time. Fresh memory costs a page fault per 4 KiB,
which for memory-bound work is as much as the work itself. And arrays of all sizes share it: what
forward leaves to backward dies piece by piece, and makes room for the gradients.
"""

from __future__ import annotations

import math
import mmap
import threading
import weakref
from bisect import bisect_left
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.typing import Shape

SMALL = 1 << 16  # bytes: below this the system's allocator does not return memory anyway
PAGE = mmap.PAGESIZE  # bytes: arrays take whole pages, which begin with a cache line
REGION = 1 << 30  # bytes: of these the system provides those that are written to


class Recycler:
    """Hands out arrays, and takes their memory back when nobody refers to them any more.

    Every array is a view of an owner, as are all views of it, whose end is what is waited for.
    """

    def __init__(self) -> None:
        self._regions: list[_Region] = []
        self._given: dict[int, tuple[weakref.ref[Any], _Region, int, int]] = {}
        self._ended: deque[weakref.ref[Any]] = deque()  # those may end at any time, in any thread
        self._lock = threading.Lock()

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        """Return an uninitialised array; a large one is aligned to a page."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALL:
            return np.empty(shape, dtype)
        with self._lock:
            self._take_back()
            owner = self._take(-(-size // PAGE) * PAGE)
        return np.ndarray(shape, dtype, owner)

    def release(self) -> None:
        """Give all memory that is not in use back to the system."""
        with self._lock:
            self._take_back()
            for region in self._regions:
                region.release()

    @property
    def reached(self) -> int:
        """The bytes of the system's memory that have been used so far."""
        return sum(region.reached for region in self._regions)

    def _take(self, size: int) -> NDArray[np.uint8]:
        for region in self._regions:
            start = region.take(size)
            if start is not None:
                break
        else:
            try:
                region = _Region(size)
            except OSError:
                raise MemoryError(f"{size:,} bytes for an array") from None
            self._regions.append(region)
            start = region.take(size)
            assert start is not None
        # an owner of its own: arrays made of it refer to it, and not past it to the region
        owner = np.frombuffer(region.memory[start : start + size], np.uint8)
        end = weakref.ref(owner, self._ended.append)
        self._given[id(end)] = end, region, start, size
        return owner

    def _take_back(self) -> None:
        while self._ended:
            _, region, start, size = self._given.pop(id(self._ended.popleft()))
            region.give(start, size)


class _Region:
    """A stretch of memory, and which parts of it are free, in order; none touches the next."""

    def __init__(self, least: int) -> None:
        try:
            self._pages = _map(max(least, REGION))
        except OSError:  # no more than is needed, then
            self._pages = _map(least)
        self.memory = memoryview(self._pages)
        self._starts, self._sizes = [0], [len(self.memory)]
        self.reached = 0

    def take(self, size: int) -> int | None:
        """Return where the first part begins that is large enough: so the rest stays untouched."""
        for index, room in enumerate(self._sizes):
            if room >= size:
                start = self._starts[index]
                self.reached = max(self.reached, start + size)
                if room == size:
                    del self._starts[index], self._sizes[index]
                else:
                    self._starts[index], self._sizes[index] = start + size, room - size
                return start
        return None

    def give(self, start: int, size: int) -> None:
        """Take a part back, and join it with free ones beside it."""
        starts, sizes = self._starts, self._sizes
        index = bisect_left(starts, start)
        if index < len(starts) and start + size == starts[index]:
            size += sizes[index]
            del starts[index], sizes[index]
        if index and starts[index - 1] + sizes[index - 1] == start:
            sizes[index - 1] += size
        else:
            starts.insert(index, start)
            sizes.insert(index, size)

    def release(self) -> None:
        for start, size in zip(self._starts, self._sizes, strict=True):
            self._pages.madvise(mmap.MADV_DONTNEED, start, size)


def _map(size: int) -> mmap.mmap:
    """Map memory, of which the system provides a page when it is first written to."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # of Linux, as NumPy asks for its own large arrays
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages
