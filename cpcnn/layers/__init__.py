"""Layers, and the containers that make networks of them."""

from __future__ import annotations

from .activation import Activation
from .base import Layer
from .config import from_config, register_layer, to_config
from .containers import Residual, Stack
from .convolution import Conv2D
from .dense import Dense
from .dropout import Dropout
from .graph import Graph, Input, Node
from .merging import Add
from .normalization import BatchNormalization
from .pooling import (
    AveragePooling2D,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPooling2D,
)
from .reshaping import Flatten

__all__ = [
    "Activation",
    "Add",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Graph",
    "Input",
    "Layer",
    "MaxPooling2D",
    "Node",
    "Residual",
    "Stack",
    "from_config",
    "register_layer",
    "to_config",
]

for _layer in (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Graph,
    MaxPooling2D,
    Residual,
    Stack,
):
    register_layer(_layer)
