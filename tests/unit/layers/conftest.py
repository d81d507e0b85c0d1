"""Running a single layer on chosen numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context, Policy
from cpcnn.core.param import ParamStore
from cpcnn.devices import get_device
from cpcnn.layers import Layer


@pytest.fixture(scope="session")
def run_layer() -> Callable[..., NDArray[Any]]:
    """Return a function that builds a layer for x, sets parameters by path and returns y."""

    def run(layer: Layer, x: NDArray[Any], **weights: NDArray[Any]) -> NDArray[Any]:
        device = get_device("numpy")
        shape = layer.build(x.shape[1:])
        store = ParamStore(layer.parameters(), device, "float64")
        store.initialize(0)
        store.set_weights({**store.get_weights(), **weights})
        y, _ = layer.forward(x, Context(device, policy=Policy("float64", "float64")))
        assert y.shape == (x.shape[0], *shape)
        return np.asarray(y)

    return run
