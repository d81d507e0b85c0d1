"""Activation functions as layers."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.options import check_number
from ..core.typing import Array, Saved, Shape
from ..ops.activations import Function, bounded_relu, elu, get_activation, leaky_relu
from .base import Layer
from .reshaping import row_major


class FunctionLayer(Layer):
    """A layer that is one activation function, the one that `function` returns."""

    def function(self) -> str | Function:
        """The name of the function, or itself where its parameters give it no name."""
        raise NotImplementedError

    def build(self, shape: Shape) -> Shape:
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.activation(x, self.function())

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.ops.backward(dy, saved)


@dataclass(eq=False)
class Activation(FunctionLayer):
    """Apply a named activation.

    | name | function |
    |---|---|
    | `linear` | x |
    | `relu`, `relu6` | max(x, 0); the same, but at most 6 |
    | `leaky_relu` | x where it is positive, 0.2 x elsewhere |
    | `elu` | x where it is positive, exp(x) - 1 elsewhere |
    | `selu` | `elu` with the two constants of Klambauer et al., 2017, arXiv:1706.02515 |
    | `gelu`, `gelu_tanh` | x Φ(x) with the normal distribution Φ; an approximation of it by tanh |
    | `silu`, also `swish` | x sigmoid(x) |
    | `mish` | x tanh(softplus(x)) |
    | `sigmoid` | 1 / (1 + exp(-x)) |
    | `hard_sigmoid` | `relu6`(x + 3) / 6 |
    | `hard_swish`, also `hard_silu` | x `hard_sigmoid`(x) |
    | `tanh`, `exponential` | the hyperbolic tangent; exp(x) |
    | `softplus` | log(1 + exp(x)) |
    | `softsign` | x / (1 + abs(x)) |
    | `softmax`, `log_softmax` | exp(x) over its sum along the last axis; the logarithm of that |

    Layers with an `activation` take the same names. `gelu_tanh` is Keras' `gelu` with
    `approximate=True`, which has no name there. UsageError for any other name.
    """

    activation: str

    def __post_init__(self) -> None:
        get_activation(self.activation)

    def function(self) -> str | Function:
        return self.activation


@dataclass(eq=False)
class Softmax(Layer):
    """exp(x) divided by its sum over `axis`, which counts the batch as axis 0.

    ShapeError when there is no such axis, or it is the batch's. Keras' `mask` and several axes at
    once are not supported.
    """

    axis: int = -1

    def __post_init__(self) -> None:
        if type(self.axis) is not int:
            raise UsageError(f"Softmax: axis must be one integer, not {self.axis!r}.")

    def build(self, shape: Shape) -> Shape:
        rank = len(shape) + 1
        if not -rank < self.axis < rank or self.axis == 0:
            raise ShapeError(
                f"Softmax cannot run over axis {self.axis} of an input of shape {shape}.",
                suggestion=f"Axis 0 is the batch; take one of 1 to {rank - 1}, or -1, the last.",
            )
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        y, saved = ctx.ops.activation(ctx.xp.moveaxis(x, self.axis, -1), "softmax")
        return row_major(ctx.xp, ctx.xp.moveaxis(y, -1, self.axis)), saved

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        dx = ctx.ops.backward(ctx.xp.moveaxis(dy, self.axis, -1), saved)
        return row_major(ctx.xp, ctx.xp.moveaxis(dx, -1, self.axis))


@dataclass(eq=False)
class ReLU(FunctionLayer):
    """x above `threshold`, but no more than `max_value`; `negative_slope` * (x - threshold) below.

    The gradient at the threshold is that below it, and at `max_value` it is zero. UsageError for
    numbers that are negative, as in Keras.
    """

    max_value: float | None = None
    negative_slope: float = 0.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.max_value is not None:
            check_number(self, "max_value", least=0)
        check_number(self, "negative_slope", least=0)
        check_number(self, "threshold", least=0)

    def function(self) -> str | Function:
        if self.max_value is None and not self.threshold:
            return leaky_relu(self.negative_slope) if self.negative_slope else "relu"
        if self.max_value == 6 and not self.threshold and not self.negative_slope:
            return "relu6"
        return bounded_relu(self.max_value, self.negative_slope, self.threshold)


@dataclass(eq=False)
class LeakyReLU(FunctionLayer):
    """x where it is positive, `negative_slope` * x elsewhere.

    Unlike the activation `leaky_relu` with its slope of 0.2, as in Keras. UsageError for a negative
    slope.
    """

    negative_slope: float = 0.3

    def __post_init__(self) -> None:
        check_number(self, "negative_slope", least=0)

    def function(self) -> str | Function:
        return leaky_relu(self.negative_slope)


@dataclass(eq=False)
class ELU(FunctionLayer):
    """x where it is positive, `alpha` * (exp(x) - 1) elsewhere (Clevert et al., arXiv:1511.07289).

    UsageError for a negative `alpha`, which Keras would take.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "alpha", least=0)

    def function(self) -> str | Function:
        return "elu" if self.alpha == 1 else elu(self.alpha)
