"""Pooling on the GPU: `kernels/pooling.cu` and `kernels/global_pooling.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved, Shape
from ...core.window import Window
from ...ops.table import Op
from .element_types import c_type_of, is_floating
from .geometry import rows, tiles
from .kernel import Kernel, contiguous, each, vector_width, vectorised
from .windows import window_arguments

max_pool_forward = Kernel("pooling.cu", "max_pool_forward", vectorised())
max_pool_backward = Kernel("pooling.cu", "max_pool_backward", vectorised())
average_pool_forward = Kernel("pooling.cu", "average_pool_forward", vectorised())
average_pool_backward = Kernel("pooling.cu", "average_pool_backward", vectorised())
global_average_forward = Kernel("global_pooling.cu", "global_average_forward", vectorised())
global_average_backward = Kernel("global_pooling.cu", "global_average_backward", vectorised())
global_max_forward = Kernel("global_pooling.cu", "global_max_forward", each())
global_max_backward = Kernel("global_pooling.cu", "global_max_backward", each())

CELLS = 256  # of a window whose winner fits a byte


class WindowMaxPool(Op):
    """The maximum of each window; `saved` holds the winning cell as a byte per output."""

    @staticmethod
    def supports(ctx: Context, x: Any, window: Window) -> bool:
        return is_floating(x) and window.kernel[0] * window.kernel[1] <= CELLS

    @staticmethod
    def forward(ctx: Context, x: Array, window: Window) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        y = ctx.empty(_pooled(x.shape, window), x.dtype)
        winner = ctx.empty(y.shape, "uint8") if ctx.grad else None
        _row_by_row(ctx, max_pool_forward, window, x.shape, {"x": x, "y": y}, winner=winner)
        return y, (winner, window, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        winner, window, shape = saved
        dx: Array = ctx.empty(shape, dy.dtype)
        arrays = {"dy": contiguous(ctx, dy), "dx": dx}
        _row_by_row(ctx, max_pool_backward, window, shape, arrays, winner=winner)
        return dx


class WindowAveragePool(Op):
    """The mean of each window over the pixels that exist."""

    @staticmethod
    def supports(ctx: Context, x: Any, window: Window) -> bool:
        return is_floating(x)

    @staticmethod
    def forward(ctx: Context, x: Array, window: Window) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        y = ctx.empty(_pooled(x.shape, window), x.dtype)
        _row_by_row(ctx, average_pool_forward, window, x.shape, {"x": x, "y": y})
        return y, (window, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        window, shape = saved
        dx: Array = ctx.empty(shape, dy.dtype)
        arrays = {"dy": contiguous(ctx, dy), "dx": dx}
        _row_by_row(ctx, average_pool_backward, window, shape, arrays)
        return dx


class GlobalAveragePool(Op):
    """The mean over all pixels, summed in a fixed order."""

    @staticmethod
    def supports(ctx: Context, x: Any) -> bool:
        return is_floating(x)

    @staticmethod
    def forward(ctx: Context, x: Array) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        n, height, width, channels = x.shape
        y = ctx.empty((n, channels), x.dtype)
        vec = vector_width(ctx, channels, x, y)
        global_average_forward(
            ctx,
            tiles(n, channels // vec),
            (c_type_of(x), vec),
            x=x,
            y=y,
            pixels=height * width,
            vectors=channels // vec,
        )
        return y, x.shape

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        n, height, width, channels = saved
        dy = contiguous(ctx, dy)
        dx = ctx.empty(saved, dy.dtype)
        vec = vector_width(ctx, channels, dy, dx)
        global_average_backward(
            ctx,
            rows(n * height, channels // vec, width),
            (c_type_of(dy), vec),
            dy=dy,
            dx=dx,
            height=height,
            width=width,
            vectors=channels // vec,
        )
        return dx


class GlobalMaxPool(Op):
    """The maximum over all pixels; `saved` holds which one it was."""

    @staticmethod
    def supports(ctx: Context, x: Any) -> bool:
        return is_floating(x)

    @staticmethod
    def forward(ctx: Context, x: Array) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        n, height, width, channels = x.shape
        y = ctx.empty((n, channels), x.dtype)
        winner = ctx.empty((n, channels), "int32")
        global_max_forward(
            ctx,
            tiles(n, channels),
            (c_type_of(x),),
            x=x,
            y=y,
            winner=winner,
            pixels=height * width,
            channels=channels,
        )
        return y, (winner, x.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        winner, shape = saved
        n, height, width, channels = shape
        dy = contiguous(ctx, dy)
        dx = ctx.empty(shape, dy.dtype)
        global_max_backward(
            ctx,
            rows(n * height, channels, width),
            (c_type_of(dy),),
            dy=dy,
            winner=winner,
            dx=dx,
            height=height,
            width=width,
            channels=channels,
        )
        return dx


def _row_by_row(
    ctx: Context,
    kernel: Kernel,
    window: Window,
    images: Shape,
    arrays: dict[str, Any],
    **others: Any,
) -> None:
    """Launch a kernel of pooling.cu for images of a shape; it writes the last of `arrays`."""
    written = list(arrays.values())[-1]
    n, height, width, channels = written.shape
    vec = vector_width(ctx, channels, *arrays.values())
    kernel(
        ctx,
        rows(n * height, channels // vec, width),
        (c_type_of(written), vec),
        vectors=channels // vec,
        **arrays,
        **others,
        **window_arguments(window, images),
    )


def _pooled(shape: Shape, window: Window) -> Shape:
    return (shape[0], *window.output(shape[1], shape[2]), shape[3])
