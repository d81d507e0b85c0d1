"""Padding of the two spatial axes, and its inverse."""

from __future__ import annotations

from typing import Any

from ..core.typing import Array, Namespace
from ..core.window import Pair


def pad(xp: Namespace, x: Array, padding: tuple[Pair, Pair], value: float = 0.0) -> Array:
    """Surround (N, H, W, C) by a constant; the array itself when there is nothing to add."""
    (top, bottom), (left, right) = padding
    if top == bottom == left == right == 0:
        return x
    n, height, width, channels = x.shape
    shape = (n, top + height + bottom, left + width + right, channels)
    padded: Any = xp.full(shape, value, dtype=x.dtype)
    padded[:, top : top + height, left : left + width, :] = x
    return padded


def unpad(padded: Array, padding: tuple[Pair, Pair]) -> Array:
    """Cut the surround off again."""
    (top, bottom), (left, right) = padding
    height, width = padded.shape[1], padded.shape[2]
    return padded[:, top : height - bottom, left : width - right, :]
