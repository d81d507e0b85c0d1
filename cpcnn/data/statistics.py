"""Mean and standard deviation of images, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError

LEVELS = np.arange(256)
AT_ONCE = 1 << 16  # values that are summed together: they stay in the processor's cache


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


def sum_images(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the sums per channel, uint64 (N, C), of values and squares of images (N, H, W, C)."""
    count, _, _, channels = images.shape
    first, second = np.empty((2, count, channels), np.uint64)
    step = max(1, AT_ONCE // max(1, images[0].size)) if count else 1
    for start in range(0, count, step):
        rows = slice(start, start + step)
        first[rows], second[rows] = _sums(images[rows])
    return first, second


def _sums(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    count, height, width, channels = images.shape
    # columns first: 32 bits hold the squares of 66,051 rows, more than an image has
    values = images.reshape(count, height, width * channels).astype(np.uint32)

    def total() -> NDArray[np.uint64]:
        columns = values.sum(axis=1, dtype=np.uint32).reshape(count, width, channels)
        return columns.sum(axis=1, dtype=np.uint64)

    first = total()
    np.multiply(values, values, out=values)
    return first, total()


def statistics_of_sums(
    pixels: int, first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what `measure_statistics` does from sums (C,) of values and squares of so many pixels.

    Raises DataError if there are none.
    """
    if not pixels:
        raise DataError("there are no pixels to measure mean and std on.")
    moments = [
        _from_sums(pixels, *sums) for sums in zip(first.tolist(), second.tolist(), strict=True)
    ]
    return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the values of each channel: int64 (C, 256)."""
    if image.dtype != np.uint8:
        raise DataError(f"mean and std are measured on uint8 images, not {image.dtype}.")
    channels = image.reshape(-1, image.shape[-1]).T
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])


def _moments(counts: NDArray[np.int64]) -> tuple[float, float]:
    return _from_sums(int(counts.sum()), int(counts @ LEVELS), int(counts @ LEVELS**2))


def _from_sums(total: int, first: int, second: int) -> tuple[float, float]:
    mean = Fraction(first, total)
    variance = Fraction(second, total) - mean**2
    return float(mean), float(variance) ** 0.5 or 1.0
