"""Residual networks (He et al., 2015, arXiv:1512.03385)."""

from __future__ import annotations

from ..core.typing import Shape
from ..layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Layer,
    MaxPooling2D,
    Residual,
    Stack,
)
from .scaling import scaled


def conv_bn(
    filters: int, kernel: int = 3, strides: int = 1, activation: str | None = "relu"
) -> Stack:
    """A convolution without bias, batch normalisation, and an activation."""
    return Stack(
        [
            Conv2D(
                filters,
                kernel,
                strides,
                # symmetric, also with a stride: every output is centred on an input pixel
                padding=kernel // 2,
                use_bias=False,
                kernel_initializer="fan_in_uniform",
                name="conv",
            ),
            # few steps must do for the running statistics of a small data set
            BatchNormalization(momentum=0.9, epsilon=1e-5, activation=activation, name="bn"),
        ]
    )


def resnet9(input_shape: Shape, classes: int, *, width: float = 1.0) -> Stack:
    """Eight convolutions and a dense layer, widths 64-128-256-512 times `width`.

    The network of David Page's "How to train your ResNet" (2018): conv, conv + pool + residual,
    conv + pool, conv + pool + residual, global max pooling, dense.
    """
    c1, c2, c3, c4 = (scaled(channels, width) for channels in (64, 128, 256, 512))
    return Stack(
        [
            _named(conv_bn(c1), "stem"),
            _named(_pooled(c2), "stage1"),
            _named(Residual(Stack([conv_bn(c2), conv_bn(c2)])), "residual1"),
            _named(_pooled(c3), "stage2"),
            _named(_pooled(c4), "stage3"),
            _named(Residual(Stack([conv_bn(c4), conv_bn(c4)])), "residual2"),
            GlobalMaxPooling2D(name="pool"),
            Dense(classes, activation="softmax", kernel_initializer="zeros", name="head"),
        ]
    )


def resnet18(input_shape: Shape, classes: int, *, width: float = 1.0) -> Stack:
    """Four stages of two basic blocks, widths 64-128-256-512 times `width`.

    Images of at least 96 px get the original 7×7 stem with stride 2 and pooling, smaller ones a
    3×3 stem that keeps their size.
    """
    stages = [scaled(channels, width) for channels in (64, 128, 256, 512)]
    stem: list[Layer] = [conv_bn(stages[0])]
    if min(input_shape[:2]) >= 96:
        stem = [conv_bn(stages[0], 7, 2), MaxPooling2D(3, 2, padding=1)]
    layers: list[Layer] = [_named(Stack(stem), "stem")]
    previous = stages[0]
    for number, filters in enumerate(stages, start=1):
        strides = 1 if number == 1 else 2
        blocks: list[Layer] = [
            basic_block(previous, filters, strides),
            basic_block(filters, filters, 1),
        ]
        layers.append(_named(Stack(blocks), f"stage{number}"))
        previous = filters
    head = Dense(classes, activation="softmax", kernel_initializer="zeros", name="head")
    return Stack([*layers, GlobalAveragePooling2D(name="pool"), head])


def basic_block(channels: int, filters: int, strides: int) -> Stack:
    """Two 3×3 convolutions and a shortcut, which is a 1×1 convolution where shapes change."""
    body = Stack([conv_bn(filters, 3, strides), conv_bn(filters, activation=None)])
    same = channels == filters and strides == 1
    shortcut = None if same else conv_bn(filters, 1, strides, activation=None)
    return Stack([Residual(body, shortcut), Activation("relu")])


def _pooled(filters: int) -> Stack:
    return Stack([conv_bn(filters), MaxPooling2D(2)])


def _named(layer: Layer, name: str) -> Layer:
    layer.name = name
    return layer
