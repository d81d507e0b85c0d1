"""Activation functions: elementwise ones, and softmax over the last axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import UsageError
from ..core.typing import Array, Namespace, Saved
from .table import Op


@dataclass(frozen=True)
class Function:
    """A function and its gradient, written in terms of the output `y` alone.

    Output-only gradients let a fused op keep one array where two would be needed.
    """

    forward: Callable[[Namespace, Array], Array]
    backward: Callable[[Namespace, Array, Array], Array]  # (xp, dy, y) -> dx


def _relu(xp: Namespace, x: Array) -> Array:
    return xp.maximum(x, xp.zeros((), dtype=x.dtype))  # maximum keeps NaN, where would hide it


def _sigmoid(xp: Namespace, x: Array) -> Array:
    small = xp.exp(-xp.abs(x))  # never overflows
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _softmax(xp: Namespace, x: Array) -> Array:
    shifted = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return shifted / xp.sum(shifted, axis=-1, keepdims=True)


def _softmax_backward(xp: Namespace, dy: Array, y: Array) -> Array:
    return y * (dy - xp.sum(dy * y, axis=-1, keepdims=True))


ACTIVATIONS: dict[str, Function] = {
    "linear": Function(lambda xp, x: x, lambda xp, dy, y: dy),
    "relu": Function(_relu, lambda xp, dy, y: xp.where(y > 0, dy, xp.zeros_like(dy))),
    "sigmoid": Function(_sigmoid, lambda xp, dy, y: dy * y * (1 - y)),
    "tanh": Function(lambda xp, x: xp.tanh(x), lambda xp, dy, y: dy * (1 - y * y)),
    "softmax": Function(_softmax, _softmax_backward),
}


def get_activation(name: str | None) -> Function:
    """Look an activation up by name; None is "linear"; UsageError lists the known names."""
    try:
        return ACTIVATIONS[name or "linear"]
    except KeyError:
        raise UsageError(
            f"there is no activation named {name!r}.",
            suggestion=f"Known activations: {', '.join(sorted(ACTIVATIONS))}.",
        ) from None


class Activation(Op):
    """y = f(x) for a named activation."""

    @staticmethod
    def forward(ctx: Context, x: Array, activation: str) -> tuple[Array, Saved]:
        y = get_activation(activation).forward(ctx.xp, x)
        return y, (activation, y)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        activation, y = saved
        return get_activation(activation).backward(ctx.xp, dy, y)
