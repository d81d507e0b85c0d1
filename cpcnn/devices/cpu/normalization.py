"""Batch normalisation in two passes over memory, in blocks that fit the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops.table import Op
from .elementwise import (
    activate,
    blocks,
    can_fuse,
    gradient_before,
    is_float,
    mask_gradient,
    widen,
)
from .workers import cut, in_threads


class TwoPassBatchNorm(Op):
    """Statistics in one pass, normalise + residual + activation in another.

    Blocks' means and squared deviations are merged in float64 (Chan, Golub and LeVeque, 1983).
    """

    @staticmethod
    def supports(
        ctx: Context, x: Any, *args: Any, activation: str | None = None, **options: Any
    ) -> bool:
        return is_float(x) and x.ndim >= 2 and x.flags.c_contiguous and can_fuse(activation)

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        gamma: NDArray[Any] | None,
        beta: NDArray[Any] | None,
        running_mean: NDArray[Any],
        running_variance: NDArray[Any],
        *,
        momentum: float,
        epsilon: float,
        activation: str | None = None,
        residual: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        rows = x.reshape(-1, x.shape[-1])
        mean, variance = running_mean, running_variance
        if ctx.training:
            mean, variance = _statistics(ctx, rows)
            running_mean[...] = momentum * running_mean + (1 - momentum) * mean
            running_variance[...] = momentum * running_variance + (1 - momentum) * variance
        scale = (1 / np.sqrt(variance + epsilon)).astype(x.dtype)
        mean = np.array(mean, x.dtype)
        y = ctx.empty(x.shape, x.dtype)
        flat_y = y.reshape(rows.shape)
        flat_residual = None if residual is None else residual.reshape(rows.shape)
        factor = scale if gamma is None else scale * gamma
        shift = -mean * factor if beta is None else beta - mean * factor

        def work(piece: slice) -> None:
            for block in blocks(piece, rows.shape[1]):
                source, wide_factor, wide_shift = widen(rows[block], factor, shift)
                target = flat_y[block].reshape(source.shape)
                np.multiply(source, wide_factor, out=target)
                target += wide_shift
                if flat_residual is not None:
                    target += flat_residual[block].reshape(source.shape)
                activate(flat_y[block], activation, flat_y[block])

        in_threads(ctx, work, cut(rows.shape[0], rows.size))
        kept = (x, gamma, beta is not None, mean, scale, ctx.training)
        return y, (*kept, activation, residual is not None, y)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, ...]:
        x, gamma, has_beta, mean, scale, training, activation, has_residual, y = saved
        residual_gradient = mask_gradient(ctx, dy, y, activation) if has_residual else None
        if residual_gradient is not None:
            dy, activation = residual_gradient, None
        rows = x.reshape(-1, x.shape[-1])
        dx = ctx.empty(x.shape, x.dtype)
        flat_dx = dx.reshape(rows.shape)
        sum_dy, sum_dy_x = _gradient_sums(ctx, rows, dy, y, activation, mean, scale, flat_dx)
        factor = scale if gamma is None else scale * gamma
        count = rows.shape[0]
        # dx = factor * (dy - sum_dy / n - (x - mean) * scale * sum_dy_x / n), regrouped by x
        slope = -factor * scale * sum_dy_x / count
        shift = -factor * sum_dy / count - mean * slope

        def work(piece: slice) -> None:
            for block in blocks(piece, rows.shape[1]):
                target, wide_factor, wide_slope, wide_shift = widen(
                    flat_dx[block], factor, slope, shift
                )
                target *= wide_factor
                if training:
                    change = ctx.empty(target.shape, target.dtype)
                    np.multiply(rows[block].reshape(target.shape), wide_slope, out=change)
                    target += change
                    target += wide_shift

        in_threads(ctx, work, cut(count, rows.size))
        dgamma = None if gamma is None else sum_dy_x
        return dx, dgamma, sum_dy if has_beta else None, residual_gradient


def _statistics(ctx: Context, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and variance per column, as float64."""
    pieces = cut(rows.shape[0], rows.size)
    moments: dict[int, tuple[int, Any, Any]] = {}

    def work(piece: slice) -> None:
        merged = (0, np.zeros(rows.shape[1]), np.zeros(rows.shape[1]))
        for block in blocks(piece, rows.shape[1]):
            values = rows[block]
            mean = _column_sums(values) / len(values)
            source, wide_mean = widen(values, mean.astype(values.dtype))
            deviations = ctx.empty(source.shape, source.dtype)
            np.subtract(source, wide_mean, out=deviations)
            np.square(deviations, out=deviations)
            squares = _column_sums(deviations.reshape(values.shape))
            merged = _merge(merged, (len(values), mean, squares))
        moments[piece.start] = merged

    in_threads(ctx, work, pieces)
    total = moments[pieces[0].start]
    for piece in pieces[1:]:
        total = _merge(total, moments[piece.start])
    return total[1], total[2] / total[0]


def _merge(a: tuple[int, Any, Any], b: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
    count = a[0] + b[0]
    delta = b[1] - a[1]
    mean = a[1] + delta * (b[0] / count)
    return count, mean, a[2] + b[2] + delta * delta * (a[0] * b[0] / count)


def _column_sums(values: NDArray[Any]) -> NDArray[np.float64]:
    # as a matrix-vector product this runs at memory speed, several times faster than sum(axis=0)
    return (np.ones(len(values), values.dtype) @ values).astype(np.float64)


def _gradient_sums(
    ctx: Context,
    rows: NDArray[Any],
    dy: NDArray[Any],
    y: NDArray[Any],
    activation: str | None,
    mean: NDArray[Any],
    scale: NDArray[Any],
    out: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Write dy before the activation to `out`; sum it, and it * (x - mean) * scale, over rows."""
    pieces = cut(rows.shape[0], rows.size)
    sums: dict[int, Any] = {}
    flat_dy, flat_y = dy.reshape(rows.shape), y.reshape(rows.shape)

    def work(piece: slice) -> None:
        total = np.zeros((2, rows.shape[1]))
        for block in blocks(piece, rows.shape[1]):
            gradient_before(flat_dy[block], flat_y[block], activation, out[block])
            source, wide_mean = widen(rows[block], mean)
            centred = ctx.empty(out[block].shape, out.dtype)
            np.subtract(source, wide_mean, out=centred.reshape(source.shape))
            centred *= out[block]
            total[0] += _column_sums(out[block])
            total[1] += _column_sums(centred)
        sums[piece.start] = total

    in_threads(ctx, work, pieces)
    total = sum(sums[piece.start] for piece in pieces)
    return total[0].astype(rows.dtype), (total[1] * scale).astype(rows.dtype)
