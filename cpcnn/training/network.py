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
from ..layers.base import as_shape, assign_paths, freeze_parameters
from ..layers.fuse import fuse, split_activation
from ..losses import Loss
from .inference import Prepared
from .input_stage import BatchLike, to_input

B = TypeVar("B", bound=BatchLike)


class Network:
    """A root layer with parameters on a device, and what the input and output mean.

    `classes` are the names of the outputs; `preprocessing` is how pixels become input (height,
    width, channels, resize, mean, std; None: arrays are fed as they are). Both are saved with it.
    """

    def __init__(self, root: Layer, input_shape: Shape | None = None) -> None:
        self.root = root
        self.input_shape = None if input_shape is None else as_shape(input_shape, "input_shape")
        self.output_shape: Shape | None = None
        self.classes: tuple[str, ...] | None = None
        self.preprocessing: dict[str, Any] | None = None
        self.policy = Policy()
        self._store: ParamStore | None = None
        self._device: Device | None = None
        self._prepared: Prepared | None = None

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
        assign_paths(self.root)
        freeze_parameters(self.root)
        known = self._known_values()
        self._store = ParamStore(self.root.parameters(), self.device, self.policy.parameters)
        self._store.initialize(seed)
        if known:
            self._store.set_weights(self._store.get_weights() | known)

    def infer_shapes(self, input_shape: Shape | None = None) -> None:
        """Check the layers against the input shape; nothing is allocated."""
        if input_shape is not None:
            self.input_shape = as_shape(input_shape, "input_shape")
        if self.input_shape is None:
            raise UsageError(
                "the model does not know its input shape.",
                suggestion="Start with Input((height, width, channels)), or call build(shape).",
            )
        self.output_shape = self.root.build(self.input_shape)

    def _known_values(self) -> dict[str, NDArray[Any]]:
        """Values that layers bring along from a model they were built in before."""
        return {
            path: param.to_host()
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

    def training_root(self, loss: Loss) -> tuple[Layer, Loss]:
        """Return the network as `loss` wants it, and the loss bound to what that one gives.

        A final softmax or sigmoid that the loss knows is taken off: both together are exact where
        the product of their gradients would under- or overflow. All parameters are shared.
        """
        _ = self.store  # built by now, and with the parameters it shares
        root, absorbed = self.root, False
        if loss.absorbs is not None:
            root, absorbed = split_activation(root, loss.absorbs)
        probabilities = not absorbed and self.prepared().gives_probabilities
        return fuse(root), loss.bind(absorbed, probabilities=probabilities)

    @property
    def num_classes(self) -> int:
        """The number of classes; one output tells two apart, more than a vector none (0)."""
        shape = self.output_shape or ()
        if len(shape) != 1:
            return 0
        return 2 if shape[0] == 1 else shape[0]

    @property
    def num_parameters(self) -> int:
        return self.store.num_parameters

    @property
    def trainable(self) -> bool:
        """Whether layers learn, as for a layer: setting it sets that of all layers.

        What is frozen keeps its parameters from the next training on, and a frozen batch
        normalisation runs on its statistics.
        """
        return self.root.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.root.trainable = value

    def apply_freezing(self) -> None:
        """Lay the parameters out anew if layers were frozen, or freed, since they were."""
        if self._store is not None and freeze_parameters(self.root):
            self.build()

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

    def prepared(self) -> Prepared:
        """Return the network as inference runs it, which is kept while no layer is changed."""
        prepared = self._prepared
        if prepared is None or not prepared.is_of(self.root):
            self._prepared = prepared = Prepared(self.root)
        return prepared

    def forward_batches(self, root: Layer, batches: Iterable[B]) -> Iterator[tuple[B, Array]]:
        """Yield (batch, outputs of `root` on the device) for each batch, as at inference."""
        for batch in batches:
            with self.device.scope():
                ctx = self.context()
                outputs, _ = root.forward(self.to_input(ctx, batch), ctx)
            yield batch, outputs

    def output_batches(self, loader: Any) -> Iterator[tuple[Any, NDArray[np.float32]]]:
        """Yield (batch, outputs on the host) for one epoch of a loader.

        Logits become probabilities when the model has classes.
        """
        store, prepared, missing = self.store, self.prepared(), None
        if self.classes is not None and not prepared.gives_probabilities:
            missing = "sigmoid" if self.output_shape == (1,) else "softmax"
        for batch in loader.epoch(0):
            with self.device.scope():
                ctx = self.context()
                y = prepared.forward(self.to_input(ctx, batch), ctx, store)
                if missing:
                    y, _ = ctx.ops.activation(y, missing)
                host = np.asarray(self.device.get(y), np.float32)
            yield batch, host

    def predict_batches(self, loader: Any) -> Iterator[tuple[Any, NDArray[np.float32]]]:
        """Yield (batch, class probabilities (N, K) on the host) for one epoch of a loader.

        They are the outputs, or (1 - output, output) where one output tells two classes apart.
        """
        for batch, outputs in self.output_batches(loader):
            yield batch, class_columns(outputs)


def class_columns(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a column for each class: a single one (N, 1) is that of the second of two."""
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs
