"""The fully connected product at sizes that fill blocks, and that do not, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op


def normal(*shape: int, stream: str) -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def check(device: Device, shape: tuple[int, int, int], bias: bool, activation: Any) -> None:
    rows, features, units = shape
    # sums of about 1, so that errors are measured by it
    w = normal(features, units, stream="w") / features**0.5
    b = normal(units, stream="b") if bias else None
    x = normal(rows, features, stream="x")
    check_op(device, "dense", x, w, b, activation=activation, gradient=False, dtypes=("float32",))


@pytest.mark.parametrize("shape", [(24, 48, 64), (25, 1030, 10), (49, 97, 130), (130, 49, 65)])
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("bias", [False, True])
def test_dense(
    fast_device: Device, shape: tuple[int, int, int], bias: bool, activation: Any
) -> None:
    check(fast_device, shape, bias, activation)


@given(
    st.tuples(*[st.integers(1, 80)] * 3), st.booleans(), st.sampled_from([None, "relu", "sigmoid"])
)
def test_any_size(
    fast_device: Device, shape: tuple[int, int, int], bias: bool, activation: Any
) -> None:
    check(fast_device, shape, bias, activation)


@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_what_is_no_number_stays_so(call: Callable[..., Any], rows: int, activation: Any) -> None:
    x, w = (normal(*s, stream="x").astype(np.float32) for s in ((rows, 50), (50, 70)))
    x[-1, 20] = np.nan
    y = call("dense", x, w, np.ones(70, np.float32), activation=activation)
    assert np.isnan(y[-1]).all()
    assert np.isfinite(y[:-1]).all()
