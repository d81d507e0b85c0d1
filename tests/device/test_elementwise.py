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
from cpcnn.devices import Device, get_device
from cpcnn.ops.activations import ACTIVATIONS
from cpcnn.testing import check_op

SHAPES = [(5,), (4, 3), (3, 5, 4, 2)]


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[math.exp(v - max(row)) for v in row] for row in x]) / np.array(
        [[sum(math.exp(v - max(row)) for v in row)] for row in x]
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_keep_the_contract_of_ops(device: Device, name: str, shape: Any) -> None:
    check_op(device, "activation", normal(*shape), name)


FORMULAS: dict[str, Callable[[float], float]] = {
    "linear": lambda v: v,
    "relu": lambda v: max(v, 0.0),
    "relu6": lambda v: min(max(v, 0.0), 6.0),
    "leaky_relu": lambda v: v if v > 0 else 0.2 * v,
    "elu": lambda v: v if v > 0 else math.expm1(v),
    "selu": lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * math.expm1(v)),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "tanh": math.tanh,
    "exponential": math.exp,
    "softplus": lambda v: math.log1p(math.exp(v)),
    "softsign": lambda v: v / (1 + abs(v)),
    "hard_sigmoid": lambda v: min(max((v + 3) / 6, 0.0), 1.0),
    "gelu": lambda v: v * math.erfc(-v / math.sqrt(2)) / 2,
    "gelu_tanh": lambda v: v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "hard_swish": lambda v: v * min(max(v + 3, 0.0), 6.0) / 6,
    "mish": lambda v: v * math.tanh(math.log1p(math.exp(v))),
}


def test_activations_are_their_formulas(call: Callable[..., Any]) -> None:
    x = normal(40, 7) * 5
    expected = {name: np.vectorize(formula)(x) for name, formula in FORMULAS.items()}
    expected |= {"softmax": softmax(x), "log_softmax": np.log(softmax(x))}
    assert expected.keys() == ACTIVATIONS.keys()
    for name, wanted in expected.items():
        found = call("activation", x, name)
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-14, err_msg=name)


LIMITS = {  # at -1e4 and 1e4, and at minus infinity and infinity where they are other numbers
    "relu": (0, 1e4),
    "relu6": (0, 6),
    "leaky_relu": (-2e3, 1e4),
    "elu": (-1, 1e4),
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "softplus": (0, 1e4),
    "softsign": (-1e4 / (1 + 1e4), 1e4 / (1 + 1e4), -1, 1),
    "hard_sigmoid": (0, 1),
    **dict.fromkeys(("gelu", "gelu_tanh", "silu", "hard_swish", "mish"), (0, 1e4)),
}


@pytest.mark.parametrize("name", LIMITS)
def test_activations_far_out(call: Callable[..., Any], name: str) -> None:
    """Nothing overflows, and no infinity meets a zero."""
    low, high, *infinite = LIMITS[name]
    x = np.array([[-1e4, 1e4], [-np.inf, np.inf]])
    y, dx = call("activation", x, name, dy=np.ones((2, 2)))
    lowest, highest = infinite or ((-np.inf if low == -2e3 else low), high if high < 7 else np.inf)
    np.testing.assert_allclose(y, [[low, high], [lowest, highest]], rtol=1e-15)
    slope = 1.0 if high == 1e4 else 0.0
    below = 0.2 if name == "leaky_relu" else 0.0
    np.testing.assert_allclose(dx, [[below, slope]] * 2, atol=1e-7)


def test_softmax_far_out(call: Callable[..., Any]) -> None:
    x = np.array([[-1e4, 0.0, 1e4]])
    assert call("activation", x, "softmax").tolist() == [[0.0, 0.0, 1.0]]
    assert call("activation", x, "log_softmax").tolist() == [[-2e4, -1e4, 0.0]]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_activation_hides_nan(call: Callable[..., Any], name: str) -> None:
    assert np.isnan(call("activation", np.array([[np.nan, 1.0]]), name)[0, 0])


KINKS = [  # name, where, and the gradient there
    ("relu6", (0, 6), (0, 0)),
    ("leaky_relu", (0,), (0.2,)),
    ("hard_sigmoid", (-3, 3), (0, 0)),
    ("hard_swish", (-3, 3), (0, 1)),
]


@pytest.mark.parametrize(("name", "places", "slopes"), KINKS)
def test_gradients_at_kinks_are_those_of_keras(
    call: Callable[..., Any], name: str, places: Any, slopes: Any
) -> None:
    x = np.array([places], np.float64)
    _, dx = call("activation", x, name, dy=np.ones(x.shape))
    assert dx.tolist() == [list(slopes)]


@pytest.mark.parametrize(("alias", "name"), [("swish", "silu"), ("hard_silu", "hard_swish")])
def test_aliases(device: Device, call: Callable[..., Any], alias: str, name: str) -> None:
    x, w = normal(4, 3), normal(3, 2)
    assert np.array_equal(call("activation", x, alias), call("activation", x, name))
    named, aliased = (call("dense", x, w, None, activation=n) for n in (name, alias))
    assert np.array_equal(named, aliased)


def test_the_gradient_of_relu_at_zero_is_zero(call: Callable[..., Any]) -> None:
    x = np.array([[-1.0, 0.0, 1.0]])
    _, dx = call("activation", x, "relu", dy=np.ones((1, 3)))
    assert dx.tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("size", [1, 15, 16, 33, 200_003])
def test_relu_and_sums_of_float32(call: Callable[..., Any], size: int) -> None:
    """Whole vectors and a rest; NaN stays NaN, and lets no gradient through."""
    x = normal(1, size).astype(np.float32)
    dy, other = normal(1, size, stream="dy").astype(np.float32), x[:, ::-1].copy()
    x[0, size - 1] = np.nan
    y, dx = call("activation", x, "relu", dy=dy)
    assert np.array_equal(y, np.maximum(x, 0), equal_nan=True)
    assert np.array_equal(dx, np.where(x > 0, dy, 0))
    assert np.array_equal(call("add", (x, other)), x + other, equal_nan=True)


ROWS = [(1, 1), (5, 3), (3, 16), (200, 10), (7, 130), (1, 500), (0, 7), (40_000, 17)]


@pytest.mark.parametrize(("rows", "channels"), ROWS)
def test_the_gradient_before_relu_and_its_sums(rows: int, channels: int) -> None:
    pytest.importorskip("numba")
    from cpcnn.devices.cpu.elementwise import masked_and_summed, sum_rows

    ctx = Context(get_device("cpu", threads=2))
    y, dy = (normal(rows, channels, stream=name).astype(np.float32) for name in ("y", "dy"))
    expected = np.where(y > 0, dy, 0)
    masked, sums = masked_and_summed(ctx, dy, y)
    assert np.array_equal(masked, expected)
    np.testing.assert_allclose(sums, expected.astype(float).sum(0), rtol=1e-6, atol=1e-4)
    plain, sums = masked_and_summed(ctx, dy, None)
    assert plain is dy
    np.testing.assert_allclose(sums, dy.astype(float).sum(0), rtol=1e-6, atol=1e-4)
    every_second = np.repeat(dy, 2, axis=1)[:, ::2]  # of a view: as a layer above may hand it down
    assert sum_rows(ctx, every_second).tobytes() == sums.tobytes()
    if dy.size:
        dy[-1, -1] = np.nan
        assert np.argwhere(np.isnan(sum_rows(ctx, dy))).tolist() == [[channels - 1]]


def test_an_unknown_activation_is_a_usage_error(device: Device) -> None:
    with pytest.raises(UsageError, match=r"no activation named 'swoosh'.*Known.*: elu, .*swish"):
        Context(device).ops.activation(device.put(normal(2, 2)), "swoosh")


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
