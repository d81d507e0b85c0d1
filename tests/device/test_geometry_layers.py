"""Layers that compute with the array namespace itself keep their promises on every device."""

from __future__ import annotations

from typing import Any

import pytest

from cpcnn.devices import Device
from cpcnn.layers import (
    Cropping2D,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    Permute,
    Reshape,
    SeparableConv2D,
    UpSampling2D,
    ZeroPadding2D,
)
from cpcnn.testing import check_layer

SHAPE = (4, 3, 2)
LAYERS: list[Any] = [
    lambda: DepthwiseConv2D(3, padding="same", depth_multiplier=2),
    lambda: SeparableConv2D(3, 2),
    lambda: ZeroPadding2D(((1, 0), (2, 1))),
    lambda: Cropping2D(((1, 0), (0, 1))),
    lambda: UpSampling2D((2, 3)),
    lambda: UpSampling2D((2, 3), interpolation="bilinear"),
    lambda: Flatten(),
    lambda: Reshape((6, -1)),
    lambda: Permute((3, 1, 2)),
    lambda: GlobalAveragePooling2D(keepdims=True),
]


def name_of(make: Any) -> str:
    layer: Layer = make()
    return repr(layer).removesuffix(")").replace("name=None, ", "").replace("name=None", "")


@pytest.mark.parametrize("make", LAYERS, ids=name_of)
def test_they_keep_the_promises_of_layers(device: Device, make: Any) -> None:
    check_layer(make(), SHAPE, device=device)
