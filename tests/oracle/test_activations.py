"""Every activation against PyTorch, alone and at the end of the layers that apply it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcnn import layers
from cpcnn.layers.base import Layer
from cpcnn.ops import activations

from .against_torch import Cases, compare_layer, normal, weights_for
from .twins import ACTIVATIONS, twin

pytestmark = pytest.mark.oracle

NAMES = sorted([*activations.ACTIVATIONS, *activations.ALIASES])
COUNTED = "activation cases compared with PyTorch"

APPLIED: dict[str, Callable[[str], Layer]] = {
    "Conv2D": lambda name: layers.Conv2D(6, 3, activation=name),
    "DepthwiseConv2D": lambda name: layers.DepthwiseConv2D(3, activation=name),
    "SeparableConv2D": lambda name: layers.SeparableConv2D(6, 3, activation=name),
    "Conv2DTranspose": lambda name: layers.Conv2DTranspose(6, 3, activation=name),
    "Dense": lambda name: layers.Dense(6, name),
    "BatchNormalization": lambda name: layers.BatchNormalization(activation=name),
    "Residual": lambda name: layers.Residual(layers.Activation("tanh"), activation=name),
}


def test_every_activation_has_a_twin() -> None:
    assert activations.ACTIVATIONS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_activation(name: str, count: Callable[[int, str], None]) -> None:
    """On standard normal inputs, and on wider ones that reach where functions saturate."""
    cases = Cases()

    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=4),
        st.sampled_from([1, 4]),
        st.integers(0, 2**32 - 1),
    )
    def property(shape: list[int], width: int, seed: int) -> None:
        layer = layers.Activation(name)
        x = np.float32(width) * normal(seed, "x", 3, *shape)
        compare_layer(layer, twin, [x], {}, cases, seed=seed)

    property()
    count(cases.number, COUNTED)


@pytest.mark.parametrize("kind", APPLIED)
def test_applied_by_a_layer(kind: str, count: Callable[[int, str], None]) -> None:
    cases = Cases()

    @settings(max_examples=3)
    @given(st.integers(0, 2**32 - 1))
    def property(seed: int) -> None:
        x = normal(seed, "x", 2, 5, 6, 4)
        for name in ACTIVATIONS:
            layer: Any = APPLIED[kind](name)
            layer.build(x.shape[1:])
            compare_layer(layer, twin, [x], weights_for(layer, seed), cases, seed=seed)

    property()
    count(cases.number, COUNTED)
