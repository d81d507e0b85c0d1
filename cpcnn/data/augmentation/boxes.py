"""Random rectangles of images: what random erasing and CutMix draw."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

ERASED = 0.02, 0.4  # share of the image's area
ERASED_ASPECTS = 0.3, 1 / 0.3  # height to width


def erased_boxes(
    uniform: Numbers, chosen: NDArray[np.bool_], height: int, width: int
) -> NDArray[np.int32]:
    """Return boxes (B, 4) to erase, empty where not `chosen` (B,).

    uniform (4, B) in [0, 1): area, aspect (even on a logarithmic scale), place down and across.
    Ranges as in Zhong et al., "Random erasing data augmentation", 2017, arXiv:1708.04896; a side
    that would exceed the image's is that of the image.
    """
    least, most = ERASED
    area = (least + (most - least) * uniform[0]) * height * width
    low, high = map(math.log, ERASED_ASPECTS)
    aspect = np.exp(low + (high - low) * uniform[1])
    down = np.clip(np.rint(np.sqrt(area * aspect)), 1, height)
    across = np.clip(np.rint(np.sqrt(area / aspect)), 1, width)
    top = np.floor(uniform[2] * (height - down + 1))
    left = np.floor(uniform[3] * (width - across + 1))
    return _boxes(top, left, top + down, left + across) * chosen[:, np.newaxis]


def cut_boxes(
    uniform: Numbers, kept: Numbers, height: int, width: int
) -> tuple[NDArray[np.int32], Numbers]:
    """Return boxes (B, 4) that another image fills, and what share (B,) of the image is left.

    They have the image's aspect and the area 1 - kept, kept (B,) in [0, 1]; their middles, by
    uniform (2, B), may lie anywhere, and what is beyond the border is cut off (Yun et al.,
    "CutMix", 2019, arXiv:1905.04899).
    """
    side = np.sqrt(1.0 - kept)
    edges = []
    for place, size in ((uniform[0], height), (uniform[1], width)):
        length = np.floor(side * size)
        first = np.floor(place * size) - np.floor(length / 2)
        edges.append((np.clip(first, 0, size), np.clip(first + length, 0, size)))
    (top, bottom), (left, right) = edges
    left_over = 1.0 - (bottom - top) * (right - left) / (height * width)
    return _boxes(top, left, bottom, right), left_over


def _boxes(*edges: Numbers) -> NDArray[np.int32]:
    """Stack top, left, bottom and right to int32 (B, 4)."""
    return np.stack(edges, axis=1).astype(np.int32)
