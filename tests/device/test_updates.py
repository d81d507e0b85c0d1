"""Optimizer updates against scalar arithmetic, on every device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.testing import check_op

SGD = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.01}
ADAM = {
    "learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8, "weight_decay": 0.01,
}  # fmt: skip


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
