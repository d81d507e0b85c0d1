"""Rewriting a network without changing its parameters or their paths."""

from __future__ import annotations

import copy

from .activation import Activation
from .base import Layer
from .containers import Stack
from .convolution import Conv2D
from .dense import Dense
from .graph import Graph


def split_softmax(root: Layer) -> tuple[Layer, bool]:
    """Return (network that ends in logits, whether a final softmax was taken off).

    The result shares every parameter with `root`. Training works on logits, because softmax and
    cross-entropy together are exact where a product of their gradients would under- or overflow.
    """
    if isinstance(root, (Dense, Conv2D, Activation)) and root.activation == "softmax":
        bare = copy.copy(root)
        bare.activation = "linear"
        return bare, True
    last = _last_layer(root)
    if last is None:
        return root, False
    number, layer = last
    bare_layer, found = split_softmax(layer)
    if not found:
        return root, False
    assert isinstance(root, (Stack, Graph))
    view = copy.copy(root)
    view.layers = [*root.layers[:number], bare_layer, *root.layers[number + 1 :]]
    return view, True


def _last_layer(root: Layer) -> tuple[int, Layer] | None:
    """The layer whose result is the container's, and its number, if it is used nowhere else."""
    if isinstance(root, Stack) and root.layers:
        number = len(root.layers) - 1
        uses = sum(layer is root.layers[number] for layer in root.layers)
    elif isinstance(root, Graph) and root.steps:
        number = root.steps[-1][0]
        uses = sum(step[0] == number for step in root.steps)
    else:
        return None
    return (number, root.layers[number]) if uses == 1 else None
