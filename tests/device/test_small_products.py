"""Convolutions of which a product would take less than starting it: thin ones, and few pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import get_device
from cpcnn.ops import REFERENCE

pytest.importorskip("numba")

from cpcnn.devices.cpu import gather, padded, winograd

TOLERANCE = 2e-6
DEVICES = [get_device("cpu", threads=1), get_device("cpu", threads=3)]


def normal(*shape: int, stream: str = "x") -> Any:
    return Philox(0, stream).normal(shape)


def by_definition(x: Any, w: Any, b: Any, window: Window) -> Any:
    arrays = (None if array is None else array.astype(np.float64) for array in (x, w, b))
    return REFERENCE["conv2d"][-1].forward(Context(get_device("numpy")), *arrays, window)[0]


def check(x: Any, w: Any, b: Any, window: Window, rectify: bool) -> None:
    """Results are right, and the same bits for any number of threads."""
    one, other = (gather.convolve(Context(d), x, w, b, window, 1, rectify) for d in DEVICES)
    assert np.array_equal(one, other)
    expected = by_definition(x, w, b, window)
    limit = TOLERANCE * by_definition(abs(x), abs(w), None if b is None else abs(b), window).max()
    assert np.abs(one - (np.maximum(expected, 0) if rectify else expected)).max() <= limit


sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


@given(
    st.tuples(st.integers(1, 20), st.integers(3, 12), st.integers(3, 40), st.sampled_from([1, 3])),
    st.integers(1, 70),
    st.tuples(sides, sides),
    st.sampled_from([(1, 1), (2, 2), (1, 3)]),
    st.booleans(),
    st.booleans(),
)
def test_thin(
    shape: Any, filters: int, padding: Any, stride: Any, bias: bool, rectify: bool
) -> None:
    window = Window((3, 3), stride, padding=padding)
    w, b = normal(3, 3, shape[3], filters, stream="w"), normal(filters, stream="b")
    check(normal(*shape), w, b if bias else None, window, rectify)


@given(
    st.sampled_from([(1, 4, 4), (3, 5, 6), (1, 9, 9), (20, 2, 2), (64, 1, 1), (1, 1, 96)]),
    st.integers(8, 150),
    st.integers(1, 150),
    st.sampled_from([1, 3]),
    st.sampled_from([(1, 1), (2, 1)]),
    st.booleans(),
    st.booleans(),
)
def test_few_pixels(
    images: Any,
    channels: int,
    filters: int,
    kernel: int,
    stride: Any,
    bias: bool,
    rectify: bool,
) -> None:
    window = Window((kernel, kernel), stride, padding=((kernel // 2,) * 2,) * 2)
    w, b = normal(kernel, kernel, channels, filters, stream="w"), normal(filters, stream="b")
    check(normal(*images, channels), w, b if bias else None, window, rectify)


SAME = Window((3, 3), padding=((1, 1), (1, 1)))


@pytest.mark.parametrize(
    ("shape", "filters"),
    [((1, 4, 4, 300), 200), ((2, 6, 7, 128), 70), ((5, 40, 40, 1), 33), ((1, 150, 140, 3), 40)],
)
def test_larger_ones(shape: Any, filters: int) -> None:
    w = normal(3, 3, shape[3], filters, stream="w")
    check(normal(*shape), w, normal(filters, stream="b"), SAME, True)


@pytest.mark.parametrize("shape", [(1, 4, 4, 64), (2, 30, 30, 1), (2, 30, 30, 3)])
def test_nan_and_infinity_come_out_where_they_are_seen(shape: Any) -> None:
    x, w = normal(*shape), np.ones((3, 3, shape[3], 40), np.float32)
    x[0, 0, 0, 0], x[-1, 2, 2, -1] = np.nan, np.inf
    y = gather.convolve(Context(DEVICES[1]), x, w, None, SAME, 1, True)
    assert np.isnan(y[0, :2, :2]).all()
    assert np.isnan(y).sum() == 4 * 40
    seen = y[-1, 1:4, 1:4]
    assert (np.isinf(seen) | np.isnan(seen)).all()


def test_which_convolutions_are_thin() -> None:
    assert padded.is_thin((3, 3, 3, 8), 1)
    assert padded.is_thin((1, 1, 32, 8), 1)
    assert not padded.is_thin((3, 3, 3, 8), 2)
    assert not padded.is_thin((3, 3, 4, 8), 1)


@pytest.mark.parametrize(
    ("images", "channels", "expected"),
    [
        ((1, 4, 4), 512, False),  # a tile: its 36 products read four times as many numbers
        ((1, 8, 8), 64, True),
        ((1, 8, 8), 256, False),
        ((1, 16, 16), 256, True),
        ((64, 4, 4), 512, True),
        ((256, 1, 1), 64, False),  # tiles that are mostly empty
    ],
)
def test_where_winograd_is_worthwhile(images: Any, channels: int, expected: bool) -> None:
    found = winograd.is_worthwhile((*images, channels), (3, 3, channels, channels), SAME)
    assert found == expected
