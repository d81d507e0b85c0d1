"""What rewriting a network needs: who a layer is, where it stands, and copies of containers."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, TypeVar

from ..ops.activations import canonical
from .activation import FunctionLayer, Softmax
from .base import Layer, unique_names
from .containers import Concat, Recompute, Stack
from .graph import Graph

L = TypeVar("L", bound=Layer)


def is_a(layer: Any, *kinds: type[Layer]) -> bool:
    """Whether a layer computes what one of `kinds` does: a subclass that overrides it does not."""
    found = type(layer)
    return any(
        isinstance(layer, kind) and (found.forward, found.backward) == (kind.forward, kind.backward)
        for kind in kinds
    )


def count_uses(root: Layer) -> Counter[int]:
    """Count the places of every layer inside a network, by id."""
    uses: Counter[int] = Counter()
    for _, layer in root.walk():
        if isinstance(layer, Graph):
            uses.update(id(layer.layers[number]) for number, _ in layer.steps)
        else:
            uses.update(id(child) for child in layer.children().values())
    return uses


def activation_of(layer: Any) -> str | None:
    """The activation that a layer is, if it is nothing else."""
    if is_a(layer, Softmax):
        return "softmax" if layer.axis == -1 else None
    function = layer.function() if is_a(layer, FunctionLayer) else None
    return canonical(function) if isinstance(function, str) else None


def is_linear(layer: Any) -> bool:
    return canonical(layer.activation) == "linear"


def layers_in(container: Any) -> list[Layer]:
    """The layers inside a container of ours, in a new list."""
    if isinstance(container, (Stack, Graph)):
        return list(container.layers)
    return list(container.children().values())


def last_number(container: Any) -> int | None:
    """The number of the layer whose result is the container's; None for other layers."""
    if is_a(container, Stack) and container.layers:
        return len(container.layers) - 1
    if is_a(container, Graph) and container.steps:
        number: int = container.steps[-1][0]
        return number
    return 0 if is_a(container, Recompute) else None


def with_layers(container: Any, layers: list[Layer]) -> Any:
    """Copy a container with other layers in the same places, and so under the same names."""
    old = layers_in(container)
    if all(now is before for now, before in zip(layers, old, strict=True)):
        return container
    view = copy.copy(container)
    if isinstance(container, (Stack, Graph, Concat)):
        _keep_names(old, layers)
    if isinstance(container, (Stack, Graph)):
        view.layers = layers
    elif isinstance(container, Concat):
        view.branches = layers
    else:
        view.body = layers[0]
        if layers[1:]:
            view.shortcut = layers[1]
    return view


def _keep_names(old: list[Layer], new: list[Layer]) -> None:
    """Name new layers of another class as the old ones, which may be named by their class."""
    for name, before, now in zip(unique_names(old), old, new, strict=True):
        if type(now) is not type(before):
            now.name = name


def recast(layer: Layer, kind: type[L], **changes: Any) -> L:
    """Copy a layer as an object of another class, with other attributes."""
    view = kind.__new__(kind)
    vars(view).update(vars(layer), **changes)
    return view
