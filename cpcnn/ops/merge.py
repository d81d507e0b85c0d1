"""Ops that join several arrays into one."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.context import Context
from ..core.typing import Array, Saved
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
