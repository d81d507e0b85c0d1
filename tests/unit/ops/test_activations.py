"""Activation functions by themselves: wide ranges, types, names, and those with parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.errors import UsageError
from cpcnn.ops.activations import (
    ACTIVATIONS,
    ALIASES,
    Function,
    activate,
    bounded_relu,
    canonical,
    elu,
    get_activation,
    keeps_input,
    leaky_relu,
)

ELEMENTWISE = [name for name in ACTIVATIONS if "softmax" not in name]
KINKS = np.array([-3.0, 0.0, 3.0, 6.0])
FAMILIES = {
    "leaky_relu(0.7)": (leaky_relu(0.7), [0.0]),
    "leaky_relu(0)": (leaky_relu(0.0), [0.0]),
    "elu(1.7, 0.5)": (elu(1.7, 0.5), [0.0]),
    "bounded_relu": (bounded_relu(4.0, 0.3, 1.0), [1.0, 4.0]),
    "bounded_relu, no bound": (bounded_relu(None, 0.0, 2.0), [2.0]),
}


def differentiate(function: Function, x: NDArray[Any], dy: NDArray[Any]) -> Any:
    _, kept = activate(np, x, function)
    return function.backward(np, dy, kept)


def measured_slope(function: Function, x: NDArray[Any], step: float = 1e-3) -> NDArray[Any]:
    """The slope by differences of fourth order."""
    near = function.forward(np, x + step) - function.forward(np, x - step)
    far = function.forward(np, x + 2 * step) - function.forward(np, x - 2 * step)
    return np.asarray((8 * near - far) / (12 * step))


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20), st.floats(-2, 2))
def test_gradients_are_slopes_in_the_tails_too(values: list[float], factor: float) -> None:
    x = np.array(values)
    x = x[(np.abs(x[:, None] - KINKS) > 0.01).all(axis=1)]
    dy = np.full(x.shape, factor)
    for name in ELEMENTWISE:
        function = get_activation(name)
        slope = factor * measured_slope(function, x)
        size = 1 + np.abs(function.forward(np, x))
        error = np.abs(differentiate(function, x, dy) - slope)
        assert (error <= 1e-9 * size).all(), name


@pytest.mark.parametrize("family", FAMILIES)
@given(values=st.lists(st.floats(-30, 30), min_size=1, max_size=20))
def test_gradients_of_functions_with_parameters(family: str, values: list[float]) -> None:
    function, kinks = FAMILIES[family]
    x = np.array(values)
    x = x[(np.abs(x[:, None] - np.array(kinks)) > 0.01).all(axis=1)]
    slope = measured_slope(function, x)
    np.testing.assert_allclose(differentiate(function, x, np.ones(x.shape)), slope, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"exponential"}))
def test_no_warning_far_out(name: str, dtype: str) -> None:
    """NumPy's warnings are errors here: neither overflow nor infinity minus infinity."""
    largest = float(np.finfo(dtype).max) / 4
    x = np.array([[-largest, -1e4, -700, -90, -30, 0, 30, 90, 700, 1e4, largest]], dtype)
    y, _ = activate(np, x, name)
    dx = differentiate(get_activation(name), x, np.ones_like(x))
    assert y.dtype == dx.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_gradient_leaves_its_arguments_alone(name: str) -> None:
    x, dy = np.linspace(-4, 4, 12).reshape(3, 4), np.linspace(1, 2, 12).reshape(3, 4)
    y, kept = activate(np, x, name)
    before = [array.copy() for array in (x, y, dy)]
    get_activation(name).backward(np, dy, kept)
    for array, old in zip((x, y, dy), before, strict=True):
        assert np.array_equal(array, old)
    assert kept is (x if keeps_input(name) else y)


def test_the_tails_are_relatively_right() -> None:
    """Where 1 + erf and 1 + tanh would have cancelled."""
    x = np.array([-9.0])
    exact = -9 * 1.1285884059538405e-19  # the normal distribution at -9
    np.testing.assert_allclose(get_activation("gelu").forward(np, x), exact, rtol=1e-13)
    np.testing.assert_allclose(get_activation("silu").forward(np, -x * -80), -720 * np.exp(-720.0))
    np.testing.assert_allclose(get_activation("softplus").forward(np, x * 10), np.exp(-90.0))


def test_names() -> None:
    assert canonical(None) == "linear"
    for alias, name in ALIASES.items():
        assert canonical(alias) == canonical(name) == name
        assert get_activation(alias) is get_activation(name)
    with pytest.raises(UsageError, match=r"'gelo'.*gelu_tanh.*swish"):
        get_activation("gelo")


def test_a_bounded_relu_piece_by_piece() -> None:
    function = bounded_relu(4.0, 0.5, 1.0)
    x = np.array([-np.inf, -1.0, 1.0, 1.5, 4.0, 9.0, np.inf, np.nan])
    expected = [-np.inf, -1.0, 0.0, 1.5, 4.0, 4.0, 4.0, np.nan]
    np.testing.assert_array_equal(function.forward(np, x), expected)
    slopes = function.backward(np, np.ones(8), x)
    assert slopes.tolist()[:7] == [0.5, 0.5, 0.5, 1.0, 0.0, 0.0, 0.0]
    np.testing.assert_array_equal(bounded_relu(None, 0.0, 0.0).forward(np, x)[[0, -1]], [0, np.nan])
