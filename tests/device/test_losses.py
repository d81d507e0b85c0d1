"""The ops behind the losses: their formulas, their gradients and their ends, on every device."""

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
from cpcnn.devices import Device, get_device
from cpcnn.losses import CategoricalFocalCrossentropy, Loss, get_loss
from cpcnn.testing import check_op

Floats = NDArray[np.float64]
GAMMAS = [0.0, 0.5, 1.0, 2.0, 3.5]
EPSILON = 1e-7


def normal(*shape: int, stream: str = "x") -> Floats:
    return Philox(0, stream).normal(shape).astype(np.float64)


def uniform(*shape: int, stream: str = "y") -> Floats:
    """Numbers between 0.02 and 0.98: differences do not step over where probabilities are cut."""
    words = Philox(0, stream).words(np.arange(math.prod(shape)))[:, 0]
    return 0.02 + 0.96 * words.reshape(shape) / 2**32


def softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def focal(p: Floats, targets: Floats, gamma: float) -> Floats:
    return np.asarray(-(targets * (1 - p) ** gamma * np.log(p)).sum(axis=-1))


def binary_focal(p: Floats, t: Floats, gamma: float, alpha: float | None) -> Floats:
    entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    missed = 1 - (t * p + (1 - t) * (1 - p))
    balance = 1.0 if alpha is None else t * alpha + (1 - t) * (1 - alpha)
    return np.asarray((balance * missed**gamma * entropy).mean(axis=-1))


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("shape", [(7, 5), (1, 2), (4, 1)])
def test_focal_cross_entropy(
    device: Device, call: Callable[..., Any], shape: Any, gamma: float
) -> None:
    logits, y, targets = normal(*shape) * 3, uniform(*shape), uniform(*shape, stream="t")
    np.testing.assert_allclose(
        call("softmax_focal_cross_entropy", logits, targets, gamma=gamma),
        focal(softmax(logits), targets, gamma),
        rtol=1e-12,
        atol=1e-12,
    )
    share = np.clip(y / y.sum(axis=-1, keepdims=True), EPSILON, 1 - EPSILON)
    np.testing.assert_allclose(
        call("focal_cross_entropy", y, targets, gamma=gamma),
        focal(share, targets, gamma),
        rtol=1e-12,
        atol=1e-12,
    )
    check_op(device, "softmax_focal_cross_entropy", logits, targets, gamma=gamma)
    if shape[1] > 1:  # one probability alone is always cut
        check_op(device, "focal_cross_entropy", y, targets, gamma=gamma)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("soft", [False, True])
def test_binary_focal_cross_entropy(
    device: Device, call: Callable[..., Any], gamma: float, alpha: float | None, soft: bool
) -> None:
    logits, y, targets = normal(6, 3) * 3, uniform(6, 3), uniform(6, 3, stream="t")
    if not soft:
        targets = np.round(targets)
    options: dict[str, Any] = {"gamma": gamma, "alpha": alpha}
    for name, x, p in (
        ("sigmoid_focal_cross_entropy", logits, 1 / (1 + np.exp(-logits))),
        ("binary_focal_cross_entropy", y, y),
    ):
        expected = binary_focal(p, targets, gamma, alpha)
        np.testing.assert_allclose(call(name, x, targets, **options), expected, rtol=1e-12)
        check_op(device, name, x, targets, **options)


@given(
    st.integers(1, 9),
    st.integers(2, 70),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([1, 40, 1e4]),
)
def test_softmax_cross_entropy(
    device: Device, rows: int, classes: int, smoothing: float, spread: float
) -> None:
    labels = np.arange(rows) * 5 % classes
    check_op(
        device, "softmax_cross_entropy", normal(rows, classes) * spread, labels,
        label_smoothing=smoothing, gradient=False,
    )  # fmt: skip


def test_small_probabilities_keep_their_digits(call: Callable[..., Any]) -> None:
    logits = np.zeros((800, 2), np.float32)
    logits[:, 1] = np.linspace(-86, 0, 800)
    options = {"label_smoothing": 0.0, "dy": np.ones(800, np.float32)}
    _, gradient = call("softmax_cross_entropy", logits, np.zeros(800, int), **options)
    np.testing.assert_allclose(gradient[:, 1], softmax(logits.astype(float))[:, 1], rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_logit_that_is_no_number_shows_in_its_row_alone(
    call: Callable[..., Any], place: int, dtype: str
) -> None:
    logits = normal(5, 20).astype(dtype)
    logits[3, place] = np.nan
    options = {"label_smoothing": 0.1, "dy": np.ones(5, dtype)}
    losses, gradient = call("softmax_cross_entropy", logits, np.arange(5), **options)
    assert np.isnan(losses).tolist() == [False, False, False, True, False]
    assert np.isnan(gradient).all(axis=1).tolist() == [False, False, False, True, False]
    assert np.isfinite(np.delete(gradient, 3, axis=0)).all()


@pytest.mark.parametrize("shape", [(7, 5), (4, 1)])
def test_mean_squared_error(device: Device, call: Callable[..., Any], shape: Any) -> None:
    y, targets = normal(*shape), normal(*shape, stream="t")
    expected = ((y - targets) ** 2).mean(axis=-1)
    np.testing.assert_allclose(call("mean_squared_error", y, targets), expected, rtol=1e-14)
    check_op(device, "mean_squared_error", y, targets)


def test_soft_targets_that_are_hard_are_class_indices(call: Callable[..., Any]) -> None:
    logits, labels, dy = normal(8, 4) * 3, np.arange(8) % 4, normal(8, stream="dy")
    hard = call("softmax_cross_entropy", logits, labels, label_smoothing=0.1, dy=dy)
    targets = np.eye(4)[labels] * 0.9 + 0.1 / 4
    soft = call("softmax_focal_cross_entropy", logits, targets, dy=dy)
    for one, other in zip(hard, soft, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("far", [30.0, 100.0, 1e4])
def test_focal_far_out(call: Callable[..., Any], gamma: float, far: float) -> None:
    """Where p reaches 1 the loss is (1 - p) ** (gamma + 1), and where it reaches 0 it is -log p."""
    logits = np.array([[far, 0.0], [far, 0.0], [0.0, 0.0]])
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    losses, gradient = call(
        "softmax_focal_cross_entropy", logits, targets, gamma=gamma, dy=np.ones(3)
    )
    half = math.log(2) * 0.5**gamma
    rest = math.exp(-far)
    np.testing.assert_allclose(losses, [rest ** (gamma + 1), far, half], rtol=1e-9)
    slope = (gamma + 1) * rest ** (gamma + 1)
    at_half = 0.5 ** (gamma + 1) * (1 + gamma * math.log(2))
    expected = [[-slope, slope], [1, -1], [-at_half, at_half]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-9)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("far", [30.0, 100.0, 1e4])
def test_binary_focal_far_out(call: Callable[..., Any], gamma: float, far: float) -> None:
    logits = np.array([[far], [-far], [far], [-far]])
    targets = np.array([[1.0], [0.0], [0.0], [1.0]])
    losses, gradient = call(
        "sigmoid_focal_cross_entropy", logits, targets, gamma=gamma, dy=np.ones(4)
    )
    near = math.exp(-far) ** (gamma + 1)
    np.testing.assert_allclose(losses, [near, near, far, far], rtol=1e-9)
    slope = (gamma + 1) * near
    np.testing.assert_allclose(gradient[:, 0], [-slope, slope, 1, -1], rtol=1e-9)


@pytest.mark.parametrize("name", ["focal_cross_entropy", "binary_focal_cross_entropy"])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_certain_probabilities_are_cut(call: Callable[..., Any], name: str, gamma: float) -> None:
    y, targets = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    losses, gradient = call(name, y, targets, gamma=gamma, dy=np.ones(2))
    worst = -math.log(EPSILON) * (1 - EPSILON) ** gamma
    best = -math.log(1 - EPSILON) * EPSILON**gamma
    np.testing.assert_allclose(losses, [best, worst], rtol=1e-8)
    assert not gradient.any()


@pytest.mark.parametrize(
    "name",
    [
        "softmax_focal_cross_entropy",
        "focal_cross_entropy",
        "sigmoid_focal_cross_entropy",
        "binary_focal_cross_entropy",
        "mean_squared_error",
    ],
)
def test_what_is_not_a_number_stays_so(call: Callable[..., Any], name: str) -> None:
    outputs = np.array([[np.nan, 0.5, 0.25], [0.25, 0.5, 0.25]])
    losses, gradient = call(name, outputs, np.eye(3)[:2], dy=np.ones(2))
    assert np.isnan(losses).tolist() == [True, False]
    assert np.isnan(gradient[0]).any()
    assert np.isfinite(gradient[1]).all()


LOSSES = {
    "categorical_crossentropy": 3,
    "binary_crossentropy": 1,
    "categorical_focal_crossentropy": 3,
    "binary_focal_crossentropy": 3,
    "mean_squared_error": 1,
}


def of_loss(device: Device, loss: Loss, outputs: Any, labels: Any) -> tuple[Any, Any]:
    """The losses and the gradient of their sum, on the host."""
    with device.scope():
        ctx = Context(device, grad=True)
        losses, saved = loss(ctx, device.put(outputs.copy()), device.put(labels.copy()))
        gradient = loss.backward(ctx, ctx.xp.ones_like(losses), saved)
        return np.array(device.get(losses)), np.array(device.get(gradient))


@pytest.mark.parametrize(("name", "outputs"), LOSSES.items())
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_are_the_same_on_every_device(
    device: Device, name: str, outputs: int, probabilities: bool, dtype: str
) -> None:
    """Labels and weights are brought to the outputs' device and type, and nothing is read."""
    plain = get_loss(name).bind(False, probabilities=probabilities)
    each: tuple[Loss, ...] = (plain, plain.with_class_weights([1, 2, 5][: max(2, outputs)]))
    if name == "categorical_focal_crossentropy":
        each += (CategoricalFocalCrossentropy([0.5, 0.25, 1.0]).bind(not probabilities),)
    y, labels = uniform(6, outputs).astype(dtype), np.arange(6) % max(2, outputs)
    targets = np.eye(outputs)[labels] if outputs > 1 else labels[:, None] * 1.0
    for loss in each:
        for answers in (labels, targets):
            expected = of_loss(get_device("numpy"), loss, y, answers)
            for one, other in zip(of_loss(device, loss, y, answers), expected, strict=True):
                assert one.dtype == dtype
                tolerance = 1e-6 if dtype == "float32" else 1e-14
                np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
