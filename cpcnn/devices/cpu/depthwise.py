"""Depthwise convolution in threads: rows of results, images of the weights' gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Shape
from ...core.window import Window
from .kernels import depthwise as kernels
from .winograd import NONE
from .workers import cut, in_threads, sum_in_threads


def geometry(x_shape: Shape, window: Window) -> tuple[int, ...]:
    """Return what the kernels need to know of a call."""
    size = x_shape[1], x_shape[2]
    before = window.padding[0][0], window.padding[1][0]
    return (*size, *window.output(*size), *window.kernel, *window.stride, *window.dilation, *before)


def convolve(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None,
    window: Window,
    rectify: bool,
) -> NDArray[Any]:
    """Return the convolution of x (N, H, W, C) and w (KH, KW, 1, C), with bias, rectified."""
    shape = geometry(x.shape, window)
    y = ctx.empty((x.shape[0], *shape[2:4], x.shape[3]), np.float32)
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)
    finish = (NONE if bias is None else bias, bias is not None, rectify)

    def work(rows: slice) -> None:
        kernels.convolve(flat_x, flat_w, x.shape[3], shape, *finish, flat_y, rows.start, rows.stop)

    in_threads(ctx, work, cut(ctx, y.shape[0] * y.shape[1], y.size))
    return y


def input_gradient(
    ctx: Context, w: NDArray[Any], dy: NDArray[Any], window: Window, x_shape: Shape
) -> NDArray[Any]:
    """Return the gradient of the input: without stride, dy convolved with the turned kernel."""
    if window.stride == (1, 1) and (mirror := _mirror(window, x_shape, dy.shape)) is not None:
        return convolve(ctx, dy, np.ascontiguousarray(w[::-1, ::-1]), None, mirror, False)
    shape = geometry(x_shape, window)
    dx = ctx.empty(x_shape, np.float32)
    flat_dy, flat_w, flat_dx = dy.reshape(-1), w.reshape(-1), dx.reshape(-1)

    def work(rows: slice) -> None:
        kernels.input_gradient(flat_dy, flat_w, x_shape[3], shape, flat_dx, rows.start, rows.stop)

    in_threads(ctx, work, cut(ctx, x_shape[0] * x_shape[1], dx.size))
    return dx


def weight_gradient(
    ctx: Context, x: NDArray[Any], dy: NDArray[Any], w_shape: Shape, window: Window
) -> NDArray[Any]:
    """Return the gradient of the weights: parts of the batch, summed in their order."""
    shape = geometry(x.shape, window)
    pieces = cut(ctx, x.shape[0], x.size)
    flat_x, flat_dy = x.reshape(-1), dy.reshape(-1)

    def work(piece: slice, total: NDArray[Any]) -> None:
        total[...] = 0
        partial = ctx.empty(total.shape, np.float32)
        kernels.weight_gradient(
            flat_x, flat_dy, x.shape[3], shape, total, piece.start, piece.stop, partial
        )

    return sum_in_threads(ctx, work, pieces, math.prod(w_shape)).reshape(w_shape)


def _mirror(window: Window, x_shape: Shape, dy_shape: Shape) -> Window | None:
    """Return the window that leads from dy back to x; None where it would have to crop dy."""
    before = [
        extent - 1 - pad[0] for extent, pad in zip(window.extent, window.padding, strict=True)
    ]
    after = [x_shape[axis + 1] - dy_shape[axis + 1] + window.padding[axis][0] for axis in (0, 1)]
    if min(*before, *after) < 0:
        return None
    padding = ((before[0], after[0]), (before[1], after[1]))
    return Window(window.kernel, (1, 1), window.dilation, padding)
