"""Rewriting a network without changing its parameters or their paths.

Both rewritings return a view: shallow copies of the layers that change, and the others themselves.
A layer that stands at several places is never changed.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ..ops.activations import canonical, keeps_input
from .base import Layer
from .containers import Concat, Recompute, Residual, Stack
from .convolution import Conv2D
from .dense import Dense
from .depthwise import DepthwiseConv2D, SeparableConv2D
from .fused import Applied, SummingNormalization, SummingResidual, SummingStack
from .graph import Graph
from .merging import Add
from .normalization import BatchNormalization
from .rewriting import (
    activation_of,
    count_uses,
    is_a,
    is_linear,
    last_number,
    layers_in,
    recast,
    with_layers,
)
from .transpose import Conv2DTranspose

# layers whose op applies their `activation` to values that are in cache
FUSING = (Conv2D, DepthwiseConv2D, SeparableConv2D, Dense, BatchNormalization)
# layers that end in their `activation`
ACTIVATED = (*FUSING, Conv2DTranspose, Residual)
# these work on whole rows, or not at all
NOT_ELEMENTWISE = ("softmax", "log_softmax", "linear")


# --- taking the final activation off --------------------------------------------------------


def split_activation(root: Layer, name: str) -> tuple[Layer, bool]:
    """Return (network without its final activation `name`, whether it ended in that).

    The result shares every parameter with `root`. A loss that undoes the activation is exact
    where the product of their gradients would under- or overflow.
    """
    bare = _without(root, canonical(name), count_uses(root))
    return (root, False) if bare is None else (bare, True)


def _without(layer: Any, name: str, uses: Counter[int]) -> Layer | None:
    """The layer without its final activation, or None when it does not end in it."""
    if uses[id(layer)] > 1:
        return None
    if activation_of(layer) == name:
        return Applied()
    if is_a(layer, *ACTIVATED) and canonical(layer.activation) == name:
        view = copy.copy(layer)
        view.activation = None
        return view
    number = last_number(layer)
    if number is None:
        return None
    layers = layers_in(layer)
    bare = _without(layers[number], name, uses)
    if bare is None:
        return None
    layers[number] = bare
    return with_layers(layer, layers)


# --- fusing ---------------------------------------------------------------------------------


def fuse(root: Layer) -> Layer:
    """Return a view of a network that makes fewer passes over memory, and keeps fewer arrays.

    An activation after a convolution, a dense layer, a batch normalisation or a residual block is
    left to that layer's op, and so is the sum after a batch normalisation. Only elementwise
    activations whose gradient needs their output alone are: the ops keep nothing else. The view
    has the same parameters under the same paths, and agrees with `root` to rounding.
    """
    return _Fusion(root).view(root)


@dataclass(frozen=True)
class Ending:
    """What a layer is to do at its end: add a second input, then apply an activation."""

    activation: str | None = None
    summing: bool = False


NOTHING = Ending()


@dataclass
class Plan:
    """What becomes of a stack or graph: by layer number, new endings, and whose work is done."""

    endings: dict[int, Ending] = field(default_factory=dict)
    applied: set[int] = field(default_factory=set)
    steps: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)  # of a graph

    def ending(self, number: int) -> Ending:
        return self.endings.get(number, NOTHING)


class _Fusion:
    """The views of all layers of one network.

    `takes` says whether a layer can have an ending; `view` gives it one.
    """

    def __init__(self, root: Layer) -> None:
        self.uses = count_uses(root)
        self.views: dict[int, Layer] = {}  # a layer at several places stays one

    def takes(self, layer: Any, ending: Ending) -> bool:
        if not self.once(layer):
            return False
        if is_a(layer, Stack):
            return bool(layer.layers) and self.takes(layer.layers[-1], ending)
        if is_a(layer, BatchNormalization):
            return is_linear(layer)
        if ending.summing:
            return False
        if is_a(layer, Residual):
            return is_linear(layer) and self.sums(layer, ending.activation)
        if is_a(layer, Recompute):
            return self.takes(layer.body, ending)
        if is_a(layer, Graph):
            return bool(layer.steps) and self.graph_takes(layer, ending)
        return is_a(layer, *FUSING) and is_linear(layer)

    def view(self, layer: Layer, ending: Ending = NOTHING) -> Layer:
        if ending != NOTHING:
            return self.make(layer, ending)
        if id(layer) not in self.views:
            self.views[id(layer)] = self.make(layer, ending)
        return self.views[id(layer)]

    def make(self, layer: Any, ending: Ending) -> Layer:
        if is_a(layer, Stack):
            view = self.rewritten(layer, self.stack_plan(layer), ending)
            return recast(view, SummingStack) if ending.summing else view
        if is_a(layer, Graph):
            return self.rewritten(layer, self.graph_plan(layer), ending)
        if is_a(layer, Residual):
            return self.residual(layer, ending.activation)
        if is_a(layer, Recompute):
            return with_layers(layer, [self.view(layer.body, ending)])
        if is_a(layer, Concat):
            return with_layers(layer, [self.view(branch) for branch in layer.branches])
        if ending == NOTHING:
            return layer  # this may be a container that we do not know
        kind = SummingNormalization if ending.summing else type(layer)
        return recast(layer, kind, activation=ending.activation)

    def once(self, layer: Layer) -> bool:
        return self.uses[id(layer)] <= 1

    def absorbable(self, layer: Layer) -> str | None:
        """The activation that a layer is, if the layer before it may apply it."""
        activation = activation_of(layer)
        return activation if is_fusable(activation) and self.once(layer) else None

    def rewritten(self, container: Any, plan: Plan, ending: Ending) -> Layer:
        """A stack or graph as planned, and its last layer with an ending."""
        last = plan.steps[-1][0] if plan.steps else len(container.layers) - 1
        endings = {number: plan.ending(number) for number in range(len(container.layers))}
        if ending != NOTHING:
            endings[last] = joined(endings[last], ending)
        layers = [
            Applied() if number in plan.applied else self.view(layer, endings[number])
            for number, layer in enumerate(container.layers)
        ]
        view = with_layers(container, layers)
        if view is not container and plan.steps:
            view.steps = plan.steps
        return view

    # --- stacks and residual blocks -------------------------------------------------------

    def stack_plan(self, stack: Stack) -> Plan:
        plan = Plan()
        for number, (layer, after) in enumerate(pairwise(stack.layers)):
            activation = self.absorbable(after)
            if activation and self.takes(layer, Ending(activation)):
                plan.endings[number] = Ending(activation)
                plan.applied.add(number + 1)
        return plan

    def sums(self, layer: Residual, activation: str | None) -> bool:
        """Whether a block's body can add the shortcut, and then apply an activation."""
        if not self.once(layer) or not (activation is None or is_fusable(activation)):
            return False
        shortcut = layer.shortcut
        apart = shortcut is None or not (_instances(layer.body) & _instances(shortcut))
        # the shortcut then runs first, which a layer in both could tell
        return apart and self.takes(layer.body, Ending(activation, summing=True))

    def residual(self, layer: Residual, activation: str | None) -> Layer:
        wanted = activation if is_linear(layer) else layer.activation
        shortcut = [] if layer.shortcut is None else [self.view(layer.shortcut)]
        if not self.sums(layer, wanted):
            return with_layers(layer, [self.view(layer.body), *shortcut])
        body = self.view(layer.body, Ending(wanted, summing=True))
        return recast(with_layers(layer, [body, *shortcut]), SummingResidual, activation=None)

    # --- graphs ---------------------------------------------------------------------------

    def graph_plan(self, graph: Graph) -> Plan:
        plan = Plan(steps=list(graph.steps))
        readers = Counter(read for _, reads in graph.steps for read in reads)
        for step, (number, reads) in enumerate(graph.steps):
            layer = graph.layers[number]
            # steps whose value is read here and nowhere else
            sources = [value - 1 for value in reads if value and readers[value] == 1]
            if is_a(layer, Add) and self.once(layer) and len(reads) == 2:
                self.plan_sum(graph, plan, step, sources)
            activation = self.absorbable(layer)
            if activation and sources:
                before = plan.steps[sources[0]][0]
                ending = joined(plan.ending(before), Ending(activation))
                if self.takes(graph.layers[before], ending):
                    plan.endings[before] = ending
                    plan.applied.add(number)
        return plan

    def plan_sum(self, graph: Graph, plan: Plan, step: int, sources: list[int]) -> None:
        """Let a batch normalisation that is read by a sum take the place of the sum."""
        for source in sources:
            number, reads = plan.steps[source]
            layer = graph.layers[number]
            if is_a(layer, BatchNormalization) and self.takes(layer, Ending(summing=True)):
                addition, values = plan.steps[step]
                other = values[1] if values[0] == source + 1 else values[0]
                plan.steps[source] = (addition, reads)  # which passes its value on
                plan.steps[step] = (number, (source + 1, other))
                plan.endings[number] = Ending(summing=True)
                plan.applied.add(addition)
                return

    def graph_takes(self, graph: Graph, ending: Ending) -> bool:
        plan = self.graph_plan(graph)
        last = plan.steps[-1][0]
        return self.takes(graph.layers[last], joined(plan.ending(last), ending))


def joined(first: Ending, then: Ending) -> Ending:
    """One ending and another after it."""
    return Ending(then.activation, first.summing or then.summing)


def is_fusable(activation: str | None) -> bool:
    if activation is None or canonical(activation) in NOT_ELEMENTWISE:
        return False
    return not keeps_input(activation)


def _instances(root: Layer) -> set[int]:
    return {id(layer) for _, layer in root.walk()}
