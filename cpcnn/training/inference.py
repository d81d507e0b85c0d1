"""A network as inference runs it: fused once, and anew when one of its layers was changed."""

from __future__ import annotations

from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np

from ..core.context import Context, DeviceLike
from ..core.param import ParamStore
from ..core.typing import Array
from ..layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Graph,
    Layer,
    MaxPooling2D,
    ReLU,
    Residual,
    Stack,
)
from ..layers.fuse import fuse, split_activation
from ..layers.fused import Applied, SummingNormalization, SummingResidual, SummingStack

# Layers that compute by ops alone, at inference, and give what an op gave or a view of it. They can
# be repeated from what their ops did. Classes derived from them may do otherwise.
OF_OPS_ALONE = frozenset(
    (
        Activation,
        Applied,
        AveragePooling2D,
        BatchNormalization,
        Conv2D,
        Dense,
        DepthwiseConv2D,
        Dropout,
        Flatten,
        GlobalAveragePooling2D,
        GlobalMaxPooling2D,
        Graph,
        MaxPooling2D,
        ReLU,
        Residual,
        Stack,
        SummingNormalization,
        SummingResidual,
        SummingStack,
    )
)
MOST_SHAPES = 4  # of batches, whose passes are kept


class Prepared:
    """What `fuse` made of a network, and what its layers were then.

    Weights are not part of it: the fused layers have the same parameters as the network's own.
    """

    def __init__(self, root: Layer) -> None:
        self.fused = fuse(root)
        # whether it ends in a softmax or sigmoid
        self.gives_probabilities = any(
            split_activation(root, name)[1] for name in ("softmax", "sigmoid")
        )
        self._layers = [(layer, _attributes(layer)) for _, layer in root.walk()]
        self._repeats = all(type(layer) in OF_OPS_ALONE for _, layer in self.fused.walk())
        self._device: DeviceLike | None = None
        self._passes: dict[Any, _Pass] = {}  # on that device

    def is_of(self, root: Layer) -> bool:
        """Whether these are `root` and the layers inside it, as they are now."""
        try:
            # a container's layers are attributes of it: if none has changed, these are all
            return self._layers[0][0] is root and all(
                vars(layer) == before for layer, before in self._layers
            )
        except ValueError:  # an attribute is an array now, or another one
            return False

    def forward(self, x: Array, ctx: Context, store: ParamStore) -> Array:
        """Return the outputs for x, on the device.

        When images of a shape come for the second time, the device may record the pass, and repeat
        it from then on. What it did refers to the parameters' arrays: it sees what is put in them.
        """
        if not self._repeats or ctx.policy.compute != ctx.policy.parameters:
            return self.fused.forward(x, ctx)[0]
        if self._device is not ctx.device:
            self._device, self._passes = ctx.device, {}
        values = [param.value for param in store.params.values()]
        key = (x.shape, x.dtype, ctx.device.exact)
        kept = self._passes.get(key)
        if kept is None or not _same(kept.values, values):
            if kept is not None or len(self._passes) < MOST_SHAPES:
                self._passes[key] = _Pass(values)
            return self.fused.forward(x, ctx)[0]
        if kept.recording is not None:
            y = kept.recording.repeat(x)
            if y is not None:
                return y
        elif kept.is_new:
            kept.is_new = False
            return self._record(x, ctx, kept)
        return self.fused.forward(x, ctx)[0]

    def _record(self, x: Array, ctx: Context, kept: _Pass) -> Array:
        recorder = ctx.device.recorder(x)
        if recorder is None:
            return self.fused.forward(x, ctx)[0]
        ctx.recorder = recorder
        y, _ = self.fused.forward(recorder.x, ctx)
        ctx.recorder = None
        kept.recording = recorder.recording(y)
        return np.array(y)  # a copy: the recording writes its own again


@dataclass
class _Pass:
    """What a pass over images of one shape depends on, and its recording, if there is one."""

    values: list[Array]  # of the parameters
    recording: Any = None
    is_new: bool = True  # it was not tried to record it


def _same(some: list[Array], others: list[Array]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


def _attributes(layer: Layer) -> dict[str, Any]:
    # lists are copied: layers may be put into them
    return {
        name: list(value) if type(value) is list else value for name, value in vars(layer).items()
    }
