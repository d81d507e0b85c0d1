"""Mean and standard deviation of images, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError

LEVELS = np.arange(256)


def measure_statistics(
    images: Iterable[NDArray[np.uint8]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) per channel, in units of 0..255, of uint8 images (..., C).

    Items may be images (H, W, C) or batches (N, H, W, C). Counts are whole numbers, so the result
    is exact and depends on no order. A channel of one value gets std 1, which leaves it at zero
    after normalisation. Raises DataError if there are no pixels.
    """
    histogram: NDArray[np.int64] | None = None
    for image in images:
        counts = _histogram(image)
        histogram = counts if histogram is None else histogram + counts
    if histogram is None or not histogram.any():
        raise DataError("there are no pixels to measure mean and std on.")
    moments = [_moments(channel) for channel in histogram]
    return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the values of each channel: int64 (C, 256)."""
    if image.dtype != np.uint8:
        raise DataError(f"mean and std are measured on uint8 images, not {image.dtype}.")
    channels = image.reshape(-1, image.shape[-1]).T
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])


def _moments(counts: NDArray[np.int64]) -> tuple[float, float]:
    total = int(counts.sum())
    first, second = int(counts @ LEVELS), int(counts @ LEVELS**2)
    mean = Fraction(first, total)
    variance = Fraction(second, total) - mean**2
    return float(mean), float(variance) ** 0.5 or 1.0
