"""Ops that join several arrays into one."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved, Shape
from .table import Op


class Add(Op):
    """The sum of arrays of one shape; every argument receives dy."""

    @staticmethod
    def forward(ctx: Context, arrays: Sequence[Array]) -> tuple[Array, Saved]:
        total = arrays[0] + arrays[1] if len(arrays) > 1 else ctx.xp.asarray(arrays[0], copy=True)
        for array in arrays[2:]:
            total = total + array
        return total, len(arrays)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array, ...]:
        return (dy,) * saved


class Multiply(Op):
    """The product of two or more arrays whose shapes broadcast, all with one number of axes.

    Every argument receives dy times the product of the others, summed over the axes on which it
    was broadcast: no division, zeros are no special case.
    """

    @staticmethod
    def forward(ctx: Context, arrays: Sequence[Array]) -> tuple[Array, Saved]:
        return _product(arrays), tuple(arrays)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array, ...]:
        return tuple(
            _sum_to(ctx.xp, dy * _product((*saved[:number], *saved[number + 1 :])), array.shape)
            for number, array in enumerate(saved)
        )


class Maximum(Op):
    """The largest of arrays of one shape, element by element; it alone receives dy.

    Among equal elements the first array wins, NaN wins over all.
    """

    @staticmethod
    def forward(ctx: Context, arrays: Sequence[Array]) -> tuple[Array, Saved]:
        xp = ctx.xp
        best = arrays[0]
        winner = xp.zeros(best.shape, dtype=xp.int32)
        for number, array in enumerate(arrays[1:], start=1):
            better = (array > best) | ((array != array) & (best == best))
            best = xp.where(better, array, best)
            winner = xp.where(better, xp.asarray(number, dtype=xp.int32), winner)
        return best, (winner, len(arrays))

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array, ...]:
        winner, count = saved
        xp = ctx.xp
        zero = xp.zeros_like(dy)
        return tuple(
            xp.where(winner == xp.asarray(number, dtype=xp.int32), dy, zero)
            for number in range(count)
        )


class Concat(Op):
    """Arrays joined along one axis (the channels by default)."""

    @staticmethod
    def forward(ctx: Context, arrays: Sequence[Array], axis: int = -1) -> tuple[Array, Saved]:
        axis = axis % arrays[0].ndim
        return ctx.xp.concat(list(arrays), axis=axis), (axis, [a.shape[axis] for a in arrays])

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array, ...]:
        axis, sizes = saved
        parts, start = [], 0
        for size in sizes:
            cut = [slice(None)] * dy.ndim
            cut[axis] = slice(start, start + size)
            parts.append(dy[tuple(cut)])
            start += size
        return tuple(parts)


def _product(arrays: Sequence[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total * array
    return total


def _sum_to(xp: Namespace, gradient: Array, shape: Shape) -> Array:
    """Sum over the axes on which an array of `shape` was broadcast."""
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis] != 1)
    return xp.sum(gradient, axis=axes, keepdims=True) if axes else gradient
