"""Activation functions as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.devices import get_device
from cpcnn.layers import ELU, Activation, Dense, Layer, LeakyReLU, ReLU, Softmax, Stack
from cpcnn.layers.fuse import fuse, split_activation
from cpcnn.ops.activations import ACTIVATIONS, ALIASES
from cpcnn.testing import check_layer

X = np.array([[-4.0, -1.0, 0.0, 0.5, 1.0, 2.0, 6.0, 7.0]])

LAYERS: dict[str, tuple[Layer, Callable[[float], float]]] = {
    "relu": (ReLU(), lambda v: max(v, 0)),
    "relu, bounded": (ReLU(6), lambda v: min(max(v, 0), 6)),
    "relu, bounded at 1": (ReLU(1.0), lambda v: min(max(v, 0), 1)),
    "relu, leaky": (ReLU(negative_slope=0.1), lambda v: v if v > 0 else 0.1 * v),
    "relu, leaky and bounded": (ReLU(6, 0.1), lambda v: min(v, 6) if v > 0 else 0.1 * v),
    "relu, all": (ReLU(2.5, 0.25, 0.75), lambda v: min(v, 2.5) if v > 0.75 else 0.25 * (v - 0.75)),
    "relu, threshold": (ReLU(threshold=0.75), lambda v: v if v > 0.75 else 0),
    "leaky relu": (LeakyReLU(), lambda v: v if v > 0 else 0.3 * v),
    "leaky relu, 0": (LeakyReLU(0), lambda v: max(v, 0)),
    "elu": (ELU(), lambda v: v if v > 0 else math.expm1(v)),
    "elu, 0.5": (ELU(0.5), lambda v: v if v > 0 else 0.5 * math.expm1(v)),
}


def run(layer: Layer, x: NDArray[Any]) -> Any:
    layer.build(x.shape[1:])
    return layer.forward(x, Context(get_device("numpy")))[0]


@pytest.mark.parametrize(("layer", "formula"), LAYERS.values(), ids=LAYERS.keys())
def test_layers_are_their_formulas(layer: Layer, formula: Any) -> None:
    np.testing.assert_allclose(run(layer, X), [[formula(v) for v in X[0]]], rtol=1e-15)
    assert run(layer, X.astype("float32")).dtype == np.float32


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize(
    "layer", [*(layer for layer, _ in LAYERS.values()), Softmax(), Softmax(1), Softmax(-2)], ids=str
)
def test_layers_keep_their_promises(layer: Layer, device: str) -> None:
    check_layer(layer, (3, 4, 2), device=get_device(device, threads=1))


@pytest.mark.parametrize("name", [*ACTIVATIONS, *ALIASES])
def test_any_name_makes_a_layer(name: str) -> None:
    check_layer(Activation(name), (3, 4))
    assert f"`{name}`" in (Activation.__doc__ or "")


@pytest.mark.parametrize("axis", [-3, -2, -1, 1, 2, 3])
def test_softmax_over_an_axis(axis: int) -> None:
    x = np.arange(48.0).reshape(2, 2, 3, 4) % 7
    power = np.exp(x)
    exact = power / power.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(run(Softmax(axis), x), exact, rtol=1e-14)


def test_softmax_leaves_no_gaps_in_memory() -> None:
    """Fast ops behind it would decline an array whose axes were moved."""
    x = np.arange(24.0).reshape(2, 3, 4)
    ctx = Context(get_device("numpy"), grad=True)
    y, saved = Softmax(1).forward(x, ctx)
    assert y.flags.c_contiguous
    assert Softmax(1).backward(x, saved, ctx).flags.c_contiguous


@pytest.mark.parametrize("axis", [-4, 0, 4])
def test_softmax_over_no_axis_of_an_image(axis: int) -> None:
    with pytest.raises(ShapeError, match=rf"axis {axis} .*\(2, 3, 4\).*1 to 3"):
        Softmax(axis).build((2, 3, 4))


def test_defaults_and_their_order_are_those_of_keras() -> None:
    defaults: dict[type[Layer], dict[str, Any]] = {
        ReLU: {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
        LeakyReLU: {"negative_slope": 0.3},
        ELU: {"alpha": 1.0},
        Softmax: {"axis": -1},
    }
    for kind, wanted in defaults.items():
        own = [item for item in fields(kind) if item.init and not item.kw_only]
        assert {item.name: item.default for item in own} == wanted
        assert [item.name for item in own] == list(wanted)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ReLU(-1), ["ReLU", "max_value", "-1"]),
        (lambda: ReLU(6, -0.1), ["negative_slope", "-0.1"]),
        (lambda: ReLU(threshold=math.nan), ["threshold", "nan"]),
        (lambda: LeakyReLU("steep"), ["LeakyReLU", "negative_slope", "steep"]),
        (lambda: LeakyReLU(True), ["negative_slope", "True"]),
        (lambda: ELU(-1.0), ["ELU", "alpha", "-1.0"]),
        (lambda: ELU(math.inf), ["alpha", "inf"]),
        (lambda: Softmax((1, 2)), ["Softmax", "axis", "(1, 2)"]),
        (lambda: Activation("step"), ["step", "hard_sigmoid", "swish"]),
    ],
)
def test_options_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_layers_that_are_a_named_activation_are_known_as_such() -> None:
    """A loss takes a final softmax off, and ReLU goes to the layer before it."""
    assert split_activation(Stack([Dense(3), Softmax()]), "softmax")[1]
    assert not split_activation(Stack([Dense(3), Softmax(1)]), "softmax")[1]
    for layer, name in ((ReLU(), "relu"), (ReLU(6.0), "relu6"), (ELU(), "elu")):
        fused = fuse(Stack([Dense(3), layer]))
        assert fused.children()["dense"].activation == name  # type: ignore[attr-defined]
    for layer in (LeakyReLU(), ReLU(5), Softmax()):
        root = Stack([Dense(3), layer])
        assert fuse(root) is root
