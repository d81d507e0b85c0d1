"""What a layer promises, checked in one call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context, Policy
from ..core.param import ParamStore
from ..devices import Device, get_device
from ..layers import Layer, from_config, to_config
from .arrays import arrays_in, draw
from .gradient import Backward, check_gradient


def check_layer(
    layer: Layer,
    shape: Any,
    *,
    device: Device | str = "numpy",
    batch: int = 3,
    training: bool = True,
    gradient: bool = True,
    seed: int = 0,
) -> None:
    """Check a layer on random inputs of `shape` (without the batch; several: a tuple of shapes).

    The layer is built here. Checked are: the shape that `build` foretells, gradients of inputs and
    parameters in float64, that inputs are not changed, that nothing stays on the layer, that a
    container's `saved` is empty after backward, that two uses do not disturb each other, that
    evaluation keeps nothing, and that the configuration survives JSON.
    """
    check = _Check(layer, shape, get_device(device), batch, training, seed)
    check.configuration()
    check.shape_and_evaluation()
    check.two_uses()
    if gradient:
        check.gradients()


class _Check:
    """A layer with parameters in float64, and inputs for it."""

    def __init__(
        self, layer: Layer, shape: Any, device: Device, batch: int, training: bool, seed: int
    ) -> None:
        self.layer, self.shape, self.device = layer, shape, device
        self.batch, self.training = batch, training
        self.output = layer.build(shape)
        for path, inner in layer.walk():
            inner.path = path
        self.store = ParamStore(layer.parameters(), device, "float64")
        self.store.initialize(seed)
        # away from zeros and ones, where errors hide; positive, for variances
        self.store.set_weights(
            {
                path: value + 0.1 * np.abs(draw(value.shape, seed, path))
                for path, value in self.store.get_weights().items()
            }
        )

    def inputs(self, seed: int) -> list[NDArray[np.float64]]:
        shapes = self.shape if self.layer.multiple_inputs else (self.shape,)
        return [draw((self.batch, *s), seed, f"input {k}") for k, s in enumerate(shapes)]

    def context(self, *, grad: bool = True) -> Context:
        policy = Policy("float64", "float64")
        return Context(self.device, training=self.training and grad, grad=grad, policy=policy)

    def forward(self, ctx: Context, inputs: Sequence[NDArray[Any]]) -> tuple[Any, Any]:
        placed = tuple(self.device.put(array.copy()) for array in inputs)
        with self.device.scope():
            y, saved = self.layer.forward(placed if self.layer.multiple_inputs else placed[0], ctx)
        for array, host in zip(placed, inputs, strict=True):
            assert np.array_equal(self.device.get(array), host), "forward changed its input"
        return y, saved

    def backward(self, ctx: Context, dy: NDArray[Any], saved: Any) -> list[NDArray[Any]]:
        """Return the gradients of all inputs, then of all trainable parameters."""
        self.store.zero_grad()
        placed = self.device.put(dy.copy())
        with self.device.scope():
            dx = self.layer.backward(placed, saved, ctx)
        assert np.array_equal(self.device.get(placed), dy), "backward changed dy"
        if isinstance(saved, list):
            assert not list(arrays_in(saved)), "backward left arrays in saved"
        parts = dx if self.layer.multiple_inputs else (dx,)
        params = self.store.unflatten(self.device.get(self.store.grads))
        return [*(np.array(self.device.get(part)) for part in parts), *params.values()]

    def configuration(self) -> None:
        config = to_config(self.layer)
        again = from_config(json.loads(json.dumps(config)))
        assert to_config(again) == config, "the configuration changes on its way through JSON"
        assert again.build(self.shape) == self.output, "a restored layer has another output shape"
        shapes = {path: param.shape for path, param in self.layer.parameters().items()}
        restored = {path: param.shape for path, param in again.parameters().items()}
        assert restored == shapes, "a restored layer has other parameters"

    def shape_and_evaluation(self) -> None:
        y, saved = self.forward(self.context(grad=False), self.inputs(0))
        assert tuple(y.shape) == (self.batch, *self.output), (
            f"build foretells {self.output} per image, forward gives {y.shape}"
        )
        assert str(self.device.get(y).dtype) == "float64", "the dtype is not kept"
        assert not list(arrays_in(saved)), "evaluation keeps arrays"

    def two_uses(self) -> None:
        """Two forward passes before two backward passes, and the same one after the other."""
        before = self.attributes()
        apart = [self.pass_through(seed) for seed in (1, 2)]
        ctx = self.context()
        (y_1, saved_1), (y_2, saved_2) = (self.forward(ctx, self.inputs(s)) for s in (1, 2))
        for seed, y, saved in ((1, y_1, saved_1), (2, y_2, saved_2)):
            found = self.backward(ctx, draw(y.shape, seed, "dy"), saved)
            for one, other in zip(found, apart[seed - 1], strict=True):
                assert np.array_equal(one, other), "a second use changes the first one's gradients"
        after = self.attributes()
        assert [name for name, _ in after] == [name for name, _ in before], "attributes are added"
        for (name, value), (_, old) in zip(after, before, strict=True):
            assert value is old, f"the layer keeps {name!r} between calls"

    def pass_through(self, seed: int) -> list[NDArray[Any]]:
        ctx = self.context()
        y, saved = self.forward(ctx, self.inputs(seed))
        return self.backward(ctx, draw(y.shape, seed, "dy"), saved)

    def attributes(self) -> list[tuple[str, Any]]:
        return [item for _, layer in self.layer.walk() for item in vars(layer).items()]

    def gradients(self) -> None:
        inputs = self.inputs(0)
        weights = self.store.get_weights()
        trainable = [path for path, param in self.store.params.items() if param.trainable]

        def function(*values: NDArray[Any]) -> tuple[NDArray[Any], Backward]:
            new = dict(zip(trainable, values[len(inputs) :], strict=True))
            self.store.set_weights(weights | new)
            ctx = self.context()
            y, saved = self.forward(ctx, values[: len(inputs)])
            return np.array(self.device.get(y)), lambda dy: self.backward(ctx, dy, saved)

        check_gradient(function, [*inputs, *(weights[path] for path in trainable)])
