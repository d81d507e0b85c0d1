"""UpSampling2D: repeated pixels, and interpolation between the centres of pixels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import UpSampling2D, from_config, to_config
from cpcnn.testing import check_layer

EXAMPLES = 15

factors = st.tuples(st.integers(1, 4), st.integers(1, 4))
shapes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
interpolations = st.sampled_from(["nearest", "bilinear"])


@settings(max_examples=EXAMPLES)
@given(shapes, factors)
def test_nearest_repeats_pixels(run_layer: Any, shape: Any, size: Any) -> None:
    x = Philox(0, "x").normal((2, *shape)).astype(np.float64)
    expected = x.repeat(size[0], axis=1).repeat(size[1], axis=2)
    np.testing.assert_array_equal(run_layer(UpSampling2D(size), x), expected)


@settings(max_examples=EXAMPLES)
@given(shapes, factors)
def test_bilinear_reads_at_the_centres_of_new_pixels(run_layer: Any, shape: Any, size: Any) -> None:
    x = Philox(0, "x").normal((2, *shape)).astype(np.float64)
    expected = x
    for axis, factor in zip((1, 2), size, strict=True):
        old = np.arange(shape[axis - 1]) + 0.5
        new = (np.arange(shape[axis - 1] * factor) + 0.5) / factor
        expected = np.apply_along_axis(lambda line: np.interp(new, old, line), axis, expected)  # noqa: B023
    found = run_layer(UpSampling2D(size, interpolation="bilinear"), x)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@settings(max_examples=EXAMPLES)
@given(shapes, factors, interpolations)
def test_it_keeps_the_promises_of_layers(
    device: str, shape: Any, size: Any, interpolation: str
) -> None:
    layer = UpSampling2D(size, interpolation=interpolation)
    check_layer(layer, shape, device=get_device(device, threads=1))


def test_configuration() -> None:
    assert to_config(UpSampling2D(3)) == {"type": "UpSampling2D", "config": {"size": [3, 3]}}
    layer = UpSampling2D((2, 3), interpolation="bilinear")
    again = from_config(json.loads(json.dumps(to_config(layer))))
    assert to_config(again) == to_config(layer)
    assert again.build((4, 5, 3)) == (8, 15, 3)


def test_options_that_cannot_be_meant() -> None:
    with pytest.raises(UsageError, match=r"UpSampling2D: interpolation .*nearest or bilinear.*'x'"):
        UpSampling2D(interpolation="x")
    with pytest.raises(UsageError, match=r"size must be .* 0"):
        UpSampling2D(0)
    with pytest.raises(ShapeError, match=r"UpSampling2D expects images .* \(7,\)"):
        UpSampling2D().build((7,))
