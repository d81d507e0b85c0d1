"""How much memory a network takes, estimated from one pass of one image.

The pass is that of a training step: what its layers keep for backward is what they return, so that
it need not be known layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..layers import Layer, Recompute
from ..losses import SparseCategoricalCrossentropy
from .network import Network

ITEM_SIZE = 4  # bytes of a float32
TRANSFORMED = 4  # what Winograd's convolution makes of a number of a kernel, and others need less


@dataclass(frozen=True)
class Footprint:
    """Bytes of a network: what is there once, and what every image of a batch adds.

    `kept` are the bytes an image leaves for backward, by path of the layer that first keeps them;
    `kernels` those of the convolutions' kernels, of each size one: they have copies in passing.
    """

    parameters: int
    gradients: int
    kernels: int
    inference_image: int
    training_image: int
    kept: dict[str, int]

    @property
    def kept_image(self) -> int:
        """The bytes that an image leaves for backward."""
        return sum(self.kept.values())

    def inference(self, batch_size: int) -> int:
        """Return the bytes it takes to classify a batch; the gradients' buffer is there as well."""
        once = self.parameters + self.gradients + self.kernels * TRANSFORMED
        return once + batch_size * self.inference_image

    def training(self, batch_size: int, slots: int) -> int:
        """Return the bytes it takes to train on a batch; `slots` are the optimizer's buffers."""
        kernels = self.kernels * (TRANSFORMED + 1)  # and one's gradient, until it is added
        once = self.parameters + self.gradients * (1 + slots) + kernels
        return once + batch_size * self.training_image


def measure_footprint(network: Network) -> Footprint:
    """Pass one image of zeros through a built network, and estimate from it what a batch takes.

    Arrays count whose size grows with the batch or the parameters; the images themselves, blocks
    of work of a fixed size and the program do not. As on the cpu device, arrays of any size are
    taken to use the memory of those that are no more. Weights and running statistics stay as they
    are. The device must compute in NumPy's arrays.
    """
    store = network.store
    root, _ = network.training_root(SparseCategoricalCrossentropy())
    seen = _Pass(store.values)
    with network.device.scope(), seen.watching(root):
        ctx = network.context(training=True, grad=True).variant(update_statistics=False)
        x = network.device.zeros((1, *(network.input_shape or ())), "float32")
        root.forward(x, ctx)
    kernels = {param.size for param in store.params.values() if len(param.shape) == 4}
    return Footprint(
        parameters=store.num_parameters * ITEM_SIZE,
        gradients=store.num_trainable * ITEM_SIZE,
        kernels=sum(kernels) * ITEM_SIZE,
        inference_image=seen.at_once,
        training_image=seen.in_training + seen.recomputed,
        kept=seen.kept,
    )


class _Memory(NamedTuple):
    """An array that owns memory, and the bytes of it that are used."""

    owner: Any
    size: int


class _Pass:
    """What one pass uses. Arrays are told apart by the memory that they view.

    `at_once` are the most bytes that layers read and give at a time. Backward has gradients as
    large, beside what is kept of this layer and those before it: at most `in_training`.
    """

    def __init__(self, parameters: Any) -> None:
        self.kept: dict[str, int] = {}
        self.recomputed = 0
        self.at_once = self.in_training = 0
        self._parameters = id(_memory_of(parameters))
        self._known: dict[int, _Memory] = {}  # holds on to memory, so that none is handed out again
        self._held: list[Any] = []  # inputs that containers will read again
        self._again = False  # in the second pass of a body

    @contextmanager
    def watching(self, root: Layer) -> Iterator[None]:
        """Within the block every layer reports what it reads, gives and keeps."""
        layers = list(root.walk())
        for path, layer in layers:
            vars(layer)["forward"] = self._reporting(path, layer)
        try:
            yield
        finally:
            for _, layer in layers:
                del vars(layer)["forward"]

    def _reporting(self, path: str, layer: Layer) -> Callable[[Any, Context], Any]:
        forward = layer.forward
        holds = bool(layer.children())

        def reported(x: Any, ctx: Context) -> Any:
            self._held += [x] if holds else []
            y, saved = forward(x, ctx)
            present = _total(_memories((x, y, self._held)))
            self.at_once = max(self.at_once, present)
            if holds:
                self._held.pop()
            if ctx.grad and not self._again:
                self._keep(path, saved)
                self.in_training = max(self.in_training, sum(self.kept.values()) + present)
                if isinstance(layer, Recompute):
                    self._recompute(layer, x, ctx)
            return y, saved

        return reported

    def _keep(self, path: str, saved: Any) -> None:
        new = self._unknown(saved)
        self._known |= new
        if new:
            self.kept[path] = self.kept.get(path, 0) + _total(new)

    def _recompute(self, layer: Recompute, x: Any, ctx: Context) -> None:
        """Note what the second pass of a body will keep; one of them at a time does."""
        self._again = True
        _, saved = layer.body.forward(x, ctx)
        self._again = False
        self.recomputed = max(self.recomputed, _total(self._unknown(saved)))

    def _unknown(self, saved: Any) -> dict[int, _Memory]:
        return {
            key: memory
            for key, memory in _memories(saved).items()
            if key not in self._known and key != self._parameters
        }


def _memories(values: Any) -> dict[int, _Memory]:
    """Return what some values view, by the identity of its owners."""
    found: dict[int, _Memory] = {}
    for array in _arrays(values):
        owner = _memory_of(array)
        known = found.get(id(owner))
        # an array may have been given memory larger than it asked for
        found[id(owner)] = _Memory(owner, max(array.nbytes, known.size if known else 0))
    return found


def _total(memories: dict[int, _Memory]) -> int:
    return sum(memory.size for memory in memories.values())


def _arrays(value: Any) -> Iterator[NDArray[Any]]:
    """Yield all arrays in what a layer kept."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _arrays(item)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _arrays([getattr(value, field.name) for field in fields(value)])


def _memory_of(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
