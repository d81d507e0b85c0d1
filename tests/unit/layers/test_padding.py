"""ZeroPadding2D and Cropping2D: against np.pad, and undoing each other."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import Cropping2D, Layer, Stack, ZeroPadding2D, from_config, to_config
from cpcnn.testing import check_layer

EXAMPLES = 15

sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))


@settings(max_examples=EXAMPLES)
@given(shapes, st.tuples(sides, sides))
def test_padding_adds_zeros_that_cropping_takes_off(run_layer: Any, shape: Any, pads: Any) -> None:
    x = Philox(0, "x").normal((2, *shape)).astype(np.float64)
    padded = run_layer(ZeroPadding2D(pads), x)
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), *pads, (0, 0))))
    np.testing.assert_array_equal(run_layer(Cropping2D(pads), padded), x)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@settings(max_examples=EXAMPLES)
@given(shapes, st.tuples(sides, sides))
def test_they_keep_the_promises_of_layers(device: str, shape: Any, pads: Any) -> None:
    here = get_device(device, threads=1)
    check_layer(ZeroPadding2D(pads), shape, device=here)
    (top, bottom), (left, right) = pads
    larger = (shape[0] + top + bottom, shape[1] + left + right, shape[2])
    check_layer(Cropping2D(pads), larger, device=here)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
    ],
)
def test_what_pixel_counts_mean(value: Any, meaning: Any) -> None:
    assert ZeroPadding2D(value).padding == meaning
    assert Cropping2D(value).cropping == meaning


def test_defaults_are_those_of_keras() -> None:
    assert ZeroPadding2D().build((4, 5, 3)) == (6, 7, 3)
    assert Cropping2D().build((4, 5, 3)) == (4, 5, 3)


def test_what_is_cut_out_has_no_gaps() -> None:
    """Fast ops decline arrays with gaps, and layers behind would be slow."""
    x = np.ones((2, 5, 5, 3))
    ctx = Context(get_device("numpy"), grad=True)
    assert Cropping2D(1).forward(x, ctx)[0].flags.c_contiguous
    assert ZeroPadding2D(1).backward(x, None, ctx).flags.c_contiguous


@pytest.mark.parametrize("layer", [ZeroPadding2D(((0, 1), (2, 3))), Cropping2D((1, 2))])
def test_configuration(layer: Layer) -> None:
    again = from_config(json.loads(json.dumps(to_config(layer))))
    assert to_config(again) == to_config(layer)
    assert again.build((9, 9, 1)) == layer.build((9, 9, 1))


@pytest.mark.parametrize("kind", [ZeroPadding2D, Cropping2D])
@pytest.mark.parametrize("value", ["same", -1, 1.5, None, (1, 2, 3), (1, -2), ((1,), (2,))])
def test_counts_that_cannot_be_meant(kind: Any, value: Any) -> None:
    with pytest.raises(UsageError, match=r"(padding|cropping) must be"):
        kind(value)


def test_cropping_leaves_something() -> None:
    with pytest.raises(
        ShapeError, match=r"layer 'crop': .*\(\(2, 2\), \(0, 0\)\).* nothing of .* 4×5 pixels"
    ):
        Stack([Cropping2D((2, 0), name="crop")]).build((4, 5, 3))
    with pytest.raises(ShapeError, match=r"ZeroPadding2D expects images .* \(7,\)"):
        ZeroPadding2D().build((7,))
