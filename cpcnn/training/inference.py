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
        self._batches: dict[Any, _Batch] = {}  # on that device

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

        The device may let its threads share the images, each with a pass of its own. When images of
        a shape come for the second time it may record the passes, and repeat them from then on.
        What they did refers to the parameters' arrays: they see what is put in them.
        """
        if not self._repeats or ctx.policy.compute != ctx.policy.parameters:
            return self.fused.forward(x, ctx)[0]
        values = [param.value for param in store.params.values()]
        shares = ctx.device.share(x.shape[0], (value.shape for value in values))
        passes = self._passes_of(x, ctx, values, len(shares))
        if len(shares) == 1:
            return self._outputs(x, ctx, passes[0])
        numbers = {share.start: number for number, share in enumerate(shares)}
        outputs: list[Any] = [None] * len(shares)

        def work(share: slice) -> None:
            number = numbers[share.start]
            alone = ctx.variant(undivided=True)
            outputs[number] = self._outputs(x[share], alone, passes[number])

        ctx.device.run(work, shares)
        return ctx.xp.concat(outputs)

    def _passes_of(self, x: Array, ctx: Context, values: list[Array], shares: int) -> list[_Pass]:
        """Return what is kept of passes over so many images; at first they are new."""
        if self._device is not ctx.device:
            self._device, self._batches = ctx.device, {}
        key = (x.shape, x.dtype, ctx.device.exact)
        kept = self._batches.get(key)
        if kept is None or not _same(kept.values, values):
            passes = [_Pass(shares) for _ in range(shares)]
            if kept is not None or len(self._batches) < MOST_SHAPES:
                self._batches[key] = _Batch(values, passes)
            return passes
        return kept.passes

    def _outputs(self, x: Array, ctx: Context, kept: _Pass) -> Array:
        """Repeat a pass, or run it, and record it the second time."""
        if kept.recording is not None:
            y = kept.recording.repeat(x)
            if y is not None:
                return y
        kept.times += 1
        recorder = ctx.device.recorder(x, kept.shares) if kept.times == 2 else None
        if recorder is None:
            return self.fused.forward(x, ctx)[0]
        ctx.recorder = recorder
        y, _ = self.fused.forward(recorder.x, ctx)
        ctx.recorder = None
        kept.recording = recorder.recording(y)
        return np.array(y)  # a copy: the recording writes its own again


@dataclass
class _Pass:
    """How often a pass ran, one of so many of a batch, and its recording, if there is one."""

    shares: int
    times: int = 0
    recording: Any = None


@dataclass
class _Batch:
    """The passes over images of one shape, and what they depend on."""

    values: list[Array]  # of the parameters
    passes: list[_Pass]


def _same(some: list[Array], others: list[Array]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


def _attributes(layer: Layer) -> dict[str, Any]:
    # lists are copied: layers may be put into them
    return {
        name: list(value) if type(value) is list else value for name, value in vars(layer).items()
    }
