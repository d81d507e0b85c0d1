"""The layers of a network as rows: shapes, parameters, and multiply-adds in closed form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import ShapeError
from cpcnn.layers import (
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Graph,
    Input,
    Layer,
    MaxPooling2D,
    Residual,
    SeparableConv2D,
    Stack,
)
from cpcnn.layers.summary import LayerRow, layer_rows, multiply_adds, trace_shapes
from cpcnn.networks import build_network

sizes = st.integers(1, 3)


def row_of(layer: Layer, shape: tuple[int, ...]) -> LayerRow:
    (row,) = layer_rows(Stack([layer]), shape)
    return row


@given(st.integers(3, 9), st.integers(3, 9), sizes, sizes, sizes, sizes, st.booleans())
def test_convolutions(
    height: int, width: int, kernel: int, stride: int, groups: int, share: int, same: bool
) -> None:
    channels, filters = groups * share, groups * 2
    padding = "same" if same else "valid"
    layer = Conv2D(filters, (kernel, 2), strides=stride, padding=padding, groups=groups)
    row = row_of(layer, (height, width, channels))
    rows = -(-height // stride) if same else (height - kernel) // stride + 1
    columns = -(-width // stride) if same else (width - 2) // stride + 1
    assert row.output_shape == (rows, columns, filters)
    assert row.multiply_adds == rows * columns * kernel * 2 * share * filters
    assert row.parameters == kernel * 2 * share * filters + filters


@given(sizes, sizes, sizes)
def test_channelwise_convolutions(kernel: int, channels: int, multiplier: int) -> None:
    shape = (7, 6, channels)
    pixels = (8 - kernel) * (7 - kernel)
    taps = kernel * kernel * channels * multiplier
    depthwise = DepthwiseConv2D(kernel, depth_multiplier=multiplier)
    assert row_of(depthwise, shape).multiply_adds == pixels * taps
    separable = SeparableConv2D(5, kernel, depth_multiplier=multiplier)
    both = pixels * (taps + channels * multiplier * 5)
    assert row_of(separable, shape).multiply_adds == both


@given(sizes, sizes, sizes)
def test_transposed_convolutions(kernel: int, stride: int, channels: int) -> None:
    layer = Conv2DTranspose(4, kernel, strides=stride)
    # every input pixel meets the whole kernel once
    assert row_of(layer, (5, 3, channels)).multiply_adds == 15 * kernel * kernel * channels * 4


def test_dense_layers() -> None:
    assert row_of(Dense(7), (11,)).multiply_adds == 77
    assert row_of(Dense(7), (2, 3, 11)).multiply_adds == 6 * 77


def test_other_layers_have_none() -> None:
    root = Stack([MaxPooling2D(), BatchNormalization(), Flatten()])
    rows = layer_rows(root, (4, 4, 3))
    assert [row.multiply_adds for row in rows] == [0, 0, 0]
    assert [(row.parameters, row.trainable_parameters) for row in rows] == [(0, 0), (12, 6), (0, 0)]
    assert [row.path for row in rows] == ["max_pooling2d", "batch_normalization", "flatten"]


def test_a_layer_at_several_places_is_one_row_and_works_at_each() -> None:
    shared = Conv2D(3, 3, padding="same")
    start = Input((8, 8, 3))
    graph = Graph.between(start, shared(MaxPooling2D()(shared(start))))
    row = next(row for row in layer_rows(graph, (8, 8, 3)) if row.type == "Conv2D")
    assert row.places == 2
    assert row.multiply_adds == (64 + 16) * 9 * 3 * 3
    assert row.parameters == 9 * 3 * 3 + 3
    assert row.output_shape == (8, 8, 3)


def test_containers_are_no_rows_and_their_names_are_in_the_paths() -> None:
    root = Stack([Residual(Stack([Conv2D(2, 1)]), Conv2D(2, 1))])
    paths = [row.path for row in layer_rows(root, (4, 4, 2))]
    assert paths == ["residual.body.conv2d", "residual.shortcut"]


def test_the_ready_networks() -> None:
    # He et al., 2015, table 1: 1.8 billion for the 18 layers at 224 pixels, without the shortcuts
    rows = layer_rows(build_network("resnet18", (224, 224, 3), 1000), (224, 224, 3))
    assert sum(row.multiply_adds for row in rows) == pytest.approx(1.8e9, rel=0.02)
    assert sum(row.trainable_parameters for row in rows) == 11_689_512


class Doubled(Layer):
    def build(self, shape: Any) -> Any:
        return shape


def test_a_layer_of_ones_own_can_have_multiply_adds() -> None:
    @multiply_adds.register
    def _(layer: Doubled, shape: Any, output: Any) -> int:
        return 2 * int(shape[0])

    assert row_of(Doubled(), (5,)).multiply_adds == 10


def test_following_shapes_leaves_no_trace() -> None:
    inside = Conv2D(2, 3)
    root = Stack([inside])
    places = trace_shapes(root, (5, 5, 1))
    assert [(place.layer, place.input, place.output) for place in places] == [
        (inside, (5, 5, 1), (3, 3, 2)),
        (root, (5, 5, 1), (3, 3, 2)),
    ]
    with pytest.raises(ShapeError, match="conv2d"):
        trace_shapes(root, (2, 2, 1))
    assert "build" not in vars(inside)
    assert "build" not in vars(root)
