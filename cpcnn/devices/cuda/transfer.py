"""Copies from the host that do not hold up the work on the GPU."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BUFFERS = 2  # of pinned memory for each size: one is filled while the other is copied
SMALLEST = 1 << 12  # bytes of a pinned buffer
LARGEST = 64 << 20  # bytes: pinned memory is taken from the whole machine, and is not given back


class Staged(NamedTuple):
    """A pinned buffer, and the event after which it may be filled again."""

    memory: NDArray[np.uint8]
    copied: Any


class Uploader:
    """Copies host arrays through pinned buffers on a stream of its own.

    The memory of an upload must not be used again while the computing stream still reads it, which
    nobody tells: so arrays are kept here until nobody else refers to them, and then until all that
    was started by that time is done.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._staged: dict[int, list[Staged]] = {}
        self._lent: list[Any] = []
        self._retired: list[tuple[Any, Any]] = []  # (event of the computing stream, arrays)
        self._own_references = self._references_to_a_kept_array()

    def put(self, host: NDArray[Any]) -> Any:
        """Return a copy on the GPU that the current stream may use at once."""
        host = np.asarray(host, order="C")
        compute = self._cupy.cuda.get_current_stream()
        self._retire(compute)
        with self._stream:
            array = self._cupy.empty(host.shape, host.dtype)
            if host.nbytes:
                self._copy(host, array)
        compute.wait_event(self._stream.record())
        self._lent.append(array)
        return array

    def _copy(self, host: NDArray[Any], array: Any) -> None:
        if host.nbytes > LARGEST:
            array.set(host, stream=self._stream)
            self._stream.synchronize()  # the host may change its array when this returns
            return
        size = 1 << max(host.nbytes - 1, SMALLEST - 1).bit_length()
        buffers = self._staged.setdefault(size, [])
        memory = self._free_buffer(buffers, size)
        staged = memory[: host.nbytes].view(host.dtype).reshape(host.shape)
        np.copyto(staged, host)
        array.set(staged, stream=self._stream)
        buffers.append(Staged(memory, self._stream.record()))

    def _free_buffer(self, buffers: list[Staged], size: int) -> NDArray[np.uint8]:
        """Return a pinned buffer that no copy reads; waits for the older one when both are busy."""
        if len(buffers) < BUFFERS:
            return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(size), np.uint8, size)
        oldest = buffers.pop(0)
        if not oldest.copied.done:
            oldest.copied.synchronize()
        return oldest.memory

    def _retire(self, compute: Any) -> None:
        """Let go of arrays whose last use is over."""
        self._retired = [entry for entry in self._retired if not entry[0].done]
        unused = [k for k in range(len(self._lent)) if self._is_unused(k)]
        if unused:
            arrays = [self._lent.pop(k) for k in reversed(unused)]
            self._retired.append((compute.record(), arrays))

    def _is_unused(self, number: int) -> bool:
        return sys.getrefcount(self._lent[number]) == self._own_references

    @staticmethod
    def _references_to_a_kept_array() -> int:
        # asked rather than known: how many references a call adds depends on the interpreter
        kept = [object()]
        return sys.getrefcount(kept[0])
