"""Dropout of float32: the definition's bits on every device, at any size and place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import get_device

streams = st.builds(
    Philox,
    st.integers(0, 2**64 - 1),
    st.sampled_from(["dropout/a", "dropout/b"]),
    st.integers(0, 2**40),
)
rates = st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.999, 1 - 1e-12, 1.0])


def definition(x: Any, rate: float, rng: Philox) -> Any:
    return Context(get_device("numpy"), training=True).ops.dropout(x, rate, rng)[0]


@given(st.lists(st.integers(0, 9), max_size=3).map(tuple), rates, streams)
def test_every_stream_and_rate(
    call: Callable[..., Any], shape: Any, rate: float, rng: Philox
) -> None:
    x, dy = (Philox(0, name).normal(shape) for name in ("x", "dy"))
    y, dx = call("dropout", x, rate, rng, dy=dy)
    assert y.tobytes() == definition(x, rate, rng).tobytes()
    assert dx.tobytes() == definition(dy, rate, rng).tobytes()


@pytest.mark.parametrize("size", [1023, 1024, 1025, 4099, 70_001])
def test_every_size(call: Callable[..., Any], size: int) -> None:
    x, rng = Philox(0, "x").normal((size,)), Philox(5, "dropout", 3)
    assert np.array_equal(call("dropout", x, 0.3, rng), definition(x, 0.3, rng))


def test_what_is_kept_keeps_nan(call: Callable[..., Any]) -> None:
    rng = Philox(3, "dropout")
    kept = definition(np.ones(4000, np.float32), 0.5, rng) != 0
    y = call("dropout", np.full(4000, np.nan, np.float32), 0.5, rng)
    assert np.array_equal(np.isnan(y), kept)
    assert not y[~kept].any()
