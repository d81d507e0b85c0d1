"""The device `gpu`: CuPy arrays on one NVIDIA GPU, computed by our kernels and cuBLAS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DeviceError, DeviceMemoryError
from ...core.typing import Namespace, Shape
from ..base import Memory
from .device import KernelDevice
from .launcher import CupyLauncher
from .transfer import Uploader

GIB = 1 << 30
# By name: to import the classes is to load the libraries that raise them.
GPU_ERRORS = {"CUDARuntimeError", "CUDADriverError", "CUBLASError"}


class CudaDevice(KernelDevice):
    """GPU number `index` (0 by default), with a stream of our own.

    Work inside `scope` goes to that stream. It starts after what the surrounding stream was asked
    for before, and what that one is asked for later starts after it, so that arrays may cross.
    """

    def __init__(self, index: int | None = None) -> None:
        super().__init__()
        import cupy

        self._cupy = cupy
        self.index = index or 0
        self.name = "gpu" if index is None else f"gpu:{index}"
        self.launcher = CupyLauncher(self.index)
        with cupy.cuda.Device(self.index):
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._uploader = Uploader(cupy)

    @property
    def xp(self) -> Namespace:
        return self._cupy

    @property
    def description(self) -> str:
        """The GPU, its memory, and the versions that compute."""
        runtime = self._cupy.cuda.runtime
        facts = runtime.getDeviceProperties(self.index)
        return (
            f"{facts['name'].decode()}, {facts['totalGlobalMem'] / GIB:.0f} GiB, "
            f"compute capability {facts['major']}.{facts['minor']}, CuPy {self._cupy.__version__} "
            f"for CUDA {_version(self._cupy.cuda.driver.get_build_version())}, "
            f"driver for CUDA {_version(runtime.driverGetVersion())}"
        )

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Compute on this GPU and our stream; its errors arrive as DeviceError."""
        with self._translated(), self._cupy.cuda.Device(self.index):
            outer = self._cupy.cuda.get_current_stream()
            if outer == self._stream:
                yield
                return
            self._stream.wait_event(outer.record())
            try:
                with self._stream:
                    yield
            finally:
                outer.wait_event(self._stream.record())

    def empty(self, shape: Shape, dtype: Any) -> Any:
        with self.scope():
            return super().empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: Any) -> Any:
        with self.scope():
            return super().zeros(shape, dtype)

    def put(self, host: NDArray[Any]) -> Any:
        """Copy a host array to the GPU; the host may change it as soon as this returns."""
        with self.scope():
            return self._uploader.put(np.asarray(host))

    def get(self, array: Any) -> NDArray[Any]:
        """Wait for an array and copy it to the host."""
        with self.scope():
            return np.asarray(self._cupy.asnumpy(array))

    def synchronize(self) -> None:
        with self.scope():
            self._stream.synchronize()

    def memory(self) -> Memory:
        """Bytes that this process's arrays use, and all bytes of the GPU."""
        with self._cupy.cuda.Device(self.index):
            used = self._cupy.get_default_memory_pool().used_bytes()
            return Memory(used, self._cupy.cuda.runtime.memGetInfo()[1])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error
        except RuntimeError as error:
            if type(error).__name__ not in GPU_ERRORS:
                raise
            if "ALLOC_FAILED" in str(error):
                raise self._out_of_memory(error) from error
            raise DeviceError(
                f"{self.name} failed: {error}.",
                suggestion="Start again; what was saved is intact. `cpcnn devices` checks the GPU.",
            ) from error

    def _out_of_memory(self, error: Exception) -> DeviceMemoryError:
        used, total = self.memory()
        pool = self._cupy.get_default_memory_pool()
        pool.free_all_blocks()
        return DeviceMemoryError(
            f"{self.name} is out of memory: {used / GIB:.1f} GiB of its {total / GIB:.1f} GiB are "
            f"used by this process. ({error})",
            suggestion="Try a smaller --batch-size, --img-size or --width.",
        )


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
