"""Optimizer updates against scalar arithmetic, on every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op

SGD = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.01}
ADAM = {
    "learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8, "weight_decay": 0.01,
}  # fmt: skip

NADAM = ADAM | {"momentum": 0.6, "next_momentum": 0.7, "product": 0.3}
RMSPROP = {
    "learning_rate": 0.1, "rho": 0.9, "momentum": 0.0, "epsilon": 0.1, "centered": False,
    "weight_decay": 0.01,
}  # fmt: skip


@pytest.fixture(scope="session")
def call_in_place(device: Device) -> Callable[..., None]:
    """Return a function that runs an update on the device and brings the arrays back."""

    def run(name: str, arrays: list[Any], **options: Any) -> None:
        here = [device.put(array.copy()) for array in arrays]
        with device.scope():
            getattr(Context(device).ops, name)(*here, **options)
        for array, changed in zip(arrays, here, strict=True):
            array[...] = device.get(changed)

    return run


def normal(size: int, stream: str) -> NDArray[np.float64]:
    return Philox(0, stream).normal((size,)).astype(np.float64)


@pytest.mark.parametrize("size", [1, 17, 70_000])
@pytest.mark.parametrize(
    "change", [{}, {"nesterov": True}, {"momentum": 0.0}, {"weight_decay": 0.0}]
)
def test_sgd_keeps_the_contract_of_ops(device: Device, size: int, change: dict[str, Any]) -> None:
    arrays = (normal(size, name) for name in ("value", "grad", "velocity"))
    check_op(device, "sgd_update", *arrays, **(SGD | change))


@pytest.mark.parametrize("size", [1, 17, 70_000])
@pytest.mark.parametrize("step", [1, 1000])
def test_adam_keeps_the_contract_of_ops(device: Device, size: int, step: int) -> None:
    value, grad, first = (normal(size, name) for name in ("value", "grad", "first"))
    second = normal(size, "second") ** 2
    check_op(device, "adam_update", value, grad, first, second, **ADAM, step=step)


@pytest.mark.parametrize("size", [1, 17, 70_000])
@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize(("name", "options"), [("nadam_update", NADAM), ("lamb_update", ADAM)])
def test_relatives_of_adam_keep_the_contract_of_ops(
    device: Device, name: str, options: dict[str, Any], size: int, step: int
) -> None:
    value, grad, first = (normal(size, name) for name in ("value", "grad", "first"))
    second = normal(size, "second") ** 2
    check_op(device, name, value, grad, first, second, **options, step=step)


@pytest.mark.parametrize("size", [1, 17, 70_000])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_keeps_the_contract_of_ops(
    device: Device, size: int, centered: bool, momentum: float
) -> None:
    value, grad, mean = (normal(size, name) for name in ("value", "grad", "mean"))
    state = [mean**2 + normal(size, "square") ** 2]
    state += [mean] if centered else []
    state += [normal(size, "velocity")] if momentum else []
    options = RMSPROP | {"centered": centered, "momentum": momentum}
    check_op(device, "rmsprop_update", value, grad, *state, **options)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_its_formula(device: Device, momentum: float, nesterov: bool) -> None:
    value, velocity = device.put(np.array([2.0])), device.put(np.array([0.0]))
    expected, speed = 2.0, 0.0
    options = SGD | {"momentum": momentum, "nesterov": nesterov}
    for step in range(5):
        gradient = math.sin(step + 1)
        Context(device).ops.sgd_update(value, device.put(np.array([gradient])), velocity, **options)
        pull = gradient + 0.01 * expected
        speed = momentum * speed + pull
        expected -= 0.1 * (pull + momentum * speed if nesterov else speed)
        assert device.get(value).item() == pytest.approx(expected, rel=1e-13)


def test_adam_is_its_formula(device: Device) -> None:
    value, first, second = (device.put(np.array([v])) for v in (2.0, 0.0, 0.0))
    expected, m, v = 2.0, 0.0, 0.0
    for step in range(1, 6):
        gradient = math.sin(step)
        Context(device).ops.adam_update(
            value, device.put(np.array([gradient])), first, second, **ADAM, step=step
        )
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        expected *= 1 - 0.1 * 0.01
        expected -= 0.1 * (m / (1 - 0.9**step)) / (math.sqrt(v / (1 - 0.99**step)) + 1e-8)
        assert device.get(value).item() == pytest.approx(expected, rel=1e-12)


gradients = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=8)
shares = st.floats(0, 0.99)


@given(gradients, shares, shares, st.floats(0, 0.5), st.sampled_from([1.0, 0.004]))
def test_nadam_is_its_formula(
    call_in_place: Callable[..., Any],
    gradients: list[float],
    beta_1: float,
    beta_2: float,
    decay: float,
    momentum_decay: float,
) -> None:
    """One number, a step for each gradient, in the form that has corrected means."""
    momenta = [
        beta_1 * (1 - 0.96 ** (t * momentum_decay) / 2) for t in range(1, len(gradients) + 2)
    ]
    arrays = [np.array([2.0]), np.zeros(1), np.zeros(1), np.zeros(1)]
    expected, mean, square = 2.0, 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        arrays[1][0] = gradient
        product = math.prod(momenta[:t])
        call_in_place(
            "nadam_update", arrays, learning_rate=0.1, beta_1=beta_1, beta_2=beta_2, epsilon=1e-4,
            momentum=momenta[t - 1], next_momentum=momenta[t], product=product,
            weight_decay=decay, step=t,
        )  # fmt: skip
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        looked_ahead = momenta[t] * mean / (1 - math.prod(momenta[: t + 1]))
        looked_ahead += (1 - momenta[t - 1]) * gradient / (1 - product)
        expected -= 0.1 * decay * expected
        expected -= 0.1 * looked_ahead / (math.sqrt(square / (1 - beta_2**t)) + 1e-4)
        assert arrays[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-11)


@given(gradients, shares, shares, st.booleans(), st.floats(0, 0.5))
def test_rmsprop_is_its_formula(
    call_in_place: Callable[..., Any],
    gradients: list[float],
    rho: float,
    momentum: float,
    centered: bool,
    decay: float,
) -> None:
    state = [np.zeros(1) for _ in range(1 + centered + (momentum > 0))]
    arrays = [np.array([2.0]), np.zeros(1), *state]
    expected, square, mean, velocity = 2.0, 0.0, 0.0, 0.0
    for gradient in gradients:
        arrays[1][0] = gradient
        call_in_place(
            "rmsprop_update", arrays, learning_rate=0.1, rho=rho, momentum=momentum, epsilon=0.1,
            centered=centered, weight_decay=decay,
        )  # fmt: skip
        square = rho * square + (1 - rho) * gradient**2
        mean = rho * mean + (1 - rho) * gradient
        root = math.sqrt(max(square - mean**2 if centered else square, 0) + 0.1)
        velocity = momentum * velocity + 0.1 * gradient / root
        expected = expected * (1 - 0.1 * decay) - velocity
        assert arrays[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_variance_below_zero_by_rounding_is_none(
    call_in_place: Callable[..., Any], dtype: str
) -> None:
    """Equal gradients have no variance; the difference that stands for it is any small number."""
    grad = np.linspace(1, 1000, 997).astype(dtype)
    arrays = [np.zeros_like(grad), grad, grad**2, grad.copy()]
    options = RMSPROP | {"centered": True, "epsilon": 1e-12}
    call_in_place("rmsprop_update", arrays, **options)
    assert np.isfinite(arrays[0]).all()


@given(
    st.lists(st.tuples(*[st.floats(-10, 10, width=32)] * 3), min_size=1, max_size=6),
    st.floats(0, 0.5),
    st.integers(1, 50),
)
def test_lamb_is_its_formula(
    call_in_place: Callable[..., Any],
    numbers: list[tuple[float, float, float]],
    decay: float,
    step: int,
) -> None:
    value, grad, first = (np.array(column) for column in zip(*numbers, strict=True))
    arrays = [value.copy(), grad, first.copy(), np.ones(len(value))]
    options = ADAM | {"weight_decay": decay, "epsilon": 1e-4}
    call_in_place("lamb_update", arrays, **options, step=step)
    pull = (0.9 * first + 0.1 * grad) / (1 - 0.9**step)
    pull = pull / (np.sqrt((0.99 + 0.01 * grad**2) / (1 - 0.99**step)) + 1e-4) + decay * value
    norm, other = np.linalg.norm(value), np.linalg.norm(pull)
    ratio = norm / other if norm and other else 1.0
    np.testing.assert_allclose(arrays[0], value - 0.1 * ratio * pull, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", [0, 1, 17, 70_000])
@pytest.mark.parametrize("limit", [0.5, 1e9, math.inf])
def test_clip_gradient_keeps_the_contract_of_ops(device: Device, size: int, limit: float) -> None:
    check_op(device, "clip_gradient", normal(size, "grad"), limit=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_elements_keeps_what_is_no_number(
    call_in_place: Callable[..., Any], dtype: str
) -> None:
    grad = np.array([-math.inf, -3.0, -1.0, 0.5, 2.0, math.inf, math.nan], dtype)
    call_in_place("clip_gradient", [grad], limit=2.0)
    np.testing.assert_array_equal(grad, [-2.0, -2.0, -1.0, 0.5, 2.0, 2.0, math.nan])


# --- a scale on the device --------------------------------------------------------------------

UPDATES = {
    "sgd": ("sgd_update", 1, SGD),
    "sgd without momentum": ("sgd_update", 1, SGD | {"momentum": 0.0}),
    "nesterov": ("sgd_update", 1, SGD | {"nesterov": True}),
    "adam": ("adam_update", 2, ADAM | {"step": 3}),
    "nadam": ("nadam_update", 2, NADAM | {"step": 3}),
    "rmsprop": ("rmsprop_update", 1, RMSPROP),
    "rmsprop with momentum": ("rmsprop_update", 2, RMSPROP | {"momentum": 0.9}),
    # the variance of these states may be any small number
    "rmsprop, centered": ("rmsprop_update", 2, RMSPROP | {"centered": True, "epsilon": 1.0}),
    "lamb": ("lamb_update", 2, ADAM | {"step": 3}),
}
updates = pytest.mark.parametrize(
    ("name", "states", "options"), UPDATES.values(), ids=UPDATES.keys()
)


@updates
@pytest.mark.parametrize("size", [1, 17, 70_000])
@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_scaled_updates_keep_the_contract_of_ops(
    device: Device, name: str, states: int, options: dict[str, Any], size: int, scale: float
) -> None:
    value, grad = normal(size, "value"), normal(size, "grad")
    state = [normal(size, f"state {number}") ** 2 for number in range(states)]
    check_op(device, name, value, grad, *state, **options, scale=np.array([scale]))


def update(
    device: Device, name: str, arrays: list[Any], options: dict[str, Any], scale: Any = None
) -> list[Any]:
    """Run an update on copies; returns all arrays as they are afterwards."""
    here = [device.put(array.copy()) for array in arrays]
    given = None if scale is None else device.put(np.array([scale], arrays[0].dtype))
    with device.scope():
        getattr(Context(device).ops, name)(*here, **options, scale=given)
    return [np.array(device.get(array)) for array in here]


@updates
def test_a_scale_multiplies_the_gradient(
    device: Device, name: str, states: int, options: dict[str, Any]
) -> None:
    value, grad = normal(50, "value"), normal(50, "grad")
    state = [normal(50, f"state {number}") ** 2 for number in range(states)]
    scaled = update(device, name, [value, grad, *state], options, 0.25)
    by_hand = update(device, name, [value, grad / 4, *state], options)
    for number in (0, *range(2, 2 + states)):
        assert np.array_equal(scaled[number], by_hand[number])  # a quarter is exact


@updates
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_of_zero_skips_the_step(
    device: Device, name: str, states: int, options: dict[str, Any], dtype: str
) -> None:
    """Nothing moves, not even by weight decay, momentum, or the sign of a zero."""
    special = np.array([np.nan, np.inf, -np.inf, 1e30, 0.0, 3.0])
    grad = np.resize(special, 70_001).astype(dtype)
    kept = np.resize([-0.0, 0.0, 1.5, -2.0, 1e-40], 70_001).astype(dtype)
    arrays = [kept, grad, *[kept[::-1].copy() for _ in range(states)]]
    for before, after in zip(arrays, update(device, name, arrays, options, 0.0), strict=True):
        assert before.tobytes() == after.tobytes()


@updates
def test_a_gradient_that_is_no_number_shows_in_its_element_alone(
    device: Device, name: str, states: int, options: dict[str, Any]
) -> None:
    arrays = [normal(100, stream).astype(np.float32) ** 2 for stream in "abcd"[: 2 + states]]
    expected = update(device, name, arrays, options)[0]
    arrays[1][37] = np.nan
    found = update(device, name, arrays, options)[0]
    assert np.isnan(found[37])
    if name != "lamb_update":  # whose step is that of the whole parameter
        assert np.array_equal(np.delete(found, 37), np.delete(expected, 37))


# --- the factor that clips --------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 17, 70_000, 200_000])
@pytest.mark.parametrize("max_norm", [0.5, 100.0, 1e9, math.inf])
def test_gradient_scale_keeps_the_contract_of_ops(
    device: Device, size: int, max_norm: float
) -> None:
    check_op(device, "gradient_scale", normal(size, "grad"), max_norm=max_norm)


numbers = st.floats(-1e6, 1e6, width=32)


@given(st.lists(numbers, max_size=20), st.floats(1e-3, 1e3))
def test_gradient_scale_is_its_formula(
    call: Callable[..., Any], gradient: list[float], max_norm: float
) -> None:
    norm = math.sqrt(math.fsum(g * g for g in gradient))
    expected = min(1.0, max_norm / norm) if norm else 1.0
    found = call("gradient_scale", np.array(gradient), max_norm=max_norm)
    assert found.shape == (1,)
    assert found[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("max_norm", [0.5, math.inf])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 65_535, 65_536, 70_000])
def test_the_scale_of_a_gradient_that_is_not_finite_is_zero(
    call: Callable[..., Any], place: int, bad: float, max_norm: float
) -> None:
    gradient = normal(70_001, "grad").astype(np.float32)
    gradient[place] = bad
    assert call("gradient_scale", gradient, max_norm=max_norm).tolist() == [0.0]


@pytest.mark.parametrize("size", [1e-30, 1e20, 3e38])
def test_squares_of_float32_neither_overflow_nor_vanish(
    call: Callable[..., Any], size: float
) -> None:
    gradient = np.full(10_000, size, np.float32)
    found = call("gradient_scale", gradient, max_norm=size)
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(0.01, rel=1e-6)
    assert call("gradient_scale", gradient, max_norm=math.inf).tolist() == [1.0]


# --- finite, and averages ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (1,), (70_000,), (3, 4, 5)])
@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
def test_all_finite_keeps_the_contract_of_ops(device: Device, shape: Any, bad: Any) -> None:
    values = normal(math.prod(shape), "values").reshape(shape)
    if bad is not None and values.size:
        values.flat[-1] = bad
    check_op(device, "all_finite", values)


@given(st.lists(st.floats(width=32), max_size=40))
def test_all_finite_finds_any_number_that_is_not(
    call: Callable[..., Any], values: list[float]
) -> None:
    for dtype in (np.float32, np.float64):
        found = call("all_finite", np.array(values, dtype))
        assert found.dtype == bool
        assert found.tolist() == [all(map(math.isfinite, values))]


@pytest.mark.parametrize("size", [0, 1, 17, 70_000])
@pytest.mark.parametrize("decay", [0.0, 0.99, 1.0])
def test_average_update_keeps_the_contract_of_ops(device: Device, size: int, decay: float) -> None:
    check_op(device, "average_update", normal(size, "average"), normal(size, "value"), decay=decay)


def test_an_average_is_its_formula(device: Device) -> None:
    average = device.put(np.array([1.0]))
    expected = 1.0
    for step in range(5):
        value = math.sin(step)
        Context(device).ops.average_update(average, device.put(np.array([value])), decay=0.9)
        expected = 0.9 * expected + 0.1 * value
        assert device.get(average).item() == pytest.approx(expected, rel=1e-13)
