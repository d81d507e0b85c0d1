"""Transposed convolution: Keras' sizes, and kernels spread over the output."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import Conv2DTranspose, Stack, from_config, to_config
from cpcnn.testing import check_layer

EXAMPLES = 15
NUMPY = get_device("numpy")

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def cases(draw: Any) -> tuple[Any, Conv2DTranspose]:
    """An input shape and a layer that gives at least a pixel for it."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 3)))
    strides = draw(pairs)
    extra = st.tuples(*(st.integers(0, stride - 1) for stride in strides))
    layer = Conv2DTranspose(
        draw(st.integers(1, 3)),
        draw(pairs),
        strides,
        draw(st.one_of(st.sampled_from(["valid", "same"]), st.tuples(sides, sides))),
        dilation_rate=draw(st.sampled_from([(1, 1), (2, 1), (1, 3)])),
        activation=draw(st.sampled_from([None, "tanh"])),
        use_bias=draw(st.booleans()),
        output_padding=draw(st.one_of(st.none(), extra)),
    )
    try:
        layer.build(shape)
    except ShapeError:
        assume(False)
    return shape, layer


@settings(max_examples=2 * EXAMPLES)
@given(cases())
def test_every_pixel_spreads_its_kernel(run_layer: Any, case: Any) -> None:
    (height, width, channels), layer = case
    window, size = layer.geometry(height, width)
    (top, _), (left, _) = window.padding
    x = Philox(0, "x").normal((2, height, width, channels)).astype(np.float64)
    kernel = Philox(0, "w").normal((*layer.kernel_size, layer.filters, channels))
    y = np.zeros((2, *size, layer.filters))
    for row in range(height):
        for column in range(width):
            for i, j in np.ndindex(*layer.kernel_size):
                down = row * layer.strides[0] + i * layer.dilation_rate[0] - top
                across = column * layer.strides[1] + j * layer.dilation_rate[1] - left
                if down in range(size[0]) and across in range(size[1]):
                    y[:, down, across] += x[:, row, column] @ kernel[i, j].T
    if layer.activation:
        y = np.tanh(y)
    np.testing.assert_allclose(run_layer(layer, x, kernel=kernel), y, atol=1e-12)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@settings(max_examples=EXAMPLES)
@given(cases())
def test_it_keeps_the_promises_of_layers(device: str, case: Any) -> None:
    shape, layer = case
    check_layer(layer, shape, device=get_device(device, threads=1), batch=2)


@pytest.mark.parametrize(
    ("options", "size", "output"),
    [
        # what Keras gives for these
        ({"kernel_size": 2, "strides": 2}, 8, 16),
        ({"kernel_size": 2, "strides": 3, "padding": "same", "output_padding": 2}, 8, 23),
        ({"kernel_size": 7, "strides": 16}, 14, 224),
        ({"kernel_size": 3}, 8, 10),
        ({"kernel_size": 3, "padding": "same"}, 8, 8),
        ({"kernel_size": 3, "strides": 2}, 8, 17),
        ({"kernel_size": 3, "strides": 2, "padding": "same"}, 8, 16),
        ({"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 0}, 8, 15),
        ({"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1}, 8, 16),
        ({"kernel_size": 3, "strides": 2, "output_padding": 1}, 8, 18),
        ({"kernel_size": 3, "dilation_rate": 2}, 8, 12),
        # and PyTorch, which knows pixel counts
        ({"kernel_size": 4, "strides": 2, "padding": 1}, 8, 16),
        ({"kernel_size": 3, "strides": 2, "padding": 1, "output_padding": 1}, 8, 16),
    ],
)
def test_output_sizes(options: Any, size: int, output: int) -> None:
    assert Conv2DTranspose(5, **options).build((size, size, 3)) == (output, output, 5)


def test_parameters() -> None:
    network = Stack([Conv2DTranspose(5, (3, 2))])
    network.build((4, 4, 7))
    assert [(path, param.shape) for path, param in network.parameters().items()] == [
        ("conv2d_transpose.kernel", (3, 2, 5, 7)),
        ("conv2d_transpose.bias", (5,)),
    ]


def test_configuration() -> None:
    layer = Conv2DTranspose(4, 3, 2, "same", output_padding=1, kernel_initializer="he_normal")
    config = json.loads(json.dumps(to_config(layer)))
    assert config["config"] == {
        "filters": 4,
        "kernel_size": [3, 3],
        "strides": [2, 2],
        "padding": "same",
        "output_padding": [1, 1],
        "kernel_initializer": "he_normal",
    }
    again = from_config(config)
    assert isinstance(again, Conv2DTranspose)
    assert again.output_padding == (1, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"filters": 0}, ["Conv2DTranspose", "filters", "0"]),
        ({"output_padding": 2}, ["output_padding (2, 2)", "strides (2, 3)"]),
        ({"output_padding": -1}, ["output_padding", "-1"]),
        ({"activation": "x"}, ["'x'"]),
    ],
)
def test_options_that_cannot_be_meant(options: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        Conv2DTranspose(**{"filters": 2, "kernel_size": 3, "strides": (2, 3), **options})
    for word in words:
        assert word in str(caught.value)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"3×3 window makes 0×4 pixels of an input of 2×6"):
        Conv2DTranspose(2, 3, padding=2).build((2, 6, 1))
    with pytest.raises(ShapeError, match=r"Conv2DTranspose expects images .* \(12,\)"):
        Conv2DTranspose(2, 3).build((12,))


@pytest.mark.parametrize("use_bias", [True, False])
def test_the_result_has_no_gaps_in_memory(use_bias: bool) -> None:
    """Fast ops behind it would decline a part of a larger array."""
    layer = Conv2DTranspose(2, 3, strides=2, padding="same", use_bias=use_bias)
    layer.build((3, 3, 1))
    ParamStore(layer.parameters(), NUMPY).initialize(0)
    y, _ = layer.forward(np.ones((2, 3, 3, 1), np.float32), Context(NUMPY))
    assert y.flags.c_contiguous
