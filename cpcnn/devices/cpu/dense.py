"""The fully connected product: compiled, or by BLAS where that is faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops.table import Op
from .elementwise import activate, can_fuse, is_compiled, mask_gradient, masked_and_summed
from .kernels import dense as kernels
from .kernels.product import COLUMNS
from .workers import PARTS, at_once, cut, in_threads

PRODUCTS = 32  # multiplications: done in the time in which a simple pass touches an element
LEAST_FEATURES = 16  # of a product by BLAS: thin ones are slow


class CompiledDense(Op):
    """Products in registers, with bias and ReLU while results are in cache."""

    repeats = True

    @staticmethod
    def supports(ctx: Context, x: Any, w: Any, b: Any, *, activation: str | None = None) -> bool:
        return (
            is_compiled(x, w, b)
            and x.ndim == 2
            and x.size > 0
            and w.size > 0
            and x.shape[1] == w.shape[0]
            and (b is None or b.shape == w.shape[1:])
            and can_fuse(activation)
        )

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        *,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        y: NDArray[Any] = ctx.empty((len(x), w.shape[1]), x.dtype)
        if len(x) == 1:  # BLAS has a product for vectors
            at_once(ctx, lambda: _multiply_vector(x, w, b, y, activation))
        else:
            _multiply(ctx, x, w, b, y, activation == "relu")
            if activation not in (None, "linear", "relu"):
                at_once(ctx, lambda: activate(y, activation, y))
        return y, (x, w, b is not None, activation, y)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, activation, y = saved
        if activation not in (None, "linear", "relu"):
            dy, activation = mask_gradient(ctx, dy, y, activation), None
        gate = y if activation == "relu" else None
        dy, db = masked_and_summed(ctx, dy, gate)
        dw = _weight_gradient(ctx, x, dy)
        dx = _input_gradient(ctx, dy, w) if ctx.input_gradient else None
        return dx, dw, db if has_bias else None


def _multiply_vector(
    x: NDArray[Any],
    w: NDArray[Any],
    b: NDArray[Any] | None,
    y: NDArray[Any],
    activation: str | None,
) -> None:
    np.matmul(x, w, out=y)
    if b is not None:
        np.add(y, b, out=y)
    activate(y, activation, y)


def _multiply(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    b: NDArray[Any] | None,
    y: NDArray[Any],
    rectify: bool,
) -> None:
    """Write x @ w + b to y, rectified or not."""
    rows, (features, units) = len(x), w.shape
    bias = w[0] if b is None else b
    arrays = (x.reshape(-1), w.reshape(-1), bias, y.reshape(-1))
    options = (rows, features, units, b is not None, rectify)

    def work(blocks: slice) -> None:
        kernels.forward(*arrays, *options, blocks.start, blocks.stop)

    blocks = -(-rows // kernels.GROUP) * -(-units // COLUMNS)
    in_threads(ctx, work, cut(ctx, blocks, rows * w.size // PRODUCTS))


def _weight_gradient(ctx: Context, x: NDArray[Any], dy: NDArray[Any]) -> NDArray[Any]:
    dw: NDArray[Any] = ctx.empty((x.shape[1], dy.shape[1]), dy.dtype)

    def work(features: slice) -> None:
        np.matmul(x[:, features].T, dy, out=dw[features])

    groups = max(1, len(dw) // LEAST_FEATURES)
    in_threads(ctx, work, cut(ctx, len(dw), dw.size * len(x) // PRODUCTS, min(PARTS, groups)))
    return dw


def _input_gradient(ctx: Context, dy: NDArray[Any], w: NDArray[Any]) -> NDArray[Any]:
    rows, (features, units) = len(dy), w.shape
    dx: NDArray[Any] = ctx.empty((rows, features), dy.dtype)
    arrays = (np.ascontiguousarray(dy.T).reshape(-1), w.reshape(-1), dx.reshape(-1))

    def work(groups: slice) -> None:
        kernels.input_gradient(*arrays, rows, features, units, groups.start, groups.stop)

    groups = -(-features // kernels.FEATURES)
    in_threads(ctx, work, cut(ctx, groups, rows * w.size // PRODUCTS))
    return dx
