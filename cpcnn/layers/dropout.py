"""Layers that drop values in training."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import UsageError
from ..core.typing import Array, Saved, Shape
from .base import Layer


@dataclass(eq=False)
class Dropout(Layer):
    """Zero each value with probability `rate` in training and scale the others up.

    Each layer of a model draws from a stream of its own, named by its path.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise UsageError(f"Dropout: rate must be in [0, 1], not {self.rate!r}.")

    def build(self, shape: Shape) -> Shape:
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        if not ctx.training or self.rate == 0:
            return x, None
        return ctx.ops.dropout(x, self.rate, ctx.rng.child(self.path))

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        if saved is None:
            return dy
        return ctx.ops.backward(dy, saved)
