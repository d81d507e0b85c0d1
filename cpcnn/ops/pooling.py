"""Windowed and global pooling. Among equal maxima the first in row-major order wins."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from ..core.window import Window
from .padding import pad, unpad
from .table import Op


class MaxPool(Op):
    """The maximum of each window; padding never wins. x (N, H, W, C) -> (N, OH, OW, C).

    `saved` holds, as a byte per output, which cell of the window won.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, window: Window) -> tuple[Array, Saved]:
        xp = ctx.xp
        padded = pad(xp, x, window.padding, value=-float("inf"))
        cells = enumerate(window.taps(x.shape[1], x.shape[2]))
        _, (_, _, rows, columns) = next(cells)
        best = padded[:, rows, columns, :]
        winner = xp.zeros(best.shape, dtype=_cell_dtype(xp, window))
        for cell, (_, _, rows, columns) in cells:
            values = padded[:, rows, columns, :]
            # a NaN must win as well, or a diverged network would look healthy
            better = (values > best) | ((values != values) & (best == best))
            best = xp.where(better, values, best)
            winner = xp.where(better, xp.asarray(cell, dtype=winner.dtype), winner)
        return xp.asarray(best, copy=True), (winner, window, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        winner, window, shape = saved
        xp = ctx.xp
        zero = xp.zeros_like(dy)
        padded = xp.zeros(_padded_shape(window, shape), dtype=dy.dtype)
        for cell, (_, _, rows, columns) in enumerate(window.taps(shape[1], shape[2])):
            won = winner == xp.asarray(cell, dtype=winner.dtype)
            padded[:, rows, columns, :] += xp.where(won, dy, zero)
        return unpad(padded, window.padding)


class AveragePool(Op):
    """The mean of each window over the pixels that exist: padding does not count, as in Keras."""

    @staticmethod
    def forward(ctx: Context, x: Array, window: Window) -> tuple[Array, Saved]:
        xp = ctx.xp
        padded = pad(xp, x, window.padding)
        height, width = x.shape[1], x.shape[2]
        shape = (x.shape[0], *window.output(height, width), x.shape[3])
        total = xp.zeros(shape, dtype=x.dtype)
        for _, _, rows, columns in window.taps(height, width):
            total = total + padded[:, rows, columns, :]
        share = 1 / _counts(xp, window, x)
        return total * share, (share, window, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        share, window, shape = saved
        spread = dy * share
        padded = ctx.xp.zeros(_padded_shape(window, shape), dtype=dy.dtype)
        for _, _, rows, columns in window.taps(shape[1], shape[2]):
            padded[:, rows, columns, :] += spread
        return unpad(padded, window.padding)


class GlobalAveragePool(Op):
    """The mean over all pixels: (N, H, W, C) -> (N, C)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> tuple[Array, Saved]:
        return ctx.xp.mean(x, axis=(1, 2)), x.shape

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        n, height, width, channels = saved
        share = ctx.xp.reshape(dy / (height * width), (n, 1, 1, channels))
        return share + ctx.xp.zeros(saved, dtype=dy.dtype)


class GlobalMaxPool(Op):
    """The maximum over all pixels: (N, H, W, C) -> (N, C)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> tuple[Array, Saved]:
        xp = ctx.xp
        n, height, width, channels = x.shape
        pixels = xp.reshape(x, (n, height * width, channels))
        return xp.max(pixels, axis=1), (xp.argmax(pixels, axis=1), x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        winner, (n, height, width, channels) = saved
        xp = ctx.xp
        position = xp.reshape(xp.arange(height * width, dtype=winner.dtype), (1, -1, 1))
        won = position == xp.reshape(winner, (n, 1, channels))
        dx = xp.where(won, xp.reshape(dy, (n, 1, channels)), xp.zeros((), dtype=dy.dtype))
        return xp.reshape(dx, (n, height, width, channels))


def _cell_dtype(xp: Namespace, window: Window) -> object:
    return xp.uint8 if window.kernel[0] * window.kernel[1] <= 256 else xp.int32


def _padded_shape(window: Window, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *window.padded(shape[1], shape[2]), shape[3])


def _counts(xp: Namespace, window: Window, x: Array) -> Array:
    """How many real pixels each window covers: (1, OH, OW, 1)."""
    height, width = x.shape[1], x.shape[2]
    ones = pad(xp, xp.ones((1, height, width, 1), dtype=x.dtype), window.padding)
    counts = xp.zeros((1, *window.output(height, width), 1), dtype=x.dtype)
    for _, _, rows, columns in window.taps(height, width):
        counts = counts + ones[:, rows, columns, :]
    return counts
