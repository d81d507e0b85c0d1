"""Layers made of layers. They are the whole engine: forward in order, backward in reverse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Saved, Shape
from ..ops.activations import get_activation
from .base import (
    Container,
    Layer,
    build_child,
    joined_shape,
    require_layers,
    unique_names,
)


@dataclass(eq=False)
class Stack(Container):
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
        for number, layer in enumerate(self.layers):
            x, kept = layer.forward(x, self.inside(number, here))
            if ctx.grad:
                saved.append(kept)
            here = ctx.interior
        return x, saved

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        for number, layer in reversed(list(enumerate(self.layers))):
            here = self.inside(number, ctx.interior if number else ctx)
            # the pop is where this layer's activations die
            dy = layer.backward(dy, saved.pop(), here)
        return dy


@dataclass(eq=False)
class Residual(Container):
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
        y, body = self.body.forward(x, self.inside(0, ctx))
        side, shortcut = x, None
        if self.shortcut:
            side, shortcut = self.shortcut.forward(x, self.inside(1, ctx))
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
            side = self.shortcut.backward(side, shortcut, self.inside(1, ctx))
        dx = self.body.backward(dy, body, self.inside(0, ctx))
        return dx if not ctx.input_gradient else dx + side


@dataclass(eq=False)
class Concat(Container):
    """Layers that all read the same input, their results joined along `axis` (the channels).

    `axis` counts the batch, which is axis 0. The branches' results must agree in all other axes.
    """

    branches: list[Layer]
    axis: int = -1

    def __post_init__(self) -> None:
        self.branches = require_layers(self.branches, "Concat")
        if not self.branches:
            raise UsageError("Concat needs at least one branch.")
        if type(self.axis) is not int or self.axis == 0:
            raise UsageError(
                f"Concat: axis must be a whole number and not 0, the batch; it is {self.axis!r}."
            )

    def children(self) -> dict[str, Layer]:
        return dict(zip(unique_names(self.branches), self.branches, strict=True))

    def build(self, shape: Shape) -> Shape:
        shapes = [build_child(name, layer, shape) for name, layer in self.children().items()]
        return joined_shape(shapes, self.axis)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        results: list[Array] = []
        saved: list[Saved] = []
        for number, branch in enumerate(self.branches):
            y, kept = branch.forward(x, self.inside(number, ctx))
            results.append(y)
            if ctx.grad:
                saved.append(kept)
        y, joined = ctx.ops.concat(results, self.axis)
        return y, [*saved, joined] if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Any:
        parts = list(ctx.ops.backward(dy, saved.pop()))
        total: Any = None
        for number, branch in reversed(list(enumerate(self.branches))):
            dx = branch.backward(parts.pop(), saved.pop(), self.inside(number, ctx))
            total = dx if total is None or dx is None else total + dx
        return total


@dataclass(eq=False)
class Recompute(Container):
    """Keep only the input of `body` for backward, and compute the rest a second time there.

    This trades time for memory: of all that `body` would keep, only as much is alive as one such
    piece of a network needs. The second pass repeats the first bit for bit: dropout draws the same
    numbers, and running statistics move only once.

    Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016,
    arXiv:1604.06174.
    """

    body: Layer

    def __post_init__(self) -> None:
        require_layers([self.body], "Recompute")

    def children(self) -> dict[str, Layer]:
        return {"body": self.body}

    def build(self, shape: Shape) -> Shape:
        return build_child("body", self.body, shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        here = ctx.variant(grad=False) if ctx.grad else ctx
        y, _ = self.body.forward(x, self.inside(0, here))
        return y, [x, ctx.rng] if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        x, rng = saved
        saved.clear()
        again = self.inside(0, ctx.variant(grad=True, update_statistics=False, rng=rng))
        y, kept = self.body.forward(x, again)
        del x, y  # what backward needs of them is in `kept`
        return self.body.backward(dy, kept, again)
