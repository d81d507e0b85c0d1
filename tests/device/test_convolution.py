"""conv2d and dense against loops over output pixels, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device
from cpcnn.testing import check_op

EXAMPLES = 30
MANY = 1000  # of the long tier
ACTIVATIONS = [None, "linear", "relu", "sigmoid", "tanh", "softmax"]


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def loops(x: Any, w: Any, b: Any, window: Window, groups: int, dy: Any) -> Any:
    """The definition: each output pixel is the sum of its patch times the kernel."""
    padded = np.pad(x, ((0, 0), *window.padding, (0, 0)))
    filters, inputs = w.shape[3] // groups, w.shape[2]
    y = np.zeros(dy.shape)
    d_padded, dw = np.zeros(padded.shape), np.zeros(w.shape)
    for row in range(dy.shape[1]):
        for column in range(dy.shape[2]):
            top, left = row * window.stride[0], column * window.stride[1]
            patch = (
                slice(None),
                slice(top, top + window.extent[0], window.dilation[0]),
                slice(left, left + window.extent[1], window.dilation[1]),
            )
            for group in range(groups):
                ins = slice(group * inputs, (group + 1) * inputs)
                outs = slice(group * filters, (group + 1) * filters)
                pixels, kernel = padded[(*patch, ins)], w[..., outs]
                gradient = dy[:, row, column, outs]
                y[:, row, column, outs] = np.tensordot(pixels, kernel, 3)
                d_padded[(*patch, ins)] += np.einsum("no,ijco->nijc", gradient, kernel)
                dw[..., outs] += np.einsum("nijc,no->ijco", pixels, gradient)
    (top, bottom), (left, right) = window.padding
    height, width = padded.shape[1:3]
    dx = d_padded[:, top : height - bottom, left : width - right]
    return (y if b is None else y + b), dx, dw, dy.sum((0, 1, 2))


@st.composite
def geometries(draw: Any) -> tuple[Any, ...]:
    """Arguments of a small convolution, with everything that a window can have."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    thin = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 12]))
    window = Window(
        (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        draw(pair),
        draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3)])),
        (draw(pads), draw(pads)),
    )
    assume(min(window.output(*shape[1:])) >= 1)
    x = normal(*shape, thin * groups)
    w = normal(*window.kernel, thin, draw(st.integers(1, 5)) * groups, stream="w")
    b = normal(w.shape[3], stream="b") if draw(st.booleans()) else None
    return x, w, b, window, groups


@settings(max_examples=EXAMPLES)
@given(geometries())
def test_conv2d_is_the_definition(call: Callable[..., Any], case: Any) -> None:
    x, w, b, window, groups = case
    dy = normal(x.shape[0], *window.output(*x.shape[1:3]), w.shape[3], stream="dy")
    y, (dx, dw, db) = call("conv2d", x, w, b, window, groups=groups, dy=dy)
    expected = loops(x, w, b, window, groups, dy)
    assert (db is None) == (b is None)
    for found, wanted in zip((y, dx, dw, db), expected, strict=True):
        if found is not None:
            np.testing.assert_allclose(found, wanted, atol=1e-11)


@settings(max_examples=EXAMPLES)
@given(geometries(), st.sampled_from(ACTIVATIONS))
def test_conv2d_keeps_the_contract_of_ops(device: Device, case: Any, activation: Any) -> None:
    x, w, b, window, groups = case
    check_op(
        device, "conv2d", x, w, b, window, groups=groups, activation=activation, gradient=False
    )


@pytest.mark.long
@settings(max_examples=MANY)
@given(geometries(), st.sampled_from(ACTIVATIONS))
def test_many_convolutions(device: Device, case: Any, activation: Any) -> None:
    x, w, b, window, groups = case
    check_op(
        device, "conv2d", x, w, b, window, groups=groups, activation=activation, gradient=False
    )


# Large enough that fast implementations cut them into blocks: (input, filters, window).
LARGE = {
    "rows of wide images": ((2, 14, 14, 512), 8, Window((3, 3), padding=((1, 1), (1, 1)))),
    "strided": ((2, 15, 15, 256), 8, Window((3, 3), (2, 2), padding=((0, 1), (1, 0)))),
    "many thin images": ((37, 16, 17, 3), 8, Window((5, 5), padding=((2, 2), (2, 2)))),
    "stem": ((2, 64, 64, 3), 16, Window((7, 7), (2, 2), padding=((3, 3), (3, 3)))),
    "pointwise": ((11, 9, 9, 64), 40, Window((1, 1))),
    "pointwise, strided": ((11, 9, 9, 64), 40, Window((1, 1), (2, 2))),
    "dilated": ((3, 20, 20, 16), 8, Window((3, 3), (1, 1), (4, 3), ((4, 4), (3, 3)))),
    "one pixel out": ((5, 9, 9, 32), 8, Window((9, 9))),
    "more padding than kernel": ((2, 6, 6, 8), 4, Window((2, 2), (1, 1), (1, 1), ((4, 3), (5, 2)))),
    "rows in the padding alone": (
        (1, 6, 6, 512),
        4,
        Window((3, 3), padding=((12, 12), (12, 12))),
    ),
}


@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE.keys())
def test_conv2d_in_blocks(fast_device: Device, case: Any) -> None:
    shape, filters, window = case
    x, w = normal(*shape), normal(*window.kernel, shape[3], filters, stream="w") / 10
    check_op(
        fast_device, "conv2d", x, w, normal(filters), window, activation="tanh", gradient=False
    )


@pytest.mark.parametrize("activation", ["tanh", "softmax", None])
@pytest.mark.parametrize(
    ("groups", "window"),
    [
        (1, Window((3, 2), (2, 1), (1, 2), ((1, 0), (2, 1)))),
        (1, Window((1, 1))),
        (2, Window((3, 3), padding=((1, 1), (1, 1)))),
        (4, Window((2, 2))),
    ],
)
def test_conv2d_gradients_are_slopes(
    device: Device, groups: int, window: Window, activation: str | None
) -> None:
    x, w = normal(3, 6, 5, 8), normal(*window.kernel, 8 // groups, 4, stream="w")
    check_op(device, "conv2d", x, w, normal(4), window, groups=groups, activation=activation)


def test_without_input_gradient_there_is_none(device: Device) -> None:
    x, w = normal(2, 5, 5, 3), normal(3, 3, 3, 4)
    ctx = Context(device, grad=True, input_gradient=False)
    for window in (Window((3, 3)), Window((1, 1))):
        kernel = device.put(w[: window.kernel[0], : window.kernel[1]].copy())
        y, record = ctx.ops.conv2d(device.put(x), kernel, None, window)
        dx, dw, db = ctx.ops.backward(y, record)
        assert dx is None
        assert dw.shape == kernel.shape
        assert db is None
    y, record = ctx.ops.dense(device.put(normal(4, 3)), device.put(normal(3, 2)), None)
    assert ctx.ops.backward(y, record)[0] is None


@settings(max_examples=EXAMPLES)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(1, 40),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(ACTIVATIONS),
)
def test_dense(
    device: Device, rows: list[int], features: int, units: int, bias: bool, activation: Any
) -> None:
    x, w = normal(*rows, features), normal(features, units, stream="w")
    b = normal(units, stream="b") if bias else None
    check_op(device, "dense", x, w, b, activation=activation, gradient=activation != "relu")


def test_dense_is_the_definition(call: Callable[..., Any]) -> None:
    x, w, b, dy = normal(70, 33), normal(33, 5), normal(5), normal(70, 5)
    y, (dx, dw, db) = call("dense", x, w, b, dy=dy)
    np.testing.assert_allclose(y, np.einsum("nf,fu->nu", x, w) + b, atol=1e-12)
    np.testing.assert_allclose(dx, np.einsum("nu,fu->nf", dy, w), atol=1e-12)
    np.testing.assert_allclose(dw, np.einsum("nf,nu->fu", x, dy), atol=1e-12)
    np.testing.assert_allclose(db, dy.sum(0), atol=1e-12)
