"""Windowed and global pooling against loops over output pixels, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device
from cpcnn.testing import check_op

EXAMPLES = 30
MANY = 1000  # of the long tier


def distinct(*shape: int) -> NDArray[np.float64]:
    """Values that are all different, far enough apart for differences to be derivatives."""
    size = int(np.prod(shape))
    return Philox(0, "distinct").permutation(size).reshape(shape) / 16.0 - size / 32


def few(*shape: int) -> NDArray[np.float64]:
    """Values that are often equal."""
    return Philox(0, "few").words(np.arange(np.prod(shape)))[:, 0].reshape(shape) % 3.0 - 1


def loops(name: str, x: Any, window: Window, dy: Any) -> Any:
    """The definition: what is outside the image does not count, the first of equals wins."""
    height, width = x.shape[1:3]
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for image, row, column, channel in np.ndindex(*dy.shape):
        cells = [
            (image, r, c, channel)
            for i in range(window.kernel[0])
            for j in range(window.kernel[1])
            for r in [row * window.stride[0] + i * window.dilation[0] - window.padding[0][0]]
            for c in [column * window.stride[1] + j * window.dilation[1] - window.padding[1][0]]
            if 0 <= r < height and 0 <= c < width
        ]
        values = np.array([x[cell] for cell in cells])
        place = (image, row, column, channel)
        if name == "max_pool":
            y[place] = values.max()
            dx[cells[int(values.argmax())]] += dy[place]
        else:
            y[place] = values.mean()
            for cell in cells:
                dx[cell] += dy[place] / len(cells)
    return y, dx


FEW = st.integers(1, 3)


@st.composite
def geometries(draw: Any, channels: Any = FEW) -> tuple[tuple[int, ...], Window]:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    pads = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    stride = draw(st.sampled_from([kernel, kernel, (1, 1), (2, 1), (3, 2)]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 3)]))
    window = Window(kernel, stride, dilation, (pads[0], pads[1]))
    if draw(st.booleans()):
        window = Window(kernel, stride)
    size = (draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    assume(min(window.output(*size)) >= 1)
    # every window must meet a pixel: there is no maximum, and no mean, of nothing
    met = np.pad(np.ones(size), window.padding)
    taps = window.taps(*size)
    assume(min(sum(met[rows, columns] for _, _, rows, columns in taps).flat) > 0)
    return (draw(st.integers(1, 3)), *size, draw(channels)), window


@settings(max_examples=EXAMPLES)
@given(geometries(), st.sampled_from(["max_pool", "average_pool"]), st.booleans())
def test_pooling_is_the_definition(
    call: Callable[..., Any], case: Any, name: str, ties: bool
) -> None:
    shape, window = case
    x = (few if ties else distinct)(*shape)
    dy = distinct(shape[0], *window.output(*shape[1:3]), shape[3])
    found = call(name, x, window, dy=dy)
    for one, other in zip(found, loops(name, x, window, dy), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@settings(max_examples=EXAMPLES)
@given(geometries(), st.sampled_from(["max_pool", "average_pool"]), st.booleans())
def test_pooling_keeps_the_contract_of_ops(
    device: Device, case: Any, name: str, ties: bool
) -> None:
    shape, window = case
    x = (few if ties else distinct)(*shape)
    check_op(device, name, x, window, gradient=not (ties and name == "max_pool"))


VECTORS = st.sampled_from([1, 15, 16, 17, 31, 33, 64, 70])  # channels: whole vectors, and a rest


@settings(max_examples=EXAMPLES)
@given(geometries(VECTORS), st.sampled_from(["max_pool", "average_pool"]), st.booleans())
def test_pooling_of_many_channels(fast_device: Device, case: Any, name: str, ties: bool) -> None:
    shape, window = case
    check_op(fast_device, name, (few if ties else distinct)(*shape), window, gradient=False)


@pytest.mark.long
@settings(max_examples=MANY)
@given(geometries(st.integers(1, 70)), st.sampled_from(["max_pool", "average_pool"]), st.booleans())
def test_many_poolings(device: Device, case: Any, name: str, ties: bool) -> None:
    shape, window = case
    check_op(device, name, (few if ties else distinct)(*shape), window, gradient=False)


@pytest.mark.parametrize("channels", [16, 17, 48])
def test_nan_and_infinities_of_float32(call: Callable[..., Any], channels: int) -> None:
    """The first NaN of a window wins, an infinity is a number, in every lane of a vector."""
    window = Window((2, 2), (2, 2))
    x = np.tile(np.array([[np.nan, 1], [np.nan, 2], [-np.inf, -np.inf]], np.float32), (1, 2))
    x = np.repeat(x.reshape(1, 3, 4, 1)[:, :2], channels, axis=3)
    y, dx = call("max_pool", x, window, dy=np.ones((1, 1, 2, channels), np.float32))
    assert np.isnan(y).all()
    assert np.array_equal(dx[0, 0, 0], np.ones(channels))
    assert dx.sum() == 2 * channels
    lowest = np.full((1, 2, 2, channels), -np.inf, np.float32)
    y, dx = call("max_pool", lowest, window, dy=np.ones((1, 1, 1, channels), np.float32))
    assert np.isneginf(y).all()
    assert dx[0, 0, 0].sum() == dx.sum() == channels
    for name in ("global_max_pool", "global_average_pool"):
        x = distinct(2, 5, 5, channels).astype(np.float32)
        x[1, 2, 3, channels - 1] = x[1, 4, 4, channels - 1] = np.nan
        y, dx = call(name, x, dy=np.ones((2, channels), np.float32))
        assert np.argwhere(np.isnan(y)).tolist() == [[1, channels - 1]]
        assert name == "global_average_pool" or dx[1, 2, 3, channels - 1] == 1


@pytest.mark.parametrize("window", [Window((2, 2), (2, 2)), Window((3, 3), (2, 2))])
def test_large_pooling(fast_device: Device, window: Window) -> None:
    check_op(fast_device, "max_pool", few(19, 32, 32, 17), window, gradient=False)
    check_op(fast_device, "average_pool", few(5, 32, 32, 17), window, gradient=False)


@pytest.mark.parametrize(
    "window", [Window((2, 2), (2, 2)), Window((3, 3), padding=((1, 1), (1, 1)))]
)
def test_among_equals_the_first_in_row_major_order_wins(
    call: Callable[..., Any], window: Window
) -> None:
    x = np.zeros((1, 4, 4, 1))
    dy = np.ones((1, *window.output(4, 4), 1))
    _, dx = call("max_pool", x, window, dy=dy)
    if window.padding == ((0, 0), (0, 0)):
        expected = [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    else:  # the first real pixel of each window
        expected = [[4, 2, 2, 0], [2, 1, 1, 0], [2, 1, 1, 0], [0, 0, 0, 0]]
    assert dx[0, :, :, 0].tolist() == expected


def test_a_window_of_more_cells_than_a_byte_counts(call: Callable[..., Any]) -> None:
    x = distinct(1, 20, 20, 1)
    x[0, 19, 19, 0] = 1e6
    y, dx = call("max_pool", x, Window((20, 20)), dy=np.ones((1, 1, 1, 1)))
    assert y.item() == 1e6
    assert np.argwhere(dx).tolist() == [[0, 19, 19, 0]]


@pytest.mark.parametrize(
    "window", [Window((2, 2), (2, 2)), Window((3, 3), padding=((1, 1), (1, 1)))]
)
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (2, 3)])
def test_nan_is_not_hidden(call: Callable[..., Any], window: Window, place: Any) -> None:
    x = distinct(2, 4, 4, 2)
    x[(1, *place, 1)] = np.nan
    y = call("max_pool", x, window)
    expected = np.zeros_like(x, bool)
    expected[(1, *place, 1)] = True
    nan = loops("max_pool", expected.astype(float), window, np.zeros(y.shape))[0] > 0
    assert np.array_equal(np.isnan(y), nan)
    for name in ("global_max_pool", "global_average_pool"):
        assert np.isnan(call(name, x)).tolist() == [[False, False], [False, True]]


def test_infinities_are_values_like_others(call: Callable[..., Any]) -> None:
    x = np.full((1, 2, 2, 1), -np.inf)
    x[0, 1, 1, 0] = -1e300
    y = call("max_pool", x, Window((2, 2), padding=((1, 1), (1, 1))))
    assert y[0, :, :, 0].tolist() == [
        [-np.inf, -np.inf, -np.inf],
        [-np.inf, -1e300, -1e300],
        [-np.inf, -1e300, -1e300],
    ]


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (1, 1, 1, 1), (9, 7, 1, 40), (2, 5, 5, 16), (1, 3, 3, 33)]
)
def test_global_pooling(call: Callable[..., Any], device: Device, shape: Any) -> None:
    x, dy = distinct(*shape), distinct(shape[0], shape[3])
    y, dx = call("global_average_pool", x, dy=dy)
    np.testing.assert_allclose(y, x.mean((1, 2)), atol=1e-12)
    spread = np.broadcast_to(dy[:, None, None] / (shape[1] * shape[2]), shape)
    np.testing.assert_allclose(dx, spread, atol=1e-12)
    y, dx = call("global_max_pool", x, dy=dy)
    assert np.array_equal(y, x.max((1, 2)))
    assert np.array_equal(dx, np.where(x == y[:, None, None], dy[:, None, None], 0))
    check_op(device, "global_average_pool", x)
    check_op(device, "global_max_pool", x)


def test_global_max_pooling_of_equals(call: Callable[..., Any]) -> None:
    _, dx = call("global_max_pool", np.ones((2, 2, 2, 3)), dy=np.ones((2, 3)))
    assert np.array_equal(dx[:, 0, 0], np.ones((2, 3)))
    assert dx.sum() == 6
