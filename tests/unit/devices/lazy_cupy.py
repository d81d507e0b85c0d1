"""A double of the part of CuPy that moves memory, as slow as the rules of CUDA allow.

Streams do nothing until they must: until someone waits for them, or a test lets them go on. Freed
memory is handed out again at once on the stream that it was allocated on, as CuPy's pool does. What
relies on luck with timing computes wrong numbers here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Stream:
    """Work that is done in order, as late as possible."""

    def __init__(self, cupy: LazyCupy, non_blocking: bool = False) -> None:
        self.cupy = cupy
        self.work: list[Callable[[], None]] = []
        self.done = 0

    def enqueue(self, work: Callable[[], None]) -> None:
        self.work.append(work)

    def advance(self, until: int | None = None) -> None:
        """Do the work up to a position."""
        until = len(self.work) if until is None else until
        while self.done < until:
            self.done += 1
            self.work[self.done - 1]()

    synchronize = advance

    def record(self) -> Event:
        return Event(self, len(self.work))

    def wait_event(self, event: Event) -> None:
        self.enqueue(event.synchronize)

    def __enter__(self) -> Stream:
        self.cupy.current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.cupy.current.pop() is self


class Event:
    """A place in a stream's work."""

    def __init__(self, stream: Stream, position: int) -> None:
        self.stream, self.position = stream, position

    @property
    def done(self) -> bool:
        return self.stream.done >= self.position

    def synchronize(self) -> None:
        self.stream.advance(self.position)


class LazyArray:
    """An array whose memory goes back to the pool when nobody refers to it."""

    def __init__(self, cupy: LazyCupy, shape: Any, dtype: Any) -> None:
        self.shape, self.dtype = tuple(np.atleast_1d(shape).tolist()), np.dtype(dtype)
        stream = cupy.current[-1]
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        free = cupy.free.setdefault((id(stream), size), [])
        memory = free.pop() if free else np.full(size, 0xFF, np.uint8)
        self.device = SimpleNamespace(id=0)
        self.flags = SimpleNamespace(c_contiguous=True)
        self.size = int(np.prod(self.shape))
        self.data = SimpleNamespace(ptr=memory.ctypes.data)
        self.memory: NDArray[Any] = memory.view(self.dtype).reshape(self.shape)
        weakref.finalize(self, free.append, memory)

    def set(self, host: NDArray[Any], stream: Stream) -> None:
        """Copy later: `host` is read when the stream comes to it."""
        memory = self.memory
        stream.enqueue(lambda: np.copyto(memory, host))


class OutOfMemoryError(MemoryError):
    """As CuPy has it: one of Python's."""


class CUDARuntimeError(RuntimeError):
    """Told by its name."""


class CompileException(Exception):
    """What NVRTC says of a source."""


class LazyModule:
    """A compiled source; its kernels note how they were launched."""

    def __init__(self, code: str, options: tuple[str, ...], name_expressions: Any) -> None:
        self.code, self.options, self.names = code, options, name_expressions
        self.launches: list[Any] = []
        LazyCupy.modules.append(self)

    def get_function(self, name: str) -> Any:
        if "#error" in self.code:
            raise CompileException("line 3: an error")
        assert name in self.names
        return lambda grid, block, arguments: self.launches.append((grid, block, arguments))


class LazyCupy:
    """Stands for the module `cupy`."""

    modules: list[LazyModule] = []  # noqa: RUF012
    ndarray = LazyArray
    RawModule = LazyModule
    float32, float64 = np.float32, np.float64
    __version__ = "14.2.0"

    def __init__(self, capacity: int = 1 << 30) -> None:
        self.free: dict[tuple[int, int], list[NDArray[np.uint8]]] = {}
        self.null = Stream(self)
        self.current = [self.null]
        self.capacity = capacity
        self.emptied = 0
        facts = {"name": b"A GPU", "totalGlobalMem": capacity, "major": 9, "minor": 0}
        self.cuda = SimpleNamespace(
            Stream=lambda non_blocking: Stream(self, non_blocking),
            Device=lambda index: nullcontext(),
            get_current_stream=lambda: self.current[-1],
            alloc_pinned_memory=bytearray,
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            compiler=SimpleNamespace(CompileException=CompileException),
            driver=SimpleNamespace(get_build_version=lambda: 12090),
            runtime=SimpleNamespace(
                getDeviceProperties=lambda index: facts,
                driverGetVersion=lambda: 13000,
                memGetInfo=lambda: (capacity // 2, capacity),
            ),
        )

    def empty(self, shape: Any, dtype: Any) -> LazyArray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self.capacity:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes")
        return LazyArray(self, shape, dtype)

    def zeros(self, shape: Any, dtype: Any) -> LazyArray:
        array = self.empty(shape, dtype)
        memory = array.memory
        self.current[-1].enqueue(lambda: memory.fill(0))
        return array

    def asnumpy(self, array: LazyArray) -> NDArray[Any]:
        self.current[-1].advance()
        return array.memory.copy()

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(used_bytes=lambda: 5, free_all_blocks=self._empty_pool)

    def _empty_pool(self) -> None:
        self.emptied += 1
