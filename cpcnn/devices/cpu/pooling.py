"""Max pooling, block by block of images, in threads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...core.window import Window
from ...ops.padding import pad, unpad
from ...ops.table import Op
from .elementwise import BLOCK, is_float
from .workers import cut, in_threads


class ParallelMaxPool(Op):
    """The maximum over the cells of the window; backward finds the winners again.

    Input and output are kept by their neighbours in any case, so comparing them once more costs
    less than writing the winners down in forward.
    """

    @staticmethod
    def supports(ctx: Context, x: Any, window: Window) -> bool:
        return is_float(x) and x.flags.c_contiguous

    @staticmethod
    def forward(ctx: Context, x: NDArray[Any], window: Window) -> tuple[NDArray[Any], Saved]:
        n, height, width, channels = x.shape
        y = ctx.empty((n, *window.output(height, width), channels), x.dtype)

        def work(part: slice) -> None:
            for images in _blocks(part, x):
                _pool(x[images], y[images], window)

        in_threads(ctx, work, cut(n, x.size))
        return y, (x, y, window)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        x, y, window = saved
        dx = ctx.empty(x.shape, dy.dtype)

        def work(part: slice) -> None:
            for images in _blocks(part, x):
                taken = ctx.empty(y[images].shape, "bool")
                hit = ctx.empty(taken.shape, "bool")
                _unpool(dy[images], x[images], y[images], dx[images], window, taken, hit)

        in_threads(ctx, work, cut(x.shape[0], x.size))
        return dx


def _blocks(part: slice, x: NDArray[Any]) -> Iterator[slice]:
    step = max(1, 2 * BLOCK // math.prod(x.shape[1:]))
    for start in range(part.start, part.stop, step):
        yield slice(start, min(start + step, part.stop))


def _pool(x: NDArray[Any], y: NDArray[Any], window: Window) -> None:
    n, height, width, channels = x.shape
    if _tiles(window, height, width):
        # rows first: whole image rows are long runs, and leave less for the short runs of pixels
        down, across = window.kernel
        rows = x.reshape(n, height // down, down, width * channels)
        reduced = rows[:, :, 0]
        for i in range(1, down):
            reduced = np.maximum(reduced, rows[:, :, i])
        pixels = reduced.reshape(n, height // down, width // across, across, channels)
        y[...] = pixels[:, :, :, 0]
        for j in range(1, across):
            np.maximum(y, pixels[:, :, :, j], out=y)
        return
    padded = pad(np, x, window.padding, value=-np.inf)
    for cell, (_, _, rows_, columns) in enumerate(window.taps(height, width)):
        values = padded[:, rows_, columns, :]
        if cell == 0:
            y[...] = values
        else:
            np.maximum(y, values, out=y)


def _unpool(
    dy: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    dx: NDArray[Any],
    window: Window,
    taken: NDArray[np.bool_],
    hit: NDArray[np.bool_],
) -> None:
    """Give dy to the first pixel of each window that equals the maximum; two masks are scratch."""
    height, width = x.shape[1], x.shape[2]
    tiles = _tiles(window, height, width)
    source: Any = pad(np, x, window.padding, value=-np.inf)
    target = dx if tiles else np.zeros(source.shape, dx.dtype)
    taken[...] = False
    for _, _, rows, columns in window.taps(height, width):
        np.equal(source[:, rows, columns, :], y, out=hit)
        np.greater(hit, taken, out=hit)  # the first of equals has it already
        np.logical_or(taken, hit, out=taken)
        if tiles:
            np.multiply(dy, hit, out=target[:, rows, columns, :])
        else:
            target[:, rows, columns, :] += dy * hit
    if not tiles:
        dx[...] = unpad(target, window.padding)


def _tiles(window: Window, height: int, width: int) -> bool:
    """Whether the windows cover every pixel exactly once."""
    return (
        window.kernel == window.stride
        and window.dilation == (1, 1)
        and window.padding == ((0, 0), (0, 0))
        and height % window.kernel[0] == 0
        and width % window.kernel[1] == 0
    )
