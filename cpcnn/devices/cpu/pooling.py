"""Windowed and global pooling by compiled kernels, in threads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved, Shape
from ...core.window import Window
from ...ops.table import Op
from .elementwise import is_compiled, is_streamed
from .kernels import pooling as kernels
from .kernels.vector import LANES
from .workers import VECTOR, cut, in_threads

NO_CELLS = np.empty(0, np.uint8)
EXACT = 1 << 24  # pixels that float32 can number
Geometry = tuple[int, ...]


class CompiledMaxPool(Op):
    """The maximum over the cells of the window; a byte per output tells backward which one won."""

    repeats = True

    @staticmethod
    def supports(ctx: Context, x: Any, window: Window) -> bool:
        return x.size > 0 and is_compiled(x) and window.kernel[0] * window.kernel[1] <= 256

    @staticmethod
    def forward(ctx: Context, x: NDArray[Any], window: Window) -> tuple[NDArray[Any], Saved]:
        geometry = _geometry(x.shape[1:], window)
        y = ctx.empty((x.shape[0], *geometry[3:5], x.shape[3]), x.dtype)
        cells = ctx.empty(y.shape, "uint8") if ctx.grad else NO_CELLS
        _pool(ctx, x, y, cells, geometry, maximum=True)
        return y, (cells, window, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        cells, window, shape = saved
        return _spread(ctx, dy, cells, window, shape, maximum=True)


class CompiledAveragePool(Op):
    """The mean over the pixels that the window meets."""

    repeats = True

    @staticmethod
    def supports(ctx: Context, x: Any, window: Window) -> bool:
        return x.size > 0 and is_compiled(x)

    @staticmethod
    def forward(ctx: Context, x: NDArray[Any], window: Window) -> tuple[NDArray[Any], Saved]:
        geometry = _geometry(x.shape[1:], window)
        y = ctx.empty((x.shape[0], *geometry[3:5], x.shape[3]), x.dtype)
        _pool(ctx, x, y, NO_CELLS, geometry, maximum=False)
        return y, (window, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        return _spread(ctx, dy, NO_CELLS, *saved, maximum=False)


class CompiledGlobalAveragePool(Op):
    """The mean over all pixels: a window as large as the image."""

    repeats = True

    @staticmethod
    def supports(ctx: Context, x: Any) -> bool:
        return x.size > 0 and is_compiled(x)

    @staticmethod
    def forward(ctx: Context, x: NDArray[Any]) -> tuple[NDArray[Any], Saved]:
        y = ctx.empty((x.shape[0], x.shape[3]), x.dtype)
        _pool(ctx, x, y, NO_CELLS, _geometry(x.shape[1:], Window(x.shape[1:3])), maximum=False)
        return y, x.shape

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        window = Window(saved[1:3], saved[1:3])
        return _spread(ctx, dy, NO_CELLS, window, saved, maximum=False)


class CompiledGlobalMaxPool(Op):
    """The maximum over all pixels; which one it was is kept as float32, which kernels work in."""

    repeats = True

    @staticmethod
    def supports(ctx: Context, x: Any) -> bool:
        return x.size > 0 and is_compiled(x) and x.shape[1] * x.shape[2] <= EXACT

    @staticmethod
    def forward(ctx: Context, x: NDArray[Any]) -> tuple[NDArray[Any], Saved]:
        n, height, width, channels = x.shape
        y, places = ctx.empty((n, channels), x.dtype), ctx.empty((n, channels), x.dtype)
        source, target, kept = x.reshape(-1), y.reshape(-1), places.reshape(-1)

        def work(piece: slice) -> None:
            kernels.global_maximum(
                source, target, kept, height * width, channels, piece.start, piece.stop
            )

        in_threads(ctx, work, cut(ctx, n, x.size // VECTOR))
        return y, (places, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        places, (n, height, width, channels) = saved
        dx: NDArray[Any] = ctx.empty((n, height, width, channels), dy.dtype)
        source, kept = np.ascontiguousarray(dy).reshape(-1), places.reshape(-1)
        target = dx.reshape(-1)

        def work(piece: slice) -> None:
            kernels.global_maximum_gradient(
                source, kept, target, height * width, channels, piece.start, piece.stop
            )

        in_threads(ctx, work, cut(ctx, n, dx.size // VECTOR))
        return dx


@lru_cache
def _geometry(shape: Shape, window: Window) -> Geometry:
    """The sizes that kernels want, for images of `shape`."""
    height, width, channels = shape
    output = window.output(height, width)
    corner = (window.padding[0][0], window.padding[1][0])
    return (
        height, width, channels, *output, *window.kernel, *window.stride, *window.dilation, *corner
    )  # fmt: skip


def _pool(
    ctx: Context,
    x: NDArray[Any],
    y: NDArray[Any],
    cells: NDArray[np.uint8],
    geometry: Geometry,
    *,
    maximum: bool,
) -> None:
    source, target, winners = x.reshape(-1), y.reshape(-1), cells.reshape(-1)
    kept = cells.size > 0

    def work(rows: slice) -> None:
        kernels.pool(source, target, winners, maximum, kept, geometry, rows.start, rows.stop)

    in_threads(ctx, work, cut(ctx, x.shape[0] * geometry[3], x.size // VECTOR))


def _spread(
    ctx: Context,
    dy: NDArray[Any],
    cells: NDArray[np.uint8],
    window: Window,
    shape: Shape,
    *,
    maximum: bool,
) -> NDArray[Any]:
    """Backward of both kinds of pooling, by whole images: their windows may overlap."""
    geometry, tiled = _geometry(shape[1:], window), _tiles(window, shape[1], shape[2])
    dx: NDArray[Any] = ctx.empty(shape, dy.dtype)
    source, target = np.ascontiguousarray(dy).reshape(-1), dx.reshape(-1)
    winners = cells.reshape(-1)
    streamed = tiled and shape[3] % LANES == 0 and is_streamed(dx)

    def work(images: slice) -> None:
        kernels.spread(
            source, winners, target, maximum, tiled, streamed, geometry, images.start, images.stop
        )

    in_threads(ctx, work, cut(ctx, shape[0], dx.size // VECTOR))
    return dx


def _tiles(window: Window, height: int, width: int) -> bool:
    """Whether the windows cover every pixel exactly once."""
    return (
        window.kernel == window.stride
        and window.dilation == (1, 1)
        and window.padding == ((0, 0), (0, 0))
        and height % window.kernel[0] == 0
        and width % window.kernel[1] == 0
    )
