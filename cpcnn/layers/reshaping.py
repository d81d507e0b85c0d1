"""Layers that only rearrange values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.context import Context
from ..core.typing import Array, Saved, Shape
from .base import Layer


@dataclass(eq=False)
class Flatten(Layer):
    """(H, W, C) -> (H * W * C,), in row-major order."""

    def build(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.xp.reshape(x, (x.shape[0], -1)), x.shape

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return ctx.xp.reshape(dy, saved)
