"""Why the GPU cannot be used, from the cheapest check to the dearest, and what to do about it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from textwrap import shorten
from typing import Any

from ...core.errors import DeviceError
from .driver import LIBRARY, MISMATCH, Driver, DriverError, Gpu

# Packages that install the module `cupy`, and the CUDA they are built for where the name says it.
PACKAGES = {"cupy": 0, "cupy-cuda11x": 11, "cupy-cuda12x": 12, "cupy-cuda13x": 13}
EXTRAS = {12: "'cpcnn[gpu]'", 13: "'cpcnn[gpu-cuda13]'"}
OLD_DRIVER = (35, 36)  # cudaErrorInsufficientDriver, cudaErrorCallRequiresNewerDriver
OTHERWISE = "Or use --device cpu."
# A compiled kernel is kept on disk, so this costs milliseconds from the second time on.
THREADS = 32
KERNEL = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>

// Twice each thread's number, half of it by way of each 16-bit type.
extern "C" __global__ void cpcnn_probe(float* y) {
    const float x = static_cast<float>(threadIdx.x);
    y[threadIdx.x] = __half2float(__float2half(x)) + __bfloat162float(__float2bfloat16(x));
}
"""


@dataclass(frozen=True)
class Probe:
    """What was found: `code` is "ok" or names the cause; `gpus` are those the driver shows."""

    code: str
    message: str
    suggestion: str = ""
    gpus: tuple[Gpu, ...] = ()


class _Obstacle(Exception):
    """Ends the checks with what was found."""

    def __init__(self, code: str, message: str, suggestion: str) -> None:
        super().__init__(message)
        self.found = Probe(code, message, f"{suggestion} {OTHERWISE}")


def require_gpu(index: int | None = None) -> None:
    """Raise DeviceError, with the cause and the way out, unless GPU `index` can be used."""
    found = probe(index)
    if found.code != "ok":
        raise DeviceError(found.message, suggestion=found.suggestion)


def probe(index: int | None = None) -> Probe:
    """Return whether GPU `index` (0 by default) can be used; never raises.

    Driver, CuPy and CUDA libraries are examined once for each GPU and process.
    """
    return _probe(index or 0)


@cache
def _probe(index: int) -> Probe:
    gpus: tuple[Gpu, ...] = ()
    try:
        package = _cupy_package()
        driver = _driver()
        version = driver.cuda_version()
        _check_version(version, package, PACKAGES.get(package, 0) * 1000)
        gpus = driver.gpus()
        _check_index(gpus, index)
        cupy = _import_cupy(package)
        _check_version(version, package, cupy.cuda.driver.get_build_version())
        _check_runtime(cupy, version, package)
        _check_libraries(cupy)
        _check_kernel(cupy, index)
    except _Obstacle as obstacle:
        return replace(obstacle.found, gpus=gpus)
    except DriverError as error:
        return replace(_driver_obstacle(error).found, gpus=gpus)
    except Exception as error:  # "auto" goes on to the next device, whatever happens here
        return replace(_not_starting(_reason(error)).found, gpus=gpus)
    return Probe("ok", f"gpu:{index} can be used: {gpus[index].name}.", gpus=gpus)


def _cupy_package() -> str:
    """Return the one package that CuPy is installed from, or nothing where it has no metadata."""
    packages = [name for name in PACKAGES if _is_installed(name)]
    if len(packages) > 1:
        raise _Obstacle(
            "several-cupy",
            f"the gpu device needs one CuPy, but {len(packages)} packages are installed and "
            f"overwrite each other: {', '.join(packages)}.",
            f"Run `pip uninstall {' '.join(packages)}`, then `pip install {_fitting_extra()}`.",
        )
    if packages:
        return packages[0]
    if find_spec("cupy") is None:
        missing = "" if _driver_version() else f" Nor is there an NVIDIA driver ({LIBRARY})."
        raise _Obstacle(
            "no-cupy",
            f"the gpu device needs CuPy, which is not installed.{missing}",
            f"On a machine with an NVIDIA GPU, run `pip install {_fitting_extra()}`.",
        )
    return ""


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _driver() -> Driver:
    try:
        return Driver()
    except OSError as error:
        raise _Obstacle(
            "no-driver",
            f"the gpu device needs an NVIDIA driver, and none was found ({error}).",
            "Install the driver, until `nvidia-smi` shows the GPU; start a container with access "
            "to GPUs.",
        ) from None


def _driver_version() -> int:
    """Return the CUDA version of the driver, 0 without a driver that answers."""
    try:
        return Driver().cuda_version()
    except (OSError, DriverError):
        return 0


def _check_version(driver: int, package: str, needed: int) -> None:
    # Within a major version an older driver runs what was built for a newer CUDA.
    if driver // 1000 < needed // 1000:
        raise _old_driver(driver, package, needed)


def _old_driver(driver: int, package: str, needed: int) -> _Obstacle:
    instead = ""
    if driver // 1000 < needed // 1000 and driver // 1000 in EXTRAS:
        instead = f"; or install CuPy for CUDA {driver // 1000}: " + (
            f"`pip uninstall {package or 'cupy'}`, then `pip install {EXTRAS[driver // 1000]}`"
        )
    return _Obstacle(
        "old-driver",
        f"the NVIDIA driver supports CUDA {_dotted(driver)}, but the installed CuPy "
        f"({package or 'cupy'}) is built for CUDA {_dotted(needed)}.",
        f"Update the driver{instead}.",
    )


def _check_index(gpus: tuple[Gpu, ...], index: int) -> None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    if not gpus:
        raise _Obstacle(
            "no-gpu",
            f"the NVIDIA driver shows no GPU{hidden}.",
            "Unset CUDA_VISIBLE_DEVICES, or set it to a GPU that `nvidia-smi` lists."
            if hidden
            else "Check that `nvidia-smi` lists one; start a container with access to GPUs.",
        )
    if index >= len(gpus):
        names = ", ".join(f"gpu:{number} ({gpu.name})" for number, gpu in enumerate(gpus))
        number = "is 1 GPU" if len(gpus) == 1 else f"are {len(gpus)} GPUs"
        raise _Obstacle(
            "no-such-gpu",
            f"there is no gpu:{index}: there {number}{hidden}: {names}.",
            "Use --device gpu:0.",
        )


def _driver_obstacle(error: DriverError) -> _Obstacle:
    if error.number == MISMATCH:
        return _Obstacle(
            "mismatch",
            f"the NVIDIA driver's library and its kernel module differ in version ({error}).",
            "Restart the machine; if that does not help, install the driver again.",
        )
    return _not_starting(str(error))


def _not_starting(reason: str) -> _Obstacle:
    return _Obstacle(
        "broken",
        f"the NVIDIA driver does not start ({reason}).",
        "Check what `nvidia-smi` says; restart the machine or install the driver again.",
    )


def _import_cupy(package: str) -> Any:
    try:
        import cupy
    except Exception as error:
        raise _Obstacle(
            "broken-cupy",
            f"CuPy is installed, but cannot be imported ({_reason(error.__cause__ or error)}).",
            f"Run `pip install --force-reinstall {package or _fitting_extra()}`.",
        ) from None
    return cupy


def _check_runtime(cupy: Any, version: int, package: str) -> None:
    """Ask the CUDA runtime inside CuPy, which may find what the driver does not mind."""
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        status = getattr(error, "status", 0)
        if status in OLD_DRIVER:
            needed = cupy.cuda.driver.get_build_version()
            raise _old_driver(version, package, needed) from None
        raise DriverError(status, _reason(error)) from None


def _check_libraries(cupy: Any) -> None:
    """Load what CuPy finds by itself when it is first needed, in CuPy's own way."""
    way_out = (
        f"Run `pip install {_extra_of(cupy)}`, or set CUDA_PATH to a CUDA toolkit of that version."
    )
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        message = f"CuPy does not find NVRTC, the compiler of kernels ({_reason(error)})."
        raise _Obstacle("no-nvrtc", message, way_out) from None
    try:
        _ = cupy.cuda.cublas
    except Exception as error:
        message = f"CuPy does not find cuBLAS, for matrix products ({_reason(error)})."
        raise _Obstacle("no-cublas", message, way_out) from None


def _check_kernel(cupy: Any, index: int) -> None:
    """Compile, launch and read back a kernel of one warp."""
    broken = "Check the GPU with `nvidia-smi`; update the driver."
    try:
        with cupy.cuda.Device(index):
            y = cupy.zeros(THREADS, "float32")
            cupy.RawKernel(KERNEL, "cpcnn_probe")((1,), (THREADS,), (y,))
            result = cupy.asnumpy(y).tolist()
    except Exception as error:
        if "open source file" in str(error):
            raise _Obstacle(
                "no-headers",
                f"NVRTC does not find the CUDA headers ({_reason(error)}).",
                f"Run `pip install {_extra_of(cupy)}`, or set CUDA_PATH to a CUDA toolkit.",
            ) from None
        message = f"a test kernel does not run on gpu:{index} ({_reason(error)})."
        raise _Obstacle("kernel-fails", message, broken) from None
    if result != [2.0 * number for number in range(THREADS)]:
        message = f"a test kernel gave a wrong result on gpu:{index}."
        raise _Obstacle("kernel-fails", message, broken)


def _extra_of(cupy: Any) -> str:
    """Return our extra that brings the libraries of the installed CuPy."""
    return EXTRAS.get(cupy.cuda.driver.get_build_version() // 1000, EXTRAS[12])


def _fitting_extra() -> str:
    """Return the extra for the newest CUDA that the driver supports."""
    return EXTRAS[13] if _driver_version() >= 13000 else EXTRAS[12]


def _dotted(version: int) -> str:
    major, minor = version // 1000, version % 1000 // 10
    return f"{major}.{minor}" if minor else f"{major}"


def _reason(error: BaseException) -> str:
    """Return an error's class and the first line of what it says."""
    lines = [line.strip("= ") for line in str(error).splitlines()]
    text = next(filter(None, lines), "")
    return f"{type(error).__name__}: {shorten(text, 200, placeholder=' …')}".removesuffix(": ")
