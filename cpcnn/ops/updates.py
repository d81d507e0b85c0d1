"""Optimizer updates over flat buffers. All change their arrays in place and return nothing."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array
from .table import Action


class SGDUpdate(Action):
    """Stochastic gradient descent with (Nesterov) momentum and coupled weight decay.

    velocity = momentum * velocity - lr * g, then value += velocity, or for Nesterov
    value += momentum * velocity - lr * g (Sutskever et al., ICML 2013, in Keras' form).
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
    ) -> None:
        step = learning_rate * (grad + weight_decay * value if weight_decay else grad)
        if momentum == 0:
            value[...] = value - step
            return
        velocity[...] = momentum * velocity - step
        value[...] = value + (momentum * velocity - step if nesterov else velocity)


class AdamUpdate(Action):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980) with bias correction.

    `weight_decay` is decoupled (Loshchilov and Hutter, 2019, arXiv:1711.05101): the value shrinks
    by lr * weight_decay before the step. `step` counts from 1.
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
    ) -> None:
        xp = ctx.xp
        first[...] = beta_1 * first + (1 - beta_1) * grad
        second[...] = beta_2 * second + (1 - beta_2) * grad * grad
        rate = learning_rate / (1 - beta_1**step)
        root = xp.sqrt(second) / (1 - beta_2**step) ** 0.5 + epsilon
        value[...] = (1 - learning_rate * weight_decay) * value - rate * first / root
