"""The GPU: CuPy arrays, our kernels (`kernels/*.cu`), and cuBLAS for matrix products."""

from __future__ import annotations

from ..base import Device, makes


@makes("cpcnn.devices.cuda.device:KernelDevice")
def create(index: int | None = None, threads: int | None = None) -> Device:
    """Make the device on GPU `index`; DeviceError with the cause when it cannot be used."""
    from .probe import require_gpu

    require_gpu(index)
    from .gpu import CudaDevice

    return CudaDevice(index)
