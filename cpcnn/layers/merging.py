"""Layers that join several inputs."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.typing import Array, Saved, Shape
from .base import Layer


@dataclass(eq=False)
class Add(Layer):
    """The sum of two or more inputs of one shape: `Add()([a, b])`."""

    multiple_inputs = True

    def build(self, shape: tuple[Shape, ...]) -> Shape:
        if len(shape) < 2 or not all(isinstance(s, tuple) for s in shape):
            raise ShapeError(
                f"Add needs the shapes of two or more inputs, got {shape}.",
                suggestion="Call it on a list: Add()([a, b]).",
            )
        if len(set(shape)) > 1:
            found = " and ".join(str(s) for s in dict.fromkeys(shape))
            raise ShapeError(
                f"Add needs inputs of one shape, got {found}.",
                suggestion="A 1×1 convolution can match the channels.",
            )
        return shape[0]

    def forward(self, x: tuple[Array, ...], ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.add(x)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> tuple[Array, ...]:
        return ctx.ops.backward(dy, saved)
