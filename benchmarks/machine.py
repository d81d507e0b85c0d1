"""What a figure depends on besides the code: the machine, its load, and the versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from cpcnn.devices import Device

BUSY = 0.5  # processes that want a core; more than that and figures are not to be trusted


def describe_machine(device: Device) -> dict[str, str | int | float | None]:
    """Return facts about the machine as plain JSON values."""
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "threads": device.threads,  # type: ignore[attr-defined]
        "device": device.description,
        "load_before": load(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of everything that computes."""
    packages = ("cpcnn", "numpy", "threadpoolctl", "torch")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


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
