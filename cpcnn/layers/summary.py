"""What a network is made of: its layers, their shapes, parameters and multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from ..core.param import Param
from ..core.typing import Shape
from .base import Layer
from .convolution import Conv2D
from .dense import Dense
from .depthwise import DepthwiseConv2D, SeparableConv2D
from .transpose import Conv2DTranspose

HEADER = ("Layer (type)", "Output shape", "Parameters")


@dataclass(frozen=True)
class LayerRow:
    """A layer of a network; `multiply_adds` are those of one image, at all its `places`."""

    path: str
    type: str
    output_shape: Shape
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    places: int


def layer_rows(root: Layer, input_shape: Shape) -> list[LayerRow]:
    """Describe every layer of a root for inputs of a shape (H, W, C), in order; ShapeError.

    Containers are left out, unless they have parameters of their own. Nothing is computed.
    """
    places: dict[int, list[Place]] = {}
    for place in trace_shapes(root, input_shape):
        places.setdefault(id(place.layer), []).append(place)
    return [
        _row(path, layer, places.get(id(layer), []))
        for path, layer in root.walk()
        if layer.params() or not layer.children()
    ]


def _row(path: str, layer: Layer, places: list[Place]) -> LayerRow:
    params = layer.params().values()
    return LayerRow(
        path=path,
        type=type(layer).__name__,
        output_shape=places[0].output if places else (),
        parameters=sum(param.size for param in params),
        trainable_parameters=_trainable(layer),
        multiply_adds=sum(
            multiply_adds(layer, place.input, place.output)
            for place in places
            if not layer.children()
        ),
        places=len(places),
    )


# ---- Where a layer stands ----------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """One place where a layer stands: the shape it reads (several: a tuple of shapes), and gives.

    Shapes are without the batch.
    """

    layer: Layer
    input: Any
    output: Shape


def trace_shapes(root: Layer, input_shape: Shape) -> list[Place]:
    """Follow a shape through a network and return every place, a container after its layers."""
    places: list[Place] = []
    layers = [layer for _, layer in root.walk()]
    for layer in layers:
        vars(layer)["build"] = _recording(layer, places)
    try:
        root.build(input_shape)
    finally:
        for layer in layers:
            del vars(layer)["build"]
    return places


def _recording(layer: Layer, places: list[Place]) -> Callable[[Any], Shape]:
    build = layer.build

    def recorded(shape: Any) -> Shape:
        output = build(shape)
        places.append(Place(layer, shape, output))
        return output

    return recorded


# ---- Multiply-adds -----------------------------------------------------------------------------


@singledispatch
def multiply_adds(layer: Layer, shape: Any, output: Shape) -> int:
    """Count the products of weights and values that a layer sums for one image.

    Only layers with matrix products have any; padding counts as values. A layer of one's own is
    made known with `multiply_adds.register`.
    """
    return 0


@multiply_adds.register
def _(layer: Conv2D, shape: Any, output: Shape) -> int:
    return _pixels(output) * _size(layer.kernel)


@multiply_adds.register
def _(layer: DepthwiseConv2D, shape: Any, output: Shape) -> int:
    return _pixels(output) * _size(layer.depthwise_kernel)


@multiply_adds.register
def _(layer: SeparableConv2D, shape: Any, output: Shape) -> int:
    return _pixels(output) * (_size(layer.depthwise_kernel) + _size(layer.pointwise_kernel))


@multiply_adds.register
def _(layer: Conv2DTranspose, shape: Any, output: Shape) -> int:
    return _pixels(shape) * _size(layer.kernel)


@multiply_adds.register
def _(layer: Dense, shape: Any, output: Shape) -> int:
    return _pixels(output) * _size(layer.kernel)


def _pixels(shape: Shape) -> int:
    """The number of vectors in an array whose last axis is that of the channels."""
    return math.prod(shape[:-1])


def _trainable(layer: Layer) -> int:
    """Count what a layer learns itself, as set now; parameters hear of it when training begins."""
    params = layer.params().values()
    return sum(param.size for param in params if param.learned) if layer.trainable else 0


def _size(param: Param | None) -> int:
    return param.size if param is not None else 0


# ---- As text -----------------------------------------------------------------------------------


def summary_lines(root: Layer, params: Mapping[str, Param]) -> list[str]:
    """Describe every layer of a built root that is not a container, in order, and the totals."""
    rows = [
        (
            f"{path} ({type(layer).__name__})",
            str(layer.output_shape),
            f"{sum(p.size for p in layer.params().values()):,}",
        )
        for path, layer in root.walk()
        if not layer.children() and path
    ]
    widths = [max(len(row[i]) for row in [HEADER, *rows]) for i in range(3)]

    def line(cells: tuple[str, ...]) -> str:
        return f"{cells[0]:<{widths[0]}}  {cells[1]:<{widths[1]}}  {cells[2]:>{widths[2]}}"

    trainable = sum(_trainable(layer) for _, layer in root.walk())
    total = sum(p.size for p in params.values())
    rule = "─" * (sum(widths) + 4)
    return [
        line(HEADER),
        rule,
        *(line(row) for row in rows),
        rule,
        f"Parameters: {total:,} ({total * 4 / 2**20:.2f} MiB), trainable: {trainable:,}",
    ]
