"""Depthwise and separable convolution, against the sum over each window."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cpcnn.core.context import Context, Policy
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import get_device
from cpcnn.layers import (
    DepthwiseConv2D,
    Layer,
    SeparableConv2D,
    Stack,
    from_config,
    to_config,
)
from cpcnn.testing import check_layer

EXAMPLES = 15
KINDS = [DepthwiseConv2D, lambda *args, **options: SeparableConv2D(3, *args, **options)]

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def cases(draw: Any) -> tuple[Any, dict[str, Any]]:
    """An input shape that the options fit, and the options that both layers have."""
    shape = (draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 3)))
    options = {
        "kernel_size": draw(pairs),
        "strides": draw(pairs),
        "padding": draw(st.one_of(st.sampled_from(["valid", "same"]), st.tuples(sides, sides))),
        "dilation_rate": draw(st.sampled_from([(1, 1), (2, 1), (2, 3)])),
        "depth_multiplier": draw(st.integers(1, 3)),
        "activation": draw(st.sampled_from([None, "tanh", "softmax"])),
        "use_bias": draw(st.booleans()),
    }
    try:
        fitted(shape, options)
    except ShapeError:
        assume(False)
    return shape, options


def fitted(shape: Any, options: Any) -> Window:
    names = ("kernel_size", "strides", "padding", "dilation_rate")
    return Window.fit(*shape[:2], *(options[name] for name in names))


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def depthwise(x: Any, kernel: Any, window: Window) -> Any:
    """The definition: output c * M + m is the sum over the window of channel c."""
    padded = np.pad(x, ((0, 0), *window.padding, (0, 0)))
    views = sliding_window_view(padded, window.extent, axis=(1, 2))
    rows, columns = window.stride
    down, across = window.dilation
    patches = views[:, ::rows, ::columns, :, ::down, ::across]
    y = np.einsum("nhwcij,ijcm->nhwcm", patches, kernel)
    return y.reshape(*y.shape[:3], -1)


@settings(max_examples=EXAMPLES)
@given(cases())
def test_depthwise_is_the_definition(run_layer: Any, case: Any) -> None:
    shape, options = case
    options = {**options, "activation": None}
    x = normal(2, *shape)
    kernel = normal(*options["kernel_size"], shape[2], options["depth_multiplier"], stream="w")
    found = run_layer(DepthwiseConv2D(**options), x, depthwise_kernel=kernel)
    np.testing.assert_allclose(found, depthwise(x, kernel, fitted(shape, options)), atol=1e-12)


@settings(max_examples=EXAMPLES)
@given(cases())
def test_separable_is_depthwise_and_pointwise(run_layer: Any, case: Any) -> None:
    shape, options = case
    options = {**options, "activation": "tanh", "use_bias": True}
    channels = shape[2] * options["depth_multiplier"]
    x = normal(2, *shape)
    kernel = normal(*options["kernel_size"], shape[2], options["depth_multiplier"], stream="w")
    pointwise, bias = normal(1, 1, channels, 4, stream="p"), normal(4, stream="b")
    found = run_layer(
        SeparableConv2D(4, **options),
        x,
        depthwise_kernel=kernel,
        pointwise_kernel=pointwise,
        bias=bias,
    )
    between = depthwise(x, kernel, fitted(shape, options))
    np.testing.assert_allclose(found, np.tanh(between @ pointwise[0, 0] + bias), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=["depthwise", "separable"])
@pytest.mark.parametrize("device", ["numpy", "cpu"])
@settings(max_examples=EXAMPLES)
@given(cases())
def test_they_keep_the_promises_of_layers(kind: Any, device: str, case: Any) -> None:
    shape, options = case
    check_layer(kind(**options), shape, device=get_device(device, threads=1), batch=2)


def test_separable_in_front_learns_without_a_gradient_of_pixels() -> None:
    """The 1×1 convolution stands behind the depthwise one and must give its gradient."""
    device, gradients = get_device("numpy"), []
    for wanted in (True, False):
        layer = SeparableConv2D(3, 3)
        layer.build((5, 5, 2))
        store = ParamStore(layer.parameters(), device, "float64")
        store.initialize(0)
        policy = Policy("float64", "float64")
        ctx = Context(device, training=True, grad=True, input_gradient=wanted, policy=policy)
        y, saved = layer.forward(normal(2, 5, 5, 2), ctx)
        dx = layer.backward(y, saved, ctx)
        assert (dx is not None) == wanted
        gradients.append(store.unflatten(store.grads.copy()))
    for path, gradient in gradients[0].items():
        assert gradient.all()
        np.testing.assert_array_equal(gradients[1][path], gradient)


def test_parameters() -> None:
    separable = SeparableConv2D(5, (3, 2), depth_multiplier=2)
    network = Stack([DepthwiseConv2D(3, depth_multiplier=4), separable])
    assert network.build((9, 8, 2)) == (5, 5, 5)
    found = [(path, param.shape, param.decay) for path, param in network.parameters().items()]
    assert found == [
        ("depthwise_conv2d.depthwise_kernel", (3, 3, 2, 4), True),
        ("depthwise_conv2d.bias", (8,), False),
        ("separable_conv2d.depthwise_kernel", (3, 2, 8, 2), True),
        ("separable_conv2d.pointwise_kernel", (1, 1, 16, 5), True),
        ("separable_conv2d.bias", (5,), False),
    ]


@pytest.mark.parametrize(
    ("layer", "config"),
    [
        (DepthwiseConv2D(3), {"kernel_size": [3, 3]}),
        (
            DepthwiseConv2D(3, 2, ((1, 0), (0, 1)), 2, depthwise_initializer="he_normal"),
            {
                "kernel_size": [3, 3],
                "strides": [2, 2],
                "padding": [[1, 0], [0, 1]],
                "depth_multiplier": 2,
                "depthwise_initializer": "he_normal",
            },
        ),
        (SeparableConv2D(4, 3), {"filters": 4, "kernel_size": [3, 3]}),
    ],
)
def test_configuration(layer: Layer, config: Any) -> None:
    written = json.loads(json.dumps(to_config(layer)))
    assert written == {"type": type(layer).__name__, "config": config}
    assert to_config(from_config(written)) == to_config(layer)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DepthwiseConv2D(0), ["kernel_size", "0"]),
        (lambda: DepthwiseConv2D(3, depth_multiplier=0), ["DepthwiseConv2D", "depth_multiplier"]),
        (lambda: SeparableConv2D(3, 3, depth_multiplier=1.5), ["SeparableConv2D", "1.5"]),
        (lambda: SeparableConv2D(-1, 3), ["SeparableConv2D", "filters", "-1"]),
        (lambda: SeparableConv2D(3, 3, activation="x"), ["'x'"]),
    ],
)
def test_options_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("kind", KINDS, ids=["depthwise", "separable"])
def test_shapes_that_do_not_fit(kind: Any) -> None:
    with pytest.raises(ShapeError, match=r"5×5 window .* 3×9 pixels"):
        kind(5).build((3, 9, 2))
    with pytest.raises(ShapeError, match=r"Conv2D expects images .* \(12,\)"):
        kind(5).build((12,))
    with pytest.raises(ShapeError, match=r"layer 'first': .*5×5.*3×9"):
        Stack([kind(5, name="first")]).build((3, 9, 2))
    layer = kind(3)
    layer.build((5, 5, 2))
    with pytest.raises(ShapeError, match=r"\(3, 3, 2, 1\).*\(3, 3, 4, 1\)"):
        layer.build((5, 5, 4))
