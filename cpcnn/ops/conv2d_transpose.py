"""Transposed convolution: the gradient of a convolution's input, as a layer's forward."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Saved
from ..core.window import Pair, Window
from .activations import activate, get_activation
from .convolution import convolve, input_gradient, kernel_gradient
from .table import Op


class Conv2DTranspose(Op):
    """y = activation(z + b), where z is the input gradient of a convolution with output gradient x.

    That convolution slides `window` with kernel w over images of `size` (OH, OW), and has H × W
    windows there; every pixel of x adds its multiple of the kernel to the pixels of z under its
    window.
    x (N, H, W, Cin); w (KH, KW, Cout, Cin); b (Cout,) or None; y (N, OH, OW, Cout).
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        w: Array,
        b: Array | None,
        window: Window,
        size: Pair,
        *,
        activation: str | None = None,
    ) -> tuple[Array, Saved]:
        y = input_gradient(ctx.xp, w, x, window, (x.shape[0], *size, w.shape[2]))
        # without a bias a copy, because fast ops take arrays without gaps only
        y = ctx.xp.asarray(y, copy=True) if b is None else y + b
        y, kept = activate(ctx.xp, y, activation)
        return y, (x, w, b is not None, window, activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        """Return (dx, dw, db); dx is None when the context needs no input gradient."""
        x, w, has_bias, window, activation, kept = saved
        xp = ctx.xp
        dy = get_activation(activation).backward(xp, dy, kept)
        dw = kernel_gradient(xp, dy, x, window)
        db = xp.sum(dy, axis=(0, 1, 2)) if has_bias else None
        dx = convolve(xp, dy, w, window) if ctx.input_gradient else None
        return dx, dw, db
