"""The public checks find what they are there to find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.layers import Dense, Layer, Stack
from cpcnn.layers.config import REGISTRY, register_layer
from cpcnn.layers.initializers import Ones
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


def test_the_wrong_one_among_several_is_named() -> None:
    def product(a: Any, b: Any, c: Any) -> Any:
        return a * b * c, lambda dy: (dy * b * c, -dy * a * c, 0 * dy)

    with pytest.raises(AssertionError) as caught:
        check_gradient(product, [X, X + 1, X + 2], names=["a", "b", "c"])
    a_fine, b_wrong, c_wrong = (f"gradient of {name} " in str(caught.value) for name in "abc")
    assert (a_fine, b_wrong, c_wrong) == (False, True, True)
    assert str(caught.value).index("sign is wrong") < str(caught.value).index("zero everywhere")


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
class Affine(Layer):
    """A right layer, that wrong ones are made from: x * gain * factor + bias."""

    factor: float = 2.0

    def build(self, shape: Any) -> Any:
        self.gain = self.add_param("gain", shape, Ones())
        self.bias = self.add_param("bias", shape, Ones())
        self.mean = self.add_param("mean", shape, Ones(), trainable=False)
        return shape

    def forward(self, x: Any, ctx: Context) -> Any:
        gain = ctx.use(self.gain)
        if ctx.training and ctx.update_statistics:
            self.mean.value[...] = x.mean(0)
        y = x * gain * self.factor + ctx.use(self.bias)
        return y, (x, gain) if ctx.grad else None

    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        x, gain = saved
        self.gain.accumulate((dy * x * self.factor).sum(0))
        self.bias.accumulate(dy.sum(0))
        return dy * gain * self.factor


# --- the six faults that a layer's author makes


class WrongSign(Affine):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return -super().backward(dy, saved, ctx)


class ForgetsTheBias(Affine):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        x, gain = saved
        self.gain.accumulate((dy * x * self.factor).sum(0))
        return dy * gain * self.factor


class KeepsState(Affine):
    def forward(self, x: Any, ctx: Context) -> Any:
        self.last = x
        return super().forward(x, ctx)


class ChangesItsInput(Affine):
    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x.copy(), ctx)
        x *= 2
        return y, saved


class WrongShape(Affine):
    def build(self, shape: Any) -> Any:
        return (*super().build(shape)[:-1], 7)


@dataclass(eq=False)
class ForgetsItsConfiguration(Affine):
    def __post_init__(self) -> None:
        self.factor = self.factor + 1


SIX = [
    (WrongSign, "gradient of the input promises .* \\(its sign is wrong\\)"),
    (ForgetsTheBias, "gradient of the parameter 'bias' .* \\(it is zero everywhere"),
    (KeepsState, "attributes are added in forward or backward: last"),
    (ChangesItsInput, "forward changed its input"),
    (WrongShape, r"build foretells \(7,\) per image, forward gives \(3, 5\)"),
    (ForgetsItsConfiguration, "the configuration changes on its way through JSON"),
]

# --- and others


class WrongSlope(Affine):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return super().backward(dy, saved, ctx) * 1.001


class WrongParameterSlope(Affine):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        self.gain.accumulate(dy[0])
        return super().backward(dy, saved, ctx)


class ReadsWhatIsOnTheLayer(Affine):
    def build(self, shape: Any) -> Any:
        self.last = [None]
        return super().build(shape)

    def forward(self, x: Any, ctx: Context) -> Any:
        self.last[0] = x
        return super().forward(x, ctx)

    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return super().backward(dy, (self.last[0], saved[1]), ctx)


class Counts(Affine):
    def build(self, shape: Any) -> Any:
        self.calls = 0
        return super().build(shape)

    def forward(self, x: Any, ctx: Context) -> Any:
        self.calls = self.calls + 1
        return super().forward(x, ctx)


class CollectsInPlace(Affine):
    def build(self, shape: Any) -> Any:
        self.seen: list[int] = []
        return super().build(shape)

    def forward(self, x: Any, ctx: Context) -> Any:
        self.seen.append(len(x))
        return super().forward(x, ctx)


class WritesToAnArray(Affine):
    def build(self, shape: Any) -> Any:
        self.sums = np.zeros(5)
        return super().build(shape)

    def forward(self, x: Any, ctx: Context) -> Any:
        self.sums += x.sum(0)
        return super().forward(x, ctx)


class KeepsInEvaluation(Affine):
    def forward(self, x: Any, ctx: Context) -> Any:
        return super().forward(x, ctx)[0], (x, ctx.use(self.gain))


class MovesInEvaluation(Affine):
    def forward(self, x: Any, ctx: Context) -> Any:
        self.mean.value[...] = x.mean(0)
        return super().forward(x, ctx)


class AlwaysMoves(Affine):
    def forward(self, x: Any, ctx: Context) -> Any:
        return super().forward(x, ctx.variant(update_statistics=True))


class ChangesItsGradient(Affine):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        dx = super().backward(dy, saved, ctx)
        dy *= 2
        return dx


class ChangesWhatItSaved(Affine):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        dx = super().backward(dy, saved, ctx)
        saved[0][...] = 0
        return dx


class Converts(Affine):
    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x, ctx)
        return y.astype(np.float32), saved


class HasAnOptionThatIsNoField(Affine):
    def __init__(self, factor: float = 3.0) -> None:
        super().__init__()
        self.other = factor

    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x, ctx)
        return y + self.other, saved


@dataclass(eq=False)
class HasANumberOfNumPy(Affine):
    factor: Any = field(default_factory=lambda: np.float32(2.5))


class LeavesSaved(Stack):
    def backward(self, dy: Any, saved: Any, ctx: Context) -> Any:
        return super().backward(dy, list(saved), ctx)


OTHERS = [
    (WrongSlope, "gradient of the input promises a slope"),
    (WrongParameterSlope, "gradient of the parameter 'gain' promises a slope"),
    (ReadsWhatIsOnTheLayer, "belongs into saved, not on the layer"),
    (Counts, "keeps 'calls' between calls"),
    (CollectsInPlace, "keeps 'seen' between calls"),
    (WritesToAnArray, "keeps 'sums' between calls"),
    (KeepsInEvaluation, "evaluation keeps"),
    (MovesInEvaluation, "evaluation changes 'mean'"),
    (AlwaysMoves, "'mean' moves although ctx.update_statistics is off"),
    (ChangesItsGradient, "backward changed dy"),
    (ChangesWhatItSaved, "backward changed an array in saved"),
    (Converts, "dtype"),
    (HasANumberOfNumPy, "cannot be saved and restored"),
]


@pytest.fixture(autouse=True)
def forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(REGISTRY)
    monkeypatch.setattr("cpcnn.layers.config.REGISTRY", known)


@pytest.mark.parametrize(("kind", "words"), [*SIX, *OTHERS])
def test_wrong_layers_are_found(kind: type[Layer], words: str) -> None:
    register_layer(Affine)
    register_layer(kind)
    check_layer(Affine(), (5,))
    with pytest.raises(AssertionError, match=words):
        check_layer(kind(), (5,))


def test_an_option_that_is_not_saved_is_found() -> None:
    register_layer(HasAnOptionThatIsNoField)
    check_layer(HasAnOptionThatIsNoField(), (5,))
    with pytest.raises(AssertionError, match="computes something else"):
        check_layer(HasAnOptionThatIsNoField(4.0), (5,))


def test_a_layer_that_is_not_registered_is_found() -> None:
    with pytest.raises(AssertionError, match="'Affine' that is not known"):
        check_layer(Affine(), (5,))
    check_layer(Affine(), (5,), configuration=False)


def test_a_container_that_keeps_activations_is_found() -> None:
    register_layer(LeavesSaved)
    with pytest.raises(AssertionError, match="left arrays in saved"):
        check_layer(LeavesSaved([Dense(3), Dense(2)]), (5,))
