"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.param import Param
from ..core.typing import Array, Saved, Shape
from ..ops.activations import get_activation
from .base import Layer, require_positive
from .initializers import InitializerLike, get_initializer


@dataclass(eq=False)
class Dense(Layer):
    """y = activation(x @ kernel + bias) over the last axis: (..., F) -> (..., units)."""

    units: int
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: InitializerLike = "glorot_uniform"
    bias_initializer: InitializerLike = "zeros"

    def __post_init__(self) -> None:
        self.units = require_positive(self.units, "units", "Dense")
        get_activation(self.activation)
        self.kernel: Param | None = None
        self.bias: Param | None = None

    def build(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("Dense expects at least one axis of features, got a scalar.")
        self.kernel = self.add_param(
            "kernel", (shape[-1], self.units), get_initializer(self.kernel_initializer)
        )
        if self.use_bias:
            self.bias = self.add_param(
                "bias", (self.units,), get_initializer(self.bias_initializer), decay=False
            )
        return (*shape[:-1], self.units)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.dense(
            x, ctx.use(self.kernel), ctx.use(self.bias), activation=self.activation
        )

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        dx, dw, db = ctx.ops.backward(dy, saved)
        self.accumulate(kernel=dw, bias=db)
        return dx
