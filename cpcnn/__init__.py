"""Image classifiers from a folder of images, with NumPy or CuPy and no deep-learning framework."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .core.errors import CpcnnError
    from .devices import available_devices, get_device
    from .models import Input, Model, Sequential, load_model
    from .networks import build_network

__all__ = [
    "CpcnnError",
    "Input",
    "Model",
    "Sequential",
    "__version__",
    "available_devices",
    "build_network",
    "get_device",
    "load_model",
]

# Public names are imported on first use: `import cpcnn` costs next to nothing.
_HOMES = {
    "CpcnnError": "core.errors",
    "Input": "models",
    "Model": "models",
    "Sequential": "models",
    "available_devices": "devices",
    "build_network": "networks",
    "get_device": "devices",
    "load_model": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cpcnn' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
