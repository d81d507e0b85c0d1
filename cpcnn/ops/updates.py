"""Optimizer updates over flat buffers, and the checks and factors that steer them.

Updates change their arrays in place and return nothing. Their `scale`, when there is one, is an
array (1,) of a number >= 0 on the device, in the value's dtype: the gradient is multiplied by it
first, and where it is 0 the step is skipped. Value and state then keep their bits, whatever the
gradient holds, and the host need not know.
"""

from __future__ import annotations

from typing import Any

from ..core.context import Context
from ..core.typing import Array, Namespace
from .table import Action


class SGDUpdate(Action):
    """Stochastic gradient descent with (Nesterov) momentum and coupled weight decay.

    velocity = momentum * velocity - lr * g, then value += velocity, or for Nesterov
    value += momentum * velocity - lr * g (Sutskever et al., ICML 2013, in Keras' form). `scale`
    acts on the gradient alone, before weight decay is added.
    """

    @staticmethod
    def run(
        ctx: Context,
        value: Array,
        grad: Array,
        velocity: Array,
        *,
        learning_rate: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        scale: Array | None = None,
    ) -> None:
        grad = _scaled(grad, scale)
        step = learning_rate * (grad + weight_decay * value if weight_decay else grad)
        if momentum == 0:
            _assign(ctx.xp, value, value - step, scale)
            return
        moved = momentum * velocity - step
        change = momentum * moved - step if nesterov else moved
        _assign(ctx.xp, velocity, moved, scale)
        _assign(ctx.xp, value, value + change, scale)


class AdamUpdate(Action):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980) with bias correction.

    `weight_decay` is decoupled (Loshchilov and Hutter, 2019, arXiv:1711.05101): the value shrinks
    by lr * weight_decay before the step. `step` counts from 1, skipped steps included.
    """

    @staticmethod
    def run(
        ctx: Context,
        value: Array,
        grad: Array,
        first: Array,
        second: Array,
        *,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float,
        step: int,
        scale: Array | None = None,
    ) -> None:
        xp = ctx.xp
        grad = _scaled(grad, scale)
        mean = beta_1 * first + (1 - beta_1) * grad
        square = beta_2 * second + (1 - beta_2) * grad * grad
        rate = learning_rate / (1 - beta_1**step)
        root = xp.sqrt(square) / (1 - beta_2**step) ** 0.5 + epsilon
        moved = (1 - learning_rate * weight_decay) * value - rate * mean / root
        for target, new in ((first, mean), (second, square), (value, moved)):
            _assign(xp, target, new, scale)


class GradientScale(Action):
    """The `scale` that clips a gradient to a norm: min(1, max_norm / ||grad||), or 0.

    grad (P,); result (1,) in its dtype. It is 0 where the norm is not finite; max_norm > 0 may be
    inf, and then that check is all. Squares are summed in float64, so that no finite float32
    gradient overflows; float64 gradients beyond 1e154 count as not finite.
    """

    @staticmethod
    def run(ctx: Context, grad: Array, *, max_norm: float) -> Array:
        xp = ctx.xp
        wide = xp.astype(grad, xp.float64)
        return clipping_scale(xp, xp.sum(wide * wide, keepdims=True), max_norm, grad.dtype)


class AllFinite(Action):
    """Whether every element is finite: bool (1,), on the device; true for no elements."""

    @staticmethod
    def run(ctx: Context, values: Array) -> Array:
        xp = ctx.xp
        return xp.reshape(xp.all(xp.isfinite(values)), (1,))


class AverageUpdate(Action):
    """An exponential moving average: average = decay * average + (1 - decay) * value, in place."""

    @staticmethod
    def run(ctx: Context, average: Array, value: Array, *, decay: float) -> None:
        average[...] = decay * average + (1 - decay) * value


def clipping_scale(xp: Namespace, squares: Array, max_norm: float, dtype: Any) -> Array:
    """Return GradientScale's result for the sum of squares, float64 (1,)."""
    norm = xp.sqrt(squares)
    scale = xp.where(norm > max_norm, max_norm / norm, xp.ones_like(norm))
    return xp.astype(xp.where(xp.isfinite(norm), scale, xp.zeros_like(norm)), dtype)


def _scaled(grad: Array, scale: Array | None) -> Array:
    return grad if scale is None else grad * scale


def _assign(xp: Namespace, target: Array, new: Array, scale: Array | None) -> None:
    """Write `new` to `target`, unless `scale` says that the step is skipped."""
    target[...] = new if scale is None else xp.where(scale > 0, new, target)
