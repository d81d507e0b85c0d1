"""The input stage with further changes on the GPU: `kernels/augmented_input.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array
from ...ops.table import Action
from .element_types import C_TYPES, DTYPES, FLOATS, accumulator, c_type_of, dtype_name
from .geometry import rows
from .input_stage import PIXELS, converted
from .kernel import Kernel, contiguous

CHANNELS = (1, 3)

augmented_input = Kernel(
    "augmented_input.cu",
    "augmented_input",
    [(c_type, pixel, channels) for c_type in FLOATS for pixel in PIXELS for channels in CHANNELS],
)


class FusedAugmentedInput(Action):
    """AugmentedInput in one kernel; of a mixed pixel both images are made in the same thread."""

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
        whole = (crop, erase, partner, box)
        return (
            C_TYPES.get(dtype_name(images)) in PIXELS
            and C_TYPES.get(dtype) in FLOATS
            and images.shape[3] in CHANNELS
            and all(array is None or dtype_name(array) == "int32" for array in whole)
            and (flip is None or dtype_name(flip) == "bool")
            and (channels is None or channels >= images.shape[3])  # else an error of the reference
        )

    @staticmethod
    def run(
        ctx: Context,
        images: Array,
        mean: Array,
        std: Array,
        *,
        crop: Array | None = None,
        flip: Array | None = None,
        affine: Array | None = None,
        colour: Array | None = None,
        tone: Array | None = None,
        erase: Array | None = None,
        partner: Array | None = None,
        share: Array | None = None,
        box: Array | None = None,
        index: Array | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> Array:
        images = contiguous(ctx, images)
        stored, height, width, found = images.shape
        count = stored if index is None else index.shape[0]
        y: Any = ctx.empty((count, height, width, channels or found), dtype)
        computed = DTYPES[accumulator(c_type_of(y))]
        augmented_input(
            ctx,
            rows(count * height, 1, width),
            (c_type_of(y), c_type_of(images), found),
            images=images,
            mean=converted(ctx, mean, "float64"),
            deviation=converted(ctx, std, "float64"),
            crop=converted(ctx, crop, "int32"),
            flip=converted(ctx, flip, "bool"),
            affine=converted(ctx, affine, "float64"),
            colour=converted(ctx, colour, computed),
            tone=converted(ctx, tone, computed),
            erase=converted(ctx, erase, "int32"),
            partner=converted(ctx, partner, "int32"),
            share=converted(ctx, share, computed),
            box=converted(ctx, box, "int32"),
            index=converted(ctx, index, "int64"),
            y=y,
            height=height,
            width=width,
            channels=y.shape[3],
        )
        return y
