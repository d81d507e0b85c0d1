"""Enlarging images by whole factors."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import UsageError
from ..core.typing import Array, Namespace, Saved, Shape
from ..core.window import Pair, as_pair
from .base import Layer, require_channels_last, require_image

INTERPOLATIONS = ("nearest", "bilinear")


@dataclass(eq=False)
class UpSampling2D(Layer):
    """Every pixel becomes `size` pixels: (H, W, C) -> (H * size[0], W * size[1], C).

    `interpolation` is "nearest", which repeats pixels, or "bilinear", which reads the image at the
    centres of the new pixels, and its border outside. Keras' bicubic and Lanczos are not offered.
    """

    size: int | Pair = (2, 2)
    data_format: str | None = None
    interpolation: str = "nearest"

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, "UpSampling2D")
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(
                f"UpSampling2D: interpolation must be {' or '.join(INTERPOLATIONS)}, "
                f"not {self.interpolation!r}."
            )
        self.size = as_pair(self.size, "size")

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "UpSampling2D")
        rows, columns = as_pair(self.size, "size")
        return height * rows, width * columns, channels

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        size = as_pair(self.size, "size")
        if self.interpolation == "nearest":
            return _repeat(ctx.xp, x, size), None
        return _mix(ctx.xp, _weights(ctx.xp, x.shape[1:3], size, x.dtype), x), None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        xp, size = ctx.xp, as_pair(self.size, "size")
        n, height, width, channels = dy.shape
        shape = height // size[0], width // size[1]
        if self.interpolation == "nearest":
            blocks = (n, shape[0], size[0], shape[1], size[1], channels)
            return xp.sum(xp.reshape(dy, blocks), axis=(2, 4))
        rows, columns = _weights(xp, shape, size, dy.dtype)
        return _mix(xp, (rows.T, columns.T), dy)


def _repeat(xp: Namespace, x: Array, size: Pair) -> Array:
    n, height, width, channels = x.shape
    blocks = (n, height, size[0], width, size[1], channels)
    pixels = xp.reshape(x, (n, height, 1, width, 1, channels))
    spread = xp.broadcast_to(pixels, blocks)
    return xp.reshape(spread, (n, height * size[0], width * size[1], channels))


def _weights(
    xp: Namespace, shape: tuple[int, ...], size: Pair, dtype: object
) -> tuple[Array, Array]:
    """The matrices that interpolate columns of pixels, and rows: (new pixels, old pixels)."""
    matrices = []
    for old, factor in zip(shape, size, strict=True):
        # in float64, for half precision does not tell neighbouring places apart
        centres = (xp.arange(old * factor, dtype=xp.float64) + 0.5) / factor - 0.5
        places = xp.clip(centres, 0.0, float(old - 1))
        pixels = xp.arange(old, dtype=xp.float64)
        distances = xp.abs(xp.reshape(places, (-1, 1)) - xp.reshape(pixels, (1, -1)))
        matrices.append(xp.astype(xp.clip(1.0 - distances, 0.0, None), dtype))
    return matrices[0], matrices[1]


def _mix(xp: Namespace, weights: tuple[Array, Array], x: Array) -> Array:
    """Apply a matrix to the vertical axis and one to the horizontal axis."""
    rows, columns = weights
    n, _, width, channels = x.shape
    tall = rows @ xp.reshape(x, (n, x.shape[1], width * channels))
    wide = columns @ xp.reshape(tall, (n * rows.shape[0], width, channels))
    return xp.reshape(wide, (n, rows.shape[0], columns.shape[0], channels))
