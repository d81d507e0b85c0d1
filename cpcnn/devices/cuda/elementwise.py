"""Activations on the GPU, alone and as the last step of other ops.

Kernels: `kernels/activation.cu` and `kernels/softmax.cu`.
"""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved
from ...ops.activations import get_activation
from ...ops.table import Op
from .element_types import c_type_of, is_floating
from .geometry import linear, sweep, warps
from .kernel import Kernel, contiguous, each, vector_width, vectorised

bias_activation = Kernel("activation.cu", "bias_activation", vectorised())
activation_forward = Kernel("activation.cu", "activation_forward", vectorised())
activation_backward = Kernel("activation.cu", "activation_backward", vectorised())
softmax_forward = Kernel("softmax.cu", "softmax_forward", each())
softmax_backward = Kernel("softmax.cu", "softmax_backward", each())

SOFTMAX = "softmax"
# As activations.cuh numbers them. Softmax has kernels of its own, which come after the linear one.
CODES = {"linear": 0, "relu": 1, "sigmoid": 2, "tanh": 3, SOFTMAX: 0}


def has_kernel(activation: str | None) -> bool:
    """Whether our kernels know an activation; UsageError for what is none at all."""
    get_activation(activation)
    return (activation or "linear") in CODES


def code_of(activation: str | None) -> int:
    """Return the number of an activation in elementwise kernels."""
    return CODES[activation or "linear"]


def is_linear(activation: str | None) -> bool:
    """Whether an activation changes nothing."""
    return activation in (None, "linear")


def finish(ctx: Context, y: Array, bias: Array | None, activation: str | None) -> None:
    """Add a bias (C,) to a contiguous y (..., C) and apply an activation, in place."""
    channels = y.shape[-1]
    rows = y.size // channels
    code = code_of(activation)
    if bias is not None or code:
        bias = None if bias is None else contiguous(ctx, bias)
        vec = vector_width(ctx, channels, y, bias)
        bias_activation(
            ctx,
            sweep(rows, channels // vec),
            (c_type_of(y), vec),
            y=y,
            bias=bias,
            rows=rows,
            vectors=channels // vec,
            activation=code,
        )
    if activation == SOFTMAX:
        _softmax(ctx, y, y)


def gradient_before(ctx: Context, dy: Array, y: Array, activation: str | None) -> Array:
    """Return the gradient before an activation with the output `y`: contiguous, dy when linear."""
    dy = contiguous(ctx, dy)
    if is_linear(activation):
        return dy
    y = contiguous(ctx, y)
    dx = ctx.empty(y.shape, y.dtype)
    if activation == SOFTMAX:
        columns = y.shape[-1]
        rows = y.size // columns
        softmax_backward(
            ctx, warps(rows), (c_type_of(y),), dy=dy, y=y, dx=dx, rows=rows, columns=columns
        )
        return dx
    vec = vector_width(ctx, y.size, y, dy, dx)
    activation_backward(
        ctx,
        linear(y.size // vec),
        (c_type_of(y), vec),
        dy=dy,
        y=y,
        dx=dx,
        packs=y.size // vec,
        activation=code_of(activation),
    )
    return dx


class OnePassActivation(Op):
    """An activation that reads its input once (softmax: its rows thrice, from the cache)."""

    @staticmethod
    def supports(ctx: Context, x: Any, activation: str | None) -> bool:
        return is_floating(x) and x.ndim >= 1 and has_kernel(activation)

    @staticmethod
    def forward(ctx: Context, x: Array, activation: str | None) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        y = ctx.empty(x.shape, x.dtype)
        if activation == SOFTMAX:
            _softmax(ctx, x, y)
            return y, (activation, y)
        vec = vector_width(ctx, x.size, x, y)
        activation_forward(
            ctx,
            linear(x.size // vec),
            (c_type_of(x), vec),
            x=x,
            y=y,
            packs=x.size // vec,
            activation=code_of(activation),
        )
        return y, (activation, y)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        activation, y = saved
        return gradient_before(ctx, dy, y, activation)


def _softmax(ctx: Context, x: Array, y: Array) -> None:
    """Write the softmax of x (..., C) to y, which may be x."""
    columns = x.shape[-1]
    rows = x.size // columns
    softmax_forward(ctx, warps(rows), (c_type_of(x),), x=x, y=y, rows=rows, columns=columns)
