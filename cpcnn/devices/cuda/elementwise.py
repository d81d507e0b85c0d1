"""Activations on the GPU, alone and as the last step of other ops.

Kernels: `kernels/activation.cu`, `kernels/unfused_activation.cu` and `kernels/softmax.cu`.
"""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved
from ...ops.activations import Function, canonical, keeps_input
from ...ops.table import Op
from .element_types import c_type_of, is_floating
from .geometry import linear, sweep, warps
from .kernel import Kernel, contiguous, each, vector_width, vectorised

bias_activation = Kernel("activation.cu", "bias_activation", vectorised())
activation_forward = Kernel("activation.cu", "activation_forward", vectorised())
activation_backward = Kernel("activation.cu", "activation_backward", vectorised())
unfused_activation_forward = Kernel(
    "unfused_activation.cu", "unfused_activation_forward", vectorised()
)
unfused_activation_backward = Kernel(
    "unfused_activation.cu", "unfused_activation_backward", vectorised()
)
softmax_forward = Kernel("softmax.cu", "softmax_forward", each())
softmax_backward = Kernel("softmax.cu", "softmax_backward", each())

# As activations.cuh numbers them: other kernels take these along.
CODES = {"linear": 0, "relu": 1, "sigmoid": 2, "tanh": 3}
# As unfused_activation.cu numbers them: these run after other kernels.
UNFUSED = {
    "relu6": 1,
    "leaky_relu": 2,
    "elu": 3,
    "selu": 4,
    "exponential": 5,
    "softplus": 6,
    "softsign": 7,
    "hard_sigmoid": 8,
    "gelu": 9,
    "gelu_tanh": 10,
    "silu": 11,
    "hard_swish": 12,
    "mish": 13,
}
# Over rows, whether of the logarithm: these run after other kernels as well.
SOFTMAX = {"softmax": 0, "log_softmax": 1}


def has_kernel(activation: str | Function | None) -> bool:
    """Whether our kernels know an activation; UsageError for what is none at all."""
    if isinstance(activation, Function):
        return False
    name = canonical(activation)
    return name in CODES or name in UNFUSED or name in SOFTMAX


def can_fuse(activation: str | None) -> bool:
    """Whether an op that keeps its output can take an activation along, or run it in place."""
    return has_kernel(activation) and not keeps_input(activation)


def runs_after(activation: str | None) -> bool:
    """Whether an activation runs after other kernels, which do not take it along."""
    return canonical(activation) not in CODES


def code_of(activation: str | None) -> int:
    """Return the number of an activation in other kernels, the linear one's if it runs after."""
    return CODES.get(canonical(activation), CODES["linear"])


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
    if runs_after(activation):
        apply(ctx, y, y, canonical(activation))


def apply(ctx: Context, x: Array, y: Array, activation: str) -> None:
    """Write an activation of a contiguous x (..., C) to y; y may be x where it runs by itself."""
    if activation in SOFTMAX:
        columns = x.shape[-1]
        softmax_forward(
            ctx,
            warps(x.size // columns),
            (c_type_of(x),),
            x=x,
            y=y,
            rows=x.size // columns,
            columns=columns,
            logarithmic=SOFTMAX[activation],
        )
        return
    vec = vector_width(ctx, x.size, x, y)
    alone = activation in UNFUSED
    kernel = unfused_activation_forward if alone else activation_forward
    kernel(
        ctx,
        linear(x.size // vec),
        (c_type_of(x), vec),
        x=x,
        y=y,
        packs=x.size // vec,
        activation=(UNFUSED if alone else CODES)[activation],
    )


def gradient_before(ctx: Context, dy: Array, kept: Array, activation: str | None) -> Array:
    """Return the gradient before an activation that kept `kept`: contiguous, dy when linear."""
    dy = contiguous(ctx, dy)
    if is_linear(activation):
        return dy
    name = canonical(activation)
    kept = contiguous(ctx, kept)
    dx = ctx.empty(kept.shape, kept.dtype)
    if name in SOFTMAX:
        columns = kept.shape[-1]
        softmax_backward(
            ctx,
            warps(kept.size // columns),
            (c_type_of(kept),),
            dy=dy,
            y=kept,
            dx=dx,
            rows=kept.size // columns,
            columns=columns,
            logarithmic=SOFTMAX[name],
        )
        return dx
    vec = vector_width(ctx, kept.size, kept, dy, dx)
    launch, instance, packs = linear(kept.size // vec), (c_type_of(kept), vec), kept.size // vec
    if name in UNFUSED:
        unfused_activation_backward(
            ctx, launch, instance, dy=dy, kept=kept, dx=dx, packs=packs, activation=UNFUSED[name]
        )
    else:
        activation_backward(
            ctx, launch, instance, dy=dy, y=kept, dx=dx, packs=packs, activation=CODES[name]
        )
    return dx


class OnePassActivation(Op):
    """An activation that reads its input once (softmax: its rows thrice, from the cache)."""

    @staticmethod
    def supports(ctx: Context, x: Any, activation: str | Function | None) -> bool:
        return is_floating(x) and x.ndim >= 1 and has_kernel(activation)

    @staticmethod
    def forward(ctx: Context, x: Array, activation: str | None) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        y = ctx.empty(x.shape, x.dtype)
        apply(ctx, x, y, canonical(activation))
        return y, (activation, x if keeps_input(activation) else y)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        activation, kept = saved
        return gradient_before(ctx, dy, kept, activation)
