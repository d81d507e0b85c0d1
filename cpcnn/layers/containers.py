"""Layers made of layers. They are the whole engine: forward in order, backward in reverse."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.typing import Array, Saved, Shape
from ..ops.activations import get_activation
from .base import Layer, build_child, require_layers, unique_names


@dataclass(eq=False)
class Stack(Layer):
    """Layers one after the other."""

    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers = require_layers(self.layers, "Stack")

    def children(self) -> dict[str, Layer]:
        return dict(zip(unique_names(self.layers), self.layers, strict=True))

    def build(self, shape: Shape) -> Shape:
        for name, layer in self.children().items():
            shape = build_child(name, layer, shape)
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        saved: list[Saved] = []
        here = ctx
        for layer in self.layers:
            x, kept = layer.forward(x, here)
            if ctx.grad:
                saved.append(kept)
            here = ctx.interior
        return x, saved

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        for index, layer in reversed(list(enumerate(self.layers))):
            # the pop is where this layer's activations die
            dy = layer.backward(dy, saved.pop(), ctx.interior if index else ctx)
        return dy


@dataclass(eq=False)
class Residual(Layer):
    """y = activation(body(x) + shortcut(x)); without a shortcut x itself is added.

    He et al., "Deep residual learning for image recognition", 2015, arXiv:1512.03385.
    """

    body: Layer
    shortcut: Layer | None = None
    activation: str | None = None

    def __post_init__(self) -> None:
        require_layers([self.body], "Residual")
        require_layers([] if self.shortcut is None else [self.shortcut], "Residual")
        get_activation(self.activation)

    def children(self) -> dict[str, Layer]:
        return {"body": self.body} | ({"shortcut": self.shortcut} if self.shortcut else {})

    def build(self, shape: Shape) -> Shape:
        body = build_child("body", self.body, shape)
        shortcut = build_child("shortcut", self.shortcut, shape) if self.shortcut else shape
        if body != shortcut:
            raise ShapeError(
                f"the body gives {body} and the shortcut {shortcut}; they must agree to be added.",
                suggestion="Give the shortcut a 1×1 convolution of the body's stride and filters.",
            )
        return body

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        y, body = self.body.forward(x, ctx)
        side, shortcut = self.shortcut.forward(x, ctx) if self.shortcut else (x, None)
        y, added = ctx.ops.add((y, side))
        activated = None
        if self.activation:
            y, activated = ctx.ops.activation(y, self.activation)
        return y, [body, shortcut, added, activated] if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        if self.activation:
            dy = ctx.ops.backward(dy, saved[3])
        dy, side = ctx.ops.backward(dy, saved[2])
        body, shortcut = saved[:2]
        saved.clear()
        if self.shortcut:
            side = self.shortcut.backward(side, shortcut, ctx)
        dx = self.body.backward(dy, body, ctx)
        return dx if not ctx.input_gradient else dx + side
