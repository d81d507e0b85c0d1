"""Activation functions as layers."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.typing import Array, Saved, Shape
from ..ops.activations import get_activation
from .base import Layer


@dataclass(eq=False)
class Activation(Layer):
    """Apply a named activation: "relu", "sigmoid", "tanh", "softmax", "linear"."""

    activation: str

    def __post_init__(self) -> None:
        get_activation(self.activation)

    def build(self, shape: Shape) -> Shape:
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.activation(x, self.activation)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.ops.backward(dy, saved)
