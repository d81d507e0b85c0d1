"""Affine warps of images on the host, with every way to fill what lies beyond the border."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError

FILL_MODES = ("nearest", "constant", "reflect", "wrap")
ORDERS = (0, 1)
EDGE = 1e-6  # pixels by which a rounded place may lie beyond the border and still be on it


def warp_images(
    images: NDArray[Any],
    affine: NDArray[np.floating] | None = None,
    flip: NDArray[np.bool_] | None = None,
    *,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
    dtype: str = "float32",
) -> NDArray[Any]:
    """Warp images (B, H, W, C) as the op `input_stage` does, into a new array of `dtype`.

    Output pixel (i, j), or (i, W-1-j) where `flip` (B,), is read at A[:, :2] @ (place - centre) +
    A[:, 2] + centre, A of `affine` (B, 2, 3): between pixels bilinearly (`order` 1), or at the
    nearest one (0). Beyond the border the image goes on with its edge (`fill_mode` "nearest"),
    mirrored with the edge repeated ("reflect"), from its other side ("wrap"), or as `cval`
    ("constant"). UsageError for another mode or order.
    """
    if fill_mode not in FILL_MODES or order not in ORDERS:
        raise UsageError(
            f"images are filled by {', '.join(FILL_MODES)} and interpolated with order 0 or 1; "
            f"found fill mode {fill_mode!r} and order {order!r}."
        )
    out = np.empty(images.shape, dtype)
    identity = np.eye(2, 3)
    for n, image in enumerate(images):
        matrix = identity if affine is None else affine[n].astype(np.float64)
        places = _places(matrix, flip is not None and bool(flip[n]), *image.shape[:2])
        read = _nearest_pixel if order == 0 else _bilinear
        out[n] = read(image, places, fill_mode, out.dtype)
        if fill_mode == "constant":
            out[n][_outside(places, *image.shape[:2])] = cval
    return out


def _places(
    matrix: NDArray[np.float64], flip: bool, height: int, width: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the row and the column, (H, W) each, that every output pixel is read at."""
    centre = (height - 1) / 2, (width - 1) / 2
    rows = np.arange(height)[:, np.newaxis] - centre[0]
    columns = np.arange(width) - centre[1]
    if flip:
        columns = -columns
    down, right = (
        matrix[axis, 0] * rows + matrix[axis, 1] * columns + matrix[axis, 2] + centre[axis]
        for axis in (0, 1)
    )
    return down, right


def _bilinear(
    image: NDArray[Any],
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
    fill_mode: str,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    pixels = image.astype(dtype)
    low = [np.floor(place) for place in places]
    down, right = (
        (place - base).astype(dtype)[:, :, np.newaxis]
        for place, base in zip(places, low, strict=True)
    )
    (top, bottom), (left_side, right_side) = (
        (_fold(base, size, fill_mode), _fold(base + 1, size, fill_mode))
        for base, size in zip(low, image.shape[:2], strict=True)
    )

    def row(index: NDArray[np.int64]) -> NDArray[Any]:
        left, other = pixels[index, left_side], pixels[index, right_side]
        mixed: NDArray[Any] = left + (other - left) * right
        return mixed

    upper, lower = row(top), row(bottom)
    blended: NDArray[Any] = upper + (lower - upper) * down
    return blended


def _nearest_pixel(
    image: NDArray[Any],
    places: tuple[NDArray[np.float64], NDArray[np.float64]],
    fill_mode: str,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    rows, columns = (
        _fold(np.floor(place + 0.5), size, fill_mode)
        for place, size in zip(places, image.shape[:2], strict=True)
    )
    return image[rows, columns].astype(dtype)


def _fold(place: NDArray[np.float64], size: int, fill_mode: str) -> NDArray[np.int64]:
    """Bring whole places outside [0, size) back to the pixel that stands there."""
    index = place.astype(np.int64)
    if fill_mode == "wrap":
        return index % size
    if fill_mode == "reflect":
        index = index % (2 * size)
        return np.where(index < size, index, 2 * size - 1 - index)
    return np.clip(index, 0, size - 1)


def _outside(
    places: tuple[NDArray[np.float64], NDArray[np.float64]], height: int, width: int
) -> NDArray[np.bool_]:
    """Return where the places are further out than the outermost pixels' centres."""
    rows, columns = places
    inside = (rows >= -EDGE) & (rows <= height - 1 + EDGE)
    inside &= (columns >= -EDGE) & (columns <= width - 1 + EDGE)
    return ~inside
