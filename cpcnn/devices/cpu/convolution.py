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
from .elementwise import activate_all, can_fuse, is_compiled, mask_gradient, masked_and_summed

LINEAR = (None, "linear")
WINOGRAD_LEAST = 16  # channels or filters: below, the transforms cost more than they save


class CompiledConv2D(Op):
    """What the algorithms share: which calls they take, bias, activation and their gradients.

    ReLU is part of the products; other activations follow in a pass of their own.
    """

    repeats = True

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
        return is_compiled(x, w, b) and can_fuse(activation) and _fits(x, w, b, window, groups)

    @classmethod
    def forward(
        cls,
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        x, w, b = (_writeable(array) for array in (x, w, b))
        rectify = activation == "relu"
        y = cls.convolve(ctx, x, w, b, window, groups, rectify)
        if activation in LINEAR:
            return y, (x, w, b is not None, window, groups, None, None)
        if not rectify:
            activate_all(ctx, y, activation, y)
        return y, (x, w, b is not None, window, groups, activation, y)

    @classmethod
    def backward(cls, ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, window, groups, activation, y = saved
        dy, db = np.require(dy, np.float32, ["C", "W"]), None
        if activation not in (None, "relu"):
            dy = mask_gradient(ctx, dy, y, activation)
        if has_bias or activation == "relu":
            dy, sums = masked_and_summed(ctx, dy, y if activation == "relu" else None)
            db = sums if has_bias else None
        dx, dw = cls.gradients(ctx, x, w, dy, window, groups)
        return dx, dw, db

    @staticmethod
    def convolve(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        groups: int,
        rectify: bool,
    ) -> NDArray[Any]:
        """Return the convolution, with bias, rectified or not."""
        raise NotImplementedError

    @staticmethod
    def gradients(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        dy: NDArray[Any],
        window: Window,
        groups: int,
    ) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """Return (dx, dw); dx is None when the context needs no input gradient."""
        raise NotImplementedError


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
            and winograd.is_worthwhile(x.shape, w.shape, window)
            and CompiledConv2D.supports(ctx, x, w, b, window, activation=activation)
        )

    @staticmethod
    def convolve(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        groups: int,
        rectify: bool,
    ) -> NDArray[Any]:
        return winograd.convolve(ctx, x, w, b, window, rectify)

    @staticmethod
    def gradients(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        dy: NDArray[Any],
        window: Window,
        groups: int,
    ) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        return winograd.gradients(ctx, x, w, dy, window)


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
            ctx, x, w, b, window, groups=groups, activation=activation
        )

    @staticmethod
    def convolve(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        groups: int,
        rectify: bool,
    ) -> NDArray[Any]:
        return depthwise.convolve(ctx, x, w, b, window, rectify)

    @staticmethod
    def gradients(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        dy: NDArray[Any],
        window: Window,
        groups: int,
    ) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        dw = depthwise.weight_gradient(ctx, x, dy, w.shape, window)
        if not ctx.input_gradient:
            return None, dw
        return depthwise.input_gradient(ctx, w, dy, window, x.shape), dw


class GatherConv2D(CompiledConv2D):
    """Any kernel, stride, dilation and groups, as products over windows."""

    @staticmethod
    def convolve(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        groups: int,
        rectify: bool,
    ) -> NDArray[Any]:
        return gather.convolve(ctx, x, w, b, window, groups, rectify)

    @staticmethod
    def gradients(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        dy: NDArray[Any],
        window: Window,
        groups: int,
    ) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        dw = gather.weight_gradient(ctx, x, dy, w.shape, window, groups)
        if not ctx.input_gradient:
            return None, dw
        return gather.input_gradient(ctx, w, dy, window, groups, x.shape), dw


def _writeable(array: Any) -> Any:
    """Copy what cannot be written: for its type, kernels would have to be compiled once more."""
    return array if array is None or array.flags.writeable else array.copy()


def _fits(x: Any, w: Any, b: Any, window: Window, groups: int) -> bool:
    """Whether shapes agree, and nothing is empty: kernels would read what is not there."""
    filters = w.shape[-1]
    return (
        x.ndim == w.ndim == 4
        and x.size > 0
        and w.size > 0
        and w.shape[:2] == window.kernel
        and w.shape[2] * groups == x.shape[3]
        and filters % groups == 0
        and (b is None or b.shape == (filters,))
        and min(window.output(x.shape[1], x.shape[2])) > 0
    )
