"""Ops with an activation whose gradient needs its input, on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device
from cpcnn.ops import REFERENCE
from cpcnn.ops.activations import ACTIVATIONS, keeps_input
from cpcnn.ops.unfused import Unfused
from cpcnn.testing import check_op

KEEP_INPUT = [name for name in ACTIVATIONS if keeps_input(name)]


def normal(*shape: int, stream: str = "x") -> NDArray[np.float64]:
    return Philox(0, stream).normal(shape).astype(np.float64)


def calls() -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments of every op that takes an activation."""
    x, channels = normal(2, 4, 3, 6), (normal(6, stream="b"), normal(6, stream="c"))
    window = Window((3, 2), padding=((1, 1), (0, 1)))
    return {
        "conv2d": ((x, normal(3, 2, 6, 5, stream="w"), normal(5, stream="b"), window), {}),
        "dense": ((normal(7, 6), normal(6, 5, stream="w"), None), {}),
        "batch_norm": (
            (x, *channels, normal(6, stream="m"), np.abs(normal(6, stream="v"))),
            {"momentum": 0.9, "epsilon": 1e-3, "residual": normal(2, 4, 3, 6, stream="r")},
        ),
    }


@pytest.mark.parametrize("op", calls())
@pytest.mark.parametrize("activation", [*KEEP_INPUT, "softplus", "log_softmax"])
def test_any_activation_goes_with_any_op(device: Device, op: str, activation: str) -> None:
    args, options = calls()[op]
    check_op(device, op, *args, activation=activation, **options)


@pytest.mark.parametrize("op", calls())
def test_all_but_the_activation_is_fast(fast_device: Device, op: str) -> None:
    """The device's own implementation runs, and what it keeps is not kept once more."""
    args, options = calls()[op]
    ctx = Context(fast_device, training=True, grad=True)

    def place(value: Any) -> Any:
        # in the precision that every fast device is fast at
        return fast_device.put(value.astype("f")) if isinstance(value, np.ndarray) else value

    with fast_device.scope():
        _, record = getattr(ctx.ops, op)(
            *map(place, args),
            activation="gelu",
            **{name: place(value) for name, value in options.items()},
        )
    assert issubclass(record.op, Unfused)
    inner, last = record.saved
    assert inner.op not in REFERENCE[op]
    assert last.op not in REFERENCE["activation"]


@pytest.mark.parametrize("op", calls())
def test_what_can_be_fused_is_fused(fast_device: Device, op: str) -> None:
    args, options = calls()[op]
    for activation in (None, "relu", "elu"):
        ctx = Context(fast_device, training=True, grad=True)
        takes = [
            found.supports(ctx, *args, activation=activation, **options)
            for found in fast_device.table[op]
            if issubclass(found, Unfused)
        ]
        assert takes == [False]
