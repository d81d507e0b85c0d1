"""From warped pixels to network input, as ImageDataGenerator normalises, and its statistics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UsageError
from ..data.memory import available_memory

STD_EPSILON = 1e-6  # added to every standard deviation, as in Keras
PIXELS = (-3, -2, -1)


@dataclass
class Standardization:
    """What is done to pixels after all random changes, in this order.

    `preprocessing_function` of each image, `rescale` (a factor; None or 0: none), centring and
    scaling by the image's own mean and std ("samplewise") or by those of all images
    ("featurewise"), ZCA whitening. `mean` and `std` broadcast against (H, W, C) and
    `zca_whitening_matrix` is (H·W·C, H·W·C): `fit` measures them, or they may be set.
    """

    preprocessing_function: Callable[[NDArray[Any]], ArrayLike] | None = None
    rescale: float | None = None
    samplewise_center: bool = False
    samplewise_std_normalization: bool = False
    featurewise_center: bool = False
    featurewise_std_normalization: bool = False
    zca_whitening: bool = False
    zca_epsilon: float = 1e-6
    mean: ArrayLike | None = None
    std: ArrayLike | None = None
    zca_whitening_matrix: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self._imply("zca_whitening", "featurewise_center", True)
        self._imply("zca_whitening", "featurewise_std_normalization", False)
        self._imply("featurewise_std_normalization", "featurewise_center", True)
        self._imply("samplewise_std_normalization", "samplewise_center", True)

    def _imply(self, given: str, other: str, needed: bool) -> None:
        """Set `other` as `given` needs it, saying so."""
        if getattr(self, given) and getattr(self, other) != needed:
            setattr(self, other, needed)
            warnings.warn(
                f"{given} {'needs' if needed else 'stands in for'} {other}, which is now "
                f"{'on' if needed else 'off'}.",
                stacklevel=5,
            )

    def fit(self, images: NDArray[Any]) -> None:
        """Measure on images (N, H, W, C) what is asked for, in float64."""
        factor = self.rescale or 1.0
        shape = (1, 1, images.shape[3])
        if self.featurewise_center:
            mean, std = channel_moments(images)
            self.mean = (mean * factor).reshape(shape)
            if self.featurewise_std_normalization:
                self.std = (std * abs(factor)).reshape(shape)
        if self.zca_whitening:
            centred = images.astype(np.float64) * factor - np.asarray(self.mean)
            self.zca_whitening_matrix = whitening_matrix(
                centred.reshape(len(images), -1), self.zca_epsilon
            )

    def apply(self, images: NDArray[Any]) -> NDArray[Any]:
        """Standardise floating-point images (B, H, W, C) into a new array."""
        x = images.copy()
        if self.preprocessing_function is not None:
            for row, image in enumerate(x):
                x[row] = self._checked(np.asarray(self.preprocessing_function(image)), image.shape)
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= x.mean(axis=PIXELS, keepdims=True)
        if self.samplewise_std_normalization:
            x /= x.std(axis=PIXELS, keepdims=True) + STD_EPSILON
        if self.featurewise_center and self._is_known("mean"):
            x -= np.asarray(self.mean)
        if self.featurewise_std_normalization and self._is_known("std"):
            x /= np.asarray(self.std) + STD_EPSILON
        if self.zca_whitening and self._is_known("zca_whitening_matrix"):
            white = x.reshape(len(x), -1) @ np.asarray(self.zca_whitening_matrix)
            x = white.reshape(x.shape).astype(x.dtype)
        return x

    def affine(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return (mean, std) per channel, such that `apply` is (pixels - mean) / std.

        None where it is something else: a function, numbers of the image itself, or whitening.
        """
        if self.preprocessing_function is not None or self.samplewise_center or self.zca_whitening:
            return None
        factor = self.rescale or 1.0
        mean, std = np.zeros(()), np.ones(())
        if self.featurewise_center and self._is_known("mean"):
            mean = np.asarray(self.mean, np.float64)
        if self.featurewise_std_normalization and self._is_known("std"):
            std = np.asarray(self.std, np.float64) + STD_EPSILON
        if not (_is_per_channel(mean, channels) and _is_per_channel(std, channels)):
            return None
        each = np.ones(channels)
        return mean.ravel() / factor * each, std.ravel() / factor * each

    @staticmethod
    def _checked(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        if image.shape != shape:
            raise UsageError(
                f"preprocessing_function must keep the shape {shape}; it returned {image.shape}."
            )
        return image

    def _is_known(self, name: str) -> bool:
        """Whether a statistic was measured or set; if not, warn that it is left out, as Keras."""
        if getattr(self, name) is not None:
            return True
        warnings.warn(
            f"{name} is not known, and images are not normalised by it: call fit(images) first.",
            stacklevel=2,
        )
        return False


def _is_per_channel(values: NDArray[np.float64], channels: int) -> bool:
    """Whether statistics, which may be set by hand, are the same at every pixel."""
    return values.size == 1 or (values.size == channels and values.shape[-1] == channels)


def channel_moments(images: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (mean, std) of every channel of images (N, H, W, C), (C,) each.

    Float64 sums of one image after the other, joined without rounding.
    """
    count = images[..., 0].size
    if not count:
        raise UsageError(f"there are no pixels to measure in an array of shape {images.shape}.")

    def mean(power: int, centre: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = [((_channels(image) - centre) ** power).sum(axis=1) for image in images]
        return np.array([math.fsum(column) for column in zip(*sums, strict=True)]) / count

    first = mean(1, np.zeros((images.shape[3], 1)))
    return first, np.sqrt(mean(2, first[:, np.newaxis]))


def _channels(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return (C, H·W) in float64, a channel in a row, where NumPy adds pairwise."""
    return np.ascontiguousarray(image.reshape(-1, image.shape[2]).T, dtype=np.float64)


def whitening_matrix(rows: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    """Return the symmetric (D, D) matrix W that makes rows (N, D), centred, uncorrelated: rows @ W.

    Zero-phase whitening; directions whose singular value is small against `epsilon` stay small.
    UsageError when D is too large for the memory.
    """
    count, size = rows.shape
    needed = 8 * size * (size + min(count, size))
    if needed > available_memory():
        raise UsageError(
            f"ZCA whitening of images with {size:,} values takes {needed / 1e9:,.0f} GB.",
            suggestion="Use smaller images.",
        )
    vectors, values, _ = np.linalg.svd(rows.T, full_matrices=False)
    matrix: NDArray[np.float64] = (vectors * (math.sqrt(count) / (values + epsilon))) @ vectors.T
    return matrix
