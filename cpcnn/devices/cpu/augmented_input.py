"""The input stage with further changes, compiled, and the passes over images before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...ops.table import Action
from .input_stage import NO_CROP, NO_FLIP, NO_INDEX, PIXELS, checked_index
from .kernels import augmented_input as kernels
from .kernels import image_filters as filters
from .workers import VECTOR, cut, in_threads

NO_AFFINE = np.empty((0, 2, 3), np.float64)
NO_COLOUR = np.empty((0, 0, 0), np.float32)
NO_TONE = np.empty((0, 2), np.float32)
NO_BOX = np.empty((0, 4), np.int32)
NO_SHARE = np.empty(0, np.float32)
COST = 4  # of a pixel made here, next to one that is only copied


class CompiledAugmentedInput(Action):
    """AugmentedInput in one pass over the pixels, cut along the batch."""

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
        colour: Any = None,
        tone: Any = None,
        erase: Any = None,
        partner: Any = None,
        share: Any = None,
        box: Any = None,
        index: Any = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> bool:
        if not (dtype == "float32" and images.dtype in PIXELS and images.flags.c_contiguous):
            return False
        count = len(images) if index is None else len(index)
        found = images.shape[3]
        shapes = (
            (crop, (count, 2)),
            (flip, (count,)),
            (affine, (count, 2, 3)),
            (colour, (count, found, found + 1)),
            (tone, (count, 2)),
            (erase, (count, 4)),
            (partner, (count,)),
            (share, (count,)),
            (box, (count, 4)),
        )
        return (
            images.size > 0
            and mean.shape == std.shape == (found,)
            and (channels is None or channels >= found)
            and (flip is None or flip.dtype == np.bool_)
            and (partner is None) == (share is None) == (box is None)
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
        colour: NDArray[Any] | None = None,
        tone: NDArray[Any] | None = None,
        erase: NDArray[Any] | None = None,
        partner: NDArray[Any] | None = None,
        share: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        index: NDArray[Any] | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> NDArray[Any]:
        count, (height, width, found) = len(images), images.shape[1:]
        chosen = NO_INDEX
        if index is not None:
            chosen, count = checked_index(index, len(images)), len(index)
        result: NDArray[Any] = ctx.empty((count, height, width, channels or found), dtype)
        others = NO_INDEX if partner is None else checked_index(partner, count)
        arguments = (
            images.reshape(-1),
            (height, width, found),
            chosen,
            _as(crop, NO_CROP),
            _as(flip, NO_FLIP),
            _as(affine, NO_AFFINE),
            _as(colour, NO_COLOUR),
            _as(tone, NO_TONE),
            _as(erase, NO_BOX),
            others,
            _as(share, NO_SHARE),
            _as(box, NO_BOX),
            mean.astype(np.float32),
            (1 / std).astype(np.float32),
            result,
        )

        def work(piece: slice) -> None:
            kernels.augment(*arguments, piece.start, piece.stop)

        in_threads(ctx, work, cut(ctx, count, result.size * COST))
        return result


class CompiledMeanColour(Action):
    """MeanColour, cut along the batch."""

    @staticmethod
    def supports(ctx: Context, images: Any, *, index: Any = None) -> bool:
        return bool(images.dtype in PIXELS and images.flags.c_contiguous and images.size > 0)

    @staticmethod
    def run(
        ctx: Context, images: NDArray[Any], *, index: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        chosen = NO_INDEX if index is None else checked_index(index, len(images))
        count = len(images) if index is None else len(index)
        height, width, channels = shape = images.shape[1:]
        means: NDArray[Any] = ctx.empty((count, channels), np.float32)
        rows = images.reshape(len(images), height, width * channels)
        # a column of uint8 is exact in 32 bits
        nothing = np.empty(0, np.uint32 if images.dtype == np.uint8 else np.float64)

        def work(piece: slice) -> None:
            filters.mean_colour(rows, shape, chosen, means, nothing, piece.start, piece.stop)

        in_threads(ctx, work, cut(ctx, count, count * images[0].size // VECTOR))
        return means


class CompiledFilterImages(Action):
    """FilterImages, cut along the batch; an image with nothing to do is copied."""

    @staticmethod
    def supports(ctx: Context, images: Any, settings: Any, *, index: Any = None) -> bool:
        count = len(images) if index is None else len(index)
        return bool(
            images.dtype == np.uint8
            and images.flags.c_contiguous
            and images.size > 0
            and settings.shape == (count, 3)
        )

    @staticmethod
    def run(
        ctx: Context,
        images: NDArray[Any],
        settings: NDArray[Any],
        *,
        index: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        chosen = NO_INDEX if index is None else checked_index(index, len(images))
        told = np.ascontiguousarray(settings, np.int32)
        result: NDArray[Any] = ctx.empty((len(told), *images.shape[1:]), np.uint8)

        def work(piece: slice) -> None:
            filters.filter_images(images, chosen, told, result, piece.start, piece.stop)

        in_threads(ctx, work, cut(ctx, len(told), result.size))
        return result


def _as(array: NDArray[Any] | None, nothing: NDArray[Any]) -> NDArray[Any]:
    """Return an array as the kernel takes it: in the type of the empty one that stands for None."""
    return nothing if array is None else np.ascontiguousarray(array, nothing.dtype)
