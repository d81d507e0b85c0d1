"""Runs the unmodified CUDA sources of cpcnn on NumPy arrays, where no GPU is.

A kernel is compiled by the host's C++ compiler; headers in `include/` give it the CUDA it knows.
"""

from __future__ import annotations

from .arrays import Guards, check_guards, guarded, guards
from .build import EmulatorBuildError, EmulatorUnavailable
from .device import EmulatedCudaDevice
from .launcher import EmulatedLauncher, EmulationError
from .planting import planted
from .sanitize import run_sanitized

__all__ = [
    "EmulatedCudaDevice",
    "EmulatedLauncher",
    "EmulationError",
    "EmulatorBuildError",
    "EmulatorUnavailable",
    "Guards",
    "check_guards",
    "guarded",
    "guards",
    "planted",
    "run_sanitized",
]
