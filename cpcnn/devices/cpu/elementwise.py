"""Elementwise work in threads, and the small pieces that other ops fold in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops import merge
from ...ops.activations import get_activation
from ...ops.table import Op
from .workers import cut, in_threads

FLOATS = (np.dtype("float32"), np.dtype("float64"))
WIDE = 1 << 10  # elements of an inner loop that make its start not matter
BLOCK = 1 << 16  # elements: a few blocks of float32 fit a core's L2 cache


def is_float(*arrays: Any) -> bool:
    """Whether all arrays are of one float type that NumPy's loops and BLAS are fast at."""
    first = arrays[0].dtype
    return first in FLOATS and all(array.dtype == first for array in arrays)


def widen(rows: NDArray[Any], *vectors: NDArray[Any]) -> list[NDArray[Any]]:
    """View contiguous rows (M, C) as fewer, longer ones, and repeat the vectors (C,) to match.

    NumPy starts its inner loop anew for every row; for few channels that takes longer than the
    work in it.
    """
    count, channels = rows.shape
    repeat = math.gcd(count, max(1, WIDE // channels))
    return [rows.reshape(-1, channels * repeat), *(np.tile(v, repeat) for v in vectors)]


def finish(y: NDArray[Any], bias: NDArray[Any] | None, activation: str | None) -> None:
    """Add a bias (C,) to rows (M, C) and apply an activation, in place, while `y` is in cache."""
    if bias is not None:
        rows, wide_bias = widen(y, bias)
        np.add(rows, wide_bias, out=rows)
    activate(y, activation)


def activate(y: NDArray[Any], activation: str | None) -> None:
    """Apply an activation in place."""
    if activation == "relu":
        np.maximum(y, 0, out=y)
    elif activation not in (None, "linear"):
        y[...] = get_activation(activation).forward(np, y)


def mask_gradient(
    ctx: Context, dy: NDArray[Any], y: NDArray[Any], activation: str | None
) -> NDArray[Any]:
    """Return the gradient before an activation whose output was `y`."""
    if activation in (None, "linear"):
        return np.ascontiguousarray(dy)
    gradient: NDArray[Any] = ctx.empty(y.shape, y.dtype)

    def work(rows: slice) -> None:
        gradient_before(dy[rows], y[rows], activation, gradient[rows])

    in_threads(ctx, work, cut(y.shape[0], y.size))
    return gradient


def gradient_before(
    dy: NDArray[Any], y: NDArray[Any], activation: str | None, out: NDArray[Any]
) -> None:
    """Write the gradient before an activation whose output was `y`."""
    if activation in (None, "linear"):
        np.copyto(out, dy)
    elif activation == "relu":
        np.multiply(dy, y > 0, out=out)  # a product is many times faster than where()
    else:
        out[...] = get_activation(activation).backward(np, dy, y)


class ParallelActivation(Op):
    """The reference activation, cut along the batch."""

    @staticmethod
    def supports(ctx: Context, x: Any, activation: str) -> bool:
        return is_float(x) and x.ndim >= 2

    @staticmethod
    def forward(ctx: Context, x: NDArray[Any], activation: str) -> tuple[NDArray[Any], Saved]:
        y = ctx.empty(x.shape, x.dtype)

        def work(rows: slice) -> None:
            y[rows] = x[rows]
            activate(y[rows], activation)

        in_threads(ctx, work, cut(x.shape[0], x.size))
        return y, (activation, y)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        activation, y = saved
        return mask_gradient(ctx, dy, y, activation)


class ParallelAdd(Op):
    """The sum of two arrays, cut along the batch."""

    backward = merge.Add.backward

    @staticmethod
    def supports(ctx: Context, arrays: Sequence[Any]) -> bool:
        return len(arrays) == 2 and is_float(*arrays) and arrays[0].ndim >= 2

    @staticmethod
    def forward(ctx: Context, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], Saved]:
        a, b = arrays
        y = ctx.empty(a.shape, a.dtype)

        def work(rows: slice) -> None:
            np.add(a[rows], b[rows], out=y[rows])

        in_threads(ctx, work, cut(a.shape[0], a.size))
        return y, 2
