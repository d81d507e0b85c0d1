"""Batch normalisation in two passes over memory forward, and two backward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops.table import Op
from .elementwise import (
    activate_all,
    can_fuse,
    cut_rows,
    is_compiled,
    is_streamed,
    mask_gradient,
    row_width,
)
from .kernels import batch_norm as kernels
from .workers import at_once, in_threads

NOTHING = np.empty(0, np.float32)
LINEAR = (None, "linear")


class CompiledBatchNorm(Op):
    """Statistics in one pass, normalise + residual + ReLU in another; other activations after.

    Backward sums in one pass and writes dx in another. Neither reads y where x tells what ReLU
    let through, which is where no residual was added.
    """

    repeats = True

    @staticmethod
    def supports(
        ctx: Context,
        x: Any,
        *args: Any,
        activation: str | None = None,
        residual: Any = None,
        **options: Any,
    ) -> bool:
        fits = x.ndim >= 2 and x.size > 0 and is_compiled(x, residual, *args)
        return fits and can_fuse(activation)

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
        source, width = x.reshape(-1), row_width(x.shape[-1])
        pieces = cut_rows(ctx, x.size, width)
        table = np.empty((4, width), np.float32)
        sources = (
            _moments(ctx, source, x.shape[-1], width, pieces),
            NOTHING if gamma is None else gamma,
            NOTHING if beta is None else beta,
            running_mean,
            running_variance,
            float(momentum),
            float(epsilon),
            table,
        )
        at_once(ctx, lambda: kernels.prepare(*sources))
        y = ctx.empty(x.shape, x.dtype)
        target, added, relu = y.reshape(-1), residual is not None, activation == "relu"
        other = source if residual is None else residual.reshape(-1)
        streamed = is_streamed(y)

        def work(piece: slice) -> None:
            kernels.normalise(
                source, other, target, streamed, table, added, relu, piece.start, piece.stop
            )

        in_threads(ctx, work, pieces)
        if not relu and activation not in LINEAR:
            activate_all(ctx, y, activation, y)
        there = (gamma is not None, beta is not None, added)
        needs_y = added if relu else activation not in LINEAR
        return y, (x, y if needs_y else None, table, there, ctx.training, activation)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, ...]:
        x, y, table, (has_gamma, has_beta, has_residual), training, activation = saved
        dy = np.ascontiguousarray(dy)
        if activation == "relu" and not has_residual:
            mode = after = kernels.FROM_X
            before = dy
        elif activation == "relu":
            mode, after = kernels.FROM_Y, kernels.PLAIN
            before = ctx.empty(x.shape, x.dtype)
        else:
            mode = after = kernels.PLAIN
            before = dy = mask_gradient(ctx, dy, y, activation)
        parts = _gradient_sums(ctx, x, dy, dy if y is None else y, before, table, mode)
        channels = x.shape[-1]
        change = np.empty((2, table.shape[1]), np.float32)
        dgamma, dbeta = np.empty((2, channels), np.float32)
        kernels.prepare_gradient(parts, table, x.size // channels, training, change, dgamma, dbeta)
        dx = ctx.empty(x.shape, x.dtype)
        source, gradient, target = x.reshape(-1), before.reshape(-1), dx.reshape(-1)
        streamed = is_streamed(dx)

        def work(piece: slice) -> None:
            kernels.input_gradient(
                source, gradient, target, streamed, table, change, after, training,
                piece.start, piece.stop,
            )  # fmt: skip

        in_threads(ctx, work, cut_rows(ctx, x.size, table.shape[1]))
        given = (True, has_gamma, has_beta, has_residual)
        gradients = (dx, dgamma, dbeta, before)
        return tuple(g if is_given else None for g, is_given in zip(gradients, given, strict=True))


def _moments(
    ctx: Context, x: NDArray[Any], channels: int, width: int, pieces: list[slice]
) -> NDArray[np.float64]:
    """Return count, means and squared deviations of each piece; of none when not in training."""
    moments = np.zeros((len(pieces) if ctx.training else 0, 5, channels))

    def work(piece: slice) -> None:
        found, scratch = moments[pieces.index(piece)], np.zeros((3, width), np.float32)
        kernels.statistics(x, channels, piece.start, piece.stop, found, scratch)

    if ctx.training:
        in_threads(ctx, work, pieces)
    return moments


def _gradient_sums(
    ctx: Context,
    x: NDArray[Any],
    dy: NDArray[Any],
    y: NDArray[Any],
    before: NDArray[Any],
    table: NDArray[Any],
    mode: int,
) -> NDArray[np.float64]:
    """Return each piece's sums of dy before the ReLU, and of it times x - mean.

    Where only y tells the former, it is written to `before`.
    """
    pieces = cut_rows(ctx, x.size, table.shape[1])
    parts = np.zeros((len(pieces), 2, x.shape[-1]))
    flat = [array.reshape(-1) for array in (x, dy, y, before)]
    streamed = is_streamed(before)

    def work(piece: slice) -> None:
        totals = parts[pieces.index(piece)]
        scratch = np.zeros((2, table.shape[1]), np.float32)
        kernels.gradient_sums(
            *flat, streamed, table, mode, piece.start, piece.stop, totals, scratch
        )

    in_threads(ctx, work, pieces)
    return parts
