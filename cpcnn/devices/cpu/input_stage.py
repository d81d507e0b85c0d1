"""The input stage: compiled, from stored pixels to the network's input in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...ops.table import Action
from .kernels import input_stage as kernels
from .workers import VECTOR, cut, in_threads

PIXELS = (np.dtype("uint8"), np.dtype("float32"))
NO_INDEX = np.empty(0, np.int64)
NO_CROP = np.empty((0, 2), np.int32)
NO_FLIP = np.empty(0, np.bool_)


class CompiledInputStage(Action):
    """InputStage in one pass over the pixels, cut along the batch."""

    @staticmethod
    def supports(
        ctx: Context,
        images: Any,
        mean: Any,
        std: Any,
        *,
        crop: Any = None,
        flip: Any = None,
        affine: Any = None,
        index: Any = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> bool:
        if not (dtype == "float32" and images.dtype in PIXELS and images.flags.c_contiguous):
            return False
        count = len(images) if index is None else len(index)
        shapes = ((crop, (count, 2)), (flip, (count,)), (affine, (count, 2, 3)))
        return (
            images.size > 0
            and mean.shape == std.shape == images.shape[3:]
            and (channels is None or channels >= images.shape[3])
            and (flip is None or flip.dtype == np.bool_)
            and all(array is None or array.shape == shape for array, shape in shapes)
        )

    @staticmethod
    def run(
        ctx: Context,
        images: NDArray[Any],
        mean: NDArray[Any],
        std: NDArray[Any],
        *,
        crop: NDArray[Any] | None = None,
        flip: NDArray[Any] | None = None,
        affine: NDArray[Any] | None = None,
        index: NDArray[Any] | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> NDArray[Any]:
        count, (height, width, found) = len(images), images.shape[1:]
        chosen = NO_INDEX
        if index is not None:
            chosen, count = checked_index(index, len(images)), len(index)
        result: NDArray[Any] = ctx.empty((count, height, width, channels or found), dtype)
        scaling = (mean.astype(np.float32), (1 / std).astype(np.float32))
        moves = (
            NO_CROP if crop is None else np.ascontiguousarray(crop, np.int32),
            NO_FLIP if flip is None else np.ascontiguousarray(flip),
        )
        kernel: Any = kernels.move
        arguments: tuple[Any, ...] = (images, chosen, *moves, *scaling, result)
        touched = result.size
        if affine is not None:
            kernel, touched = kernels.warp, touched * VECTOR
            maps = np.ascontiguousarray(affine, np.float64)
            arguments = (images, chosen, *moves, maps, *scaling, result)
        elif crop is None and flip is None and result.shape[3] == found:
            kernel, touched = kernels.normalise, touched // VECTOR
            flat = images.reshape(len(images), -1)
            arguments = (flat, chosen, *scaling, result.reshape(count, flat.shape[1]))

        def work(piece: slice) -> None:
            kernel(*arguments, piece.start, piece.stop)

        in_threads(ctx, work, cut(ctx, count, touched))
        return result


def checked_index(index: NDArray[Any], length: int) -> NDArray[np.int64]:
    """Return the index as kernels take it, which look at nothing."""
    if len(index) and not (index.min() >= 0 and index.max() < length):
        raise IndexError(f"an image of {length} is chosen that is not among them")
    return np.ascontiguousarray(index, np.int64)
