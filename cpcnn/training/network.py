"""A network that is ready to run: a root layer, its parameters, and the device they are on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context, Policy
from ..core.errors import ShapeError, UsageError
from ..core.param import ParamStore
from ..core.random import Philox
from ..core.typing import Array, Shape
from ..devices import Device, get_device
from ..layers import Layer
from ..layers.fuse import split_softmax
from .input_stage import BatchLike, to_input

B = TypeVar("B", bound=BatchLike)


class Network:
    """A root layer with parameters on a device, and what the input and output mean.

    `classes` are the names of the outputs; `preprocessing` is how pixels become input (height,
    width, channels, resize, mean, std; None: arrays are fed as they are). Both are saved with it.
    """

    def __init__(self, root: Layer, input_shape: Shape | None = None) -> None:
        self.root = root
        self.input_shape = tuple(input_shape) if input_shape else None
        self.output_shape: Shape | None = None
        self.classes: tuple[str, ...] | None = None
        self.preprocessing: dict[str, Any] | None = None
        self.policy = Policy()
        self._store: ParamStore | None = None
        self._device: Device | None = None

    # --- building -------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        return self._store is not None

    def build(
        self, input_shape: Shape | None = None, *, seed: int = 0, device: str | Device | None = None
    ) -> None:
        """Create all parameters for inputs of `input_shape` (H, W, C) and draw them from `seed`."""
        self.infer_shapes(input_shape)
        if device is not None:
            self._device = get_device(device)
        for path, layer in self.root.walk():
            layer.path = path
        known = self._known_values()
        self._store = ParamStore(self.root.parameters(), self.device, self.policy.parameters)
        self._store.initialize(seed)
        if known:
            self._store.set_weights(self._store.get_weights() | known)

    def infer_shapes(self, input_shape: Shape | None = None) -> None:
        """Check the layers against the input shape; nothing is allocated."""
        if input_shape is not None:
            self.input_shape = tuple(input_shape)
        if self.input_shape is None:
            raise UsageError(
                "the model does not know its input shape.",
                suggestion="Start with Input((height, width, channels)), or call build(shape).",
            )
        self.output_shape = self.root.build(self.input_shape)

    def _known_values(self) -> dict[str, NDArray[Any]]:
        """Values that layers bring along from a model they were built in before."""
        return {
            path: np.array(param.store.device.get(param.value))
            for path, param in self.root.parameters().items()
            if param.store is not None
        }

    @property
    def store(self) -> ParamStore:
        """The parameters, built now if they were not."""
        if self._store is None:
            self.build()
        assert self._store is not None
        if not self._store.owns_params():
            # a layer was built into another model meanwhile: share its values from there on
            self.build()
        return self._store

    @property
    def logits_root(self) -> Layer:
        """The network without its final softmax, sharing all parameters."""
        return split_softmax(self.root)[0]

    @property
    def ends_in_softmax(self) -> bool:
        return split_softmax(self.root)[1]

    @property
    def num_parameters(self) -> int:
        return self.store.num_parameters

    # --- where it runs --------------------------------------------------------------------

    @property
    def device(self) -> Device:
        if self._device is None:
            self._device = get_device("auto")
        return self._device

    def to(self, device: str | Device) -> Network:
        """Move parameters and state to a device, and compute there from now on."""
        self._device = get_device(device)
        if self._store is not None:
            self._store.to(self._device)
        return self

    def context(
        self, *, training: bool = False, grad: bool = False, rng: Philox | None = None
    ) -> Context:
        """Make the context of one pass that starts at pixels."""
        return Context(
            self.device,
            training=training,
            grad=grad,
            input_gradient=False,
            policy=self.policy,
            rng=rng,
        )

    # --- running --------------------------------------------------------------------------

    def to_input(self, ctx: Context, batch: BatchLike) -> Array:
        """Check a batch's image shape and bring it to the device as network input."""
        found = batch.images.shape[1:]
        if found != self.input_shape:
            raise ShapeError(
                f"the model takes images of shape {self.input_shape}, the batch has {found}."
            )
        return to_input(ctx, batch, self.preprocessing)

    def logits_batches(self, batches: Iterable[B]) -> Iterator[tuple[B, Array]]:
        """Yield (batch, logits on the device) for each batch, as at inference."""
        _ = self.store  # built by now, and with the parameters it shares
        root = self.logits_root
        for batch in batches:
            with self.device.scope():
                ctx = self.context()
                logits, _ = root.forward(self.to_input(ctx, batch), ctx)
            yield batch, logits

    def predict_batches(self, loader: Any) -> Iterator[tuple[Any, NDArray[np.float32]]]:
        """Yield (batch, outputs on the host) for one epoch of a loader.

        Outputs are class probabilities (N, K): softmax is applied also where the network ends in
        logits, when it has classes.
        """
        probable = self.ends_in_softmax or self.classes is not None
        for batch, logits in self.logits_batches(loader.epoch(0)):
            with self.device.scope():
                y = self.context().ops.activation(logits, "softmax")[0] if probable else logits
                host = np.asarray(self.device.get(y), np.float32)
            yield batch, host
