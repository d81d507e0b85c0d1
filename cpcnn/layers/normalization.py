"""Normalisation layers."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.param import Param
from ..core.typing import Array, Saved, Shape
from ..ops.activations import get_activation
from .base import Layer
from .initializers import ones, zeros


@dataclass(eq=False)
class BatchNormalization(Layer):
    """Normalise each channel by the batch in training, by running statistics otherwise.

    `momentum` is the share of the old running statistics that is kept, as in Keras. `activation`
    is applied to the result.
    """

    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    activation: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise UsageError(
                f"BatchNormalization: momentum must be in [0, 1), not {self.momentum!r}."
            )
        if not self.epsilon > 0:
            raise UsageError(f"BatchNormalization: epsilon must be > 0, not {self.epsilon!r}.")
        get_activation(self.activation)
        self.gamma: Param | None = None
        self.beta: Param | None = None
        self.moving_mean: Param | None = None
        self.moving_variance: Param | None = None

    def build(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("BatchNormalization expects an axis of channels, got a scalar.")
        channels = (shape[-1],)
        if self.scale:
            self.gamma = self.add_param("gamma", channels, ones, decay=False)
        if self.center:
            self.beta = self.add_param("beta", channels, zeros, decay=False)
        self.moving_mean = self.add_param("moving_mean", channels, zeros, trainable=False)
        self.moving_variance = self.add_param("moving_variance", channels, ones, trainable=False)
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        # statistics stay in the parameters' dtype and are updated in place, or else a copy of them
        statistics = [self.moving_mean.value, self.moving_variance.value]  # type: ignore[union-attr]
        if ctx.training and not ctx.update_statistics:
            statistics = [ctx.xp.asarray(array, copy=True) for array in statistics]
        return ctx.ops.batch_norm(
            x,
            ctx.use(self.gamma),
            ctx.use(self.beta),
            *statistics,
            momentum=self.momentum,
            epsilon=self.epsilon,
            activation=self.activation,
        )

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        dx, dgamma, dbeta, _ = ctx.ops.backward(dy, saved)
        for param, gradient in ((self.gamma, dgamma), (self.beta, dbeta)):
            if param is not None:
                param.accumulate(gradient)
        return dx
