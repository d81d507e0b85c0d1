"""Normalisation layers: promises over many shapes, formulas, Keras' arguments, complaints."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.initializers import Constant
from cpcnn.layers import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    Stack,
    from_config,
    to_config,
)
from cpcnn.testing import check_layer

FLAGS = {"center": True, "scale": True, "beta_initializer": "zeros", "gamma_initializer": "ones"}
MOVING = {"moving_mean_initializer": "zeros", "moving_variance_initializer": "ones"}
KERAS: dict[Any, dict[str, Any]] = {
    BatchNormalization: {"axis": -1, "momentum": 0.99, "epsilon": 1e-3, **FLAGS, **MOVING},
    LayerNormalization: {"axis": -1, "epsilon": 1e-3, **FLAGS},
    GroupNormalization: {"groups": 32, "axis": -1, "epsilon": 1e-3, **FLAGS},
}


def normal(*shape: int) -> NDArray[np.float64]:
    return Philox(0, "x").normal(shape).astype(np.float64)


@pytest.mark.parametrize("kind", KERAS, ids=lambda kind: kind.__name__)
def test_arguments_are_those_of_keras(kind: Any) -> None:
    found = {item.name: item.default for item in fields(kind) if item.init and not item.kw_only}
    assert list(found.items()) == list(KERAS[kind].items())


pixels = st.lists(st.integers(1, 3), max_size=2)


@settings(max_examples=20)
@given(pixels, st.integers(4, 7), st.booleans(), st.booleans(), st.sampled_from(["numpy", "cpu"]))
def test_batch_and_layer_normalization_keep_their_promises(
    sizes: list[int], channels: int, center: bool, scale: bool, device: str
) -> None:
    here, shape = get_device(device, threads=1), (*sizes, channels)
    flags = {"center": center, "scale": scale}
    check_layer(LayerNormalization(**flags), shape, device=here)
    check_layer(LayerNormalization(tuple(range(-len(shape), 0)), **flags), shape, device=here)
    check_layer(BatchNormalization(**flags), shape, device=here, batch=5)
    check_layer(BatchNormalization(**flags), shape, device=here, training=False)


@settings(max_examples=20)
@given(
    pixels,
    st.integers(1, 3),
    st.integers(4, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["numpy", "cpu"]),
)
def test_group_normalization_keeps_its_promises(
    sizes: list[int], groups: int, width: int, center: bool, scale: bool, device: str
) -> None:
    layer = GroupNormalization(groups, center=center, scale=scale)
    check_layer(layer, (*sizes, groups * width), device=get_device(device, threads=1))


def test_instance_normalization_is_a_group_for_every_channel(run_layer: Any) -> None:
    check_layer(GroupNormalization(-1), (3, 4, 2))
    x = normal(2, 3, 4, 5)
    y = run_layer(GroupNormalization(-1), x)
    np.testing.assert_array_equal(y, run_layer(GroupNormalization(5), x))
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-3)
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_one_group_is_layer_normalization_with_a_gain_for_channels(run_layer: Any) -> None:
    x = normal(2, 3, 4, 5)
    whole = run_layer(LayerNormalization((1, 2, 3)), x)
    np.testing.assert_allclose(run_layer(GroupNormalization(1), x), whole, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, 3, (3,), [-1], (2, 3), (-2, -1), (3, 2), (1, 2, 3)])
def test_layer_normalization_over_the_last_axes(run_layer: Any, axis: Any) -> None:
    x = normal(2, 3, 4, 5)
    layer = LayerNormalization(axis, epsilon=0.1)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 0.1)
    np.testing.assert_allclose(run_layer(layer, x), expected, atol=1e-12)
    assert layer.gamma is not None
    assert layer.gamma.shape == x.shape[4 - len(axes) :]


@pytest.mark.parametrize("kind", [BatchNormalization, GroupNormalization])
def test_the_last_axis_has_two_names(kind: Any) -> None:
    for axis in (-1, 3):
        assert kind(axis=axis).build((4, 5, 32)) == (4, 5, 32)


def test_initializers_are_used() -> None:
    network = Stack(
        [
            BatchNormalization(
                beta_initializer=Constant(1.0),
                gamma_initializer=Constant(2.0),
                moving_mean_initializer=Constant(3.0),
                moving_variance_initializer=Constant(4.0),
                name="batch",
            ),
            LayerNormalization(
                beta_initializer=Constant(5.0), gamma_initializer="zeros", name="layer"
            ),
            GroupNormalization(
                1, beta_initializer="ones", gamma_initializer=Constant(6.0), name="group"
            ),
        ]
    )
    again = from_config(to_config(network))
    again.build((2,))
    store = ParamStore(again.parameters(), get_device("numpy"))
    store.initialize(0)
    assert {path: value.tolist() for path, value in store.get_weights().items()} == {
        "batch.gamma": [2, 2],
        "batch.beta": [1, 1],
        "batch.moving_mean": [3, 3],
        "batch.moving_variance": [4, 4],
        "layer.gamma": [0, 0],
        "layer.beta": [5, 5],
        "group.gamma": [6, 6],
        "group.beta": [1, 1],
    }
    assert not any(param.decay for param in store.params.values())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BatchNormalization(0.9), ["BatchNormalization", "axis", "0.9"]),
        (lambda: BatchNormalization((1, 2)), ["BatchNormalization", "axis", "(1, 2)"]),
        (lambda: BatchNormalization(momentum=-0.1), ["momentum", "-0.1"]),
        (lambda: LayerNormalization("last"), ["LayerNormalization", "axis", "'last'"]),
        (lambda: LayerNormalization((1, "2")), ["axis", "'2'"]),
        (lambda: LayerNormalization(epsilon=-1), ["LayerNormalization", "epsilon", "-1"]),
        (lambda: GroupNormalization(0), ["GroupNormalization", "groups", "0"]),
        (lambda: GroupNormalization(-2), ["groups", "-2"]),
        (lambda: GroupNormalization(2.0), ["groups", "2.0"]),
        (lambda: GroupNormalization(2, epsilon=None), ["GroupNormalization", "epsilon", "None"]),
    ],
)
def test_options_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (BatchNormalization(1), (4, 5, 3), ["BatchNormalization", "axis=1", "('N', 4, 5, 3)"]),
        (BatchNormalization(4), (4, 5, 3), ["axis=4"]),
        (GroupNormalization(axis=0), (4, 5, 32), ["GroupNormalization", "axis=0"]),
        (GroupNormalization(), (4, 5, 48), ["48 channels", "32 groups"]),
        (GroupNormalization(8), (4,), ["4 channels", "8 groups"]),
        (GroupNormalization(8), (), ["GroupNormalization", "scalar"]),
        (LayerNormalization(0), (4, 5, 3), ["last axes", "axis=0"]),
        (LayerNormalization((1, 3)), (4, 5, 3), ["one run", "axis=(1, 3)"]),
        (LayerNormalization((-1, 3)), (4, 5, 3), ["axis=(-1, 3)"]),
        (LayerNormalization((1, 2)), (4, 5, 3), ["axis=(1, 2)"]),
        (LayerNormalization(2), (4,), ["axis=2", "1 axes"]),
        (LayerNormalization(()), (4,), ["axis=()"]),
        (LayerNormalization(), (), ["axis=-1"]),
    ],
)
def test_shapes_that_do_not_fit(layer: Any, shape: Any, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(shape)
    for word in words:
        assert word in str(caught.value)
