"""A small model's parameters, some with weight decay, some without, and some not trainable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import BatchNormalization, Dense, Stack


@pytest.fixture(params=["numpy", "cpu"])
def make_store(request: pytest.FixtureRequest) -> Callable[[], ParamStore]:
    """Return a function that makes the parameters, the same each time, in float64."""

    def make() -> ParamStore:
        network = Stack([Dense(5), BatchNormalization(), Dense(3)])
        network.build((4,))
        store = ParamStore(network.parameters(), get_device(request.param), "float64")
        store.initialize(0)
        return store

    return make


@pytest.fixture
def gradients() -> Callable[[ParamStore, int], dict[str, np.ndarray]]:
    """Return a function from a number to gradients of all parameters."""

    def draw(store: ParamStore, number: int) -> dict[str, np.ndarray]:
        return {
            path: Philox(1, path, number).normal(param.shape).astype(np.float64)
            for path, param in store.params.items()
            if param.trainable
        }

    return draw
