"""The forms that layers take in a network from `fuse`: what one op does for several of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.context import Context
from ..core.typing import Array, Saved, Shape
from .base import Layer
from .containers import Residual, Stack
from .normalization import BatchNormalization


@dataclass(eq=False)
class Applied(Layer):
    """Holds the place of a layer whose work another layer does."""

    def build(self, shape: Shape) -> Shape:
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return x, None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return dy


class SummingNormalization(BatchNormalization):
    """Batch normalisation of the first input, to which the second one is added."""

    multiple_inputs = True

    def forward(self, x: Any, ctx: Context) -> tuple[Array, Saved]:
        y, side = x
        return self.normalise(y, side, ctx)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Any:
        return self.gradients(dy, saved, ctx)


class SummingStack(Stack):
    """A stack whose last layer is a summing one: the second input goes there."""

    multiple_inputs = True

    def forward(self, x: Any, ctx: Context) -> tuple[Array, Saved]:
        y, side = x
        *head, last = self.layers
        saved: list[Saved] = []
        here = ctx
        for number, layer in enumerate(head):
            y, kept = layer.forward(y, self.inside(number, here))
            if ctx.grad:
                saved.append(kept)
            here = ctx.interior
        y, kept = last.forward((y, side), here)
        return y, [*saved, kept] if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Any:
        *head, last = self.layers
        dy, dside = last.backward(dy, saved.pop(), ctx.interior if head else ctx)
        for number, layer in reversed(list(enumerate(head))):
            here = self.inside(number, ctx.interior if number else ctx)
            dy = layer.backward(dy, saved.pop(), here)
        return dy, dside


class SummingResidual(Residual):
    """A residual block whose body adds the shortcut itself, and applies the activation."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        side, shortcut = x, None
        if self.shortcut:
            side, shortcut = self.shortcut.forward(x, self.inside(1, ctx))
        y, body = self.body.forward((x, side), ctx)
        return y, [body, shortcut] if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        body, shortcut = saved
        saved.clear()
        dx, side = self.body.backward(dy, body, ctx)
        if self.shortcut:
            side = self.shortcut.backward(side, shortcut, self.inside(1, ctx))
        return dx if not ctx.input_gradient else dx + side
