"""Activations, dropout, sums, concatenation and cross-entropy, on every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op

SHAPES = [(5,), (4, 3), (3, 5, 4, 2)]


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[math.exp(v - max(row)) for v in row] for row in x]) / np.array(
        [[sum(math.exp(v - max(row)) for v in row)] for row in x]
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["linear", "relu", "sigmoid", "tanh", "softmax"])
def test_activations_keep_the_contract_of_ops(device: Device, name: str, shape: Any) -> None:
    check_op(device, "activation", normal(*shape), name)


def test_activations_are_their_formulas(call: Callable[..., Any]) -> None:
    x = normal(40, 7) * 5
    expected = {
        "linear": x,
        "relu": np.vectorize(lambda v: max(v, 0.0))(x),
        "sigmoid": np.vectorize(lambda v: 1 / (1 + math.exp(-v)))(x),
        "tanh": np.vectorize(math.tanh)(x),
        "softmax": softmax(x),
    }
    for name, wanted in expected.items():
        np.testing.assert_allclose(call("activation", x, name), wanted, atol=1e-14)


def test_activations_far_out(call: Callable[..., Any]) -> None:
    """Nothing overflows, and NaN is not turned into a number."""
    x = np.array([[-1e4, 0.0, 1e4], [np.nan, 1.0, 2.0]])
    assert call("activation", x, "sigmoid")[0].tolist() == [0.0, 0.5, 1.0]
    assert call("activation", x, "tanh")[0].tolist() == [-1.0, 0.0, 1.0]
    assert call("activation", x, "softmax")[0].tolist() == [0.0, 0.0, 1.0]
    for name in ("linear", "relu", "sigmoid", "tanh", "softmax"):
        assert np.isnan(call("activation", x, name)[1, 0])


def test_the_gradient_of_relu_at_zero_is_zero(call: Callable[..., Any]) -> None:
    x = np.array([[-1.0, 0.0, 1.0]])
    _, dx = call("activation", x, "relu", dy=np.ones((1, 3)))
    assert dx.tolist() == [[0.0, 0.0, 1.0]]


def test_an_unknown_activation_is_a_usage_error(device: Device) -> None:
    with pytest.raises(UsageError, match=r"no activation named 'swish'.*Known activations: linear"):
        Context(device).ops.activation(device.put(normal(2, 2)), "swish")


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 7), (2, 5, 3, 3)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1.0])
def test_dropout_drops_by_the_words_of_philox(
    device: Device, call: Callable[..., Any], shape: Any, rate: float
) -> None:
    rng = Philox(3, "dropout/layer", 2)
    x = normal(*shape) + 10
    y, dx = call("dropout", x, rate, rng, dy=np.ones(shape))
    words = [rng.words(np.array([i // 4]))[0, i % 4] for i in range(x.size)]
    kept = np.reshape([word >= rate * 2**32 for word in words], shape)
    scale = 1 / (1 - rate) if rate < 1 else 0
    assert np.array_equal(y != 0, kept)  # the same mask bit for bit
    np.testing.assert_allclose(y, np.where(kept, x * scale, 0), rtol=1e-15)
    np.testing.assert_allclose(dx, np.where(kept, scale, 0), rtol=1e-15)
    check_op(device, "dropout", x, rate, rng)


def test_dropout_keeps_its_share(call: Callable[..., Any]) -> None:
    y = call("dropout", np.ones((100, 100)), 0.3, Philox(0, "share"))
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.015)
    assert y.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_add(device: Device, call: Callable[..., Any], count: int, shape: Any) -> None:
    arrays = tuple(normal(*shape, stream=str(k)) for k in range(count))
    np.testing.assert_allclose(call("add", arrays), sum(arrays), atol=1e-14)
    check_op(device, "add", arrays)


@pytest.mark.parametrize("axis", [-1, 1, 0, 3])
def test_concat(device: Device, call: Callable[..., Any], axis: int) -> None:
    sizes = (1, 4, 2)
    shapes = [[2, 3, 2, 3] for _ in sizes]
    for shape, size in zip(shapes, sizes, strict=True):
        shape[axis] = size
    arrays = tuple(
        normal(*shape, stream=str(size)) for shape, size in zip(shapes, sizes, strict=True)
    )
    assert np.array_equal(call("concat", arrays, axis), np.concatenate(arrays, axis))
    check_op(device, "concat", arrays, axis)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_cross_entropy_is_its_formula(
    device: Device, call: Callable[..., Any], smoothing: float, dtype: str
) -> None:
    logits, dy = normal(9, 4) * 3, normal(9, stream="dy")
    labels = (np.arange(9) % 4).astype(dtype)
    losses, gradient = call(
        "softmax_cross_entropy", logits, labels, label_smoothing=smoothing, dy=dy
    )
    p = softmax(logits)
    target = np.full((9, 4), smoothing / 4)
    target[np.arange(9), labels] += 1 - smoothing
    np.testing.assert_allclose(losses, -(target * np.log(p)).sum(1), atol=1e-12)
    np.testing.assert_allclose(gradient, (p - target) * dy[:, None], atol=1e-12)
    check_op(device, "softmax_cross_entropy", logits, labels, label_smoothing=smoothing)


def test_cross_entropy_far_out(call: Callable[..., Any]) -> None:
    logits = np.array([[1e4, 0.0], [0.0, 1e4], [1e4, 1e4]])
    labels = np.array([0, 0, 1])
    losses, gradient = call("softmax_cross_entropy", logits, labels, dy=np.ones(3))
    np.testing.assert_allclose(losses, [0.0, 1e4, math.log(2)], rtol=1e-12)
    np.testing.assert_allclose(gradient, [[0, 0], [-1, 1], [0.5, -0.5]], atol=1e-12)
    assert np.isnan(call("softmax_cross_entropy", logits * np.nan, labels)).all()
