"""The fully connected product, cut into blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops.table import Op
from .elementwise import can_fuse, finish, is_float, mask_gradient
from .workers import PARTS, cut, in_threads

LEAST_ROWS = 16


class BlockedDense(Op):
    """One matrix product per block of rows, with bias and activation while they are in cache."""

    @staticmethod
    def supports(ctx: Context, x: Any, w: Any, b: Any, *, activation: str | None = None) -> bool:
        return is_float(x, w) and x.ndim == 2 and can_fuse(activation)

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        *,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        y = ctx.empty((x.shape[0], w.shape[1]), x.dtype)

        def work(rows: slice) -> None:
            np.matmul(x[rows], w, out=y[rows])
            finish(y[rows], b, activation)

        in_threads(ctx, work, _rows(x.shape[0], w.size))
        return y, (x, w, b is not None, activation, y)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, activation, y = saved
        dy = mask_gradient(ctx, dy, y, activation)
        dw = ctx.empty(w.shape, w.dtype)

        def weights(features: slice) -> None:
            np.matmul(x[:, features].T, dy, out=dw[features])

        in_threads(ctx, weights, _rows(w.shape[0], x.size))
        db = dy.sum(axis=0) if has_bias else None
        if not ctx.input_gradient:
            return None, dw, db
        dx = ctx.empty(x.shape, x.dtype)

        def inputs(features: slice) -> None:
            np.matmul(dy, w[features].T, out=dx[:, features])

        in_threads(ctx, inputs, _rows(w.shape[0], x.size))
        return dx, dw, db


def _rows(count: int, others: int) -> list[slice]:
    """Cut the rows of a product; a thin slice of a matrix is slow to multiply."""
    return cut(count, count * others, min(PARTS, max(1, count // LEAST_ROWS)))
