"""Elementwise work in threads, and the small pieces that other ops fold in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops import merge
from ...ops.activations import Function, get_activation, keeps_input
from ...ops.table import Op
from .workers import cut, in_threads

FLOATS = (np.dtype("float32"), np.dtype("float64"))
WIDE = 1 << 10  # elements of an inner loop that make its start not matter
BLOCK = 1 << 16  # elements: a few blocks of float32 fit a core's L2 cache
SMALL_BLOCK = 1 << 14  # elements: temporaries of this size come from the heap, not page by page


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


def blocks(piece: slice, channels: int, size: int = BLOCK) -> Iterator[slice]:
    """Cut a slice of rows (M, C) into blocks of about `size` elements, which fit the cache."""
    step = max(1, size // channels)
    for start in range(piece.start, piece.stop, step):
        yield slice(start, min(start + step, piece.stop))


def can_fuse(activation: str | None) -> bool:
    """Whether an op that keeps its output can take an activation along."""
    return not keeps_input(activation)


def finish(y: NDArray[Any], bias: NDArray[Any] | None, activation: str | None) -> None:
    """Add a bias (C,) to rows (M, C) and apply an activation, in place, while `y` is in cache."""
    if bias is not None:
        rows, wide_bias = widen(y, bias)
        np.add(rows, wide_bias, out=rows)
    activate(y, activation, y)


def activate(x: NDArray[Any], activation: str | Function | None, out: NDArray[Any]) -> None:
    """Write the activation of `x` to `out`, which may be `x`."""
    if activation == "relu":
        np.maximum(x, 0, out=out)
    elif activation not in (None, "linear"):
        out[...] = get_activation(activation).forward(np, x)
    elif out is not x:
        np.copyto(out, x)


def mask_gradient(
    ctx: Context, dy: NDArray[Any], kept: NDArray[Any], activation: str | Function | None
) -> NDArray[Any]:
    """Return the gradient before an activation that kept `kept`."""
    if activation in (None, "linear"):
        return np.ascontiguousarray(dy)
    gradient: NDArray[Any] = ctx.empty(kept.shape, kept.dtype)
    rows, gradients, results = (_rows(array) for array in (kept, dy, gradient))
    size = _block_size(activation)

    def work(piece: slice) -> None:
        for block in blocks(piece, rows.shape[1], size):
            gradient_before(gradients[block], rows[block], activation, results[block])

    in_threads(ctx, work, cut(len(rows), rows.size))
    return gradient


def gradient_before(
    dy: NDArray[Any], kept: NDArray[Any], activation: str | Function | None, out: NDArray[Any]
) -> None:
    """Write the gradient before an activation that kept `kept`."""
    if activation in (None, "linear"):
        np.copyto(out, dy)
    elif activation == "relu":
        np.multiply(dy, kept > 0, out=out)  # a product is many times faster than where()
    else:
        out[...] = get_activation(activation).backward(np, dy, kept)


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """View an array (..., C) as rows (M, C), copied where it is not contiguous."""
    return array.reshape(-1, array.shape[-1])


def _block_size(activation: str | Function | None) -> int:
    """Return the elements of a block: few for functions that make many temporaries of them."""
    return BLOCK if activation in (None, "linear", "relu") else SMALL_BLOCK


class ParallelActivation(Op):
    """The reference activation, in blocks of rows."""

    @staticmethod
    def supports(ctx: Context, x: Any, activation: str | Function) -> bool:
        return is_float(x) and x.ndim >= 2 and x.shape[-1] > 0

    @staticmethod
    def forward(
        ctx: Context, x: NDArray[Any], activation: str | Function
    ) -> tuple[NDArray[Any], Saved]:
        y: NDArray[Any] = ctx.empty(x.shape, x.dtype)
        rows, results = _rows(x), _rows(y)
        size = _block_size(activation)

        def work(piece: slice) -> None:
            for block in blocks(piece, rows.shape[1], size):
                activate(rows[block], activation, results[block])

        in_threads(ctx, work, cut(len(rows), rows.size))
        return y, (activation, x if keeps_input(activation) else y)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        activation, kept = saved
        return mask_gradient(ctx, dy, kept, activation)


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
