"""The fully connected product."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Saved
from .activations import activate, get_activation
from .table import Op


class Dense(Op):
    """y = activation(x @ w + b): x (..., F), w (F, U), b (U,) or None, y (..., U)."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, w: Array, b: Array | None, *, activation: str | None = None
    ) -> tuple[Array, Saved]:
        rows = ctx.xp.reshape(x, (-1, x.shape[-1]))
        y = rows @ w
        if b is not None:
            y = y + b
        y = ctx.xp.reshape(y, (*x.shape[:-1], w.shape[1]))
        y, kept = activate(ctx.xp, y, activation)
        return y, (x, w, b is not None, activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        """Return (dx, dw, db); dx is None when the context needs no input gradient."""
        x, w, has_bias, activation, kept = saved
        dy = get_activation(activation).backward(ctx.xp, dy, kept)
        dy_rows = ctx.xp.reshape(dy, (-1, dy.shape[-1]))
        dw = ctx.xp.reshape(x, (-1, x.shape[-1])).T @ dy_rows
        db = ctx.xp.sum(dy_rows, axis=0) if has_bias else None
        if not ctx.input_gradient:
            return None, dw, db
        return ctx.xp.reshape(dy_rows @ w.T, x.shape), dw, db
