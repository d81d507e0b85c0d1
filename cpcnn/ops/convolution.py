"""Two-dimensional convolution (cross-correlation, as in every CNN library)."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from ..core.window import Window
from .activations import activate, get_activation
from .padding import pad, unpad
from .table import Op


class Conv2D(Op):
    """y = activation(conv(x, w) + b), the sum over kernel cells of one matrix product each.

    x (N, H, W, Cin); w (KH, KW, Cin / groups, Cout); b (Cout,) or None; y (N, OH, OW, Cout).
    """

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
        xp = ctx.xp
        outputs = [
            convolve(xp, x_group, w_group, window)
            for x_group, w_group in zip(_split(x, groups), _split(w, groups), strict=True)
        ]
        y = _join(xp, outputs)
        if b is not None:
            y = y + b
        y, kept = activate(xp, y, activation)
        return y, (x, w, b is not None, window, groups, activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        """Return (dx, dw, db); dx is None when the context needs no input gradient."""
        x, w, has_bias, window, groups, activation, kept = saved
        xp = ctx.xp
        dy = get_activation(activation).backward(xp, dy, kept)
        x_parts, w_parts, dy_parts = _split(x, groups), _split(w, groups), _split(dy, groups)
        dw = _join(
            xp,
            [kernel_gradient(xp, *parts, window) for parts in zip(x_parts, dy_parts, strict=True)],
        )
        db = xp.sum(dy, axis=(0, 1, 2)) if has_bias else None
        if not ctx.input_gradient:
            return None, dw, db
        dx = _join(
            xp,
            [
                input_gradient(xp, w_part, dy_part, window, x.shape)
                for w_part, dy_part in zip(w_parts, dy_parts, strict=True)
            ],
        )
        return dx, dw, db


def convolve(xp: Namespace, x: Array, w: Array, window: Window) -> Array:
    """The convolution of one group, without bias."""
    n, height, width, _ = x.shape
    out_h, out_w = window.output(height, width)
    padded = pad(xp, x, window.padding)
    y = xp.zeros((n * out_h * out_w, w.shape[3]), dtype=x.dtype)
    for i, j, rows, columns in window.taps(height, width):
        y = y + _pixels(xp, padded[:, rows, columns, :]) @ w[i, j, :, :]
    return xp.reshape(y, (n, out_h, out_w, w.shape[3]))


def kernel_gradient(xp: Namespace, x: Array, dy: Array, window: Window) -> Array:
    """The gradient of `convolve` in w."""
    padded = pad(xp, x, window.padding)
    dy_pixels = _pixels(xp, dy)
    dw = xp.zeros((*window.kernel, x.shape[3], dy.shape[3]), dtype=x.dtype)
    for i, j, rows, columns in window.taps(x.shape[1], x.shape[2]):
        dw[i, j, :, :] = _pixels(xp, padded[:, rows, columns, :]).T @ dy_pixels
    return dw


def input_gradient(
    xp: Namespace, w: Array, dy: Array, window: Window, x_shape: tuple[int, ...]
) -> Array:
    """The gradient of `convolve` in x."""
    n, height, width, _ = x_shape
    dy_pixels = _pixels(xp, dy)
    shape = (*dy.shape[:3], w.shape[2])
    padded = xp.zeros((n, *window.padded(height, width), w.shape[2]), dtype=dy.dtype)
    for i, j, rows, columns in window.taps(height, width):
        padded[:, rows, columns, :] += xp.reshape(dy_pixels @ w[i, j, :, :].T, shape)
    return unpad(padded, window.padding)


def _pixels(xp: Namespace, x: Array) -> Array:
    return xp.reshape(x, (-1, x.shape[3]))


def _split(x: Array, groups: int) -> list[Array]:
    """Cut the last axis into equal groups (of w that is the output channels of each group)."""
    size = x.shape[3] // groups
    return [x[:, :, :, g * size : (g + 1) * size] for g in range(groups)]


def _join(xp: Namespace, parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=3)
