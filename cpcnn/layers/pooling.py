"""Pooling layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.typing import Array, Saved, Shape
from ..core.window import Padding, Pair, Window, as_pair
from .base import Layer, require_image


@dataclass(eq=False)
class Pooling2D(Layer):
    """What windowed pooling shares: (H, W, C) -> (OH, OW, C); strides default to pool_size."""

    pool_size: int | Pair = (2, 2)
    strides: int | Pair | None = None
    padding: Padding = "valid"

    op: ClassVar[str]

    def __post_init__(self) -> None:
        self.pool_size = as_pair(self.pool_size, "pool_size")
        self.strides = as_pair(self.strides or self.pool_size, "strides")

    def window(self, height: int, width: int) -> Window:
        """The window's geometry on an input of this size."""
        kernel = as_pair(self.pool_size, "pool_size")
        strides = as_pair(self.strides or kernel, "strides")
        return Window.fit(height, width, kernel, strides, self.padding, (1, 1))

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, type(self).__name__)
        window = self.window(height, width)
        for pads, size in zip(window.padding, window.kernel, strict=True):
            if max(pads) >= size:
                raise ShapeError(
                    f"a padding of {max(pads)} leaves {window.kernel[0]}×{window.kernel[1]} "
                    "windows without a single pixel.",
                    suggestion="Padding must be smaller than pool_size.",
                )
        return (*window.output(height, width), channels)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return getattr(ctx.ops, self.op)(x, self.window(*x.shape[1:3]))

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.ops.backward(dy, saved)


@dataclass(eq=False)
class MaxPooling2D(Pooling2D):
    """The maximum of each window; among equals the first wins."""

    op = "max_pool"


@dataclass(eq=False)
class AveragePooling2D(Pooling2D):
    """The mean of each window; padding does not count."""

    op = "average_pool"


@dataclass(eq=False)
class GlobalPooling2D(Layer):
    """What global pooling layers share: (H, W, C) -> (C,)."""

    op: ClassVar[str]

    def build(self, shape: Shape) -> Shape:
        return (require_image(shape, type(self).__name__)[2],)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return getattr(ctx.ops, self.op)(x)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.ops.backward(dy, saved)


@dataclass(eq=False)
class GlobalAveragePooling2D(GlobalPooling2D):
    """The mean over all pixels."""

    op = "global_average_pool"


@dataclass(eq=False)
class GlobalMaxPooling2D(GlobalPooling2D):
    """The maximum over all pixels."""

    op = "global_max_pool"
