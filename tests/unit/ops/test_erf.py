"""The complementary error function against that of the C library."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.ops.erf import FAR, NEAR, erfc

numbers = st.one_of(
    st.floats(-7, 7),
    st.floats(-26, 26),
    st.floats(allow_nan=False),
    st.sampled_from([sign * edge for sign in (-1, 1) for edge in (NEAR, FAR, 0.0, 1e-300, 3.3e38)]),
)


def in_last_places(found: Any, exact: Any, dtype: str) -> Any:
    """How many units in the last place lie between two arrays; subnormal numbers have no such."""
    spacing = np.spacing(np.maximum(np.abs(exact), np.finfo(dtype).tiny).astype(dtype))
    return np.abs(found.astype("float64") - exact) / spacing.astype("float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(values=st.lists(numbers, min_size=1, max_size=50))
def test_to_some_units_in_the_last_place(dtype: str, values: list[float]) -> None:
    with np.errstate(over="ignore"):  # float32 makes infinity of the largest
        x = np.array(values).astype(dtype)
    found = erfc(np, x)
    assert found.dtype == dtype
    exact = np.array([math.erfc(float(value)) for value in x])
    assert in_last_places(found, exact, dtype).max() <= 12


@pytest.mark.parametrize(("dtype", "limit"), [("float64", 7), ("float32", 9)])
def test_on_a_fine_grid(dtype: str, limit: float) -> None:
    x = np.linspace(-9, 9, 20001).astype(dtype)
    exact = np.array([math.erfc(float(value)) for value in x])
    assert in_last_places(erfc(np, x), exact, dtype).max() <= limit


def test_special_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
    np.testing.assert_array_equal(erfc(np, x), [np.nan, 0.0, 2.0, 1.0, 1.0])


def test_the_standard_suffices() -> None:
    x = np.linspace(-6, 6, 50)
    strict = array_api_strict.asarray(x)
    assert np.array_equal(np.asarray(erfc(array_api_strict, strict)), erfc(np, x))
