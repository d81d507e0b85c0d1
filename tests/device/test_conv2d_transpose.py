"""conv2d_transpose against kernels spread pixel by pixel, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device
from cpcnn.testing import check_op

EXAMPLES = 15

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def definition(x: Any, w: Any, b: Any, window: Window, size: Any, dy: Any) -> Any:
    """Every pixel of x adds its multiple of the kernel to the padded output under its window."""
    (top, _), (left, _) = window.padding
    inside = (slice(None), slice(top, top + size[0]), slice(left, left + size[1]))
    padded = np.zeros((x.shape[0], *window.padded(*size), w.shape[2]))
    d_padded, dx, dw = np.zeros(padded.shape), np.zeros(x.shape), np.zeros(w.shape)
    d_padded[inside] = dy
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            first = row * window.stride[0], column * window.stride[1]
            patch = (
                slice(None),
                slice(first[0], first[0] + window.extent[0], window.dilation[0]),
                slice(first[1], first[1] + window.extent[1], window.dilation[1]),
            )
            padded[patch] += np.einsum("nc,ijoc->nijo", x[:, row, column], w)
            dx[:, row, column] = np.einsum("nijo,ijoc->nc", d_padded[patch], w)
            dw += np.einsum("nijo,nc->ijoc", d_padded[patch], x[:, row, column])
    y = padded[inside]
    return (y if b is None else y + b), dx, dw, dy.sum((0, 1, 2))


@st.composite
def geometries(draw: Any) -> tuple[Any, ...]:
    """Arguments of a small transposed convolution, with everything that a window can have."""
    strides = draw(pairs)
    extra = st.tuples(*(st.integers(0, stride - 1) for stride in strides))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    try:
        window, size = Window.fit_transposed(
            height,
            width,
            (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
            strides,
            draw(st.one_of(st.sampled_from(["valid", "same"]), st.tuples(sides, sides))),
            draw(st.sampled_from([(1, 1), (2, 2), (1, 3)])),
            draw(st.one_of(st.none(), extra)),
        )
    except ShapeError:
        assume(False)
    x = normal(draw(st.integers(1, 3)), height, width, draw(st.integers(1, 4)))
    w = normal(*window.kernel, draw(st.integers(1, 4)), x.shape[3], stream="w")
    b = normal(w.shape[2], stream="b") if draw(st.booleans()) else None
    return x, w, b, window, size


@settings(max_examples=EXAMPLES)
@given(geometries())
def test_it_is_the_definition(call: Callable[..., Any], case: Any) -> None:
    x, w, b, window, size = case
    dy = normal(x.shape[0], *size, w.shape[2], stream="dy")
    y, (dx, dw, db) = call("conv2d_transpose", x, w, b, window, size, dy=dy)
    expected = definition(x, w, b, window, size, dy)
    assert (db is None) == (b is None)
    for found, wanted in zip((y, dx, dw, db), expected, strict=True):
        if found is not None:
            np.testing.assert_allclose(found, wanted, atol=1e-11)


@settings(max_examples=EXAMPLES)
@given(geometries(), st.sampled_from([None, "relu", "tanh", "softmax", "gelu"]))
def test_it_keeps_the_contract_of_ops(device: Device, case: Any, activation: Any) -> None:
    check_op(
        device, "conv2d_transpose", *case, activation=activation, gradient=activation != "relu"
    )


@settings(max_examples=EXAMPLES)
@given(geometries())
def test_it_is_the_transpose_of_conv2d(call: Callable[..., Any], case: Any) -> None:
    """<conv(z), x> = <z, transpose(x)> for any z."""
    x, w, _, window, size = case
    z = normal(x.shape[0], *size, w.shape[2], stream="z")
    forth = np.sum(call("conv2d", z, w, None, window) * x)
    back = np.sum(z * call("conv2d_transpose", x, w, None, window, size))
    assert forth == pytest.approx(back, abs=1e-10)


def test_without_input_gradient_there_is_none(device: Device) -> None:
    ctx = Context(device, grad=True, input_gradient=False)
    x, w = device.put(normal(2, 3, 3, 4)), device.put(normal(2, 2, 5, 4))
    with device.scope():
        y, record = ctx.ops.conv2d_transpose(x, w, None, Window((2, 2), (2, 2)), (6, 6))
        dx, dw, db = ctx.ops.backward(y, record)
    assert dx is None
    assert dw.shape == w.shape
    assert db is None
