"""Layers that only rearrange values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Namespace, Saved, Shape
from .base import Layer, require_channels_last


@dataclass(eq=False)
class Flatten(Layer):
    """(H, W, C) -> (H * W * C,), in row-major order."""

    data_format: str | None = None

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, "Flatten")

    def build(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.xp.reshape(x, (x.shape[0], -1)), x.shape

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.xp.reshape(dy, saved)


@dataclass(eq=False)
class Reshape(Layer):
    """The same values in row-major order under another shape, without the batch.

    One size of `target_shape` may be -1: what the others leave. ShapeError when they do not fit.
    """

    target_shape: Shape

    def __post_init__(self) -> None:
        sizes = self.target_shape
        whole = isinstance(sizes, (tuple, list)) and all(type(size) is int for size in sizes)
        if not whole or any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise UsageError(
                f"Reshape: target_shape must be positive integers, of which one may be -1, "
                f"not {sizes!r}."
            )
        self.target_shape = tuple(sizes)

    def build(self, shape: Shape) -> Shape:
        known = math.prod(size for size in self.target_shape if size != -1)
        rest, left_over = divmod(math.prod(shape), known)
        if left_over or (rest != 1 and -1 not in self.target_shape):
            raise ShapeError(
                f"an input of shape {shape} has {math.prod(shape)} values, "
                f"which cannot take the shape {self.target_shape}.",
                suggestion="Give one size as -1, and it is computed.",
            )
        return tuple(rest if size == -1 else size for size in self.target_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.xp.reshape(x, (x.shape[0], *self.build(x.shape[1:]))), x.shape

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.xp.reshape(dy, saved)


@dataclass(eq=False)
class Permute(Layer):
    """Axes in another order: `dims` counts them from 1, without the batch.

    Permute((2, 1, 3)) exchanges height and width.
    """

    dims: Shape

    def __post_init__(self) -> None:
        dims = self.dims
        whole = isinstance(dims, (tuple, list)) and all(type(axis) is int for axis in dims)
        if not whole or sorted(dims) != list(range(1, len(dims) + 1)):
            raise UsageError(
                f"Permute: dims must be the numbers from 1 to the number of axes, in the new "
                f"order, not {dims!r}."
            )
        self.dims = tuple(dims)

    def build(self, shape: Shape) -> Shape:
        if len(shape) != len(self.dims):
            raise ShapeError(
                f"Permute with dims {self.dims} expects {len(self.dims)} axes, got {shape}."
            )
        return tuple(shape[axis - 1] for axis in self.dims)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return row_major(ctx.xp, ctx.xp.permute_dims(x, (0, *self.dims))), None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        order = (0, *self.dims)
        back = tuple(order.index(axis) for axis in range(len(order)))
        return row_major(ctx.xp, ctx.xp.permute_dims(dy, back))


def row_major(xp: Namespace, x: Array) -> Array:
    """The same array in row-major order, as fast ops want it: x itself where it lies so."""
    return xp.reshape(xp.reshape(x, (-1,)), x.shape)
