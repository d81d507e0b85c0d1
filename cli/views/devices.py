"""The list of devices."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from cpcnn.devices import DeviceStatus

from .text import printable

WIDTH = 80


def devices_text(devices: Sequence[DeviceStatus], chosen: str) -> str:
    """Return a line for each device: whether it can be used, and what it is or why not."""
    width = max(len(device.name) for device in devices)
    lines = []
    for device in devices:
        usable = "usable" if device.usable else "not usable"
        text = device.description if device.usable else device.reason
        if device.name == chosen:
            text += " (chosen by auto)"
        head = f"{device.name:<{width}}  {usable:<10}  "
        body = wrap(printable(text), WIDTH - len(head)) or [""]
        lines.append(head + body[0])
        lines += [" " * len(head) + line for line in body[1:]]
    return "\n".join(lines)
