"""The GPU device. It does not compute yet: it says why, and what to use instead."""

from __future__ import annotations

from importlib.util import find_spec

from ...core.errors import DeviceError
from ..base import Device


def create(index: int | None = None, threads: int | None = None) -> Device:
    """Raise DeviceError with the reason why no GPU can be used."""
    cause = (
        "this version of cpcnn has no GPU kernels yet"
        if find_spec("cupy")
        else "CuPy is not installed, and this version of cpcnn has no GPU kernels yet"
    )
    raise DeviceError(
        f"the gpu device cannot be used: {cause}.",
        suggestion="Use --device cpu, or --device auto to take the best device there is.",
    )
