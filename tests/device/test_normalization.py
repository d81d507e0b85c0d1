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


@pytest.mark.parametrize("channels", [3, 64])
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
