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
        mean, square = _moments(first, second, grad, beta_1, beta_2)
        rate = learning_rate / (1 - beta_1**step)
        root = xp.sqrt(square) / (1 - beta_2**step) ** 0.5 + epsilon
        moved = (1 - learning_rate * weight_decay) * value - rate * mean / root
        for target, new in ((first, mean), (second, square), (value, moved)):
            _assign(xp, target, new, scale)


class NadamUpdate(Action):
    """Adam with Nesterov's momentum (Dozat, 2016), in Keras' form.

    first = beta_1 * first + (1 - beta_1) * g, second likewise with g * g. With m = `momentum` that
    of this step, n = `next_momentum` and p = `product` of all momenta up to this step, the value
    shrinks by lr * weight_decay and then loses
    lr * (n * first / (1 - p * n) + (1 - m) * g / (1 - p)) / (sqrt(second / (1 - beta_2^step)) +
    epsilon). `step` counts from 1, skipped steps included.
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
        momentum: float,
        next_momentum: float,
        product: float,
        weight_decay: float,
        step: int,
        scale: Array | None = None,
    ) -> None:
        xp = ctx.xp
        grad = _scaled(grad, scale)
        mean, square = _moments(first, second, grad, beta_1, beta_2)
        from_mean = learning_rate * next_momentum / (1 - product * next_momentum)
        from_grad = learning_rate * (1 - momentum) / (1 - product)
        root = xp.sqrt(square) / (1 - beta_2**step) ** 0.5 + epsilon
        change = (from_mean * mean + from_grad * grad) / root
        moved = (1 - learning_rate * weight_decay) * value - change
        for target, new in ((first, mean), (second, square), (value, moved)):
            _assign(xp, target, new, scale)


class RMSpropUpdate(Action):
    """RMSprop (Hinton, 2012), in Keras' form: epsilon is inside the root.

    square = rho * square + (1 - rho) * g * g; the step is lr * g / sqrt(square + epsilon).
    `others` are the mean, when `centered`, and then the velocity, unless `momentum` is 0.
    mean = rho * mean + (1 - rho) * g makes the root that of square - mean * mean + epsilon, where
    a difference that rounding made negative counts as 0. velocity = momentum * velocity + step is
    then what the value loses. Before that it shrinks by lr * weight_decay.
    """

    @staticmethod
    def run(
        ctx: Context,
        value: Array,
        grad: Array,
        square: Array,
        *others: Array,
        learning_rate: float,
        rho: float,
        momentum: float,
        epsilon: float,
        centered: bool,
        weight_decay: float,
        scale: Array | None = None,
    ) -> None:
        xp = ctx.xp
        grad = _scaled(grad, scale)
        spread = rho * square + (1 - rho) * grad * grad
        written = [(square, spread)]
        if centered:
            mean = rho * others[0] + (1 - rho) * grad
            written.append((others[0], mean))
            spread = spread - mean * mean
            spread = xp.maximum(spread, xp.zeros_like(spread))
        change = learning_rate * grad / xp.sqrt(spread + epsilon)
        if momentum > 0:
            change = momentum * others[-1] + change
            written.append((others[-1], change))
        written.append((value, (1 - learning_rate * weight_decay) * value - change))
        for target, new in written:
            _assign(xp, target, new, scale)


class LambUpdate(Action):
    """LAMB (You et al., 2020, arXiv:1904.00962) for one parameter, all of whose elements are given.

    u = Adam's step for a rate of 1, plus weight_decay * value; the value loses
    lr * (norm of value / norm of u) * u, where the ratio is 1 if one of the norms is 0. Squares are
    summed in float64. `step` counts from 1, skipped steps included.
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
        mean, square = _moments(first, second, grad, beta_1, beta_2)
        root = xp.sqrt(square) / (1 - beta_2**step) ** 0.5 + epsilon
        change = mean / (1 - beta_1**step) / root + weight_decay * value
        moved = value - learning_rate * _trust_ratio(xp, value, change) * change
        for target, new in ((first, mean), (second, square), (value, moved)):
            _assign(xp, target, new, scale)


class ClipGradient(Action):
    """Bring every element into [-limit, limit], in place; NaN stays."""

    @staticmethod
    def run(ctx: Context, grad: Array, *, limit: float) -> None:
        grad[...] = ctx.xp.clip(grad, -limit, limit)


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


def _trust_ratio(xp: Namespace, value: Array, change: Array) -> Array:
    """Return the norm of `value` over that of `change`, (1,); 1 where one of them is 0."""
    norm, other = (_norm(xp, array) for array in (value, change))
    one = xp.ones_like(norm)
    ratio = xp.where(norm > 0, norm, one) / xp.where(other > 0, other, one)
    return xp.astype(xp.where((norm > 0) & (other > 0), ratio, one), value.dtype)


def _norm(xp: Namespace, array: Array) -> Array:
    wide = xp.astype(array, xp.float64)
    return xp.sqrt(xp.sum(wide * wide, keepdims=True))


def _moments(
    first: Array, second: Array, grad: Array, beta_1: float, beta_2: float
) -> tuple[Array, Array]:
    """Adam's moving averages of the gradient and of its square, after this step."""
    return beta_1 * first + (1 - beta_1) * grad, beta_2 * second + (1 - beta_2) * grad * grad


def _scaled(grad: Array, scale: Array | None) -> Array:
    return grad if scale is None else grad * scale


def _assign(xp: Namespace, target: Array, new: Array, scale: Array | None) -> None:
    """Write `new` to `target`, unless `scale` says that the step is skipped."""
    target[...] = new if scale is None else xp.where(scale > 0, new, target)
