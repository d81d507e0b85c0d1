"""The public checks find what they are there to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.layers import Dense, Layer, Stack
from cpcnn.layers.config import REGISTRY, register_layer
from cpcnn.layers.initializers import ones
from cpcnn.ops.activations import Activation
from cpcnn.ops.table import Action, Op
from cpcnn.ops.updates import SGDUpdate
from cpcnn.testing import check_gradient, check_layer, check_op

X = Philox(0, "x").normal((6, 5)).astype(np.float64)


# --- gradients --------------------------------------------------------------------------------


def test_a_right_gradient() -> None:
    def product(a: Any, b: Any) -> Any:
        return a * b, lambda dy: (dy * b, dy * a)

    check_gradient(product, [X, X + 1])


@pytest.mark.parametrize("wrong", [1 + 1e-4, -1, 0, np.nan])
def test_a_wrong_gradient(wrong: float) -> None:
    def square(x: Any) -> Any:
        return x * x, lambda dy: (2 * x * dy * wrong,)

    with pytest.raises(AssertionError, match="slope"):
        check_gradient(square, [X])


def test_one_wrong_element_among_many() -> None:
    def square(x: Any) -> Any:
        def backward(dy: Any) -> Any:
            gradient = 2 * x * dy
            gradient[3, 2] += 0.1
            return (gradient,)

        return x * x, backward

    with pytest.raises(AssertionError, match="slope"):
        check_gradient(square, [X])


def test_gradients_of_other_shapes_and_numbers() -> None:
    with pytest.raises(AssertionError, match="2 gradients for 1"):
        check_gradient(lambda x: (x, lambda dy: (dy, dy)), [X])
    with pytest.raises(AssertionError, match="shape"):
        check_gradient(lambda x: (x, lambda dy: (dy[:2],)), [X])


def test_arguments_without_gradient_are_left_alone() -> None:
    check_gradient(lambda x, scale: (x * scale, lambda dy: (dy * scale, None)), [X, X])


# --- ops --------------------------------------------------------------------------------------


def device_with(name: str, implementation: Any) -> Device:
    return type("Broken", (Device,), {"fast": {name: (implementation,)}})()


class Relu(Op):
    """A right implementation, that wrong ones are made from."""

    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        y = np.maximum(x, 0)
        return y, y

    @staticmethod
    def backward(ctx: Context, dy: Any, saved: Any) -> Any:
        return dy * (saved > 0)


class WrongValues(Relu):
    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        return np.maximum(x, 1e-3), x


class WrongDtype(Relu):
    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        y = np.maximum(x, 0).astype(np.float32)
        return y, y


class WrongGradient(Relu):
    @staticmethod
    def backward(ctx: Context, dy: Any, saved: Any) -> Any:
        return dy * (saved > 0.5)


class ChangesInput(Relu):
    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        np.maximum(x, 0, out=x)
        return x, x


class ChangesGradient(Relu):
    @staticmethod
    def backward(ctx: Context, dy: Any, saved: Any) -> Any:
        dy *= saved > 0
        return dy


class IgnoresStrides(Relu):
    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        base = x if x.base is None else x.base
        y = np.maximum(base.reshape(-1)[: x.size].reshape(x.shape), 0)
        return y, y


@pytest.mark.parametrize(
    ("implementation", "words"),
    [
        (WrongValues, "result 0 differs"),
        (WrongDtype, "float32, not float64"),
        (WrongGradient, "gradients 0 differs"),
        (ChangesInput, "argument 0 was changed"),
        (ChangesGradient, "backward changed dy"),
        (IgnoresStrides, "strided"),
    ],
)
def test_wrong_ops_are_found(implementation: Any, words: str) -> None:
    check_op(device_with("activation", Relu), "activation", X, "relu")
    with pytest.raises(AssertionError, match=words):
        check_op(device_with("activation", implementation), "activation", X, "relu")


def test_a_wrong_update_is_found() -> None:
    class Forgets(Action):
        @staticmethod
        def run(ctx: Context, value: Any, grad: Any, velocity: Any, **options: Any) -> None:
            SGDUpdate.run(ctx, value, grad, velocity.copy(), **options)

    options = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    with pytest.raises(AssertionError, match="changed 1 differs"):
        check_op(device_with("sgd_update", Forgets), "sgd_update", *X[:3], **options)


def test_implementations_that_do_not_support_a_call_are_not_asked() -> None:
    class Never(WrongValues):
        @staticmethod
        def supports(ctx: Context, *args: Any, **options: Any) -> bool:
            return False

    check_op(device_with("activation", Never), "activation", X, "relu")
    assert Activation in device_with("activation", Never).table["activation"]


# --- layers -----------------------------------------------------------------------------------


@dataclass(eq=False)
class Scale(Layer):
    """A right layer, that wrong ones are made from."""

    factor: float = 2.0

    def build(self, shape: Any) -> Any:
        self.gain = self.add_param("gain", shape, ones)
        return shape

    def forward(self, x: Any, ctx: Context) -> Any:
        return x * ctx.use(self.gain) * self.factor, (x, ctx.use(self.gain)) if ctx.grad else None

    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        x, gain = saved
        self.gain.accumulate((dy * x * self.factor).sum(0))
        return dy * gain * self.factor


class WrongShape(Scale):
    def build(self, shape: Any) -> Any:
        return (*super().build(shape)[:-1], 7)


class WrongSlope(Scale):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return super().backward(dy, saved, ctx) * 1.001


class WrongParameterSlope(Scale):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        self.gain.accumulate(dy[0])
        return super().backward(dy, saved, ctx)


class Remembers(Scale):
    def forward(self, x: Any, ctx: Context) -> Any:
        self.last = x
        return super().forward(x, ctx)

    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return super().backward(dy, (self.last, saved[1]), ctx)


class Counts(Scale):
    calls = 0

    def forward(self, x: Any, ctx: Context) -> Any:
        self.calls = self.calls + 1
        return super().forward(x, ctx)


class KeepsInEvaluation(Scale):
    def forward(self, x: Any, ctx: Context) -> Any:
        return super().forward(x, ctx)[0], (x, ctx.use(self.gain))


class ChangesItsInput(Scale):
    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x.copy(), ctx)
        x *= 2
        return y, saved


class Converts(Scale):
    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x, ctx)
        return y.astype(np.float32), saved


@dataclass(eq=False)
class ForgetsItsConfiguration(Scale):
    def __post_init__(self) -> None:
        self.factor = self.factor + 1


class LeavesSaved(Stack):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return super().backward(dy, list(saved), ctx)


@pytest.fixture(autouse=True)
def forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(REGISTRY)
    monkeypatch.setattr("cpcnn.layers.config.REGISTRY", known)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (WrongShape, "build foretells"),
        (WrongSlope, "slope"),
        (WrongParameterSlope, "slope"),
        (Remembers, "attributes are added|second use"),
        (Counts, "attributes are added|'calls'"),
        (KeepsInEvaluation, "evaluation keeps"),
        (ChangesItsInput, "changed its input"),
        (Converts, "dtype"),
        (ForgetsItsConfiguration, "configuration"),
    ],
)
def test_wrong_layers_are_found(kind: type[Layer], words: str) -> None:
    register_layer(Scale)
    register_layer(kind)
    check_layer(Scale(), (5,))
    with pytest.raises(AssertionError, match=words):
        check_layer(kind(), (5,))


def test_a_container_that_keeps_activations_is_found() -> None:
    register_layer(LeavesSaved)
    with pytest.raises(AssertionError, match="left arrays in saved"):
        check_layer(LeavesSaved([Dense(3), Dense(2)]), (5,))
