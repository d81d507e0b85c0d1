"""Every device, and one that takes the array API standard at its word.

`cuda-emulated` runs the GPU's kernels on the host. The GPU itself is marked `gpu`. The strict
device is the documentation's example of a device of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, EmulatorUnavailable
from numpy.typing import NDArray
from strict_device import StrictDevice

from cpcnn.core.context import Context
from cpcnn.core.errors import DeviceError
from cpcnn.core.typing import Shape
from cpcnn.devices import Device, get_device
from cpcnn.devices.cpu import CpuDevice

FAST = ["cpu", "cuda-emulated", pytest.param("gpu", marks=pytest.mark.gpu)]


def make(name: str) -> Device:
    """Return a device by name; where it cannot be used the test is skipped with the reason."""
    if name == "strict":
        return StrictDevice()
    try:
        return EmulatedCudaDevice() if name == "cuda-emulated" else get_device(name, threads=2)
    except (DeviceError, EmulatorUnavailable) as error:
        pytest.skip(str(error))


class FencedDevice(CpuDevice):
    """The cpu device on memory that shows mistakes, which compiled code makes without a word.

    Every array lies between fences that `check` inspects. Fences, and what nobody has written yet,
    are NaN: where they are read, results tell.
    """

    FENCE = 1 << 12  # bytes
    MARK = 0x7FA5A5A5  # a signalling NaN, so that it becomes another one when something is added

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(threads)
        self._fenced: list[tuple[NDArray[np.uint8], int]] = []

    def empty(self, shape: Shape, dtype: Any) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        whole = self._marks(size + 2 * self.FENCE)
        self._fenced.append((whole, size))
        inside = whole[self.FENCE : self.FENCE + size].view(dtype).reshape(shape)
        if inside.dtype.kind == "f":
            inside[...] = np.nan
        return inside

    def put(self, host: NDArray[Any]) -> NDArray[Any]:
        array = self.empty(host.shape, host.dtype)
        array[...] = host
        return array

    def check(self) -> None:
        """Raise AssertionError if a fence was written to; forget all arrays."""
        fenced, self._fenced = self._fenced, []
        for whole, size in fenced:
            touched = np.flatnonzero(whole != self._marks(len(whole))) - self.FENCE
            outside = touched[(touched < 0) | (touched >= size)]
            assert not outside.size, f"{outside[0]} is written, in an array of {size} bytes"

    def _marks(self, size: int) -> NDArray[np.uint8]:
        return np.full(-(-size // 4), self.MARK, np.uint32).view(np.uint8)[:size]


@pytest.fixture(scope="session", params=["numpy", *FAST, "strict"])
def device(request: pytest.FixtureRequest) -> Device:
    return make(request.param)


@pytest.fixture(scope="session", params=FAST)
def fast_device(request: pytest.FixtureRequest) -> Device:
    """A device with implementations of its own, which may cut large arrays into blocks."""
    return make(request.param)


@pytest.fixture(scope="session")
def fenced_device() -> FencedDevice:
    return FencedDevice(threads=2)


@pytest.fixture(scope="session")
def strict_device() -> Device:
    return StrictDevice()


@pytest.fixture(scope="session")
def call(device: Device) -> Callable[..., Any]:
    """Return a function that runs an op on host arrays, and its gradient when it gets a `dy`."""

    def put(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return device.put(value.copy())
        return tuple(put(item) for item in value) if isinstance(value, (list, tuple)) else value

    def get(value: Any) -> Any:
        if value is None or isinstance(value, tuple):
            return value and tuple(get(item) for item in value)
        return np.array(device.get(value))

    def run(name: str, *args: Any, dy: Any = None, training: bool = True, **options: Any) -> Any:
        ctx = Context(device, training=training, grad=dy is not None)
        named = {key: put(value) for key, value in options.items()}
        with device.scope():
            result = getattr(ctx.ops, name)(*(put(arg) for arg in args), **named)
            if not isinstance(result, tuple):
                return get(result)
            y, record = result
            if dy is None:
                assert record is None
                return get(y)
            return get(y), get(ctx.ops.backward(device.put(dy.copy()), record))

    return run
