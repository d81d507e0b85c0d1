"""From a loader's batch to the network's input, on the device."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..core.typing import Array


class WarpLike(Protocol):
    """Per-image augmentation: see the op `input_stage`."""

    @property
    def crop(self) -> NDArray[np.int32] | None: ...
    @property
    def flip(self) -> NDArray[np.bool_] | None: ...
    @property
    def affine(self) -> NDArray[np.float32] | None: ...


class BatchLike(Protocol):
    """What loaders yield."""

    @property
    def images(self) -> NDArray[Any]: ...
    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def warp(self) -> WarpLike | None: ...


def to_input(ctx: Context, batch: BatchLike, preprocessing: dict[str, Any] | None) -> Array:
    """Warp, normalise and cast a batch's images; without preprocessing only warp and cast.

    A batch that brings a `preprocessing` of its own goes by that; its images know best what they
    are.
    """
    preprocessing = getattr(batch, "preprocessing", None) or preprocessing
    channels = batch.images.shape[-1]
    mean = np.zeros(channels) if preprocessing is None else preprocessing["mean"]
    std = np.ones(channels) if preprocessing is None else preprocessing["std"]
    put = ctx.device.put
    warp = batch.warp
    arrays = {
        name: put(value)
        for name in ("crop", "flip", "affine")
        if warp is not None and (value := getattr(warp, name)) is not None
    }
    return ctx.ops.input_stage(
        put(np.ascontiguousarray(batch.images)),
        put(np.asarray(mean, np.float64)),
        put(np.asarray(std, np.float64)),
        **arrays,
        dtype=ctx.policy.compute,
    )
