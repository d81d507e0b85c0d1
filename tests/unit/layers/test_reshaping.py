"""Flatten, Reshape and Permute move values and change none."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.devices import get_device
from cpcnn.layers import Flatten, Layer, Permute, Reshape, Stack, from_config, to_config
from cpcnn.testing import check_layer

EXAMPLES = 15

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def counted(*shape: int) -> Any:
    return np.arange(math.prod(shape), dtype=np.float64).reshape(shape)


@st.composite
def reshapes(draw: Any) -> tuple[Any, Any]:
    """A shape, and another one of as many values, in which one size may be unknown."""
    shape = draw(shapes)
    target = list(draw(st.permutations([*shape, 1])))
    if draw(st.booleans()):
        target[draw(st.integers(0, len(shape)))] = -1
    return shape, tuple(target)


@settings(max_examples=EXAMPLES)
@given(reshapes())
def test_reshape_keeps_the_order_of_values(run_layer: Any, case: Any) -> None:
    shape, target = case
    x = counted(3, *shape)
    np.testing.assert_array_equal(run_layer(Reshape(target), x), x.reshape(3, *target))
    np.testing.assert_array_equal(run_layer(Flatten(), x), x.reshape(3, -1))
    check_layer(Reshape(target), shape)


@settings(max_examples=EXAMPLES)
@given(shapes, st.randoms(use_true_random=False))
def test_permute_reorders_axes(run_layer: Any, shape: Any, random: Any) -> None:
    dims = random.sample(range(1, len(shape) + 1), len(shape))
    x = counted(3, *shape)
    y = run_layer(Permute(dims), x)
    np.testing.assert_array_equal(y, x.transpose(0, *dims))
    assert y.flags.c_contiguous  # or fast ops behind it would decline
    assert Permute(dims).backward(y, None, Context(get_device("numpy"))).tobytes() == x.tobytes()
    check_layer(Permute(dims), shape)


@pytest.mark.parametrize(
    ("layer", "config"),
    [
        (Reshape((4, -1)), {"target_shape": [4, -1]}),
        (Permute([2, 1]), {"dims": [2, 1]}),
        (Flatten(), {}),
    ],
)
def test_configuration(layer: Layer, config: Any) -> None:
    written = json.loads(json.dumps(to_config(layer)))
    assert written["config"] == config
    again = from_config(written)
    assert again.build((8, 3)) == layer.build((8, 3))


@pytest.mark.parametrize(
    "target", [5, "abc", (0, 3), (2.0, 3), (-1, -1), (-2, 3), (None, 3), (True,)]
)
def test_target_shapes_that_cannot_be_meant(target: Any) -> None:
    with pytest.raises(UsageError, match="Reshape: target_shape must be"):
        Reshape(target)


@pytest.mark.parametrize("dims", [(0, 1), (1, 1), (1, 3), (2.5, 1), "21", 2, (1, None), (True, 2)])
def test_orders_that_cannot_be_meant(dims: Any) -> None:
    with pytest.raises(UsageError, match="Permute: dims must be"):
        Permute(dims)


@pytest.mark.parametrize("target", [(5, 3), (5, -1), (24,), (-1, 12, 2)])
def test_values_that_do_not_fit(target: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        Stack([Reshape(target, name="new")]).build((3, 4))
    for word in ("layer 'new'", "(3, 4)", "12 values", str(target)):
        assert word in str(caught.value)


def test_permute_needs_as_many_axes() -> None:
    with pytest.raises(ShapeError, match=r"dims \(2, 1\) expects 2 axes, got \(3, 4, 5\)"):
        Permute((2, 1)).build((3, 4, 5))
