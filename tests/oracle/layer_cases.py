"""Random layers of every kind, with inputs that fit them: Hypothesis strategies by class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from cpcnn import layers
from cpcnn.layers.base import Layer

from .twins import ACTIVATIONS

Draw = Callable[..., Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCase:
    """A layer and the shapes of its inputs, without the batch."""

    layer: Layer
    shapes: tuple[Shape, ...]
    batch: int
    training: bool = True


CASES: dict[type[Layer], Callable[[], st.SearchStrategy[LayerCase]]] = {}


def case_of(kind: type[Layer]) -> Callable[..., Any]:
    """Register a function of (draw, class) that returns a case."""

    def register(function: Callable[[Draw, Any], LayerCase]) -> Callable[[Draw, Any], LayerCase]:
        CASES[kind] = st.composite(lambda draw: function(draw, kind))
        return function

    return register


activations = st.sampled_from([None, *ACTIVATIONS])
few = st.integers(1, 4)


def pair(least: int, most: int) -> st.SearchStrategy[Any]:
    """One number for both axes, or two."""
    number = st.integers(least, most)
    return number | st.tuples(number, number)


def sides(most: int) -> st.SearchStrategy[Any]:
    """Pixel counts: one, one an axis, or one a side."""
    two = st.tuples(st.integers(0, most), st.integers(0, most))
    return st.integers(0, most) | two | st.tuples(two, two)


def image(draw: Draw, least: int = 1, most: int = 7, channels: int = 5) -> Shape:
    size = st.integers(least, most)
    return draw(size), draw(size), draw(st.integers(1, channels))


def as_pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


# --- convolutions and pooling ---------------------------------------------------------------


def window(draw: Draw) -> tuple[dict[str, Any], tuple[int, int]]:
    """Options of a convolution, and the size of an image on which they work."""
    options = {
        "kernel_size": draw(pair(1, 4)),
        "strides": draw(pair(1, 3)),
        "dilation_rate": draw(pair(1, 3)),
        "padding": draw(st.sampled_from(["valid", "same"]) | sides(2)),
        "use_bias": draw(st.booleans()),
        "activation": draw(activations),
    }
    kernel, dilation = as_pair(options["kernel_size"]), as_pair(options["dilation_rate"])
    least = [1, 1]
    if options["padding"] != "same":
        least = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    height, width = (draw(st.integers(size, size + 6)) for size in least)
    return options, (height, width)


@case_of(layers.Conv2D)
def conv2d(draw: Draw, kind: Any) -> LayerCase:
    options, size = window(draw)
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(few), groups * draw(few)
    layer = kind(filters, groups=groups, **options)
    return LayerCase(layer, ((*size, channels),), draw(few))


@case_of(layers.DepthwiseConv2D)
def depthwise_conv2d(draw: Draw, kind: Any) -> LayerCase:
    options, size = window(draw)
    layer = kind(depth_multiplier=draw(st.integers(1, 3)), **options)
    return LayerCase(layer, ((*size, draw(few)),), draw(few))


@case_of(layers.SeparableConv2D)
def separable_conv2d(draw: Draw, kind: Any) -> LayerCase:
    options, size = window(draw)
    layer = kind(draw(few), depth_multiplier=draw(st.integers(1, 3)), **options)
    return LayerCase(layer, ((*size, draw(few)),), draw(few))


@case_of(layers.Conv2DTranspose)
def conv2d_transpose(draw: Draw, kind: Any) -> LayerCase:
    options, _ = window(draw)
    strides, extra = as_pair(options["strides"]), None
    if draw(st.booleans()):
        extra = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
    kernel, dilation = as_pair(options["kernel_size"]), as_pair(options["dilation_rate"])
    if options["padding"] not in ("valid", "same"):  # so much that a pixel is left
        extents = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
        options["padding"] = tuple(
            (draw(st.integers(0, (e - 1) // 2)), draw(st.integers(0, e // 2))) for e in extents
        )
    layer = kind(draw(few), output_padding=extra, **options)
    return LayerCase(layer, (image(draw, least=2, most=5),), draw(few))


def pooling(draw: Draw, kind: Any) -> LayerCase:
    size = as_pair(draw(pair(1, 4)))
    padding = draw(st.sampled_from(["valid", "same"]) | sides(min(size) - 1))
    layer = kind(size, draw(st.none() | pair(1, 3)), padding)
    height, width = (least + draw(st.integers(0, 6)) for least in size)
    return LayerCase(layer, ((height, width, draw(few)),), draw(few))


case_of(layers.MaxPooling2D)(pooling)
case_of(layers.AveragePooling2D)(pooling)


def global_pooling(draw: Draw, kind: Any) -> LayerCase:
    return LayerCase(kind(keepdims=draw(st.booleans())), (image(draw),), draw(few))


case_of(layers.GlobalMaxPooling2D)(global_pooling)
case_of(layers.GlobalAveragePooling2D)(global_pooling)


# --- dense, activations, normalisation, dropout ---------------------------------------------


def any_shape(draw: Draw, axes: int = 3) -> Shape:
    return tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=axes)))


@case_of(layers.Dense)
def dense(draw: Draw, kind: Any) -> LayerCase:
    layer = kind(draw(st.integers(1, 9)), draw(activations), draw(st.booleans()))
    return LayerCase(layer, (any_shape(draw),), draw(few))


@case_of(layers.Activation)
def activation(draw: Draw, kind: Any) -> LayerCase:
    layer = kind(draw(st.sampled_from(list(ACTIVATIONS))))
    return LayerCase(layer, (any_shape(draw),), draw(few))


@case_of(layers.Softmax)
def softmax(draw: Draw, kind: Any) -> LayerCase:
    shape = any_shape(draw)
    axis = draw(st.integers(1, len(shape)) | st.integers(-len(shape), -1))
    return LayerCase(kind(axis), (shape,), draw(few))


@case_of(layers.ReLU)
def relu(draw: Draw, kind: Any) -> LayerCase:
    top = draw(st.sampled_from([None, 6.0, 1.5]))
    slope, threshold = draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([0.0, 0.4]))
    return LayerCase(kind(top, slope, threshold), (any_shape(draw),), draw(few))


@case_of(layers.LeakyReLU)
def leaky_relu(draw: Draw, kind: Any) -> LayerCase:
    return LayerCase(kind(draw(st.sampled_from([0.0, 0.01, 0.3]))), (any_shape(draw),), draw(few))


@case_of(layers.ELU)
def elu(draw: Draw, kind: Any) -> LayerCase:
    return LayerCase(kind(draw(st.sampled_from([0.0, 0.5, 1.0, 2.0]))), (any_shape(draw),), 3)


@case_of(layers.Lambda)
def cube(draw: Draw, kind: Any) -> LayerCase:
    layer = kind(lambda xp, x: (x * x * x, x), lambda xp, dy, x: dy * 3 * x * x)
    return LayerCase(layer, (any_shape(draw),), draw(few))


def affine(draw: Draw) -> dict[str, Any]:
    return {
        "epsilon": draw(st.sampled_from([1e-3, 1e-5])),
        "center": draw(st.booleans()),
        "scale": draw(st.booleans()),
    }


@case_of(layers.BatchNormalization)
def batch_normalization(draw: Draw, kind: Any) -> LayerCase:
    """With eight values a channel or more."""
    momentum = draw(st.sampled_from([0.99, 0.9, 0.0]))
    layer = kind(momentum=momentum, activation=draw(activations), **affine(draw))
    shape = draw(st.just((draw(few),)) | st.just(image(draw, least=2, most=6)))
    least = math.ceil(8 / math.prod(shape[:-1]))
    return LayerCase(layer, (shape,), least + draw(st.integers(0, 4)), draw(st.booleans()))


@case_of(layers.LayerNormalization)
def layer_normalization(draw: Draw, kind: Any) -> LayerCase:
    """With eight values a mean or more."""
    axis = draw(st.sampled_from([-1, (-1,), (-2, -1), (-3, -2, -1)]))
    shape = (*image(draw)[:2], draw(st.integers(8, 12)))
    return LayerCase(kind(axis, **affine(draw)), (shape,), draw(few))


@case_of(layers.GroupNormalization)
def group_normalization(draw: Draw, kind: Any) -> LayerCase:
    """With eight values a mean or more."""
    groups, size = draw(st.integers(-1, 4).filter(bool)), draw(few)
    height, width, _ = image(draw, least=3, most=6)
    shape = (height, width, size * max(groups, 1))
    return LayerCase(kind(groups, **affine(draw)), (shape,), draw(few))


rates = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])
seeds = st.none() | st.integers(0, 2**32 - 1)


@case_of(layers.Dropout)
def dropout(draw: Draw, kind: Any) -> LayerCase:
    shape, noise = any_shape(draw), None
    if draw(st.booleans()):
        sizes = (draw(st.sampled_from([None, 1, size])) for size in shape)
        noise = (draw(st.sampled_from([None, 1])), *sizes)
    layer = kind(draw(rates), noise, draw(seeds))
    return LayerCase(layer, (shape,), draw(few), draw(st.integers(0, 4)) > 0)


@case_of(layers.SpatialDropout2D)
def spatial_dropout(draw: Draw, kind: Any) -> LayerCase:
    layer = kind(draw(rates), seed=draw(seeds))
    return LayerCase(layer, (image(draw, channels=9),), draw(few), draw(st.integers(0, 4)) > 0)


# --- layers that move and scale values ------------------------------------------------------


@case_of(layers.Flatten)
def flatten(draw: Draw, kind: Any) -> LayerCase:
    return LayerCase(kind(), (any_shape(draw),), draw(few))


@case_of(layers.Reshape)
def reshape(draw: Draw, kind: Any) -> LayerCase:
    shape = any_shape(draw)
    target = list(draw(st.permutations(shape)))
    target[draw(st.integers(0, len(shape) - 1))] = -1
    whole = math.prod(shape)
    return LayerCase(kind(draw(st.sampled_from([tuple(target), (-1,), (1, whole)]))), (shape,), 2)


@case_of(layers.Permute)
def permute(draw: Draw, kind: Any) -> LayerCase:
    shape = any_shape(draw, axes=4)
    return LayerCase(kind(draw(st.permutations(range(1, len(shape) + 1)))), (shape,), draw(few))


@case_of(layers.ZeroPadding2D)
def zero_padding(draw: Draw, kind: Any) -> LayerCase:
    return LayerCase(kind(draw(sides(3))), (image(draw),), draw(few))


@case_of(layers.Cropping2D)
def cropping(draw: Draw, kind: Any) -> LayerCase:
    return LayerCase(kind(draw(sides(3))), (image(draw, least=7, most=9),), draw(few))


@case_of(layers.UpSampling2D)
def up_sampling(draw: Draw, kind: Any) -> LayerCase:
    mode = draw(st.sampled_from(["nearest", "bilinear"]))
    return LayerCase(kind(draw(pair(1, 4)), interpolation=mode), (image(draw),), draw(few))


def per_channel(draw: Draw, channels: int, values: list[float]) -> Any:
    number = st.sampled_from(values)
    return draw(number | st.tuples(*[number] * channels))


@case_of(layers.Rescaling)
def rescaling(draw: Draw, kind: Any) -> LayerCase:
    shape = image(draw)
    scale = per_channel(draw, shape[-1], [1 / 255, 0.5, -2.0])
    return LayerCase(kind(scale, per_channel(draw, shape[-1], [0.0, -1.0, 0.3])), (shape,), 2)


@case_of(layers.Normalization)
def normalization(draw: Draw, kind: Any) -> LayerCase:
    shape = image(draw)
    mean = per_channel(draw, shape[-1], [0.0, 0.45, -2.0])
    variance = per_channel(draw, shape[-1], [1.0, 0.05, 4.0])
    layer = kind(mean=mean, variance=variance, invert=draw(st.booleans()))
    return LayerCase(layer, (shape,), draw(few))


# --- layers of several inputs ---------------------------------------------------------------


def merging(draw: Draw, kind: Any) -> LayerCase:
    count = 2 if kind is layers.Subtract else draw(st.integers(2, 4))
    return LayerCase(kind(), (any_shape(draw),) * count, draw(few))


for _kind in (layers.Add, layers.Subtract, layers.Average, layers.Maximum):
    case_of(_kind)(merging)


@case_of(layers.Multiply)
def multiply(draw: Draw, kind: Any) -> LayerCase:
    shape = any_shape(draw)
    narrow = st.tuples(*(st.sampled_from([1, size]) for size in shape))
    others = draw(st.lists(narrow, min_size=1, max_size=3))
    return LayerCase(kind(), tuple(draw(st.permutations([shape, *others]))), draw(few))


@case_of(layers.Concatenate)
def concatenate(draw: Draw, kind: Any) -> LayerCase:
    shape = list(any_shape(draw))
    axis = draw(st.integers(1, len(shape)))
    shapes = []
    for _ in range(draw(st.integers(2, 4))):
        shape[axis - 1] = draw(few)
        shapes.append(tuple(shape))
    layer = kind(draw(st.sampled_from([axis, axis - len(shape) - 1])))
    return LayerCase(layer, tuple(shapes), draw(few))
