"""The documentation's example of a layer of one's own."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from strict_device import StrictDevice

from cpcnn.devices import get_device
from cpcnn.layers import Conv2D, Flatten, Stack
from cpcnn.layers.config import REGISTRY
from cpcnn.testing import check_layer

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "own_layer.py"


@pytest.fixture(autouse=True)
def forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpcnn.layers.config.REGISTRY", dict(REGISTRY))


@pytest.mark.parametrize("device", [get_device("numpy"), get_device("cpu"), StrictDevice()])
@pytest.mark.parametrize("shape", [(4, 3, 2), (5,)])
def test_the_example_keeps_its_promises(device: Any, shape: Any) -> None:
    layer = runpy.run_path(str(EXAMPLE))["ChannelGain"]
    check_layer(layer(0.5), shape, device=device)
    if len(shape) == 3:
        check_layer(Stack([Conv2D(2, 1), layer(name="gain"), Flatten()]), shape, device=device)


def test_the_example_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out == "ChannelGain keeps its promises.\n"


def test_the_example_is_as_short_as_it_says() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    body = lines[
        lines.index("class ChannelGain(Layer):") : lines.index('if __name__ == "__main__":')
    ]
    assert len([line for line in body if line.strip()]) <= 15
