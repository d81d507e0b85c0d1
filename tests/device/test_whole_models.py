"""Whole models, trained on every device, against the same training on numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Augmentation, Loader
from cpcnn.devices import Device
from cpcnn.layers import (
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
)
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.models import Input, Model, Sequential
from cpcnn.networks import build_network
from cpcnn.optimizers import SGD, Adam, AdamW, Optimizer

SHAPE = (12, 12, 3)


def images(count: int = 22) -> tuple[Any, Any]:
    pixels = Philox(0, "images").words(np.arange(count * 12 * 12 * 3))[:, 0].astype(np.uint8)
    return pixels.reshape(count, *SHAPE), np.arange(count) % 4


def sequential() -> Model:
    return Sequential(
        [
            Input(SHAPE),
            Conv2D(6, 3, groups=3, activation="tanh"),
            AveragePooling2D(3, 2, "same"),
            BatchNormalization(),
            Dropout(0.2),
            Flatten(),
            Dense(4, activation="softmax"),
        ]
    )


def functional() -> Model:
    image = Input(SHAPE)
    shared = Conv2D(4, 3, padding="same", activation="sigmoid")
    a = MaxPooling2D()(shared(image))
    b = Conv2D(4, 1, 2)(image)
    return Model(image, Dense(4)(GlobalAveragePooling2D()(Add()([a, b, a]))))


def resnet9() -> Model:
    return Model.from_layer(build_network("resnet9", SHAPE, 4, width=0.07), SHAPE)


def after_training(make: Any, device: Any, optimizer: Optimizer) -> Model:
    augmentation = Augmentation(horizontal_flip=True, rotation=20, zoom=0.2)
    loader = Loader(ArrayDataset(*images()), 8, shuffle=True, augmentation=augmentation)
    model = make()
    model.to(device)
    model.preprocessing = {"mean": [127.0] * 3, "std": [64.0] * 3}
    model.compile(optimizer, CategoricalCrossentropy(label_smoothing=0.1))
    model.fit(loader, epochs=2, verbose=0)
    return model


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (sequential, SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)),
        (functional, Adam(0.01)),
        (resnet9, AdamW(0.003)),
    ],
    ids=["sequential", "functional", "resnet9"],
)
def test_every_device_trains_alike(device: Device, make: Any, optimizer: Optimizer) -> None:
    reference = after_training(make, "numpy", optimizer)
    model = after_training(make, device, optimizer)
    x, _ = images()
    np.testing.assert_allclose(model.predict(x), reference.predict(x), atol=2e-3)
    # moved, it predicts the same to rounding
    before = model.predict(x)
    np.testing.assert_allclose(model.to("numpy").predict(x), before, atol=1e-5)
