"""Convolution: Winograd's where it saves work, else products over windows read where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...core.window import Window
from ...ops.table import Op
from . import depthwise, gather, winograd
from .elementwise import masked_and_summed

FUSED = (None, "linear", "relu")
WINOGRAD_LEAST = 16  # channels or filters: below, the transforms cost more than they save


class CompiledConv2D(Op):
    """What both algorithms share: what they take, and their backward around the gradients."""

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
        return (
            x.dtype == w.dtype == np.float32
            and x.flags.c_contiguous
            and w.flags.c_contiguous
            and x.size > 0
            and activation in FUSED
        )


class WinogradConv2D(CompiledConv2D):
    """3×3 without stride; its rounding errors are some ten times those of a plain sum."""

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
        return (
            window.kernel == (3, 3)
            and window.stride == window.dilation == (1, 1)
            and groups == 1
            and min(w.shape[2:]) >= WINOGRAD_LEAST
            and not ctx.device.exact
            and CompiledConv2D.supports(ctx, x, w, b, window, activation=activation)
        )

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        y = winograd.convolve(ctx, x, w, b, window, activation == "relu")
        return y, (x, w, b is not None, window, y if activation == "relu" else None)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, window, y = saved
        dy, db = _before_activation(ctx, dy, y, has_bias)
        dx, dw = winograd.gradients(ctx, x, w, dy, window)
        return dx, dw, db


class DepthwiseConv2D(CompiledConv2D):
    """As many groups and filters as channels."""

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
        return groups == x.shape[3] == w.shape[3] > 1 and CompiledConv2D.supports(
            ctx, x, w, b, window, activation=activation
        )

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        y = depthwise.convolve(ctx, x, w, b, window, activation == "relu")
        return y, (x, w, b is not None, window, y if activation == "relu" else None)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, window, y = saved
        dy, db = _before_activation(ctx, dy, y, has_bias)
        dw = depthwise.weight_gradient(ctx, x, dy, w.shape, window)
        dx = None
        if ctx.input_gradient:
            dx = depthwise.input_gradient(ctx, w, dy, window, x.shape)
        return dx, dw, db


class GatherConv2D(CompiledConv2D):
    """Any kernel, stride, dilation and groups, as products over windows."""

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        y = gather.convolve(ctx, x, w, b, window, groups, activation == "relu")
        return y, (x, w, b is not None, window, groups, y if activation == "relu" else None)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, window, groups, y = saved
        dy, db = _before_activation(ctx, dy, y, has_bias)
        dw = gather.weight_gradient(ctx, x, dy, w.shape, window, groups)
        dx = None
        if ctx.input_gradient:
            dx = gather.input_gradient(ctx, w, dy, window, groups, x.shape)
        return dx, dw, db


def _before_activation(
    ctx: Context, dy: NDArray[Any], y: NDArray[Any] | None, has_bias: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the gradient before the rectifier (y is None without one), and the bias' gradient."""
    dy = np.ascontiguousarray(dy, np.float32)
    if y is None and not has_bias:
        return dy, None
    masked, sums = masked_and_summed(ctx, dy, y)
    return masked, sums if has_bias else None
