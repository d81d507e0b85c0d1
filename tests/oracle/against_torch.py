"""What all comparisons with PyTorch share: numbers, limits, and one pass on every device.

PyTorch always computes in float64, from the same float32 numbers. So whatever a float32 result is
off is our rounding, not that of two sides together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context, Policy
from cpcnn.core.param import ParamStore
from cpcnn.core.random import Philox
from cpcnn.devices import Device, get_device
from cpcnn.layers import Layer

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
RANDOM = Philox(7, "oracle")  # what dropout draws from


@dataclass(frozen=True)
class Side:
    """One way to compute ours: a device and a type of numbers."""

    device: Device
    dtype: str

    def context(self, *, training: bool = True) -> Context:
        policy = Policy(self.dtype, self.dtype)
        return Context(self.device, training=training, grad=True, policy=policy, rng=RANDOM)

    def put(self, array: NDArray[Any]) -> Any:
        kind = self.dtype if array.dtype.kind == "f" else array.dtype
        return self.device.put(array.astype(kind))

    def get(self, array: Any) -> NDArray[Any]:
        return np.array(self.device.get(array))

    def __str__(self) -> str:
        return f"{self.device.name}, {self.dtype}"


@cache
def sides() -> tuple[Side, ...]:
    """Both devices that need no GPU, each in both precisions."""
    devices = get_device("numpy"), get_device("cpu", threads=2)
    return tuple(Side(device, dtype) for device in devices for dtype in TOLERANCE)


class Cases:
    """Counts comparisons: one for each pass of ours, forward and backward."""

    def __init__(self) -> None:
        self.number = 0

    def of_all_sides(self) -> Iterator[Side]:
        for side in sides():
            yield side
            self.number += 1


def normal(seed: int, stream: str, *shape: int) -> NDArray[np.float32]:
    """Standard normal numbers."""
    return Philox(seed, stream).normal(shape)


def tensor(array: NDArray[Any], *, grad: bool = False) -> Any:
    """The same numbers in float64 for PyTorch; indices stay integers."""
    kind = np.float64 if array.dtype.kind == "f" else array.dtype
    return torch.from_numpy(array.astype(kind)).requires_grad_(grad)


def assert_close(found: NDArray[Any], expected: Any, side: Side, what: str) -> None:
    """max |found - expected| <= tolerance * max(1, max |expected|), and the type is kept."""
    expected = expected.detach().numpy()
    where = f"{what} on {side}"
    assert found.shape == expected.shape, f"{where}: {found.shape}, not {expected.shape}"
    assert str(found.dtype) == side.dtype, f"{where}: {found.dtype}"
    error = float(np.abs(found - expected).max(initial=0))
    limit = TOLERANCE[side.dtype] * max(1.0, float(np.abs(expected).max(initial=0)))
    assert error <= limit, f"{where}: off by {error:.3g}, allowed are {limit:.3g}"


# --- layers ---------------------------------------------------------------------------------

# (layer, inputs, parameters by path, training) -> output; all in our layout
Reference = Callable[[Layer, Sequence[Any], Mapping[str, Any], bool], Any]


def weights_for(layer: Layer, seed: int) -> dict[str, NDArray[np.float32]]:
    """Standard normal numbers for all parameters; variances and gains are around one."""
    weights = {}
    for path, param in layer.parameters().items():
        drawn = normal(seed, path, *param.shape)
        if path.endswith("variance"):
            drawn = 0.5 + np.abs(drawn)
        if path.endswith("gamma"):
            drawn = 1 + drawn / 4
        weights[path] = drawn
    return weights


def compare_layer(
    layer: Layer,
    reference: Reference,
    inputs: Sequence[NDArray[Any]],
    weights: Mapping[str, NDArray[Any]],
    cases: Cases,
    *,
    training: bool = True,
    seed: int = 0,
) -> None:
    """Compare outputs, the gradients of inputs and parameters, and statistics kept.

    The layer is built.
    """
    params = {
        path: tensor(weights[path], grad=param.trainable)
        for path, param in layer.parameters().items()
    }
    leaves = [tensor(array, grad=True) for array in inputs]
    y = reference(layer, leaves, params, training)
    dy = normal(seed, "dy", *y.shape)
    y.backward(tensor(dy))
    expected = {"the output": y}
    expected |= {f"the gradient of input {k}": leaf.grad for k, leaf in enumerate(leaves)}
    for path, param in params.items():
        expected[path] = param.grad if param.requires_grad else param
    for side in cases.of_all_sides():
        found = one_pass(layer, inputs, weights, dy, side, training=training)
        assert found.keys() == expected.keys()
        for what, array in found.items():
            assert_close(array, expected[what], side, what)


def one_pass(
    layer: Layer,
    inputs: Sequence[NDArray[Any]],
    weights: Mapping[str, NDArray[Any]],
    dy: NDArray[Any],
    side: Side,
    *,
    training: bool,
) -> dict[str, NDArray[Any]]:
    """Our output, gradients of inputs, then of parameters, or the values of those not trained."""
    store = ParamStore(layer.parameters(), side.device, side.dtype)
    store.set_weights(weights)
    ctx = side.context(training=training)
    several = layer.multiple_inputs
    with side.device.scope():
        placed = tuple(side.put(array) for array in inputs)
        y, saved = layer.forward(placed if several else placed[0], ctx)
        dx = layer.backward(side.put(dy), saved, ctx)
    found = {"the output": side.get(y)}
    parts = dx if several else (dx,)
    found |= {f"the gradient of input {k}": side.get(part) for k, part in enumerate(parts)}
    found |= store.get_weights() | store.unflatten(side.get(store.grads))
    return found
