"""Random changes of colour, on the host: channel shift and brightness."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = (1, 2, 3)  # the axes of an image in a batch (B, H, W, C)
WHITE = 255.0


def shift_channels(images: NDArray[Any], intensity: NDArray[np.float64]) -> NDArray[Any]:
    """Add a number per image (B,) to images (B, H, W, C), within each image's own range."""
    low, high = _range(images)
    return np.clip(images + _per_image(intensity, images), low, high)


def change_brightness(images: NDArray[Any], factor: NDArray[np.float64]) -> NDArray[Any]:
    """Multiply images (B, H, W, C) by a factor each (B,), within 0..255.

    An image with values outside 0..255 is first spread over 0..255 and afterwards taken back.
    """
    low, high = _range(images)
    outside = (low < 0.0) | (high > WHITE)
    origin = np.where(outside, low, 0.0).astype(images.dtype)
    span = np.where(outside & (high > low), high - low, WHITE).astype(images.dtype)
    grey = (images - origin) * (WHITE / span)
    bright = np.clip(grey * _per_image(factor, images), 0.0, WHITE)
    return bright * (span / WHITE) + origin


def _range(images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return images.min(axis=PIXELS, keepdims=True), images.max(axis=PIXELS, keepdims=True)


def _per_image(values: NDArray[np.float64], images: NDArray[Any]) -> NDArray[Any]:
    return values.astype(images.dtype)[:, np.newaxis, np.newaxis, np.newaxis]
