"""Depthwise convolution on the GPU: `kernels/depthwise.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved
from ...core.window import Window
from ...ops.table import Op
from .convolution import MOST_PLACES
from .dense import same_floats
from .element_types import c_type_of
from .elementwise import can_fuse, finish, gradient_before, is_linear
from .geometry import place_parts, row_tiles
from .kernel import Kernel, contiguous, vector_width, vectorised
from .reductions import accumulator_dtype, join, sum_rows
from .windows import window_arguments

depthwise_forward = Kernel("depthwise.cu", "depthwise_forward", vectorised())
depthwise_input_gradient = Kernel("depthwise.cu", "depthwise_input_gradient", vectorised())
depthwise_weight_gradient = Kernel("depthwise.cu", "depthwise_weight_gradient", vectorised())


class DepthwiseConv2D(Op):
    """Every input channel by itself, straight from the images: there is no product to speak of."""

    @staticmethod
    def supports(
        ctx: Context,
        x: Any,
        w: Any,
        b: Any,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> bool:
        taken = same_floats(x, w, b) and can_fuse(activation)
        return taken and 1 < groups == x.shape[3] and w.size <= MOST_PLACES

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        w: Array,
        b: Array | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[Array, Saved]:
        x, w = contiguous(ctx, x), contiguous(ctx, w)
        n, out_height, out_width = x.shape[0], *window.output(*x.shape[1:3])
        y = ctx.empty((n, out_height, out_width, w.shape[3]), x.dtype)
        vec = _vec(ctx, x, w, y)
        depthwise_forward(
            ctx,
            row_tiles(n * out_height, w.shape[3] // vec, out_width),
            (c_type_of(x), vec),
            x=x,
            weights=w,
            y=y,
            **_arguments(x, w, window, vec),
        )
        finish(ctx, y, b, activation)
        kept = None if is_linear(activation) else y
        return y, (x, w, b is not None, window, activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        """Return (dx, dw, db); dx is None when the context needs no input gradient."""
        x, w, has_bias, window, activation, y = saved
        dy = gradient_before(ctx, dy, y, activation)
        dw = _weight_gradient(ctx, x, w, dy, window)
        rows = ctx.xp.reshape(dy, (-1, dy.shape[3]))
        db = sum_rows(ctx, rows) if has_bias else None
        dx = _input_gradient(ctx, x, w, dy, window) if ctx.input_gradient else None
        return dx, dw, db


def _input_gradient(ctx: Context, x: Array, w: Array, dy: Array, window: Window) -> Any:
    n, height, width, channels = x.shape
    dx = ctx.empty(x.shape, x.dtype)
    vec = _vec(ctx, dx, w, dy)
    depthwise_input_gradient(
        ctx,
        row_tiles(n * height, channels // vec, width),
        (c_type_of(x), vec),
        dy=dy,
        weights=w,
        dx=dx,
        **_arguments(x, w, window, vec),
    )
    return dx


def _weight_gradient(ctx: Context, x: Array, w: Array, dy: Array, window: Window) -> Any:
    """Sum over parts of the output rows, then over the parts."""
    rows = dy.shape[0] * dy.shape[1]
    vec = _vec(ctx, x, w, dy)
    launch, number, part_rows = place_parts(rows, w.size, vec)
    parts = ctx.empty((number, *w.shape), accumulator_dtype(x))
    depthwise_weight_gradient(
        ctx,
        launch,
        (c_type_of(x), vec),
        x=x,
        dy=dy,
        parts=parts,
        rows=rows,
        part_rows=part_rows,
        **_arguments(x, w, window, vec),
    )
    return join(ctx, parts, w.dtype)


def _vec(ctx: Context, x: Any, w: Any, y: Any) -> int:
    """Return the channels of a pack: one, unless each channel makes one output."""
    return vector_width(ctx, x.shape[3], x, w, y) if w.shape[3] == x.shape[3] else 1


def _arguments(x: Array, w: Array, window: Window, vec: int) -> dict[str, int]:
    return {
        "vectors": x.shape[3] // vec,
        "multiplier": w.shape[3] // x.shape[3],
        **window_arguments(window, x.shape),
    }
