"""The device `cuda-emulated`: our CUDA sources on NumPy arrays, for tests without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cpcnn.core.typing import Shape
from cpcnn.devices.cuda.device import KernelDevice

from .arrays import guarded
from .launcher import EmulatedLauncher

HALVES = ("float16", "bfloat16")


class EmulatedCudaDevice(KernelDevice):
    """Runs every kernel of the `gpu` device on the host; new arrays are poisoned and guarded."""

    name = "cuda-emulated"

    def __init__(self, launcher: EmulatedLauncher | None = None) -> None:
        super().__init__()
        self.launcher = launcher or EmulatedLauncher()
        self._blas = ThreadpoolController()

    @contextmanager
    def scope(self) -> Iterator[None]:
        # a GPU's arithmetic raises no warnings; the products here are too small for threads
        with self._blas.limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            yield

    def empty(self, shape: Shape, dtype: Any) -> Any:
        return guarded(shape, self._dtype(dtype))

    def zeros(self, shape: Shape, dtype: Any) -> Any:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def put(self, host: NDArray[Any]) -> Any:
        host = np.asarray(host)
        array = self.empty(host.shape, host.dtype)
        array[...] = host
        return array

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        if str(a.dtype) not in HALVES:
            return np.matmul(a, b, out=out)
        product = np.matmul(a.astype("float32"), b.astype("float32")).astype(a.dtype)
        if out is None:
            return product
        out[...] = product
        return out
