"""`cpcnn devices`."""

from __future__ import annotations

from typing import Any

import click

from ..options import output_options
from ..streams import Streams


@click.command("devices")
@click.option("--ops", is_flag=True, help="Show which implementation every op would use.")
@click.option("--device", metavar="DEVICE", help="With --ops: only this device.")
@output_options
def command(streams: Streams, ops: bool, device: str | None) -> int | None:
    """Show the devices that can compute here, and why the others cannot."""
    from dataclasses import asdict

    from cpcnn.devices import available_devices, get_device

    from ..views.devices import devices_text, ops_text

    if device and not ops:
        raise click.UsageError("--device goes with --ops.")
    with streams.reserved():
        devices = available_devices()
        chosen = get_device("auto").name
        names = [status.name for status in devices]
        known = _implementations(names, chosen if device == "auto" else device) if ops else {}
    streams.result(ops_text(known, devices) if ops else devices_text(devices, chosen))
    document: dict[str, Any] = {"devices": [asdict(status) for status in devices], "auto": chosen}
    streams.document(document | ({"ops": known} if ops else {}))
    return 0


def _implementations(names: list[str], only: str | None) -> dict[str, dict[str, list[str]]]:
    """Return implementations by op and device: those of one device, or of all that have any."""
    from cpcnn.core.errors import DeviceError
    from cpcnn.devices.registry import implementations

    if only is not None:
        return {op: {only: found} for op, found in implementations(only).items()}
    tables = {}
    for name in names:
        try:
            table = implementations(name)
        except DeviceError:  # why is in the list of devices
            continue
        if any(found != ["reference"] for found in table.values()):
            tables[name] = table
    ops = next(iter(tables.values()), {})
    return {op: {name: table[op] for name, table in tables.items()} for op in ops}
