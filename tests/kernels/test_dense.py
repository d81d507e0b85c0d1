"""Dense products in every type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice
from hypothesis import assume, given
from hypothesis import strategies as st
from rounding import DTYPES, seeds

from cpcnn.core.context import Context
from cpcnn.testing import check_op

NAMES = tuple(map(str, DTYPES))
ACTIVATIONS = [None, "relu", "sigmoid", "tanh", "elu", "gelu", "softmax", "log_softmax"]


@given(
    st.lists(st.integers(1, 5), max_size=3),
    st.integers(1, 20),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(NAMES),
    seeds,
)
def test_dense(
    device: EmulatedCudaDevice,
    rows: list[int],
    features: int,
    units: int,
    bias: bool,
    activation: Any,
    dtype: str,
    seed: int,
) -> None:
    # the product is rounded to half precision before the bias: a ReLU may open on one side only
    assume(activation != "relu" or (dtype.startswith("float") and dtype != "float16"))
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(*rows, features)), rng.normal(size=(features, units)) / 4
    b = rng.normal(size=units) if bias else None
    check_op(
        device, "dense", x, w, b, activation=activation, gradient=False, dtypes=("float64", dtype)
    )


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_dense_of_nothing(ctx: Context, shape: tuple[int, ...]) -> None:
    x, w = ctx.device.put(np.ones(shape, "f")), ctx.device.put(np.ones((3, 2), "f"))
    y, record = ctx.ops.dense(x, w, ctx.device.put(np.ones(2, "f")), activation="relu")
    dx, dw, db = ctx.ops.backward(y, record)
    assert y.shape == (*shape[:-1], 2)
    assert dx.shape == shape
    assert not dw.any()
    assert not db.any()
