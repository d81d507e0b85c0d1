"""The fully connected product on the GPU: cuBLAS, then bias and activation in one pass."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved
from ...ops.table import Op
from .element_types import is_floating
from .elementwise import can_fuse, finish, gradient_before, is_linear
from .kernel import contiguous
from .reductions import sum_rows


class MatmulDense(Op):
    """One matrix product over all rows, in forward and for each gradient."""

    @staticmethod
    def supports(ctx: Context, x: Any, w: Any, b: Any, *, activation: str | None = None) -> bool:
        return same_floats(x, w, b) and can_fuse(activation)

    @staticmethod
    def forward(
        ctx: Context, x: Array, w: Array, b: Array | None, *, activation: str | None = None
    ) -> tuple[Array, Saved]:
        rows, w = _rows(ctx, x), contiguous(ctx, w)
        y = ctx.empty((rows.shape[0], w.shape[1]), x.dtype)
        multiply(ctx, rows, w, y)
        finish(ctx, y, b, activation)
        kept = None if is_linear(activation) else y
        y = ctx.xp.reshape(y, (*x.shape[:-1], w.shape[1]))
        return y, (rows, w, b is not None, activation, kept, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        """Return (dx, dw, db); dx is None when the context needs no input gradient."""
        rows, w, has_bias, activation, y, shape = saved
        dy = gradient_before(ctx, _rows(ctx, dy), y, activation)
        dw = ctx.empty(w.shape, w.dtype)
        multiply(ctx, rows.T, dy, dw)
        db = sum_rows(ctx, dy) if has_bias else None
        if not ctx.input_gradient:
            return None, dw, db
        dx = ctx.empty(rows.shape, rows.dtype)
        multiply(ctx, dy, w.T, dx)
        return ctx.xp.reshape(dx, shape), dw, db


def same_floats(x: Any, w: Any, b: Any) -> bool:
    """Whether x, w and b (or None) are of one type, and it is one that kernels compute in."""
    return is_floating(x, w) and (b is None or is_floating(x, b))


def multiply(ctx: Context, a: Any, b: Any, out: Any) -> None:
    """Write the product of two matrices, or of their transposed views, to a contiguous `out`."""
    ctx.device.matmul(a, b, out=out)  # type: ignore[attr-defined]


def _rows(ctx: Context, x: Array) -> Any:
    """Return x (..., F) as a contiguous matrix (M, F)."""
    return ctx.xp.reshape(contiguous(ctx, x), (-1, x.shape[-1]))
