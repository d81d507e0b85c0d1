"""Affine maps of images: float64 (B, 2, 3), from output to input, (row, column) from the middle."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

ASPECTS = 3 / 4, 4 / 3  # of a random crop: width to height


def compose(
    *,
    rotation: Numbers,
    shift: tuple[Numbers, Numbers],
    shear: Numbers,
    zoom: tuple[Numbers, Numbers],
) -> Numbers:
    """Multiply rotation · shift · shear · zoom of B images: float64 (B, 2, 3), (row, column) order.

    Angles are in radians, shifts in pixels. The product maps output to input positions: the zoom,
    on the right, is applied first, and a factor above 1 shows more of the image, smaller.
    """
    cosine, sine = np.cos(rotation), np.sin(rotation)
    rotate = matrices([[cosine, -sine], [sine, cosine]])
    shear_zoom = matrices(
        [[zoom[0], -np.sin(shear) * zoom[1]], [np.zeros_like(shear), np.cos(shear) * zoom[1]]]
    )
    offset = rotate @ np.stack(shift, axis=-1)[:, :, np.newaxis]
    return np.concatenate([rotate @ shear_zoom, offset], axis=2)


def chain(first: Numbers, second: Numbers) -> Numbers:
    """Return the maps place -> first(second(place)), all (B, 2, 3)."""
    matrix = first[:, :, :2] @ second[:, :, :2]
    offset = first[:, :, :2] @ second[:, :, 2:] + first[:, :, 2:]
    return np.concatenate([matrix, offset], axis=2)


def resized_crop(uniform: Numbers, least: float, height: int, width: int) -> Numbers:
    """Return maps (B, 2, 3) that stretch a random part of each image over the whole of it.

    uniform (4, B) in [0, 1): the part's area, from `least` to 1 of the image's; its aspect, from
    3/4 to 4/3 of the image's, even on a logarithmic scale; its place down and across, even where it
    fits. A side that would exceed the image's is that of the image (Szegedy et al., "Going deeper
    with convolutions", 2014, arXiv:1409.4842).
    """
    area = least + (1.0 - least) * uniform[0]
    low, high = map(math.log, ASPECTS)
    aspect = np.exp(low + (high - low) * uniform[1])
    down = np.minimum(np.sqrt(area / aspect), 1.0)  # shares of the image's sides
    across = np.minimum(np.sqrt(area * aspect), 1.0)
    nothing = np.zeros_like(area)
    # the middle of the part, from the middle of the image
    middle_down = (1.0 - down) * (uniform[2] - 0.5) * height
    middle_across = (1.0 - across) * (uniform[3] - 0.5) * width
    return matrices([[down, nothing, middle_down], [nothing, across, middle_across]])


def matrices(entries: list[list[Numbers]]) -> Numbers:
    """Stack a nested list of (B,) entries to (B, rows, columns)."""
    return np.stack([np.stack(row, axis=-1) for row in entries], axis=-2)
