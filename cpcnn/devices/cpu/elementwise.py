"""Elementwise work in threads, and the small pieces that other ops fold in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops import merge
from ...ops.activations import Function, get_activation, keeps_input
from ...ops.table import Op
from .kernels import elementwise as kernels
from .kernels.cross_entropy import softmax
from .kernels.vector import LANES
from .workers import VECTOR, cut, in_threads

FLOAT = np.dtype("float32")
FLOATS = (FLOAT, np.dtype("float64"))
BLOCK = 1 << 14  # elements: temporaries of this size come from the heap, not page by page
STREAMED = 6 << 20  # bytes: of several such arrays a last-level cache keeps little


def is_float(*arrays: Any) -> bool:
    """Whether all arrays are of one float type that NumPy's loops and BLAS are fast at."""
    first = arrays[0].dtype
    return first in FLOATS and all(array.dtype == first for array in arrays)


def is_compiled(*arrays: Any) -> bool:
    """Whether kernels take these arrays, None among them: contiguous float32."""
    return all(a is None or (a.dtype == FLOAT and a.flags.c_contiguous) for a in arrays)


def blocks(piece: slice, channels: int) -> Iterator[slice]:
    """Cut a slice of rows (M, C) into blocks of about BLOCK elements."""
    step = max(1, BLOCK // channels)
    for start in range(piece.start, piece.stop, step):
        yield slice(start, min(start + step, piece.stop))


def can_fuse(activation: str | None) -> bool:
    """Whether an op that keeps its output can take an activation along."""
    return not keeps_input(activation)


def activate(x: NDArray[Any], activation: str | Function | None, out: NDArray[Any]) -> None:
    """Write the activation of `x` to `out`, which may be `x`."""
    if activation == "relu":
        np.maximum(x, 0, out=out)
    elif activation == "softmax" and is_compiled(out):
        if out is not x:
            np.copyto(out, x)
        softmax(_rows(out))
    elif activation not in (None, "linear"):
        out[...] = get_activation(activation).forward(np, x)
    elif out is not x:
        np.copyto(out, x)


def activate_all(
    ctx: Context, x: NDArray[Any], activation: str | Function | None, out: NDArray[Any]
) -> None:
    """Do the same in threads, in blocks of rows (..., C)."""
    rows, results = _rows(x), _rows(out)

    def work(piece: slice) -> None:
        for block in blocks(piece, rows.shape[1]):
            activate(rows[block], activation, results[block])

    in_threads(ctx, work, cut(ctx, len(rows), rows.size))


def mask_gradient(
    ctx: Context, dy: NDArray[Any], kept: NDArray[Any], activation: str | Function | None
) -> NDArray[Any]:
    """Return the gradient before an activation that kept `kept`."""
    dy = np.ascontiguousarray(dy)
    if activation in (None, "linear"):
        return dy
    if activation == "relu" and is_compiled(dy, kept):
        return _combine(ctx, kernels.MASK, dy, kept)
    gradient: NDArray[Any] = ctx.empty(kept.shape, kept.dtype)
    rows, gradients, results = (_rows(array) for array in (kept, dy, gradient))
    backward = get_activation(activation).backward

    def work(piece: slice) -> None:
        for block in blocks(piece, rows.shape[1]):
            results[block] = backward(np, gradients[block], rows[block])

    in_threads(ctx, work, cut(ctx, len(rows), rows.size))
    return gradient


def masked_and_summed(
    ctx: Context, dy: NDArray[np.float32], y: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradient before a ReLU that gave `y`, and its sums over all axes but the last.

    Without `y` that is `dy` itself, contiguous, and its sums.
    """
    dy = np.ascontiguousarray(dy)
    channels = dy.shape[-1]
    if not dy.size:
        return dy, np.zeros(channels, FLOAT)
    width = row_width(channels)
    pieces = cut_rows(ctx, dy.size, width)
    gradient = dy if y is None else ctx.empty(dy.shape, FLOAT)
    source, target = dy.reshape(-1), gradient.reshape(-1)
    gate = source if y is None else y.reshape(-1)
    sums = np.zeros((len(pieces), channels))
    masked, streamed = y is not None, is_streamed(gradient)

    def work(piece: slice) -> None:
        part, scratch = sums[pieces.index(piece)], np.zeros(width, FLOAT)
        kernels.mask_and_sum(
            source, gate, target, masked, streamed, piece.start, piece.stop, part, scratch
        )

    in_threads(ctx, work, pieces)
    return gradient, sums.sum(axis=0).astype(FLOAT)


def sum_rows(ctx: Context, dy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over all axes but the last: the gradient of a bias."""
    return masked_and_summed(ctx, dy, None)[1]


@cache
def row_width(channels: int) -> int:
    """Return the length of the wide rows that kernels walk along.

    So many rows (C,) are taken as one that it is made of whole vectors, and of no less than eight:
    until a sum is loaded again, storing it must have ended.
    """
    width = math.lcm(channels, LANES)
    return width * -(-8 * LANES // width)


def cut_rows(ctx: Context, size: int, width: int) -> list[slice]:
    """Cut the wide rows of an array of `size` elements; the last row may be shorter."""
    return cut(ctx, -(-size // width), size // VECTOR)


def is_streamed(out: NDArray[Any]) -> bool:
    """Whether kernels write this array past the cache, in which it would not stay."""
    return out.nbytes >= STREAMED and out.ctypes.data % (4 * LANES) == 0


def _combine(
    ctx: Context, operation: int, a: NDArray[np.float32], b: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Run one of the compiled elementwise operations on contiguous arrays."""
    out: NDArray[np.float32] = ctx.empty(a.shape, FLOAT)
    first, second, result = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    streamed, size = is_streamed(out), a.size

    def work(piece: slice) -> None:
        start, stop = piece.start * LANES, min(piece.stop * LANES, size)
        kernels.combine(operation, first, second, result, streamed, start, stop)

    in_threads(ctx, work, cut_rows(ctx, size, LANES))
    return out


def _rows(array: NDArray[Any]) -> NDArray[Any]:
    """View an array (..., C) as rows (M, C), copied where it is not contiguous."""
    return array.reshape(-1, array.shape[-1])


class ParallelActivation(Op):
    """ReLU compiled, other activations by the reference in blocks of rows."""

    repeats = True

    @staticmethod
    def supports(ctx: Context, x: Any, activation: str | Function) -> bool:
        return is_float(x) and x.ndim >= 2 and x.shape[-1] > 0

    @staticmethod
    def forward(
        ctx: Context, x: NDArray[Any], activation: str | Function
    ) -> tuple[NDArray[Any], Saved]:
        if activation == "relu" and is_compiled(x):
            y = _combine(ctx, kernels.RELU, x, x)
        else:
            y = ctx.empty(x.shape, x.dtype)
            activate_all(ctx, x, activation, y)
        return y, (activation, x if keeps_input(activation) else y)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        activation, kept = saved
        return mask_gradient(ctx, dy, kept, activation)


class CompiledAdd(Op):
    """The sum of two arrays."""

    repeats = True

    backward = merge.Add.backward

    @staticmethod
    def supports(ctx: Context, arrays: Sequence[Any]) -> bool:
        return len(arrays) == 2 and is_compiled(*arrays)

    @staticmethod
    def forward(ctx: Context, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], Saved]:
        return _combine(ctx, kernels.ADD, *arrays), 2
