"""Frozen parameters stay as they are on every device, also where nothing is left to learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Loader
from cpcnn.devices import Device
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Flatten, Stack
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.optimizers import Adam, Lamb, Optimizer
from cpcnn.schedules import Constant
from cpcnn.training import Network, Trainer

SHAPE = (5, 5, 2)


@pytest.mark.parametrize("frozen", [2, 4])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: Adam(0.02, global_clipnorm=1.0, use_ema=True, gradient_accumulation_steps=2),
        lambda: Lamb(0.02, clipvalue=0.1, weight_decay=0.1),
    ],
)
def test_the_first_layers_or_all_of_them(
    device: Device, frozen: int, optimizer: Callable[[], Optimizer]
) -> None:
    labels = np.arange(12) % 3
    x = Philox(0, "freezing").normal((12, *SHAPE)).astype(np.float32)
    layers = [Conv2D(3, 3), BatchNormalization(), Flatten(), Dense(3)]
    network = Network(Stack(layers), SHAPE)
    network.build(device=device)
    before = network.store.get_weights()
    for layer in layers[:frozen]:
        layer.trainable = False
    loader = Loader(ArrayDataset(x, labels), 4)
    schedule, loss = Constant(0.02), CategoricalCrossentropy()
    list(Trainer(network, loader, None, optimizer(), schedule, loss, epochs=1).run())
    after = network.store.get_weights()
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert changed == (set() if frozen == 4 else {"dense.kernel", "dense.bias"})
