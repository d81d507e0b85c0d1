"""What a layer promises, checked in one call."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context, Policy
from ..core.errors import CpcnnError
from ..core.param import ParamStore
from ..devices import Device, get_device
from ..layers import Layer, from_config, to_config
from ..layers.base import assign_paths
from .arrays import arrays_in, draw
from .gradient import Backward, check_gradient

PLAIN = (int, float, str, bool, list, dict, set, tuple, type(None))  # can be compared as a copy


def check_layer(
    layer: Layer,
    shape: Any,
    *,
    device: Device | str = "numpy",
    batch: int = 3,
    training: bool = True,
    gradient: bool = True,
    configuration: bool = True,
    seed: int = 0,
) -> None:
    """Check a layer on random inputs of `shape` (without the batch; several: a tuple of shapes).

    The layer is built here. Checked are: the shape that `build` foretells, gradients of inputs and
    parameters in float64, that inputs are not changed, that nothing stays on the layer, that a
    container's `saved` is empty after backward, that two uses do not disturb each other, that
    running statistics stay where the context says so, that evaluation keeps nothing, and that a
    layer restored from its configuration computes the same (not with `configuration=False`, for
    layers that cannot be saved). AssertionError says which promise is broken.
    """
    check = _Check(layer, shape, get_device(device), batch, training, seed)
    before = check.state()
    check.evaluation()
    check.two_uses()
    check.statistics()
    check.nothing_stays(before)
    if configuration:
        check.configuration()
    if gradient:
        check.gradients()


class _Check:
    """A layer with parameters in float64, and inputs for it."""

    def __init__(
        self, layer: Layer, shape: Any, device: Device, batch: int, training: bool, seed: int
    ) -> None:
        self.layer, self.shape, self.device = layer, shape, device
        self.batch, self.training, self.seed = batch, training, seed
        self.output = layer.build(shape)
        self.store = self.started(layer)

    def started(self, layer: Layer) -> ParamStore:
        """Allocate the parameters of a layer that is built, and draw values for them."""
        assign_paths(layer)
        store = ParamStore(layer.parameters(), self.device, "float64")
        store.initialize(self.seed)
        # away from zeros and ones, where errors hide; positive, for variances
        store.set_weights(
            {
                path: value + 0.1 * np.abs(draw(value.shape, self.seed, path))
                for path, value in store.get_weights().items()
            }
        )
        return store

    def inputs(self, seed: int) -> list[NDArray[np.float64]]:
        shapes = self.shape if self.layer.multiple_inputs else (self.shape,)
        return [draw((self.batch, *s), seed, f"input {k}") for k, s in enumerate(shapes)]

    def context(self, *, grad: bool = True) -> Context:
        policy = Policy("float64", "float64")
        return Context(self.device, training=self.training and grad, grad=grad, policy=policy)

    # --- passes ---------------------------------------------------------------------------

    def forward(
        self, ctx: Context, inputs: Sequence[NDArray[Any]], layer: Layer | None = None
    ) -> tuple[Any, Any]:
        layer = layer or self.layer
        placed = tuple(self.device.put(array.copy()) for array in inputs)
        with self.device.scope():
            y, saved = layer.forward(placed if layer.multiple_inputs else placed[0], ctx)
        for array, host in zip(placed, inputs, strict=True):
            assert np.array_equal(self.device.get(array), host), "forward changed its input"
        return y, saved

    def backward(self, ctx: Context, dy: NDArray[Any], saved: Any) -> list[NDArray[Any]]:
        """Return the gradients of all inputs, then of all trainable parameters."""
        self.store.zero_grad()
        placed = self.device.put(dy.copy())
        kept = [(array, np.array(self.device.get(array))) for array in arrays_in(saved)]
        with self.device.scope():
            dx = self.layer.backward(placed, saved, ctx)
        assert np.array_equal(self.device.get(placed), dy), "backward changed dy"
        for array, host in kept:
            unchanged = np.array_equal(
                self.device.get(array), host, equal_nan=host.dtype.kind == "f"
            )
            assert unchanged, "backward changed an array in saved"
        if isinstance(saved, list):
            assert not list(arrays_in(saved)), "backward left arrays in saved"
        parts = dx if self.layer.multiple_inputs else (dx,)
        params = self.store.unflatten(self.device.get(self.store.grads))
        return [*(np.array(self.device.get(part)) for part in parts), *params.values()]

    def pass_through(self, seed: int) -> list[NDArray[Any]]:
        ctx = self.context()
        y, saved = self.forward(ctx, self.inputs(seed))
        return self.backward(ctx, draw(y.shape, seed, "dy"), saved)

    def statistics_now(self) -> dict[str, NDArray[Any]]:
        """The values of all parameters that the layer itself keeps up to date."""
        weights = self.store.get_weights()
        return {path: weights[path] for path, p in self.store.params.items() if not p.trainable}

    # --- promises -------------------------------------------------------------------------

    def evaluation(self) -> None:
        before = self.store.get_weights()
        y, saved = self.forward(self.context(grad=False), self.inputs(0))
        assert tuple(y.shape) == (self.batch, *self.output), (
            f"build foretells {self.output} per image, forward gives {y.shape}"
        )
        assert str(self.device.get(y).dtype) == "float64", "the dtype is not kept"
        assert not list(arrays_in(saved)), "evaluation keeps arrays"
        for path, value in self.store.get_weights().items():
            assert np.array_equal(value, before[path]), f"evaluation changes {path!r}"

    def two_uses(self) -> None:
        """Two forward passes before two backward passes, and the same one after the other."""
        apart = [self.pass_through(seed) for seed in (1, 2)]
        ctx = self.context()
        (y_1, saved_1), (y_2, saved_2) = (self.forward(ctx, self.inputs(s)) for s in (1, 2))
        for seed, y, saved in ((1, y_1, saved_1), (2, y_2, saved_2)):
            found = self.backward(ctx, draw(y.shape, seed, "dy"), saved)
            for one, other in zip(found, apart[seed - 1], strict=True):
                assert np.array_equal(one, other), (
                    "a second use changes the first one's gradients: what a pass needs belongs "
                    "into saved, not on the layer"
                )

    def statistics(self) -> None:
        """Running statistics move in training alone, and only if the context lets them."""
        before = self.statistics_now()
        self.forward(self.context().variant(update_statistics=False), self.inputs(1))
        for path, value in self.statistics_now().items():
            assert np.array_equal(value, before[path]), (
                f"{path!r} moves although ctx.update_statistics is off"
            )

    def state(self) -> list[tuple[str, Any, Any]]:
        """All attributes of all layers: (name, value, a copy where it can be compared)."""
        return [
            (f"{path}.{name}" if path else name, value, _snapshot(value))
            for path, layer in self.layer.walk()
            for name, value in vars(layer).items()
        ]

    def nothing_stays(self, before: list[tuple[str, Any, Any]]) -> None:
        after = self.state()
        added = sorted({name for name, *_ in after} - {name for name, *_ in before})
        assert not added, f"attributes are added in forward or backward: {', '.join(added)}"
        old = {name: (value, copied) for name, value, copied in before}
        for name, value, copied in after:
            same = value is old[name][0] and _same(copied, old[name][1])
            assert same, f"the layer keeps {name!r} between calls"

    def configuration(self) -> None:
        try:
            config = to_config(self.layer)
            again = from_config(json.loads(json.dumps(config)))
        except (CpcnnError, TypeError) as error:
            raise AssertionError(f"the layer cannot be saved and restored: {error}") from error
        assert to_config(again) == config, "the configuration changes on its way through JSON"
        assert again.build(self.shape) == self.output, "a restored layer has another output shape"
        shapes = {path: param.shape for path, param in self.layer.parameters().items()}
        restored = {path: param.shape for path, param in again.parameters().items()}
        assert restored == shapes, "a restored layer has other parameters"
        self.started(again).set_weights(self.store.get_weights())
        ctx = self.context(grad=False)
        results = [
            np.array(self.device.get(self.forward(ctx, self.inputs(0), layer)[0]))
            for layer in (self.layer, again)
        ]
        assert np.array_equal(results[0], results[1]), (
            "a layer restored from its configuration computes something else: is there an option "
            "that is no field of the dataclass?"
        )

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

        names = ["the input"] if len(inputs) == 1 else [f"input {k}" for k in range(len(inputs))]
        check_gradient(
            function,
            [*inputs, *(weights[path] for path in trainable)],
            names=[*names, *(f"the parameter {path!r}" for path in trainable)],
        )


def _snapshot(value: Any) -> Any:
    """A copy of plain data and of arrays, which may be changed in place; None for the rest."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return copy.deepcopy(value) if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, (list, tuple, set)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, PLAIN)


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other)
