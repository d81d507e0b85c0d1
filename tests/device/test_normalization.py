"""batch_norm against its formula, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op

OPTIONS = {"momentum": 0.9, "epsilon": 1e-3}


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def statistics(channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return normal(channels, stream="mean"), 0.5 + normal(channels, stream="variance") ** 2


@pytest.mark.parametrize("shape", [(6, 4), (5, 3, 4), (3, 5, 4, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_its_formula(call: Callable[..., Any], shape: Any, training: bool) -> None:
    channels = shape[-1]
    x = normal(*shape) * 2 + 3
    gamma, beta = normal(channels, stream="gamma"), normal(channels, stream="beta")
    residual, dy = normal(*shape, stream="residual"), normal(*shape, stream="dy")
    mean, variance = statistics(channels)
    y, (dx, dgamma, dbeta, dresidual) = call(
        "batch_norm", x, gamma, beta, mean, variance,
        **OPTIONS, residual=residual, dy=dy, training=training,
    )  # fmt: skip
    axes = tuple(range(len(shape) - 1))
    if training:
        mean, variance = x.mean(axes), x.var(axes)
    scale = 1 / np.sqrt(variance + OPTIONS["epsilon"])
    hat = (x - mean) * scale
    np.testing.assert_allclose(y, hat * gamma + beta + residual, atol=1e-11)
    np.testing.assert_allclose(dgamma, (dy * hat).sum(axes), atol=1e-11)
    np.testing.assert_allclose(dbeta, dy.sum(axes), atol=1e-11)
    np.testing.assert_allclose(dresidual, dy, atol=1e-11)
    if training:
        dy = dy - dy.mean(axes) - hat * (dy * hat).mean(axes)
    np.testing.assert_allclose(dx, gamma * scale * dy, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics(device: Device, training: bool) -> None:
    x = normal(7, 3, 3, 5) * 3 + 1
    mean, variance = (device.put(array) for array in statistics(5))
    ctx = Context(device, training=training)
    ctx.ops.batch_norm(device.put(x), None, None, mean, variance, **OPTIONS)
    before = statistics(5)
    batch = (x.mean((0, 1, 2)), x.var((0, 1, 2)))  # biased, as in Keras
    share = 0.9 if training else 1.0
    for found, old, new in zip((mean, variance), before, batch, strict=True):
        np.testing.assert_allclose(device.get(found), share * old + (1 - share) * new, atol=1e-12)


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.sampled_from([1, 2, 3, 8, 33]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "linear", "relu", "tanh"]),
)
def test_batch_norm_keeps_the_contract_of_ops(
    device: Device,
    sizes: list[int],
    channels: int,
    gamma: bool,
    beta: bool,
    residual: bool,
    training: bool,
    activation: str | None,
) -> None:
    x = normal(*sizes, channels)
    # variances of one or two equal values cannot be told from rounding
    gradient = activation != "relu" and (not training or x.size // channels > 3)
    mean, variance = statistics(channels)
    check_op(
        device, "batch_norm", x,
        normal(channels, stream="gamma") if gamma else None,
        normal(channels, stream="beta") if beta else None,
        mean, variance, **OPTIONS,
        activation=activation,
        residual=normal(*x.shape, stream="residual") if residual else None,
        training=training, gradient=gradient,
    )  # fmt: skip


@pytest.mark.parametrize("channels", [3, 64, 200])
def test_large_batch_norm(fast_device: Device, channels: int) -> None:
    """Large enough to be cut into blocks; the mean is several deviations."""
    x = normal(13, 20, 19, channels) * 0.5 + 2
    mean, variance = statistics(channels)
    gamma, beta = normal(channels, stream="gamma"), normal(channels, stream="beta")
    # no ReLU: of so many values some lie on its kink in one precision and beside it in the other
    for training in (True, False):
        check_op(
            fast_device, "batch_norm", x, gamma, beta, mean, variance, **OPTIONS,
            training=training, gradient=False,
        )  # fmt: skip


ROWS = [(1, 1), (2, 3), (7, 1), (3, 16), (5, 100), (130, 3), (1000, 10), (300, 257)]


@pytest.mark.parametrize(("rows", "channels"), ROWS)
@pytest.mark.parametrize("residual", [False, True])
def test_relu_of_odd_sizes(
    call: Callable[..., Any], rows: int, channels: int, residual: bool
) -> None:
    """What ReLU stops has no gradient, and all else has: where y is zero, exactly."""
    x = normal(rows, channels).astype(np.float32)
    side = normal(rows, channels, stream="residual").astype(np.float32) if residual else None
    dy = normal(rows, channels, stream="dy").astype(np.float32)
    mean, variance = (array.astype(np.float32) for array in statistics(channels))
    ones = np.ones(channels, np.float32)
    y, (dx, dgamma, dbeta, dside) = call(
        "batch_norm", x, ones, ones / 4, mean, variance, **OPTIONS,
        activation="relu", residual=side, dy=dy, training=False,
    )  # fmt: skip
    before = np.where(y > 0, dy, 0)
    scale = 1 / np.sqrt(variance.astype(float) + OPTIONS["epsilon"])
    hat = (x - mean) * scale
    np.testing.assert_allclose(y, np.maximum(hat + 0.25 + (side if residual else 0), 0), atol=1e-5)
    np.testing.assert_allclose(dx, before * scale, rtol=1e-5)
    np.testing.assert_allclose(dbeta, before.sum(0), atol=1e-4)
    np.testing.assert_allclose(dgamma, (before * hat).sum(0), atol=1e-3)
    assert np.array_equal(dside, before) if residual else dside is None


@pytest.mark.parametrize(
    ("offset", "image"), [(0, 0), (100, 0), (1000, 0), (0, 1e4)], ids=["0", "100", "1000", "odd"]
)
def test_float32_statistics_are_as_good_as_the_numbers(
    fast_device: Device, offset: float, image: float
) -> None:
    """A mean of many deviations, or one image far from the others, costs no digits."""
    x = (normal(40, 9, 9, 24) + offset).astype(np.float32)
    x[0] += image
    exact = x.astype(np.float64)
    mean, variance = (fast_device.put(np.zeros(24, np.float32)) for _ in range(2))
    ctx = Context(fast_device, training=True)
    with fast_device.scope():
        ctx.ops.batch_norm(
            fast_device.put(x), None, None, mean, variance, momentum=0.0, epsilon=1e-3
        )
    wanted = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    within = 1e-6 * np.sqrt(wanted[1].max())
    np.testing.assert_allclose(fast_device.get(mean), wanted[0], rtol=1e-6, atol=within)
    np.testing.assert_allclose(fast_device.get(variance), wanted[1], rtol=2e-5)


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_does_not_hide_nan(
    call: Callable[..., Any], activation: str | None, training: bool
) -> None:
    x = normal(50, 20).astype(np.float32)
    x[49, 19] = np.nan
    mean, variance = (array.astype(np.float32) for array in statistics(20))
    y = call(
        "batch_norm", x, None, None, mean, variance, **OPTIONS,
        activation=activation, training=training,
    )  # fmt: skip
    expected = np.zeros(x.shape, bool)
    expected[slice(None) if training else 49, 19] = True
    assert np.array_equal(np.isnan(y), expected)


def test_the_record_does_not_see_later_statistics(device: Device) -> None:
    """Another forward pass, or the end of training, changes nothing for a backward to come."""
    x, gamma = device.put(normal(6, 3)), device.put(normal(3))
    mean, variance = (device.put(array) for array in statistics(3))
    ctx = Context(device, training=False, grad=True)
    y, record = ctx.ops.batch_norm(x, gamma, None, mean, variance, **OPTIONS)
    expected = [np.array(device.get(g)) for g in ctx.ops.backward(y, record)[:2]]
    mean[...] = 100
    variance[...] = 100
    for found, wanted in zip(ctx.ops.backward(y, record)[:2], expected, strict=True):
        assert np.array_equal(device.get(found), wanted)
