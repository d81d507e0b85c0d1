"""A small task that is learned in a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Loader
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D, Stack
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.models import Model
from cpcnn.optimizers import SGD
from cpcnn.schedules import Constant
from cpcnn.training import Trainer

SHAPE = (6, 6, 1)


def stripes(count: int, stream: str) -> tuple[Any, Any]:
    """Images of three classes: a bright row, a bright column, or neither, under noise."""
    labels = np.arange(count) % 3
    images = Philox(0, stream).normal((count, *SHAPE)).astype(np.float32)
    for image, label, place in zip(images, labels, np.arange(count) // 3 % 6, strict=True):
        if label < 2:
            np.moveaxis(image, label, 0)[place] += 3
    return images, labels


def small_network() -> Stack:
    return Stack(
        [
            Conv2D(4, 3, padding="same", use_bias=False),
            BatchNormalization(momentum=0.8, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dropout(0.1),
            Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """Return a function that makes a trainer; options replace its arguments."""

    def make(
        *, device: str = "numpy", validation: bool = True, batch_size: int = 8, **options: Any
    ) -> Trainer:
        model = Model.from_layer(small_network(), SHAPE)
        model.build(seed=options.get("seed", 0), device=device)
        model.classes = ("row", "column", "neither")
        optimizer = SGD(0.1, momentum=0.9)
        arguments = {
            "train": Loader(ArrayDataset(*stripes(36, "train")), batch_size, shuffle=True),
            "validation": Loader(ArrayDataset(*stripes(21, "validation")), 8)
            if validation
            else None,
            "optimizer": optimizer,
            "schedule": Constant(optimizer.learning_rate),
            "loss": CategoricalCrossentropy(),
            "epochs": 2,
        }
        return Trainer(model, **(arguments | options))

    return make
