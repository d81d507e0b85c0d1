"""The input stage on the GPU: `kernels/input_stage.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array
from ...ops.table import Action
from .element_types import C_TYPES, FLOATS, c_type_of, dtype_name, full_vector
from .geometry import rows
from .kernel import Kernel, contiguous, vector_width

PIXELS = ("unsigned char", "float")

input_stage = Kernel(
    "input_stage.cu",
    "input_stage",
    [
        (c_type, pixel, vector)
        for c_type in FLOATS
        for pixel in PIXELS
        for vector in (1, full_vector(c_type))
    ],
)


class FusedInputStage(Action):
    """InputStage in one kernel: no array between the stored pixels and the network's input."""

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
        return (
            C_TYPES.get(dtype_name(images)) in PIXELS
            and C_TYPES.get(dtype) in FLOATS
            and (crop is None or dtype_name(crop) == "int32")
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
        index: Array | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> Array:
        images = contiguous(ctx, images)
        stored, height, width, found = images.shape
        count = stored if index is None else index.shape[0]
        y: Any = ctx.empty((count, height, width, channels or found), dtype)
        vec = vector_width(ctx, y.shape[3], y)
        input_stage(
            ctx,
            rows(count * height, y.shape[3] // vec, width),
            (c_type_of(y), c_type_of(images), vec),
            images=images,
            mean=converted(ctx, mean, "float64"),
            deviation=converted(ctx, std, "float64"),
            crop=converted(ctx, crop, "int32"),
            flip=converted(ctx, flip, "bool"),
            affine=converted(ctx, affine, "float64"),
            index=converted(ctx, index, "int64"),
            y=y,
            height=height,
            width=width,
            channels=found,
            vectors=y.shape[3] // vec,
        )
        return y


def converted(ctx: Context, array: Any, dtype: str) -> Any:
    """Return a small array in the type that the kernel takes; None stays None."""
    if array is None or dtype_name(array) == dtype:
        return array if array is None else contiguous(ctx, array)
    return contiguous(ctx, ctx.xp.astype(array, getattr(ctx.xp, dtype)))
