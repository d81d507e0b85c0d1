"""What a figure depends on besides the code: the machine, its load, and the versions."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cpcnn.devices import Device

BUSY = 0.5  # processes that want a core; more than that and figures are not to be trusted
CPU_PACKAGES = ("cpcnn", "numpy", "numba", "llvmlite", "scipy", "threadpoolctl", "torch")
GPU_PACKAGES = ("cpcnn", "numpy", "cupy-cuda12x", "cupy-cuda13x", "ml_dtypes", "torch", "triton")


def describe_machine(device: Device) -> dict[str, Any]:
    """Return facts about the machine as plain JSON values."""
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "device": device.description,
        "load_before": load(),
    }


def describe_versions(packages: Sequence[str] = CPU_PACKAGES) -> dict[str, str]:
    """Return the versions of everything that computes and is installed."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def describe_cuda(torch: Any) -> dict[str, str]:
    """Return the versions of the CUDA libraries on either side; `torch` may be None."""
    import cupy

    versions = {"CUDA of CuPy": str(cupy.cuda.runtime.runtimeGetVersion())}
    if torch is not None:
        versions["CUDA of PyTorch"] = str(torch.version.cuda)
        versions["cuDNN of PyTorch"] = str(torch.backends.cudnn.version())
    return versions


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver; None where nobody tells."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.split("\n")[0].strip() or None


def processor_name() -> str:
    """Return the name of the processor, as Linux gives it where it does."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def load() -> float | None:
    """Return how many processes wanted a core in the last minute; None where nobody counts."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
