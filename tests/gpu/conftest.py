"""A GPU, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from cpcnn.core.errors import DeviceError
from cpcnn.devices import Device, get_device


@pytest.fixture(scope="session")
def gpu() -> Device:
    try:
        return get_device("gpu")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cupy(gpu: Device) -> Any:
    return pytest.importorskip("cupy")
