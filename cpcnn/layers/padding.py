"""Layers that add pixels around an image, or cut them off."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.typing import Array, Saved, Shape
from ..core.window import Pair, Sides, as_sides, cropped, padded
from ..ops.padding import pad, unpad
from .base import Layer, require_channels_last, require_image


@dataclass(eq=False)
class ZeroPadding2D(Layer):
    """Zeros around the image: (H, W, C) -> (top + H + bottom, left + W + right, C).

    `padding` is one pixel count, one per axis, or ((top, bottom), (left, right)).
    """

    padding: int | Pair | Sides = (1, 1)
    data_format: str | None = None

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, "ZeroPadding2D")
        self.padding = as_sides(self.padding, "padding")

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "ZeroPadding2D")
        return (*padded(height, width, as_sides(self.padding, "padding")), channels)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return pad(ctx.xp, x, as_sides(self.padding, "padding")), None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        # a copy, because fast ops take arrays without gaps only
        return ctx.xp.asarray(unpad(dy, as_sides(self.padding, "padding")), copy=True)


@dataclass(eq=False)
class Cropping2D(Layer):
    """The image without its borders: (H, W, C) -> (H - top - bottom, W - left - right, C).

    `cropping` is one pixel count, one per axis, or ((top, bottom), (left, right)).
    """

    cropping: int | Pair | Sides = ((0, 0), (0, 0))
    data_format: str | None = None

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, "Cropping2D")
        self.cropping = as_sides(self.cropping, "cropping")

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "Cropping2D")
        return (*cropped(height, width, as_sides(self.cropping, "cropping")), channels)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        # a copy, because fast ops take arrays without gaps only
        return ctx.xp.asarray(unpad(x, as_sides(self.cropping, "cropping")), copy=True), None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return pad(ctx.xp, dy, as_sides(self.cropping, "cropping"))
