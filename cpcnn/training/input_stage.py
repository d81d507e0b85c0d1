"""From a loader's batch to the network's input, on the device."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..core.typing import Array

UNFILTERED = 256  # the sharpness that changes nothing


class WarpLike(Protocol):
    """Per-image augmentation: see the op `input_stage`."""

    @property
    def crop(self) -> NDArray[np.int32] | None: ...
    @property
    def flip(self) -> NDArray[np.bool_] | None: ...
    @property
    def affine(self) -> NDArray[np.float32] | None: ...


class MixLike(Protocol):
    """Which images are mixed with which: see the op `augmented_input`."""

    @property
    def share(self) -> NDArray[np.float32]: ...
    @property
    def box(self) -> NDArray[np.int32]: ...
    @property
    def weight(self) -> NDArray[np.float32]: ...
    @property
    def partner(self) -> NDArray[np.int32]: ...
    def mixed_labels(self, labels: NDArray[np.int64]) -> NDArray[np.int64]: ...


class ChangesLike(Protocol):
    """Per-image changes of colour and more: see `Changes` of `data/changes.py`."""

    @property
    def filters(self) -> NDArray[np.int32] | None: ...
    @property
    def colour(self) -> NDArray[np.float32] | None: ...
    @property
    def about_mean(self) -> NDArray[np.float32] | None: ...
    @property
    def tone(self) -> NDArray[np.float32] | None: ...
    @property
    def erase(self) -> NDArray[np.int32] | None: ...
    @property
    def mix(self) -> MixLike | None: ...


class BatchLike(Protocol):
    """What loaders yield; it may also have `preprocessing` and `changes`."""

    @property
    def images(self) -> NDArray[Any]: ...
    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def warp(self) -> WarpLike | None: ...


def changes_of(batch: BatchLike) -> ChangesLike | None:
    """Return the changes of a batch whose loader knows of such, else None."""
    changes: ChangesLike | None = getattr(batch, "changes", None)
    return changes


def to_input(ctx: Context, batch: BatchLike, preprocessing: dict[str, Any] | None) -> Array:
    """Warp, change, normalise and cast a batch's images; without preprocessing all but normalise.

    A batch that brings a `preprocessing` of its own goes by that; its images know best what they
    are.
    """
    preprocessing = getattr(batch, "preprocessing", None) or preprocessing
    channels = batch.images.shape[-1]
    mean = np.zeros(channels) if preprocessing is None else preprocessing["mean"]
    std = np.ones(channels) if preprocessing is None else preprocessing["std"]
    put = ctx.device.put
    arrays = {
        name: put(value)
        for name in ("crop", "flip", "affine")
        if batch.warp is not None and (value := getattr(batch.warp, name)) is not None
    }
    images = put(np.ascontiguousarray(batch.images))
    stage, changes = ctx.ops.input_stage, changes_of(batch)
    if changes is not None:
        stage = ctx.ops.augmented_input
        images = _filtered(ctx, images, changes)
        arrays |= _colour(ctx, images, changes)
        arrays |= _places_and_partners(ctx, changes)
    return stage(
        images,
        put(np.asarray(mean, np.float64)),
        put(np.asarray(std, np.float64)),
        **arrays,
        dtype=ctx.policy.compute,
    )


def _filtered(ctx: Context, images: Array, changes: ChangesLike) -> Array:
    """Make the pass that looks at neighbours and histograms, where an image asks for it."""
    filters = changes.filters
    if filters is None or not (filters != (0, 0, UNFILTERED)).any():
        return images
    return ctx.ops.filter_images(images, ctx.device.put(filters))


def _colour(ctx: Context, images: Array, changes: ChangesLike) -> dict[str, Array]:
    """Return the matrix (N, C, C + 1) of each image; the last column needs its mean colour."""
    given = {} if changes.tone is None else {"tone": ctx.device.put(changes.tone)}
    if changes.colour is None:
        return given
    xp, put = ctx.xp, ctx.device.put
    n, channels = changes.colour.shape[:2]
    offset = put(np.zeros((n, channels, 1), np.float32))
    if changes.about_mean is not None:
        mean = xp.reshape(ctx.ops.mean_colour(images), (n, 1, channels))
        offset = xp.sum(put(changes.about_mean) * mean, axis=2, keepdims=True)
    return given | {"colour": xp.concat([put(changes.colour), offset], axis=2)}


def _places_and_partners(ctx: Context, changes: ChangesLike) -> dict[str, Array]:
    put, mix = ctx.device.put, changes.mix
    given = {} if changes.erase is None else {"erase": put(changes.erase)}
    if mix is not None:
        given |= {name: put(getattr(mix, name)) for name in ("partner", "share", "box")}
    return given
