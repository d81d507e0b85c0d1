"""Layers that bring images into a range: by numbers that are given, or measured on images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Saved, Shape
from .base import Layer

PerChannel: TypeAlias = float | tuple[float, ...]  # one number, or one for each channel
LARGEST = float(np.finfo(np.float32).max)
SMALLEST_DEVIATION = 1e-7  # Keras' epsilon: a constant channel is not divided by zero
BLOCK = 1 << 20  # numbers that are measured at once


@dataclass(eq=False)
class Rescaling(Layer):
    """y = x * scale + offset: `Rescaling(1 / 255)` brings bytes into [0, 1].

    Both are a number, or a tuple with a number for each channel, the last axis.
    """

    scale: PerChannel
    offset: PerChannel = 0.0

    def __post_init__(self) -> None:
        self.scale = as_per_channel(self.scale, "Rescaling: scale")
        self.offset = as_per_channel(self.offset, "Rescaling: offset")

    def build(self, shape: Shape) -> Shape:
        require_channels(shape, "Rescaling", self.scale, self.offset)
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return x * on_device(ctx, self.scale, x) + on_device(ctx, self.offset, x), None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return dy * on_device(ctx, self.scale, dy)


@dataclass(eq=False)
class Normalization(Layer):
    """y = (x - mean) / sqrt(variance), or with `invert` x = y * sqrt(variance) + mean.

    Mean and variance are given, or measured by `adapt` before the layer is built: a number, or a
    tuple with a number for each channel. They are saved as configuration; in Keras they are
    weights. `axis` is -1, the channels, or None: `adapt` then measures all channels as one. A
    deviation below 1e-7 counts as 1e-7.
    """

    axis: int | None = -1
    mean: PerChannel | None = None
    variance: PerChannel | None = None
    invert: bool = False

    def __post_init__(self) -> None:
        if self.axis is not None and type(self.axis) is not int:
            raise UsageError(f"Normalization: axis must be -1 or None, not {self.axis!r}.")
        if (self.mean is None) != (self.variance is None):
            raise UsageError("Normalization needs both a mean and a variance, or neither.")
        if self.mean is not None:
            self.mean = as_per_channel(self.mean, "Normalization: mean")
            self.variance = as_per_channel(self.variance, "Normalization: variance", least=0)

    def adapt(self, images: Any) -> None:
        """Measure mean and variance of an array (N, ..., C), or of several that are iterated over.

        In float64, the variance without Bessel's correction. UsageError for what holds no numbers.
        """
        mean, variance = moments(images, by_channel=self.axis is not None)
        self.mean = as_per_channel(mean, "the mean of the images")
        self.variance = as_per_channel(variance, "the variance of the images")

    def statistics(self) -> tuple[PerChannel, PerChannel]:
        """The mean and the standard deviation."""
        if self.mean is None or self.variance is None:
            raise UsageError(
                "Normalization does not know a mean and a variance yet.",
                suggestion="Call adapt(images) before the layer is used, or give both.",
            )
        if isinstance(self.variance, tuple):
            return self.mean, tuple(_deviation(value) for value in self.variance)
        return self.mean, _deviation(self.variance)

    def build(self, shape: Shape) -> Shape:
        if self.axis not in (None, -1, len(shape)):
            raise ShapeError(
                f"Normalization works on the last axis, the channels; axis={self.axis} is another "
                f"one of {('N', *shape)}.",
                suggestion="Leave axis at -1.",
            )
        require_channels(shape, "Normalization", *self.statistics())
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        mean, deviation = (on_device(ctx, numbers, x) for numbers in self.statistics())
        return x * deviation + mean if self.invert else (x - mean) / deviation, None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        deviation = on_device(ctx, self.statistics()[1], dy)
        return dy * deviation if self.invert else dy / deviation


def _deviation(variance: float) -> float:
    return max(math.sqrt(variance), SMALLEST_DEVIATION)


def as_per_channel(value: Any, what: str, *, least: float = -LARGEST) -> PerChannel:
    """Return a number as float, several as a tuple of floats; UsageError for anything else."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # rows of several lengths
        numbers = np.asarray(None)
    fits = numbers.dtype.kind in "iuf" and numbers.ndim < 2 and numbers.size > 0
    if not (fits and (numbers >= least).all() and (numbers <= LARGEST).all()):
        bound = "" if least == -LARGEST else f" of at least {least:g}"
        raise UsageError(
            f"{what} must be a finite number{bound}, or several, one a channel; not {value!r}."
        )
    return tuple(map(float, numbers)) if numbers.ndim else float(numbers)


def require_channels(shape: Shape, layer: str, *parts: PerChannel) -> None:
    """Check that tuples have a number for each channel."""
    for numbers in parts:
        if isinstance(numbers, tuple) and (not shape or len(numbers) != shape[-1]):
            raise ShapeError(
                f"{layer} has numbers for {len(numbers)} channels, and its input is {shape}."
            )


def on_device(ctx: Context, numbers: PerChannel, like: Array) -> Any:
    """The numbers as an array of the type of `like`; a single one as it is."""
    if isinstance(numbers, tuple):
        return ctx.xp.asarray(numbers, dtype=like.dtype)
    return numbers


def moments(images: Any, *, by_channel: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and variance of all numbers, or of each channel, in float64 and bounded memory.

    Blocks are joined as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
    for computing sample variances", 1979.
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for block in _blocks(images):
        rows = block.reshape(-1, block.shape[-1] if by_channel else 1)
        # a channel's numbers side by side: NumPy then adds them in pairs, which loses few digits
        channels = np.ascontiguousarray(rows.T, np.float64)
        if count and len(mean) != len(channels):
            raise UsageError(
                f"images of {len(mean)} and of {len(channels)} channels have no common mean."
            )
        here = channels.mean(axis=1)
        total = count + len(rows)
        squares = squares + ((channels - here[:, None]) ** 2).sum(axis=1)
        squares = squares + (here - mean) ** 2 * (count * len(rows) / total)
        mean = mean + (here - mean) * (len(rows) / total)
        count = total
    if not count:
        raise UsageError("there are no images to measure.")
    return (mean, squares / count) if by_channel else (mean[0], squares[0] / count)


def _as_array(images: Any) -> NDArray[Any]:
    try:
        return np.asarray(images)
    except ValueError:
        raise UsageError(
            f"images must be arrays of numbers, not {type(images).__name__}.",
            suggestion="Labels are no part of them: flow(x) instead of flow(x, y).",
        ) from None


def _blocks(images: Any) -> Iterator[NDArray[Any]]:
    """Cut an array, or each of several, into pieces of bounded size that are not empty."""
    if not isinstance(images, np.ndarray) and isinstance(images, Iterable):
        if isinstance(images, Iterator) and isinstance(images, Sized):
            images = islice(images, len(images))  # those of ImageDataGenerator go on after that
        for part in images:
            yield from _blocks(_as_array(part))
        return
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "uif" or images.ndim < 2:
        raise UsageError(
            f"images must be an array of numbers (N, ..., channels), not {images!r:.80}.",
            suggestion="Several arrays are given as a list, or as any iterable.",
        )
    count = max(1, BLOCK // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images) if images.size else 0, count):
        yield images[start : start + count]
