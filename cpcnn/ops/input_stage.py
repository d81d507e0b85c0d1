"""From stored pixels to network input: crop, flip, affine warp, normalise and cast."""

from __future__ import annotations

from typing import Any

from ..core.context import Context
from ..core.errors import UsageError
from ..core.typing import Array, Namespace
from .table import Action


class InputStage(Action):
    """Warp uint8 (or float) images as told per image, then (pixel - mean) / std in `dtype`.

    images (N, H, W, C); crop int32 (N, 2), the rows and columns to move by; flip bool (N,);
    affine (N, 2, 3); each may be None. mean and std (C,) in pixel units. Result (N, H, W, C).

    With `index`, integers (N,) in [0, M), the batch is images[index] of a whole data set
    (M, H, W, C); repeats are allowed. `channels` widens the result to (N, H, W, channels); those
    beyond C are zero. UsageError when it is less than C.

    Output pixel (i, j) is read at (i + top, j' + left), j' = W - 1 - j when flipped, and border
    pixels are mirrored without repeating the edge. With `affine` the place is
    A[:, :2] @ (place - centre) + A[:, 2] + centre, bilinearly interpolated, and beyond the border
    the nearest edge pixel counts.
    """

    @staticmethod
    def run(
        ctx: Context,
        images: Array,
        mean: Array,
        std: Array,
        *,
        crop: Array | None = None,
        flip: Array | None = None,
        affine: Array | None = None,
        index: Array | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> Array:
        xp = ctx.xp
        if index is not None:
            images = xp.take(images, index, axis=0)
        out = getattr(xp, dtype)
        pixels = warped(xp, images, crop, flip, affine, out)
        return widened(xp, (pixels - xp.astype(mean, out)) / xp.astype(std, out), channels)


def warped(
    xp: Namespace,
    images: Array,
    crop: Array | None,
    flip: Array | None,
    affine: Array | None,
    out: Any,
) -> Array:
    """Read images (N, H, W, C) at the places that crop, flip and affine map say, in dtype `out`."""
    rows, columns = _places(xp, images, crop, flip)
    if affine is not None:
        return _sample(xp, images, rows, columns, affine, out)
    return xp.astype(_gather(xp, images, rows, columns), out)


def _places(
    xp: Namespace, images: Array, crop: Array | None, flip: Array | None
) -> tuple[Array, Array]:
    """Where each output pixel comes from before the affine warp: int64 (N, H, 1) and (N, 1, W)."""
    n, height, width, _ = images.shape
    rows = xp.reshape(xp.arange(height, dtype=xp.int64), (1, height, 1))
    columns = xp.reshape(xp.arange(width, dtype=xp.int64), (1, 1, width))
    rows = rows + xp.zeros((n, 1, 1), dtype=xp.int64)
    columns = columns + xp.zeros((n, 1, 1), dtype=xp.int64)
    if flip is not None:
        columns = xp.where(xp.reshape(flip, (n, 1, 1)), width - 1 - columns, columns)
    if crop is not None:
        offset = xp.astype(crop, xp.int64)
        rows = rows + xp.reshape(offset[:, 0], (n, 1, 1))
        columns = columns + xp.reshape(offset[:, 1], (n, 1, 1))
    return rows, columns


def _mirror(xp: Namespace, place: Array, size: int) -> Array:
    """Fold any index into [0, size): … 2 1 | 0 1 2 … size-1 | size-2 …"""
    if size == 1:
        return xp.zeros_like(place)
    period = 2 * (size - 1)
    folded = place % period
    return xp.where(folded < size, folded, period - folded)


def _gather(xp: Namespace, images: Array, rows: Array, columns: Array) -> Array:
    """Read pixels at integer places; mirrored at the border."""
    height, width = images.shape[1], images.shape[2]
    return _take(xp, images, _mirror(xp, rows, height), _mirror(xp, columns, width))


def _take(xp: Namespace, images: Array, rows: Array, columns: Array) -> Array:
    n, height, width, channels = images.shape
    image = xp.reshape(xp.arange(n, dtype=xp.int64), (n, 1, 1))
    index = (image * height + rows) * width + columns
    pixels = xp.reshape(images, (-1, channels))
    taken = xp.take(pixels, xp.reshape(index, (-1,)), axis=0)
    return xp.reshape(taken, (*index.shape, channels))


def _sample(
    xp: Namespace, images: Array, rows: Array, columns: Array, affine: Array, out: Any
) -> Array:
    """Read pixels at affinely warped places, bilinearly; clamped at the border."""
    n, height, width, _ = images.shape
    a = xp.reshape(xp.astype(affine, xp.float64), (n, 2, 3, 1, 1))
    centre_r, centre_c = (height - 1) / 2, (width - 1) / 2
    r = xp.astype(rows, xp.float64) - centre_r
    c = xp.astype(columns, xp.float64) - centre_c
    places = []
    for axis, (size, centre) in enumerate(((height, centre_r), (width, centre_c))):
        place = a[:, axis, 0, ...] * r + a[:, axis, 1, ...] * c + a[:, axis, 2, ...] + centre
        places.append(xp.clip(place, 0, size - 1))
    low = [xp.astype(xp.floor(place), xp.int64) for place in places]
    share = [
        xp.expand_dims(xp.astype(place - xp.astype(base, xp.float64), out), axis=-1)
        for place, base in zip(places, low, strict=True)
    ]
    high = [xp.clip(low[0] + 1, 0, height - 1), xp.clip(low[1] + 1, 0, width - 1)]

    def row(index: Array) -> Array:
        left = xp.astype(_take(xp, images, index, low[1]), out)
        right = xp.astype(_take(xp, images, index, high[1]), out)
        return left + (right - left) * share[1]

    upper, lower = row(low[0]), row(high[0])
    return upper + (lower - upper) * share[0]


def widened(xp: Namespace, pixels: Array, channels: int | None) -> Array:
    """Append channels of zeros."""
    found = pixels.shape[3]
    if channels is None or channels == found:
        return pixels
    if channels < found:
        raise UsageError(
            f"images of {found} channels do not fit {channels}.",
            suggestion=f"Ask for {found} channels or more.",
        )
    zeros = xp.zeros((*pixels.shape[:3], channels - found), dtype=pixels.dtype)
    return xp.concat([pixels, zeros], axis=3)
