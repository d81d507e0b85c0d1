"""Layers, and the containers that make networks of them."""

from __future__ import annotations

from .activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from .base import Layer
from .config import from_config, register_layer, to_config
from .containers import Concat, Recompute, Residual, Stack
from .convolution import Conv2D
from .dense import Dense
from .depthwise import DepthwiseConv2D, SeparableConv2D
from .dropout import Dropout, SpatialDropout2D
from .graph import Graph, Input, Node
from .lambda_layer import Lambda, register_functions
from .merging import Add, Average, Concatenate, Maximum, Multiply, Subtract
from .normalization import BatchNormalization, GroupNormalization, LayerNormalization
from .padding import Cropping2D, ZeroPadding2D
from .pooling import (
    AveragePooling2D,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPooling2D,
)
from .rescaling import Normalization, Rescaling
from .reshaping import Flatten, Permute, Reshape
from .transpose import Conv2DTranspose
from .upsampling import UpSampling2D

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "Average",
    "AveragePooling2D",
    "BatchNormalization",
    "Concat",
    "Concatenate",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Graph",
    "GroupNormalization",
    "Input",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPooling2D",
    "Maximum",
    "Multiply",
    "Node",
    "Normalization",
    "Permute",
    "ReLU",
    "Recompute",
    "Rescaling",
    "Reshape",
    "Residual",
    "SeparableConv2D",
    "Softmax",
    "SpatialDropout2D",
    "Stack",
    "Subtract",
    "UpSampling2D",
    "ZeroPadding2D",
    "from_config",
    "register_functions",
    "register_layer",
    "to_config",
]

for _layer in (
    Activation,
    Add,
    Average,
    AveragePooling2D,
    BatchNormalization,
    Concat,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    ELU,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Graph,
    GroupNormalization,
    Lambda,
    LayerNormalization,
    LeakyReLU,
    MaxPooling2D,
    Maximum,
    Multiply,
    Normalization,
    Permute,
    ReLU,
    Recompute,
    Rescaling,
    Reshape,
    Residual,
    SeparableConv2D,
    Softmax,
    SpatialDropout2D,
    Stack,
    Subtract,
    UpSampling2D,
    ZeroPadding2D,
):
    register_layer(_layer)
