"""Networks of any shape: what `Input` and calling a layer build."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Saved, Shape
from .base import (
    Container,
    Layer,
    as_shape,
    build_child,
    require_layers,
    snake_case,
    unique_names,
)


@dataclass(eq=False, frozen=True)
class Node:
    """The symbolic result of a layer: its shape without the batch, and where it came from."""

    shape: Shape
    layer: Layer | None = None
    inputs: tuple[Node, ...] = ()


def Input(shape: Shape, name: str | None = None) -> Node:  # a class in Keras, hence the capital
    """Start a network: a symbolic batch of arrays of `shape`, usually (height, width, channels).

    A network has one input, so that nothing asks for its `name`.
    """
    return Node(as_shape(shape, "Input: shape"))


def apply(layer: Layer, inputs: Node | list[Node] | tuple[Node, ...]) -> Node:
    """Call `layer` on nodes: build it for their shapes, and return its result's node."""
    nodes = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
    name = layer.name or snake_case(type(layer).__name__)
    if not all(isinstance(node, Node) for node in nodes):
        raise UsageError(
            f"layer {name!r} was called on {type(nodes[0]).__name__}.",
            suggestion="Layers are called on Input(...) or on another layer's result; "
            "arrays go to a model's predict.",
        )
    if not layer.multiple_inputs and len(nodes) != 1:
        raise UsageError(f"layer {name!r} takes one input, got {len(nodes)}.")
    shapes = tuple(node.shape for node in nodes)
    shape = build_child(name, layer, shapes if layer.multiple_inputs else shapes[0])
    return Node(shape, layer, nodes)


@dataclass(eq=False)
class Graph(Container):
    """Layers in topological order, each with the values it reads.

    Value 0 is the input, value k the result of step k - 1. A step is (layer number, read values);
    a layer may appear in several steps. The last step's value is the output.
    """

    layers: list[Layer] = field(default_factory=list)
    steps: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers = require_layers(self.layers, "Graph")
        self.steps = [(layer, tuple(reads)) for layer, reads in self.steps]
        self._check_steps()
        used: Counter[int] = Counter()
        self.earlier_uses: list[int] = []  # of the layer of each step, in this graph
        for number, _ in self.steps:
            self.earlier_uses.append(used[number])
            used[number] += 1

    def _check_steps(self) -> None:
        for step, (number, reads) in enumerate(self.steps):
            known = number in range(len(self.layers))
            if not known or not all(read in range(step + 1) for read in reads):
                raise UsageError(f"Graph: step {step} names a layer or value that is not there.")
            if len(reads) != 1 and not self.layers[number].multiple_inputs:
                raise UsageError(f"Graph: step {step} gives {len(reads)} inputs to a layer of one.")
        if {read for _, reads in self.steps for read in reads} != set(range(len(self.steps))):
            raise UsageError("Graph: there is a value that no step reads.")

    @classmethod
    def between(cls, source: Node, result: Node) -> Graph:
        """Collect the layers on the way from `source` to `result`."""
        order = _topological(source, result)
        layers = list({id(node.layer): node.layer for node in order if node.layer}.values())
        number = {id(layer): index for index, layer in enumerate(layers)}
        value = {id(node): index for index, node in enumerate([source, *order])}
        steps = [
            (number[id(node.layer)], tuple(value[id(read)] for read in node.inputs))
            for node in order
        ]
        return cls(layers, steps)

    def children(self) -> dict[str, Layer]:
        return dict(zip(unique_names(self.layers), self.layers, strict=True))

    def build(self, shape: Shape) -> Shape:
        names = unique_names(self.layers)
        shapes: list[Shape] = [shape]
        for number, reads in self.steps:
            layer = self.layers[number]
            shapes.append(build_child(names[number], layer, _arguments(layer, shapes, reads)))
        return shapes[-1]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        saved: list[Saved] = []
        values: list[Any] = [x]
        last_use = {read: step for step, (_, reads) in enumerate(self.steps) for read in reads}
        for step, (number, reads) in enumerate(self.steps):
            layer = self.layers[number]
            y, kept = layer.forward(_arguments(layer, values, reads), self._context(step, ctx))
            values.append(y)
            if ctx.grad:
                saved.append(kept)
            for read in set(reads):
                if last_use[read] == step:
                    values[read] = None
        return values[-1], saved

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Any:
        gradients: dict[int, Any] = {len(self.steps): dy}
        for step, (number, reads) in reversed(list(enumerate(self.steps))):
            layer = self.layers[number]
            gradient = gradients.pop(step + 1)
            dx = layer.backward(gradient, saved.pop(), self._context(step, ctx))
            parts = dx if layer.multiple_inputs else (dx,)
            for read, part in zip(reads, parts, strict=True):
                known = gradients.get(read)
                gradients[read] = part if known is None or part is None else known + part
        return gradients.get(0)

    def _context(self, step: int, ctx: Context) -> Context:
        number, reads = self.steps[step]
        here = self.inside(number, ctx if reads == (0,) else ctx.interior)
        again = self.earlier_uses[step]
        return here.variant(rng=here.rng.child(f"use {again + 1}")) if again else here


def _arguments(layer: Layer, values: list[Any], reads: tuple[int, ...]) -> Any:
    found = tuple(values[read] for read in reads)
    return found if layer.multiple_inputs else found[0]


def _topological(source: Node, result: Node) -> list[Node]:
    """Order the nodes that `result` depends on, without the source, each after what it reads."""
    order: list[Node] = []
    state: dict[int, str] = {id(source): "done"}
    pending: list[tuple[Node, bool]] = [(result, False)]
    while pending:
        node, inputs_done = pending.pop()
        if inputs_done:
            state[id(node)] = "done"
            order.append(node)
        elif id(node) not in state:
            if node.layer is None:
                raise ShapeError(
                    "the output depends on an Input that the model was not given.",
                    suggestion="Pass the Input that starts the network as `inputs`.",
                )
            state[id(node)] = "open"
            pending.append((node, True))
            pending.extend((read, False) for read in reversed(node.inputs))
    return order
