"""Activation functions: elementwise ones, and softmax and its logarithm over the last axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..core.context import Context
from ..core.errors import UsageError
from ..core.typing import Array, Namespace, Saved
from .erf import erfc
from .table import Op

SELU_SCALE = 1.0507009873554805  # of Klambauer et al., 2017, arXiv:1706.02515
SELU_ALPHA = 1.6732632423543772
GELU_CUBIC = 0.044715  # of Hendrycks and Gimpel, 2016, arXiv:1606.08415
ONE = 1e18  # x / (1 + |x|) is 1 from here on, in every type
# Normal tail and tanh are constant outside ±40, exp(-|x|) vanishes outside ±800, in every type.
# Arguments are held there, since infinity times zero is no number.
NORMAL_RANGE = 40.0
EXPONENTIAL_RANGE = 800.0


@dataclass(frozen=True)
class Function:
    """A function and its gradient, in terms of what it `keeps`: its output, or its input.

    Output-only gradients let a fused op keep one array where two would be needed.
    """

    forward: Callable[[Namespace, Array], Array]
    backward: Callable[[Namespace, Array, Array], Array]  # (xp, dy, kept) -> dx
    keeps: Literal["output", "input"] = "output"


def _relu(xp: Namespace, x: Array) -> Array:
    return xp.maximum(x, xp.zeros((), dtype=x.dtype))  # maximum keeps NaN, where would hide it


def _passed(xp: Namespace, dy: Array, passes: Array) -> Array:
    """The gradient where it passes, zero elsewhere: a product would make infinity NaN."""
    return xp.where(passes, dy, xp.zeros_like(dy))


RELU = Function(_relu, lambda xp, dy, y: _passed(xp, dy, y > 0))


def leaky_relu(slope: float) -> Function:
    """x where it is positive, `slope` * x elsewhere; `slope` >= 0."""
    if not slope:
        return RELU  # zero times infinity is no number
    return Function(
        lambda xp, x: xp.where(x > 0, x, x * slope),
        lambda xp, dy, y: xp.where(y > 0, dy, dy * slope),
    )


def bounded_relu(maximum: float | None, slope: float, threshold: float) -> Function:
    """x above `threshold`, but no more than `maximum`; `slope` * (x - threshold) elsewhere."""

    def forward(xp: Namespace, x: Array) -> Array:
        above = x if maximum is None else xp.clip(x, None, maximum)
        below = (x - threshold) * slope if slope else xp.zeros_like(x)
        return xp.where(x <= threshold, below, above)

    def backward(xp: Namespace, dy: Array, x: Array) -> Array:
        above = dy if maximum is None else _passed(xp, dy, x < maximum)
        below = dy * slope if slope else xp.zeros_like(dy)
        return xp.where(x <= threshold, below, above)

    return Function(forward, backward, keeps="input")


def elu(alpha: float, scale: float = 1.0) -> Function:
    """`scale` * x where x is positive, `scale` * `alpha` * (exp(x) - 1) elsewhere; `alpha` >= 0."""
    depth = scale * alpha
    return Function(
        lambda xp, x: xp.where(x > 0, x * scale, xp.expm1(xp.clip(x, None, 0.0)) * depth),
        lambda xp, dy, y: xp.where(y > 0, dy * scale, dy * (y + depth)),
    )


def _sigmoid(xp: Namespace, x: Array) -> Array:
    small = xp.exp(-xp.abs(x))  # never overflows
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _softplus(xp: Namespace, x: Array) -> Array:
    return _relu(xp, x) + xp.log1p(xp.exp(-xp.abs(x)))


def _softsign(xp: Namespace, x: Array) -> Array:
    held = xp.clip(x, -ONE, ONE)
    return held / (1 + xp.abs(held))


def _hard_sigmoid(xp: Namespace, x: Array) -> Array:
    return xp.clip(x + 3, 0.0, 6.0) / 6


def _softmax(xp: Namespace, x: Array) -> Array:
    shifted = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return shifted / xp.sum(shifted, axis=-1, keepdims=True)


def _softmax_backward(xp: Namespace, dy: Array, y: Array) -> Array:
    return y * (dy - xp.sum(dy * y, axis=-1, keepdims=True))


def _log_softmax(xp: Namespace, x: Array) -> Array:
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def _log_softmax_backward(xp: Namespace, dy: Array, y: Array) -> Array:
    return dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True)


def _gelu(xp: Namespace, x: Array) -> Array:
    # Φ by erfc, which is right where 1 + erf cancels
    return xp.clip(x, -NORMAL_RANGE, None) * erfc(xp, x * -math.sqrt(0.5)) / 2


def _gelu_backward(xp: Namespace, dy: Array, x: Array) -> Array:
    x = xp.clip(x, -NORMAL_RANGE, NORMAL_RANGE)
    density = xp.exp(x * x / -2) / math.sqrt(2 * math.pi)
    return dy * (erfc(xp, x * -math.sqrt(0.5)) / 2 + x * density)


def _gelu_gate(xp: Namespace, x: Array) -> Array:
    """(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, as a sigmoid: right where 1 + tanh cancels."""
    return _sigmoid(xp, (x + GELU_CUBIC * x * x * x) * math.sqrt(8 / math.pi))


def _gelu_tanh(xp: Namespace, x: Array) -> Array:
    return xp.clip(x, -NORMAL_RANGE, None) * _gelu_gate(xp, xp.clip(x, -NORMAL_RANGE, NORMAL_RANGE))


def _gelu_tanh_backward(xp: Namespace, dy: Array, x: Array) -> Array:
    x = xp.clip(x, -NORMAL_RANGE, NORMAL_RANGE)
    gate = _gelu_gate(xp, x)
    inner = (1 + 3 * GELU_CUBIC * x * x) * math.sqrt(8 / math.pi)
    return dy * (gate + x * gate * (1 - gate) * inner)


def _silu(xp: Namespace, x: Array) -> Array:
    return xp.clip(x, -EXPONENTIAL_RANGE, None) * _sigmoid(xp, x)


def _silu_backward(xp: Namespace, dy: Array, x: Array) -> Array:
    x = xp.clip(x, -EXPONENTIAL_RANGE, EXPONENTIAL_RANGE)
    gate = _sigmoid(xp, x)
    return dy * (gate * (1 + x * (1 - gate)))


def _hard_swish(xp: Namespace, x: Array) -> Array:
    return xp.clip(x, -3.0, None) * _hard_sigmoid(xp, x)


def _hard_swish_backward(xp: Namespace, dy: Array, x: Array) -> Array:
    x = xp.clip(x, -3.0, 3.0)
    return xp.where(x >= 3, dy, _passed(xp, dy * ((2 * x + 3) / 6), x > -3))


def _mish(xp: Namespace, x: Array) -> Array:
    return xp.clip(x, -EXPONENTIAL_RANGE, None) * xp.tanh(_softplus(xp, x))


def _mish_backward(xp: Namespace, dy: Array, x: Array) -> Array:
    x = xp.clip(x, -EXPONENTIAL_RANGE, EXPONENTIAL_RANGE)
    gate = xp.tanh(_softplus(xp, x))
    return dy * (gate + x * (1 - gate * gate) * _sigmoid(xp, x))


ACTIVATIONS: dict[str, Function] = {
    "linear": Function(lambda xp, x: x, lambda xp, dy, y: dy),
    "relu": RELU,
    "relu6": Function(
        lambda xp, x: xp.clip(x, 0.0, 6.0),
        lambda xp, dy, y: _passed(xp, dy, (y > 0) & (y < 6)),
    ),
    "leaky_relu": leaky_relu(0.2),
    "elu": elu(1.0),
    "selu": elu(SELU_ALPHA, SELU_SCALE),
    "sigmoid": Function(_sigmoid, lambda xp, dy, y: dy * y * (1 - y)),
    "tanh": Function(lambda xp, x: xp.tanh(x), lambda xp, dy, y: dy * (1 - y * y)),
    "exponential": Function(lambda xp, x: xp.exp(x), lambda xp, dy, y: dy * y),
    "softplus": Function(_softplus, lambda xp, dy, y: dy * -xp.expm1(-y)),
    "softsign": Function(_softsign, lambda xp, dy, y: dy * (1 - xp.abs(y)) ** 2),
    "hard_sigmoid": Function(
        _hard_sigmoid, lambda xp, dy, y: _passed(xp, dy / 6, (y > 0) & (y < 1))
    ),
    "softmax": Function(_softmax, _softmax_backward),
    "log_softmax": Function(_log_softmax, _log_softmax_backward),
    "gelu": Function(_gelu, _gelu_backward, keeps="input"),
    "gelu_tanh": Function(_gelu_tanh, _gelu_tanh_backward, keeps="input"),
    "silu": Function(_silu, _silu_backward, keeps="input"),
    "hard_swish": Function(_hard_swish, _hard_swish_backward, keeps="input"),
    "mish": Function(_mish, _mish_backward, keeps="input"),
}
ALIASES = {"swish": "silu", "hard_silu": "hard_swish"}


def canonical(name: str | None) -> str:
    """Return the one name of an activation: None is "linear"; UsageError lists the known names."""
    found = ALIASES.get(name, name) if name else "linear"
    if found not in ACTIVATIONS:
        raise UsageError(
            f"there is no activation named {name!r}.",
            suggestion=f"Known activations: {', '.join(sorted([*ACTIVATIONS, *ALIASES]))}.",
        )
    return found


def get_activation(activation: str | Function | None) -> Function:
    """Look an activation up by name, None is "linear"; a Function is returned as it is."""
    return activation if isinstance(activation, Function) else ACTIVATIONS[canonical(activation)]


def keeps_input(activation: str | Function | None) -> bool:
    """Whether the gradient needs the input, so that ops which keep their output cannot fuse it."""
    return get_activation(activation).keeps == "input"


def activate(xp: Namespace, x: Array, activation: str | Function | None) -> tuple[Array, Array]:
    """Return (y, what the gradient needs: y or x)."""
    y = get_activation(activation).forward(xp, x)
    return y, x if keeps_input(activation) else y


class Activation(Op):
    """y = f(x) for a named activation, or for a Function."""

    @staticmethod
    def forward(ctx: Context, x: Array, activation: str | Function) -> tuple[Array, Saved]:
        y, kept = activate(ctx.xp, x, activation)
        return y, (activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        activation, kept = saved
        return get_activation(activation).backward(ctx.xp, dy, kept)
