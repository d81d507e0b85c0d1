"""Optimizers over whole models: trajectories, weight decay, options and state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import BatchNormalization, Dense, Stack
from cpcnn.optimizers import SGD, Adam, AdamW, Lamb, Nadam, Optimizer, RMSprop, get_optimizer
from cpcnn.schedules import Constant, CosineDecay

STEPS = 20
DECAYED = {"dense.kernel", "dense_1.kernel"}


def network_store(device: str = "numpy", dtype: str = "float64") -> ParamStore:
    network = Stack([Dense(5), BatchNormalization(), Dense(3)])
    network.build((4,))
    store = ParamStore(network.parameters(), get_device(device), dtype)
    store.initialize(0)
    return store


def gradient(path: str, shape: Any, step: int) -> Any:
    return Philox(1, path, step).normal(shape).astype(np.float64)


def take_steps(store: ParamStore, optimizer: Optimizer, first: int, last: int) -> None:
    ctx = Context(store.device)
    for step in range(first, last):
        for path, param in store.params.items():
            if param.grad is not None:
                param.grad[...] = gradient(path, param.shape, step)
        optimizer.update(ctx, store, 0.1 / (step + 1))


def sgd(value: Any, path: str, momentum: float, nesterov: bool, decay: float) -> Any:
    """In the textbook's form: the buffer sums gradients, and the rate applies at the end."""
    buffer = np.zeros_like(value)
    for step in range(STEPS):
        rate = 0.1 / (step + 1)
        g = gradient(path, value.shape, step) + decay * value
        if not nesterov and momentum:
            buffer = momentum * buffer - rate * g
            value = value + buffer
        elif nesterov:
            buffer = momentum * buffer - rate * g
            value = value + momentum * buffer - rate * g
        else:
            value = value - rate * g
    return value


def adam(value: Any, path: str, beta_1: float, beta_2: float, epsilon: float, decay: float) -> Any:
    means, squares = np.zeros_like(value), np.zeros_like(value)
    for step in range(STEPS):
        rate = 0.1 / (step + 1)
        g = gradient(path, value.shape, step)
        means = means + (1 - beta_1) * (g - means)
        squares = squares + (1 - beta_2) * (g**2 - squares)
        corrected = means / (1 - beta_1 ** (step + 1))
        deviation = np.sqrt(squares / (1 - beta_2 ** (step + 1)))
        value = value - rate * decay * value - rate * corrected / (deviation + epsilon)
    return value


def nadam(value: Any, path: str, momentum_decay: float, decay: float) -> Any:
    means, squares, product = np.zeros_like(value), np.zeros_like(value), 1.0
    for step in range(STEPS):
        rate = 0.1 / (step + 1)
        g = gradient(path, value.shape, step)
        means = means + 0.1 * (g - means)
        squares = squares + 0.001 * (g**2 - squares)
        now, ahead = (0.9 * (1 - 0.96 ** ((step + k) * momentum_decay) / 2) for k in (1, 2))
        product *= now
        corrected = ahead * means / (1 - product * ahead) + (1 - now) * g / (1 - product)
        deviation = np.sqrt(squares / (1 - 0.999 ** (step + 1)))
        value = value - rate * decay * value - rate * corrected / (deviation + 1e-7)
    return value


def rmsprop(value: Any, path: str, momentum: float, centered: bool, decay: float) -> Any:
    squares, means, velocity = (np.zeros_like(value) for _ in range(3))
    for step in range(STEPS):
        rate = 0.1 / (step + 1)
        g = gradient(path, value.shape, step)
        squares = squares + 0.1 * (g**2 - squares)
        means = means + 0.1 * (g - means)
        spread = squares - means**2 if centered else squares
        velocity = momentum * velocity + rate * g / np.sqrt(spread + 1e-7)
        value = value - rate * decay * value - velocity
    return value


def lamb(value: Any, path: str, decay: float) -> Any:
    means, squares = np.zeros_like(value), np.zeros_like(value)
    for step in range(STEPS):
        g = gradient(path, value.shape, step)
        means = means + 0.1 * (g - means)
        squares = squares + 0.001 * (g**2 - squares)
        deviation = np.sqrt(squares / (1 - 0.999 ** (step + 1)))
        u = means / (1 - 0.9 ** (step + 1)) / (deviation + 1e-7) + decay * value
        norm = np.sqrt((value**2).sum())  # of this parameter alone
        ratio = norm / np.sqrt((u**2).sum()) if norm else 1.0
        value = value - 0.1 / (step + 1) * ratio * u
    return value


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (SGD(), lambda v, p, d: sgd(v, p, 0.0, False, 0.0)),
        (SGD(momentum=0.9), lambda v, p, d: sgd(v, p, 0.9, False, 0.0)),
        (
            SGD(momentum=0.8, nesterov=True, weight_decay=0.1),
            lambda v, p, d: sgd(v, p, 0.8, True, 0.1 * d),
        ),
        (SGD(weight_decay=0.5), lambda v, p, d: sgd(v, p, 0.0, False, 0.5 * d)),
        (Adam(), lambda v, p, d: adam(v, p, 0.9, 0.999, 1e-8, 0.0)),
        (AdamW(), lambda v, p, d: adam(v, p, 0.9, 0.999, 1e-8, 0.01 * d)),
        (
            AdamW(weight_decay=0.3, beta_1=0.7, beta_2=0.95, epsilon=1e-3),
            lambda v, p, d: adam(v, p, 0.7, 0.95, 1e-3, 0.3 * d),
        ),
        (Adam(weight_decay=0.2), lambda v, p, d: adam(v, p, 0.9, 0.999, 1e-8, 0.2 * d)),
        (Nadam(), lambda v, p, d: nadam(v, p, 1.0, 0.0)),
        (
            Nadam(momentum_decay=0.004, weight_decay=0.1),
            lambda v, p, d: nadam(v, p, 0.004, 0.1 * d),
        ),
        (RMSprop(), lambda v, p, d: rmsprop(v, p, 0.0, False, 0.0)),
        (
            RMSprop(momentum=0.7, weight_decay=0.2),
            lambda v, p, d: rmsprop(v, p, 0.7, False, 0.2 * d),
        ),
        (RMSprop(centered=True), lambda v, p, d: rmsprop(v, p, 0.0, True, 0.0)),
        (RMSprop(momentum=0.5, centered=True), lambda v, p, d: rmsprop(v, p, 0.5, True, 0.0)),
        (Lamb(), lambda v, p, d: lamb(v, p, 0.0)),
        (Lamb(weight_decay=0.3), lambda v, p, d: lamb(v, p, 0.3 * d)),
    ],
)
def test_trajectories(device: str, optimizer: Optimizer, expected: Any) -> None:
    store = network_store(device)
    start = store.get_weights()
    optimizer.prepare(store)
    take_steps(store, optimizer, 0, STEPS)
    assert optimizer.step == STEPS
    for path, value in store.get_weights().items():
        if store.params[path].trainable:
            wanted = expected(start[path], path, path in DECAYED)  # decay is for kernels alone
            np.testing.assert_allclose(value, wanted, rtol=1e-10, atol=1e-12)
        else:
            assert np.array_equal(value, start[path])


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(momentum=0.9),
        AdamW(),
        Nadam(),
        RMSprop(momentum=0.9, centered=True),
        Lamb(weight_decay=0.1),
        SGD(momentum=0.9, clipnorm=1.0, use_ema=True),
    ],
)
def test_what_lies_between_parameters_stays_zero(optimizer: Optimizer) -> None:
    """The buffers have gaps for alignment; nothing may grow in them."""
    store = network_store()
    used = np.zeros(store.size, bool)
    for path, param in store.params.items():
        used[store.offsets[path] : store.offsets[path] + param.size] = True
    assert not used.all()
    optimizer.prepare(store)
    take_steps(store, optimizer, 0, 5)
    assert not store.values[~used].any()


CLIPPED: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {"weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "nesterov": True}),
    (Adam, {}),
    (AdamW, {"weight_decay": 0.3}),
    (Nadam, {}),
    (RMSprop, {"momentum": 0.5, "centered": True}),
    (Lamb, {"weight_decay": 0.3}),
]
clipped = pytest.mark.parametrize(("kind", "options"), CLIPPED)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@clipped
def test_clipping_scales_all_gradients_by_their_common_norm(
    device: str, kind: type[Optimizer], options: dict[str, Any]
) -> None:
    store, by_hand = network_store(device), network_store(device)
    clipping, plain = kind(**options, global_clipnorm=0.5), kind(**options)
    clipping.prepare(store)
    plain.prepare(by_hand)
    for step in range(5):
        gradients = {
            path: gradient(path, param.shape, step)
            for path, param in store.params.items()
            if param.trainable
        }
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        assert norm > 0.5
        for path, value in gradients.items():
            store.params[path].grad[...] = value  # type: ignore[index]
            by_hand.params[path].grad[...] = value * (0.5 / norm)  # type: ignore[index]
        clipping.update(Context(store.device), store, 0.1)
        plain.update(Context(by_hand.device), by_hand, 0.1)
    for path, value in store.get_weights().items():
        np.testing.assert_allclose(value, by_hand.get_weights()[path], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("norm", [1e3, float("inf")])
@clipped
def test_short_gradients_are_not_clipped(
    kind: type[Optimizer], options: dict[str, Any], norm: float
) -> None:
    weights = []
    for clipnorm in (norm, None):
        store = network_store()
        optimizer = kind(**options, global_clipnorm=clipnorm)
        optimizer.prepare(store)
        take_steps(store, optimizer, 0, 5)
        weights.append(store.values.tobytes())  # type: ignore[attr-defined]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("path", ["dense.kernel", "dense_1.bias"])  # decayed, and not
@clipped
def test_under_clipping_a_gradient_that_is_no_number_changes_nothing(
    device: str, kind: type[Optimizer], options: dict[str, Any], path: str
) -> None:
    store = network_store(device)
    optimizer = kind(**options, global_clipnorm=float("inf"))
    optimizer.prepare(store)
    take_steps(store, optimizer, 0, 3)
    weights, state = store.get_weights(), optimizer.get_state(store)
    store.params[path].grad[0] = np.nan  # type: ignore[index]
    with store.device.scope():
        optimizer.update(Context(store.device), store, 0.1)
    assert optimizer.step == 4
    for before, after in ((weights, store.get_weights()), (state, optimizer.get_state(store))):
        assert all(np.array_equal(after[name], before[name]) for name in before)
    take_steps(store, optimizer, 4, 5)
    assert all(np.isfinite(value).all() for value in store.get_weights().values())
    assert not np.array_equal(store.get_weights()[path], weights[path])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(momentum=0.9, nesterov=True),
        lambda: AdamW(),
        lambda: Nadam(),
        lambda: RMSprop(),
        lambda: RMSprop(momentum=0.9, centered=True),
        lambda: Lamb(),
    ],
)
def test_training_continues_from_a_state(make: Any) -> None:
    whole, parts = network_store(), network_store()
    optimizer = make()
    optimizer.prepare(whole)
    take_steps(whole, optimizer, 0, 8)

    first = make()
    first.prepare(parts)
    take_steps(parts, first, 0, 5)
    state = first.get_state(parts)
    trainable = {path for path, param in parts.params.items() if param.trainable}
    assert set(state) == {f"{slot}/{path}" for slot in first.slots for path in trainable}
    moved = network_store("cpu")
    moved.set_weights(parts.get_weights())
    second = make()
    second.prepare(moved)
    second.set_state(moved, state, first.step)
    take_steps(moved, second, 5, 8)
    for path, value in moved.get_weights().items():
        np.testing.assert_allclose(value, whole.get_weights()[path], rtol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"velocity/dense.kernel": None},
        {"velocity/dense.kernel": np.zeros((4, 6))},
        {"velocity/dense.kernel": np.zeros(1)},
        {"velocity/dense.kernel": np.zeros((5, 4))},
    ],
)
def test_a_state_that_does_not_fit(change: dict[str, Any]) -> None:
    store = network_store()
    optimizer = SGD(momentum=0.9)
    optimizer.prepare(store)
    state: dict[str, Any] = {**optimizer.get_state(store), **change}
    with pytest.raises(CheckpointError, match=r"'velocity'.*dense\.kernel"):
        optimizer.set_state(store, {k: v for k, v in state.items() if v is not None}, 3)
    assert optimizer.step == 0


def test_preparing_starts_over() -> None:
    store = network_store()
    optimizer = Adam()
    optimizer.prepare(store)
    take_steps(store, optimizer, 0, 3)
    optimizer.prepare(store)
    assert optimizer.step == 0
    assert not any(buffer.any() for buffer in optimizer.buffers.values())


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (SGD, {"learning_rate": 0}, ["SGD", "learning_rate", "0"]),
        (SGD, {"learning_rate": float("nan")}, ["learning_rate", "nan"]),
        (SGD, {"learning_rate": float("inf")}, ["learning_rate", "inf"]),
        (SGD, {"momentum": 1.0}, ["momentum", "1.0"]),
        (SGD, {"momentum": -0.1}, ["momentum"]),
        (SGD, {"weight_decay": -1}, ["weight_decay"]),
        (SGD, {"global_clipnorm": 0}, ["SGD", "global_clipnorm", "0"]),
        (Adam, {"global_clipnorm": -1.0}, ["Adam", "global_clipnorm", "-1.0"]),
        (AdamW, {"global_clipnorm": float("nan")}, ["global_clipnorm", "nan"]),
        (Adam, {"beta_1": 1}, ["Adam", "beta_1"]),
        (Adam, {"beta_2": float("nan")}, ["beta_2"]),
        (AdamW, {"epsilon": 0}, ["AdamW", "epsilon"]),
        (AdamW, {"weight_decay": float("inf")}, ["weight_decay"]),
        (Adam, {"learning_rate": "0.1"}, ["learning_rate", "'0.1'", "above 0"]),
        (Adam, {"learning_rate": None}, ["learning_rate", "None"]),
        (SGD, {"momentum": True}, ["momentum", "True"]),
        (Nadam, {"momentum_decay": -1}, ["Nadam", "momentum_decay", "-1", "at least 0"]),
        (RMSprop, {"rho": 1.0}, ["RMSprop", "rho", "1.0", "at least 0 and below 1"]),
        (RMSprop, {"momentum": -0.5}, ["momentum", "-0.5"]),
        (RMSprop, {"epsilon": 0.0}, ["epsilon", "0.0"]),
        (Lamb, {"beta_2": 1.5}, ["Lamb", "beta_2", "1.5"]),
        (SGD, {"clipnorm": 0}, ["clipnorm", "0"]),
        (SGD, {"clipvalue": -2}, ["clipvalue", "-2"]),
        (SGD, {"clipvalue": 1, "global_clipnorm": 1}, ["clipvalue and global_clipnorm"]),
        (SGD, {"ema_momentum": 1.1}, ["ema_momentum", "1.1", "at least 0 and at most 1"]),
        (SGD, {"gradient_accumulation_steps": 0}, ["gradient_accumulation_steps", "0"]),
        (SGD, {"gradient_accumulation_steps": 2.0}, ["gradient_accumulation_steps", "2.0"]),
    ],
)
def test_options_that_cannot_be_meant(kind: Any, options: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**options)
    for word in words:
        assert word in str(caught.value)


def test_optimizers_by_name() -> None:
    assert isinstance(get_optimizer("SGD", momentum=0.5), SGD)
    assert type(get_optimizer("adam")) is Adam
    assert type(get_optimizer("adamw", weight_decay=0.1)) is AdamW
    assert get_optimizer("nadam", momentum_decay=0.004) == Nadam(momentum_decay=0.004)
    assert get_optimizer("RMSprop", centered=True) == RMSprop(centered=True)
    assert type(get_optimizer("lamb")) is Lamb
    mine = SGD(0.3)
    assert get_optimizer(mine) is mine


def test_optimizers_by_class() -> None:
    assert type(get_optimizer(Adam)) is Adam
    assert get_optimizer(SGD, momentum=0.5) == SGD(momentum=0.5)


def test_a_learning_rate_is_a_number_or_a_schedule() -> None:
    assert SGD(0.3).schedule == Constant(0.3)
    falling = CosineDecay(0.1, 10)
    optimizer = Adam(falling)
    assert optimizer.schedule is falling
    assert optimizer.learning_rate is falling
    assert RMSprop(lambda step: 1 / (step + 1)).schedule(3) == 0.25


@pytest.mark.parametrize("name", ["adamax", "", None, 5])
def test_unknown_optimizers(name: Any) -> None:
    with pytest.raises(
        UsageError, match="Known optimizers: sgd, adam, adamw, nadam, rmsprop, lamb"
    ):
        get_optimizer(name)
