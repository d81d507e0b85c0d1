"""The article's network: a few convolutions and poolings, one hidden dense layer."""

from __future__ import annotations

from ..core.typing import Shape
from ..layers import Conv2D, Dense, Flatten, Layer, MaxPooling2D, Stack
from .scaling import scaled


def simple(input_shape: Shape, classes: int, *, width: float = 1.0) -> Stack:
    """Conv 32, pool, Conv 64, pool, [Conv 128, pool from 32 px on], Dense 128, Dense classes.

    Convolutions are 3×3 with padding and ReLU; `width` scales the channels.
    """
    channels = [32, 64, 128] if min(input_shape[:2]) >= 32 else [32, 64]
    layers: list[Layer] = []
    for filters in channels:
        layers += [
            Conv2D(
                scaled(filters, width),
                3,
                padding="same",
                activation="relu",
                kernel_initializer="fan_in_uniform",
            ),
            MaxPooling2D(2),
        ]
    layers += [
        Flatten(),
        Dense(scaled(128, width), activation="relu", kernel_initializer="fan_in_uniform"),
        Dense(classes, activation="softmax", kernel_initializer="zeros"),
    ]
    return Stack(layers)
