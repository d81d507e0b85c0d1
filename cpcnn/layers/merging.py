"""Layers that join several inputs: `Add()([a, b])`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Saved, Shape
from .base import Layer, joined_shape


class Merging(Layer):
    """What layers of several inputs have in common: the check of their shapes."""

    multiple_inputs = True

    def build(self, shape: Any) -> Shape:
        shapes = self.require_shapes(shape)
        if len(set(shapes)) > 1:
            found = " and ".join(str(s) for s in dict.fromkeys(shapes))
            raise ShapeError(
                f"{type(self).__name__} needs inputs of one shape, got {found}.",
                suggestion="A 1×1 convolution can match the channels.",
            )
        return shapes[0]

    def require_shapes(self, shape: Any) -> list[Shape]:
        """Check that there are two shapes or more."""
        name = type(self).__name__
        if len(shape) < 2 or not all(isinstance(s, tuple) for s in shape):
            raise ShapeError(
                f"{name} needs the shapes of two or more inputs, got {shape}.",
                suggestion=f"Call it on a list: {name}()([a, b]).",
            )
        return list(shape)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> tuple[Array, ...]:
        return ctx.ops.backward(dy, saved)


@dataclass(eq=False)
class Add(Merging):
    """The sum of two or more inputs of one shape."""

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.add(x)


@dataclass(eq=False)
class Subtract(Merging):
    """The first of two inputs of one shape, minus the second."""

    def require_shapes(self, shape: Any) -> list[Shape]:
        shapes = super().require_shapes(shape)
        if len(shapes) != 2:
            raise ShapeError(f"Subtract needs exactly two inputs, got {len(shapes)}.")
        return shapes

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.add((x[0], -x[1]))

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> tuple[Array, ...]:
        first, second = ctx.ops.backward(dy, saved)
        return first, -second


@dataclass(eq=False)
class Multiply(Merging):
    """The product of two or more inputs, of one shape or with axes of size 1 that are repeated.

    So images (H, W, C) are weighted by a number a channel, (1, 1, C), or a pixel, (H, W, 1). Only
    this merging layer repeats axes; in Keras all do.
    """

    def build(self, shape: Any) -> Shape:
        shapes = self.require_shapes(shape)
        sizes = [set(axis) for axis in zip(*shapes, strict=False)]
        fit = len({len(s) for s in shapes}) == 1 and all(len(axis - {1}) < 2 for axis in sizes)
        if not fit:
            found = " and ".join(str(s) for s in dict.fromkeys(shapes))
            raise ShapeError(
                f"Multiply needs inputs of one shape, except for axes of size 1, got {found}.",
                suggestion="Pooling with keepdims=True leaves the axes that are to be repeated.",
            )
        return tuple(max(axis) for axis in sizes)

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.multiply(x)


@dataclass(eq=False)
class Average(Merging):
    """The mean of two or more inputs of one shape."""

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        total, added = ctx.ops.add(x)
        return total * (1 / len(x)), (added, len(x))

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> tuple[Array, ...]:
        added, count = saved
        return ctx.ops.backward(dy * (1 / count), added)


@dataclass(eq=False)
class Maximum(Merging):
    """The largest of two or more inputs of one shape, element by element.

    The input that gave it receives the gradient, among equal ones the first.
    """

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.maximum(x)


@dataclass(eq=False)
class Concatenate(Merging):
    """Two or more inputs joined along an axis, the channels by default.

    `axis` counts the batch as axis 0, as in Keras; along it nothing can be joined.
    """

    axis: int = -1

    def __post_init__(self) -> None:
        if type(self.axis) is not int or self.axis == 0:
            raise UsageError(
                f"Concatenate: axis must be an integer other than 0, the batch, not {self.axis!r}."
            )

    def build(self, shape: Any) -> Shape:
        return joined_shape(self.require_shapes(shape), self.axis)

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.concat(x, axis=self.axis)
