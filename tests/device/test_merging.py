"""multiply and maximum, on every device; add and concat stand in test_elementwise.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op


def normal(*shape: int, stream: str) -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


@settings(max_examples=20)
@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(2, 4))
def test_multiply_keeps_the_contract_of_ops(
    device: Device, data: st.DataObject, shape: list[int], count: int
) -> None:
    """Also where some of the arrays have axes of size 1."""
    arrays = []
    for number in range(count):
        kept = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
        sizes = [size if keep else 1 for size, keep in zip(shape, kept, strict=True)]
        arrays.append(normal(*sizes, stream=f"x{number}"))
    check_op(device, "multiply", arrays)


def test_the_gradient_of_a_product_does_not_divide(call: Callable[..., Any]) -> None:
    a, b, c = np.array([0.0, 0.0, 2.0]), np.array([3.0, 0.0, 5.0]), np.array([7.0, 7.0, 7.0])
    y, gradients = call("multiply", [a, b, c], dy=np.ones(3))
    assert y.tolist() == [0, 0, 70]
    assert [g.tolist() for g in gradients] == [[21, 0, 35], [0, 0, 14], [0, 0, 10]]


def test_what_was_repeated_receives_a_sum(call: Callable[..., Any]) -> None:
    x, gate = normal(2, 3, 4, 5, stream="x"), normal(2, 1, 1, 5, stream="gate")
    dy = normal(2, 3, 4, 5, stream="dy")
    y, (dx, dgate) = call("multiply", [x, gate], dy=dy)
    np.testing.assert_allclose(y, x * gate, atol=1e-12)
    np.testing.assert_allclose(dx, dy * gate, atol=1e-12)
    np.testing.assert_allclose(dgate, (dy * x).sum((1, 2), keepdims=True), atol=1e-12)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(2, 4))
def test_maximum_keeps_the_contract_of_ops(device: Device, shape: list[int], count: int) -> None:
    check_op(device, "maximum", [normal(*shape, stream=f"x{k}") for k in range(count)])


def test_among_equal_ones_the_first_wins(call: Callable[..., Any]) -> None:
    a, b = np.array([1.0, 2.0, 3.0, np.nan]), np.array([1.0, 5.0, 0.0, 0.0])
    y, (da, db) = call("maximum", [a, b], dy=np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(y, [1, 5, 3, np.nan])
    assert da.tolist() == [1, 0, 3, 4]
    assert db.tolist() == [0, 2, 0, 0]
    y, (_, db) = call("maximum", [b, a], dy=np.ones(4))
    assert np.isnan(y[3])
    assert db.tolist() == [0, 0, 1, 1]
