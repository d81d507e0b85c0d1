"""Options that are numbers of NumPy: float32 stays float32, and a layer can be saved."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import (
    ELU,
    BatchNormalization,
    Dense,
    Dropout,
    GroupNormalization,
    Layer,
    LayerNormalization,
    LeakyReLU,
    Normalization,
    ReLU,
    Rescaling,
    SpatialDropout2D,
    to_config,
)
from cpcnn.layers.initializers import Constant
from cpcnn.losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    Loss,
)

NUMPY = get_device("numpy")
HALF: Any = np.float64(0.5)
LAYERS = [
    BatchNormalization(epsilon=HALF, momentum=HALF),
    LayerNormalization(epsilon=HALF),
    GroupNormalization(groups=-1, epsilon=HALF),
    Dropout(HALF, seed=np.int64(3)),  # type: ignore[arg-type]
    SpatialDropout2D(HALF),
    ReLU(HALF, HALF, HALF),
    ReLU(negative_slope=HALF),
    LeakyReLU(HALF),
    ELU(HALF),
    Rescaling(HALF, HALF),
    Normalization(mean=HALF, variance=HALF),
    Dense(2, kernel_initializer=Constant(np.float32(0.5))),  # type: ignore[arg-type]
]
LOSSES = [
    BinaryCrossentropy(label_smoothing=HALF),
    BinaryFocalCrossentropy(gamma=HALF, alpha=HALF, apply_class_balancing=True),
    CategoricalCrossentropy(from_logits=False, label_smoothing=HALF),
    CategoricalFocalCrossentropy(alpha=HALF, gamma=HALF),
    CategoricalFocalCrossentropy(alpha=[HALF, HALF]),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layer_keeps_float32(layer: Layer) -> None:
    layer.build((4, 4, 2))
    ParamStore(layer.parameters(), NUMPY).initialize(0)
    ctx = Context(NUMPY, training=True, grad=True)
    y, saved = layer.forward(Philox(0, "x").normal((3, 4, 4, 2)), ctx)
    assert y.dtype == layer.backward(np.ones_like(y), saved, ctx).dtype == np.float32
    json.dumps(to_config(layer))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_loss_keeps_float32(loss: Loss) -> None:
    ctx = Context(NUMPY, training=True, grad=True)
    outputs = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    losses, saved = loss(ctx, outputs, np.array([0, 1]))
    assert losses.dtype == np.float32
    assert loss.backward(ctx, np.ones_like(losses), saved).dtype == np.float32
