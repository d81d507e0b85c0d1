"""Rewritten and recomputed networks, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cpcnn.core.context import Context
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.layers import (
    Activation,
    BatchNormalization,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    Layer,
    Recompute,
    Residual,
    Stack,
)
from cpcnn.layers.base import assign_paths
from cpcnn.layers.fuse import fuse

SHAPE = (6, 5, 4)


def network(wrap: Callable[[Layer], Layer] = lambda layer: layer) -> Stack:
    body = Stack([Conv2D(4, 3, padding="same"), Dropout(0.3), BatchNormalization()])
    arms = [DepthwiseConv2D(3, padding="same"), Stack([])]
    return Stack(
        [
            wrap(Stack([Conv2D(4, 1), Activation("relu")])),
            wrap(Residual(wrap(body), BatchNormalization())),
            Activation("relu"),
            Concat([wrap(arm) for arm in arms]),
        ]
    )


def a_step(device: Device, root: Layer, store: ParamStore) -> list[Any]:
    """The output, and all parameters with their gradients, after one pass in training."""
    store.initialize(0)
    store.zero_grad()
    x = device.put(Philox(0, "x").normal((3, *SHAPE)))
    ctx = Context(device, training=True, grad=True, input_gradient=False)
    with device.scope():
        y, saved = root.forward(x, ctx)
        dy = device.put(Philox(0, "dy").normal(y.shape))
        root.backward(dy, saved, ctx)
    return [np.array(device.get(array)) for array in (y, store.grads, store.values)]


def started(root: Layer, device: Device) -> ParamStore:
    root.build(SHAPE)
    assign_paths(root)
    return ParamStore(root.parameters(), device)


def test_a_fused_network_agrees(device: Device) -> None:
    root = network()
    store = started(root, device)
    view = fuse(root)
    kinds = {type(layer).__name__ for _, layer in view.walk()}
    assert {"SummingNormalization", "SummingResidual", "Applied"} <= kinds
    for found, expected in zip(*(a_step(device, net, store) for net in (view, root)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_recomputing_changes_no_bit(device: Device) -> None:
    root = network()
    store = started(root, device)
    expected = a_step(device, root, store)
    wrapped = network(Recompute)
    wrapped.build(SHAPE)
    for layer, original in zip(leaves(wrapped), leaves(root), strict=True):
        vars(layer).update(vars(original))  # the same parameters, and paths, which dropout draws by
    for one, other in zip(a_step(device, wrapped, store), expected, strict=True):
        assert np.array_equal(one, other)


def leaves(root: Layer) -> list[Layer]:
    return [layer for _, layer in root.walk() if not layer.children()]
