"""Passes over whole stored images on the GPU: `kernels/image_filters.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array
from ...ops.table import Action
from .element_types import C_TYPES, c_type_of, dtype_name
from .geometry import THREADS, Launch, rows
from .input_stage import PIXELS, converted
from .kernel import Kernel, contiguous

VALUES = 256
BYTES = ("unsigned char",)

mean_colour = Kernel("image_filters.cu", "mean_colour", [(pixel,) for pixel in PIXELS])
tone_tables = Kernel("image_filters.cu", "tone_tables", [BYTES])
look_up_and_sharpen = Kernel("image_filters.cu", "look_up_and_sharpen", [BYTES])


class BlockMeanColour(Action):
    """MeanColour by a block for each image."""

    @staticmethod
    def supports(ctx: Context, images: Any, *, index: Any = None) -> bool:
        fits = 0 not in images.shape and images.shape[3] <= THREADS
        return fits and C_TYPES.get(dtype_name(images)) in PIXELS

    @staticmethod
    def run(ctx: Context, images: Array, *, index: Array | None = None) -> Array:
        images = contiguous(ctx, images)
        stored, height, width, channels = images.shape
        count = stored if index is None else index.shape[0]
        means: Any = ctx.empty((count, channels), "float32")
        mean_colour(
            ctx,
            rows(count, channels, height * width),
            (c_type_of(images),),
            images=images,
            index=converted(ctx, index, "int64"),
            means=means,
            pixels=height * width,
            channels=channels,
        )
        return means


class TabledFilterImages(Action):
    """FilterImages in two kernels: a table for every channel, then the pixels."""

    @staticmethod
    def supports(ctx: Context, images: Any, settings: Any, *, index: Any = None) -> bool:
        return dtype_name(images) == "uint8" and 0 not in images.shape

    @staticmethod
    def run(ctx: Context, images: Array, settings: Array, *, index: Array | None = None) -> Array:
        images, settings = contiguous(ctx, images), converted(ctx, settings, "int32")
        _, height, width, channels = images.shape
        count = settings.shape[0]
        given = {
            "images": images,
            "settings": settings,
            "index": converted(ctx, index, "int64"),
            "channels": channels,
        }
        tables: Any = ctx.empty((count, channels, VALUES), "uint8")
        launch = Launch((count * channels, 1, 1), (VALUES, 1, 1))
        tone_tables(ctx, launch, BYTES, **given, tables=tables, pixels=height * width)
        y: Any = ctx.empty((count, height, width, channels), "uint8")
        launch = rows(count * height, channels, width)
        look_up_and_sharpen(
            ctx, launch, BYTES, **given, tables=tables, y=y, height=height, width=width
        )
        return y
