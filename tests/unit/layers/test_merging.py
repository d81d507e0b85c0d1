"""Layers of several inputs: promises over many shapes, what they compute, their complaints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import (
    Add,
    Average,
    Concatenate,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    Graph,
    Input,
    Layer,
    Maximum,
    Multiply,
    Subtract,
)
from cpcnn.testing import check_layer

SAME_SHAPE: dict[Any, Any] = {
    Add: lambda arrays: sum(arrays),
    Multiply: np.prod,
    Average: lambda arrays: np.mean(arrays, 0),
    Maximum: lambda arrays: np.max(arrays, 0),
}
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
devices = st.sampled_from(["numpy", "cpu"])


def inputs(*shapes: tuple[int, ...]) -> list[NDArray[np.float64]]:
    return [
        Philox(0, f"input {k}").normal((2, *shape)).astype(np.float64)
        for k, shape in enumerate(shapes)
    ]


def run(layer: Layer, arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    layer.build(tuple(array.shape[1:] for array in arrays))
    return np.asarray(layer.forward(tuple(arrays), Context(get_device("numpy")))[0])


@pytest.mark.parametrize("kind", SAME_SHAPE, ids=lambda kind: kind.__name__)
@settings(max_examples=10)
@given(shapes, st.integers(2, 4), devices)
def test_inputs_of_one_shape(kind: Any, shape: Any, count: int, device: str) -> None:
    check_layer(kind(), (shape,) * count, device=get_device(device, threads=1))
    arrays = inputs(*(shape,) * count)
    expected = SAME_SHAPE[kind](arrays) if kind is not Multiply else np.prod(arrays, 0)
    np.testing.assert_allclose(run(kind(), arrays), expected, atol=1e-12)


@settings(max_examples=10)
@given(shapes, devices)
def test_subtract(shape: Any, device: str) -> None:
    check_layer(Subtract(), (shape, shape), device=get_device(device, threads=1))
    first, second = inputs(shape, shape)
    np.testing.assert_array_equal(run(Subtract(), [first, second]), first - second)


@pytest.mark.parametrize(
    "gates", [((1, 1, 5),), ((3, 4, 1),), ((1, 1, 1),), ((3, 1, 1), (1, 4, 5))]
)
def test_multiply_repeats_axes_of_size_1(gates: Any) -> None:
    check_layer(Multiply(), ((3, 4, 5), *gates))
    arrays = inputs((3, 4, 5), *gates)
    expected = arrays[0]
    for gate in arrays[1:]:
        expected = expected * gate
    np.testing.assert_allclose(run(Multiply(), arrays), expected, atol=1e-12)
    assert Multiply().build(((1, 4, 1), (3, 1, 5))) == (3, 4, 5)


@settings(max_examples=25)
@given(st.data(), shapes, st.integers(2, 4), devices)
def test_concatenate(data: st.DataObject, shape: Any, count: int, device: str) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    for number in (axis + 1, axis - len(shape)):
        layer = Concatenate(number)
        check_layer(layer, tuple(parts), device=get_device(device, threads=1))
        arrays = inputs(*parts)
        np.testing.assert_array_equal(run(layer, arrays), np.concatenate(arrays, number))


def test_channels_are_joined_by_default() -> None:
    assert Concatenate().build(((4, 5, 2), (4, 5, 3))) == (4, 5, 5)


def test_a_network_that_weighs_its_channels() -> None:
    """Squeeze and excitation, in a graph with every merging layer."""
    image = Input((4, 5, 3))
    x = Conv2D(4, 3, padding="same", activation="tanh")(image)
    gate = Dense(4, activation="sigmoid")(GlobalAveragePooling2D(keepdims=True)(x))
    weighed = Multiply()([x, gate])
    top = Average()([Maximum()([x, weighed]), Subtract()([weighed, x])])
    check_layer(Graph.between(image, Concatenate()([top, image])), (4, 5, 3))


@pytest.mark.parametrize("kind", [Add, Average, Maximum, Subtract], ids=lambda kind: kind.__name__)
def test_inputs_of_several_shapes(kind: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        kind().build(((3, 2), (3, 1)))
    for word in (kind.__name__, "(3, 2)", "(3, 1)"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Multiply(), ((3, 2), (3, 4)), ["Multiply", "(3, 2)", "(3, 4)", "keepdims=True"]),
        (Multiply(), ((3, 4, 5), (5,)), ["(3, 4, 5)", "(5,)"]),
        (Multiply(), ((3, 4),), ["Multiply", "two or more"]),
        (Subtract(), ((3,), (3,), (3,)), ["exactly two", "3"]),
        (Concatenate(), ((3, 4, 2), (3, 5, 2)), ["(3, 4, 2)", "(3, 5, 2)", "axis -1"]),
        (Concatenate(), ((3, 2), (2,)), ["(3, 2)", "(2,)"]),
        (Concatenate(4), ((3, 4, 2), (3, 4, 2)), ["no axis 4"]),
        (Concatenate(), ((3, 4, 2),), ["Concatenate()([a, b])"]),
        (Concatenate(), (4, 4), ["two or more", "(4, 4)"]),
    ],
)
def test_shapes_that_do_not_fit(layer: Layer, shape: Any, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(shape)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("axis", [0, None, 1.0, True])
def test_axes_that_cannot_be_meant(axis: Any) -> None:
    with pytest.raises(UsageError, match="Concatenate: axis must be an integer other than 0"):
        Concatenate(axis)
