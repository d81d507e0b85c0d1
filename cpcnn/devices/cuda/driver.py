"""What the NVIDIA driver says, asked through libcuda, so that it is known before CuPy is."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

LIBRARY = "libcuda.so.1"
NO_GPU = 100  # CUDA_ERROR_NO_DEVICE
MISMATCH = 803  # CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
FUNCTIONS = (
    "cuDriverGetVersion",
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuGetErrorName",
)


class Gpu(NamedTuple):
    """A GPU that the driver shows: its name, and its bytes of memory."""

    name: str
    memory: int


class DriverError(Exception):
    """A call to the driver that failed: `number` and `name` as CUDA's documentation lists them."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(f"error {number}, {name}")
        self.number = number


class Driver:
    """The driver's library; OSError when it is missing or is not one."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        for name in FUNCTIONS:
            if not hasattr(self._library, name):
                raise OSError(f"{LIBRARY} has no function {name}")

    def cuda_version(self) -> int:
        """Return the newest CUDA that the driver supports: 12040 is CUDA 12.4."""
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return version.value

    def gpus(self) -> tuple[Gpu, ...]:
        """Start the driver and return the GPUs that it shows to this process."""
        count = ctypes.c_int()
        try:
            self._call("cuInit", 0)
            self._call("cuDeviceGetCount", ctypes.byref(count))
        except DriverError as error:
            if error.number == NO_GPU:
                return ()
            raise
        return tuple(self._gpu(index) for index in range(count.value))

    def _gpu(self, index: int) -> Gpu:
        handle, memory = ctypes.c_int(), ctypes.c_size_t()
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGet", ctypes.byref(handle), index)
        self._call("cuDeviceGetName", name, len(name), handle)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
        return Gpu(name.value.decode(errors="replace"), memory.value)

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise DriverError(status, self._error_name(status))

    def _error_name(self, number: int) -> str:
        name = ctypes.c_char_p()
        self._library.cuGetErrorName(number, ctypes.byref(name))
        return name.value.decode(errors="replace") if name.value else "unknown to the driver"
