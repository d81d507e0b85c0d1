"""Where it is computed. The only room that knows that a backend exists."""

from __future__ import annotations

from .base import Device, Memory
from .registry import DeviceStatus, available_devices, get_device, register_device

__all__ = [
    "Device",
    "DeviceStatus",
    "Memory",
    "available_devices",
    "get_device",
    "register_device",
]
