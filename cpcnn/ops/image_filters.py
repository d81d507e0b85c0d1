"""The passes over stored images that come before the input stage: they look at a whole image.

Their arithmetic is in whole numbers, so that every device gives the same images.
"""

from __future__ import annotations

from ..core.context import Context
from ..core.errors import UsageError
from ..core.typing import Array, Namespace
from .table import Action

VALUES = 256


class MeanColour(Action):
    """The mean of each channel of images (N, H, W, C), as float32 (N, C).

    With `index`, integers (N,), the images are images[index] of (M, H, W, C). The sums are float64,
    so that those of uint8 are exact.
    """

    @staticmethod
    def run(ctx: Context, images: Array, *, index: Array | None = None) -> Array:
        xp = ctx.xp
        if index is not None:
            images = xp.take(images, index, axis=0)
        sums = xp.sum(xp.astype(images, xp.float64), axis=(1, 2))
        return xp.astype(sums / (images.shape[1] * images.shape[2]), xp.float32)


class FilterImages(Action):
    """Autocontrast, equalize and sharpen uint8 images (N, H, W, C) as told per image.

    settings int32 (N, 3): whether to stretch each channel to 0..255; whether to give each channel
    an even histogram, afterwards; and the sharpness f in 1/256, last: f · pixel + (1 - f) · smooth,
    where smooth is the mean of the pixel, five times, and its eight neighbours; border pixels stay.
    256 changes nothing. Pillow's functions of these names, but for the last bit of rounding.

    With `index`, integers (N,), the images are images[index] of (M, H, W, C). Result uint8
    (N, H, W, C). UsageError for images of another type.
    """

    @staticmethod
    def run(ctx: Context, images: Array, settings: Array, *, index: Array | None = None) -> Array:
        xp = ctx.xp
        if images.dtype != xp.uint8:
            raise UsageError(
                f"autocontrast, equalize and sharpness take uint8 images, not {images.dtype}.",
                suggestion="Keep images as uint8, 0 to 255; the network's input is scaled later.",
            )
        if index is not None:
            images = xp.take(images, index, axis=0)
        if 0 in images.shape:
            return xp.astype(images, xp.uint8, copy=True)
        n, height, width, channels = images.shape
        settings = xp.astype(settings, xp.int64)
        planes = xp.permute_dims(xp.astype(images, xp.int64), (0, 3, 1, 2))
        planes = xp.reshape(planes, (n * channels, height * width))
        chosen = _per_plane(xp, settings, channels)
        for column, table in ((0, _stretched), (1, _equalized)):
            changed = _looked_up(xp, table(xp, _counts_below(xp, planes)), planes)
            planes = xp.where(chosen[:, column : column + 1] != 0, changed, planes)
        planes = xp.reshape(planes, (n * channels, height, width))
        planes = _sharpened(xp, planes, xp.reshape(chosen[:, 2], (-1, 1, 1)))
        planes = xp.reshape(planes, (n, channels, height, width))
        return xp.astype(xp.permute_dims(planes, (0, 2, 3, 1)), xp.uint8)


def _per_plane(xp: Namespace, settings: Array, channels: int) -> Array:
    """Repeat the settings of each image for its channels: (N * C, 3)."""
    n, count = settings.shape
    wide = xp.broadcast_to(xp.reshape(settings, (n, 1, count)), (n, channels, count))
    return xp.reshape(wide, (n * channels, count))


def _counts_below(xp: Namespace, planes: Array) -> Array:
    """Count the pixels of each plane (P, pixels) below 0, 1, ... 256: int64 (P, 257)."""
    count, pixels = planes.shape
    number = xp.reshape(xp.arange(count, dtype=xp.int64), (-1, 1))
    ordered = xp.sort(xp.reshape(planes + number * VALUES, (-1,)))  # plane after plane
    edges = xp.reshape(xp.arange(VALUES + 1, dtype=xp.int64), (1, -1)) + number * VALUES
    below = xp.searchsorted(ordered, xp.reshape(edges, (-1,)))
    return xp.reshape(below, (count, VALUES + 1)) - number * pixels


def _looked_up(xp: Namespace, tables: Array, planes: Array) -> Array:
    count = planes.shape[0]
    first = xp.reshape(xp.arange(count, dtype=xp.int64) * VALUES, (-1, 1))
    places = xp.reshape(planes + first, (-1,))
    return xp.reshape(xp.take(xp.reshape(tables, (-1,)), places), planes.shape)


def _stretched(xp: Namespace, below: Array) -> Array:
    """Return tables (P, 256) from the least value to 0 and the largest to 255."""
    values = xp.reshape(xp.arange(VALUES, dtype=xp.int64), (1, -1))
    seen = below[:, 1:] > below[:, :-1]
    least = xp.min(xp.where(seen, values, VALUES), axis=1, keepdims=True)
    most = xp.max(xp.where(seen, values, -1), axis=1, keepdims=True)
    span = most - least
    some = xp.where(span > 0, span, xp.ones_like(span))
    table = xp.clip((255 * (values - least) + some // 2) // some, 0, 255)
    return xp.where(span > 0, table, values)


def _equalized(xp: Namespace, below: Array) -> Array:
    """Return tables (P, 256) in which the number of pixels below a value says where it goes."""
    values = xp.reshape(xp.arange(VALUES, dtype=xp.int64), (1, -1))
    total, below = below[:, -1:], below[:, :-1]
    # without those of the largest value, so that it goes to 255
    step = (
        xp.max(xp.where(below < total, below, xp.zeros_like(below)), axis=1, keepdims=True) // 255
    )
    some = xp.where(step > 0, step, xp.ones_like(step))
    table = xp.clip((below + some // 2) // some, 0, 255)
    return xp.where(step > 0, table, values)


def _sharpened(xp: Namespace, planes: Array, sharpness: Array) -> Array:
    """Sharpen planes (P, H, W); sharpness (P, 1, 1) in 1/256."""
    height, width = planes.shape[1:]
    if height < 3 or width < 3:  # all border
        return planes
    middle = planes[:, 1:-1, 1:-1]
    total = 4 * middle
    for i in range(3):
        for j in range(3):
            total = total + planes[:, i : height - 2 + i, j : width - 2 + j]
    smooth = (total + 6) // 13
    sharp = xp.clip((256 * smooth + sharpness * (middle - smooth) + 128) // 256, 0, 255)
    inner = xp.concat([planes[:, 1:-1, :1], sharp, planes[:, 1:-1, -1:]], axis=2)
    return xp.concat([planes[:, :1, :], inner, planes[:, -1:, :]], axis=1)
