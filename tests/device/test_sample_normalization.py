"""layer_norm and group_norm against their formulas, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op

EPSILON = 1e-3


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def formula(
    x: NDArray[Any], gamma: Any, beta: Any, dy: NDArray[Any], axes: tuple[int, ...]
) -> list[NDArray[Any]]:
    """y and dx, where x is normalised over axes."""

    def mean(array: NDArray[Any]) -> NDArray[Any]:
        return array.mean(axes, keepdims=True)

    scale = 1 / np.sqrt(x.var(axes, keepdims=True) + EPSILON)
    hat = (x - mean(x)) * scale
    g = dy * gamma
    return [hat * gamma + beta, scale * (g - mean(g) - hat * mean(g * hat)), hat]


@pytest.mark.parametrize(("shape", "axes"), [((5, 6), 1), ((3, 4, 2, 5), 1), ((3, 4, 2, 5), 3)])
def test_layer_norm_is_its_formula(call: Callable[..., Any], shape: Any, axes: int) -> None:
    x, dy = normal(*shape) * 2 + 3, normal(*shape, stream="dy")
    gamma, beta = (normal(*shape[-axes:], stream=name) for name in ("gamma", "beta"))
    y, (dx, dgamma, dbeta) = call("layer_norm", x, gamma, beta, epsilon=EPSILON, axes=axes, dy=dy)
    last = tuple(range(len(shape) - axes, len(shape)))
    before = tuple(range(len(shape) - axes))
    expected_y, expected_dx, hat = formula(x, gamma, beta, dy, last)
    np.testing.assert_allclose(y, expected_y, atol=1e-11)
    np.testing.assert_allclose(dx, expected_dx, atol=1e-11)
    np.testing.assert_allclose(dgamma, (dy * hat).sum(before), atol=1e-11)
    np.testing.assert_allclose(dbeta, dy.sum(before), atol=1e-11)


@pytest.mark.parametrize(
    ("shape", "groups"), [((5, 6), 2), ((3, 4, 2, 6), 1), ((3, 4, 2, 6), 3), ((3, 4, 2, 6), 6)]
)
def test_group_norm_is_its_formula(call: Callable[..., Any], shape: Any, groups: int) -> None:
    """Group by group, as a normalisation over all axes but the first."""
    channels = shape[-1]
    x, dy = normal(*shape) * 2 + 3, normal(*shape, stream="dy")
    gamma, beta = (normal(channels, stream=name) for name in ("gamma", "beta"))
    y, (dx, dgamma, dbeta) = call(
        "group_norm", x, gamma, beta, groups=groups, epsilon=EPSILON, dy=dy
    )
    axes = tuple(range(1, len(shape)))
    before = tuple(range(len(shape) - 1))
    size = channels // groups
    for start in range(0, channels, size):
        run = (..., slice(start, start + size))
        expected_y, expected_dx, hat = formula(x[run], gamma[run], beta[run], dy[run], axes)
        np.testing.assert_allclose(y[run], expected_y, atol=1e-11)
        np.testing.assert_allclose(dx[run], expected_dx, atol=1e-11)
        np.testing.assert_allclose(dgamma[run], (dy[run] * hat).sum(before), atol=1e-11)
    np.testing.assert_allclose(dbeta, dy.sum(before), atol=1e-11)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_layer_norm_keeps_the_contract_of_ops(
    device: Device, before: list[int], last: list[int], gamma: bool, beta: bool
) -> None:
    check_op(
        device, "layer_norm", normal(*before, *last),
        normal(*last, stream="gamma") if gamma else None,
        normal(*last, stream="beta") if beta else None,
        epsilon=EPSILON, axes=len(last),
        gradient=np.prod(last) > 3,  # the variance of a few equal values is lost in rounding
    )  # fmt: skip


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)
def test_group_norm_keeps_the_contract_of_ops(
    device: Device, sizes: list[int], groups: int, width: int, gamma: bool, beta: bool
) -> None:
    channels = groups * width
    check_op(
        device, "group_norm", normal(*sizes, channels),
        normal(channels, stream="gamma") if gamma else None,
        normal(channels, stream="beta") if beta else None,
        groups=groups, epsilon=EPSILON,
        gradient=np.prod(sizes[1:]) * width > 3,
    )  # fmt: skip


def test_a_large_mean_costs_no_digits(call: Callable[..., Any]) -> None:
    """The variance is taken from differences, not from squares that nearly cancel."""
    x = normal(4, 3, 8) + 1e6
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    y = call("layer_norm", x, None, None, epsilon=EPSILON)
    np.testing.assert_allclose(y, expected, atol=1e-8)
    x = x[:, None]
    y = call("group_norm", x, None, None, groups=8, epsilon=EPSILON)
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + EPSILON)
    np.testing.assert_allclose(y, expected, atol=1e-8)
