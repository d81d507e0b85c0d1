"""Pooling layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.typing import Array, Saved, Shape
from ..core.window import Padding, Pair, Window, as_pair
from .base import Layer, require_channels_last, require_image


@dataclass(eq=False)
class Pooling2D(Layer):
    """What windowed pooling shares: (H, W, C) -> (OH, OW, C); strides default to pool_size."""

    pool_size: int | Pair = (2, 2)
    strides: int | Pair | None = None
    padding: Padding = "valid"
    data_format: str | None = None

    op: ClassVar[str]

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, type(self).__name__)
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
    """What global pooling layers share: (H, W, C) -> (C,), or (1, 1, C) with `keepdims`."""

    data_format: str | None = None
    keepdims: bool = False

    op: ClassVar[str]

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, type(self).__name__)

    def build(self, shape: Shape) -> Shape:
        channels = require_image(shape, type(self).__name__)[2]
        return (1, 1, channels) if self.keepdims else (channels,)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        y, record = getattr(ctx.ops, self.op)(x)
        if self.keepdims:
            y = ctx.xp.reshape(y, (y.shape[0], 1, 1, y.shape[1]))
        return y, record

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        if self.keepdims:
            dy = ctx.xp.reshape(dy, (dy.shape[0], dy.shape[3]))
        return ctx.ops.backward(dy, saved)


@dataclass(eq=False)
class GlobalAveragePooling2D(GlobalPooling2D):
    """The mean over all pixels."""

    op = "global_average_pool"


@dataclass(eq=False)
class GlobalMaxPooling2D(GlobalPooling2D):
    """The maximum over all pixels."""

    op = "global_max_pool"
