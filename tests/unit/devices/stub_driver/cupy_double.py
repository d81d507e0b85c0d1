"""Stands for the package `cupy`, as far as the probe uses it; FAKE_CUPY names what is broken."""

import os
from contextlib import nullcontext
from types import SimpleNamespace

FAULTS = os.environ.get("FAKE_CUPY", "").split(",")
LOG = 'probe.cu(2): catastrophic error: could not open source file "cuda_fp16.h" (no directories)'

if "import" in FAULTS:
    raise ImportError("\n====\nFailed to import CuPy.\n====\n") from ImportError(
        "libstdc++.so.6: version `GLIBCXX_3.4.30' not found"
    )


class CUDARuntimeError(RuntimeError):
    """A failed call of the runtime."""

    def __init__(self, status: int) -> None:
        super().__init__(f"cudaErrorSomething: {status}")
        self.status = status


class Libraries:
    """`cupy.cuda`: loads libraries when they are asked for."""

    nvrtc = SimpleNamespace()
    runtime = SimpleNamespace()
    driver = SimpleNamespace(
        get_build_version=lambda: int(os.environ.get("FAKE_CUPY_CUDA", "12090"))
    )

    @staticmethod
    def Device(index: int) -> nullcontext:
        return nullcontext()

    @property
    def cublas(self) -> object:
        if "cublas" in FAULTS:
            raise ImportError("libcublas.so.12: cannot open shared object file")
        return object()


def _count_devices() -> int:
    status = os.environ.get("FAKE_CUPY_RUNTIME")
    if status:
        raise CUDARuntimeError(int(status))
    return 1


def _nvrtc_version() -> tuple[int, int]:
    if "nvrtc" in FAULTS:
        raise RuntimeError(
            'Failure finding "libnvrtc.so.12": No such file: libnvrtc.so.12\n  listdir()'
        )
    return 12, 9


Libraries.runtime.getDeviceCount = _count_devices
Libraries.nvrtc.getVersion = _nvrtc_version
cuda = Libraries()


class RawKernel:
    """Computes what the probe's kernel computes, and needs what it needs."""

    def __init__(self, source: str, name: str) -> None:
        assert f"void {name}(" in source
        assert "#include <cuda_fp16.h>" in source
        assert "#include <cuda_bf16.h>" in source

    def __call__(self, grid: tuple, block: tuple, arguments: tuple) -> None:
        if "headers" in FAULTS:
            raise Exception(LOG)
        if "launch" in FAULTS:
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access")
        (y,) = arguments
        y[:] = [2.0 * number for number in range(*block)]
        if "result" in FAULTS:
            y[-1] += 1


def zeros(count: int, dtype: str):
    import numpy

    return numpy.zeros(count, dtype)


def asnumpy(array):
    return array
