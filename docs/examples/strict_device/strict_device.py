"""A device of one's own: arrays that do only what the array API standard promises."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import array_api_strict
import numpy as np

from cpcnn.core.errors import DeviceError
from cpcnn.devices import Device


class StrictDevice(Device):
    """A device without implementations of its own: every op is computed by its definition."""

    name = "strict"
    description = "array_api_strict, which does nothing that the standard does not promise"

    @property
    def xp(self) -> Any:
        return array_api_strict

    @contextmanager
    def scope(self) -> Iterator[None]:
        with np.errstate(all="ignore"):  # infinities are no news in float32
            yield


def create(index: int | None, threads: int | None) -> StrictDevice:
    """Make the device: what the entry point names."""
    if index:
        raise DeviceError(f"there is one strict device, number 0, and no number {index}.")
    return StrictDevice()
