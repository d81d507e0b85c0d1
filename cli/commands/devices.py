"""`cpcnn devices`."""

from __future__ import annotations

import click

from ..options import output_options
from ..streams import Streams


@click.command("devices")
@output_options
def command(streams: Streams) -> int | None:
    """Show the devices that can compute here, and why the others cannot."""
    from dataclasses import asdict

    from cpcnn.devices import available_devices, get_device

    from ..views.devices import devices_text

    with streams.reserved():
        devices = available_devices()
        chosen = get_device("auto").name
    streams.result(devices_text(devices, chosen))
    streams.document({"devices": [asdict(device) for device in devices], "auto": chosen})
    return 0
