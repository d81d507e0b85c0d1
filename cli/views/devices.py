"""The list of devices, and of what computes each op on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpcnn.devices import DeviceStatus

from .text import hung


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
        lines += hung(head, text)
    return "\n".join(lines)


def ops_text(
    ops: Mapping[str, Mapping[str, Sequence[str]]], devices: Sequence[DeviceStatus]
) -> str:
    """Return a line for each op and device, with the implementations in the order of asking."""
    shown = {device for found in ops.values() for device in found}
    op_width = max(map(len, ops), default=0)
    device_width = max(map(len, shown), default=0)
    lines = ["The first implementation that takes a call computes it."]
    lines += [
        f"{status.name} cannot be used here; `cpcnn devices` says why."
        for status in devices
        if status.name in shown and not status.usable
    ]
    lines.append("")
    for op, found in ops.items():
        for position, (device, names) in enumerate(found.items()):
            head = f"{'' if position else op:<{op_width}}  {device:<{device_width}}  "
            lines += hung(head, ", ".join(names))
    return "\n".join(lines)
