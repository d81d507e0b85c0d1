"""Every layer against PyTorch: output, all gradients, and the statistics it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn import layers
from cpcnn.layers.base import Layer

from .against_torch import Cases, compare_layer, normal, weights_for
from .layer_cases import CASES, LayerCase
from .twins import ACTIVATIONS, CONTAINERS, twin

pytestmark = pytest.mark.oracle

# what all layers derive from computes nothing; containers are in test_networks.py
EXEMPT = {Layer, *CONTAINERS}
COUNTED = "layer cases compared with PyTorch"

LARGE: list[Any] = [
    (layers.Conv2D(16, 3, padding="same"), 33, 31, 3),
    (layers.Conv2D(24, 3, 2, padding=1, activation="elu"), 28, 31, 16),
    (layers.Conv2D(64, 1, use_bias=False), 30, 28, 32),
    (layers.Conv2D(16, 1, 2, activation="tanh"), 31, 30, 32),
    (layers.Conv2D(16, 7, 2, padding=3), 33, 32, 3),
    (layers.Conv2D(24, 3, padding=1, dilation_rate=2, groups=4), 32, 31, 16),
    (layers.Conv2D(64, 3, padding="same", use_bias=False), 17, 15, 128),
    (layers.DepthwiseConv2D(3, padding="same", activation="softplus"), 32, 31, 48),
    (layers.DepthwiseConv2D(5, 2, padding="same", depth_multiplier=2), 29, 32, 16),
    (layers.SeparableConv2D(32, 3, padding="same", activation="silu"), 28, 29, 24),
    (layers.Conv2DTranspose(16, 4, 2, padding="same", activation="gelu"), 15, 16, 24),
    (layers.Dense(100, "elu"), 3000),
    (layers.Dense(64, "gelu"), 40, 50, 32),
    (layers.BatchNormalization(activation="elu"), 32, 31, 32),
    (layers.BatchNormalization(), 32, 33, 64),
    (layers.LayerNormalization(), 30, 31, 48),
    (layers.GroupNormalization(8), 30, 31, 48),
    (layers.MaxPooling2D(3, 2, padding="same"), 33, 32, 32),
    (layers.AveragePooling2D(3, 2, padding="same"), 33, 32, 32),
    (layers.GlobalMaxPooling2D(), 40, 41, 48),
    (layers.GlobalAveragePooling2D(), 40, 41, 48),
    (layers.UpSampling2D(2, interpolation="bilinear"), 16, 17, 32),
    *((layers.Activation(name), 32, 33, 32) for name in ACTIVATIONS),
]


def test_every_layer_has_cases() -> None:
    public = {getattr(layers, name) for name in layers.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Layer)}
    assert kinds - EXEMPT == CASES.keys()


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_layer(kind: type[Layer], count: Callable[[int, str], None]) -> None:
    cases = Cases()

    @given(CASES[kind](), st.integers(0, 2**32 - 1))
    def property(case: LayerCase, seed: int) -> None:
        compare(case, seed, cases)

    property()
    count(cases.number, COUNTED)


@pytest.mark.parametrize("number", range(len(LARGE)))
def test_large_layer(number: int, count: Callable[[int, str], None]) -> None:
    """At sizes where the device `cpu` cuts the work into blocks and uses its threads."""
    cases = Cases()
    layer, *shape = LARGE[number]
    compare(LayerCase(layer, (tuple(shape),), batch=5), seed=number, cases=cases)
    count(cases.number, COUNTED)


def compare(case: LayerCase, seed: int, cases: Cases) -> None:
    layer = case.layer
    layer.build(case.shapes if layer.multiple_inputs else case.shapes[0])
    inputs = [
        normal(seed, f"input {number}", case.batch, *shape)
        for number, shape in enumerate(case.shapes)
    ]
    weights = weights_for(layer, seed)
    compare_layer(layer, twin, inputs, weights, cases, training=case.training, seed=seed)
