"""The columns of a convolution: `kernels/im2col.cu`, a chunk of images at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.context import Context
from ...core.typing import Array, Shape
from ...core.window import Window
from .element_types import c_type_of, dtype_name, element_size
from .geometry import row_tiles
from .kernel import Kernel, vector_width, vectorised
from .windows import window_arguments

im2col = Kernel("im2col.cu", "im2col", vectorised())
col2im = Kernel("im2col.cu", "col2im", vectorised())

COLUMN_BYTES = 24 << 20  # of a chunk: with its images and products they stay in a GPU's L2 cache


def plan_chunks(images: int, column_bytes: int) -> list[slice]:
    """Cut images into equal chunks whose columns fit COLUMN_BYTES, `column_bytes` for each image.

    The last chunk may be smaller. An image with more columns is a chunk of its own.
    """
    if not images:
        return []
    most = max(1, COLUMN_BYTES // column_bytes)
    number = -(-images // most)
    size = -(-images // number)
    return [slice(first, min(first + size, images)) for first in range(0, images, size)]


@dataclass(frozen=True)
class ColumnPlan:
    """How the columns of images of a shape (N, H, W, C) lie; for any size, nothing is allocated."""

    shape: Shape
    window: Window
    groups: int
    dtype: str

    @property
    def pixels(self) -> int:
        """Output pixels of one image."""
        out_height, out_width = self.window.output(*self.shape[1:3])
        return out_height * out_width

    @property
    def depth(self) -> int:
        """Column elements of one output pixel and one group."""
        return self.window.kernel[0] * self.window.kernel[1] * self.shape[3] // self.groups

    @property
    def image_elements(self) -> int:
        """Column elements of one image."""
        return self.groups * self.pixels * self.depth

    def chunks(self) -> list[slice]:
        """Return the images of each chunk; the first chunk is the largest."""
        return plan_chunks(self.shape[0], self.image_elements * element_size(self.dtype))

    def columns(self, images: int) -> Shape:
        """Return the shape (G, P, KH * KW * C / G) of some images' columns."""
        return self.groups, images * self.pixels, self.depth

    def arguments(self, images: int, vec: int) -> dict[str, Any]:
        """Return what both kernels need to know of some images in packs of `vec` channels."""
        return {
            "pixels": images * self.pixels,
            "groups": self.groups,
            "vectors": self.shape[3] // self.groups // vec,
            **window_arguments(self.window, self.shape),
        }


class Columns:
    """The columns of one chunk of images after the other, in one buffer."""

    def __init__(self, ctx: Context, x: Array, window: Window, groups: int) -> None:
        self._ctx = ctx
        self._plan = ColumnPlan(x.shape, window, groups, dtype_name(x))
        self.chunks = self._plan.chunks()
        images = self.chunks[0].stop if self.chunks else 0
        self._buffer = ctx.empty((images * self._plan.image_elements,), x.dtype)

    def of(self, images: int) -> Any:
        """Return the columns (G, P, KH * KW * C / G) of some images, with what is in them."""
        used = self._buffer[: images * self._plan.image_elements]
        return self._ctx.xp.reshape(used, self._plan.columns(images))

    def gather(self, x: Any) -> Any:
        """Fill the columns of images and return them; they live until the next use."""
        images = x.shape[0]
        columns = self.of(images)
        vec = self._vec(x, columns)
        out_height, out_width = self._plan.window.output(*x.shape[1:3])
        places = self._plan.groups * self._plan.depth // vec
        im2col(
            self._ctx,
            row_tiles(images * out_height, places, out_width),
            (c_type_of(x), vec),
            x=x,
            columns=columns,
            **self._plan.arguments(images, vec),
        )
        return columns

    def scatter(self, dx: Any) -> None:
        """Give each pixel of images `dx` the sum of its columns."""
        images, height, width, channels = dx.shape
        columns = self.of(images)
        vec = self._vec(dx, columns)
        col2im(
            self._ctx,
            row_tiles(images * height, channels // vec, width),
            (c_type_of(dx), vec),
            columns=columns,
            dx=dx,
            **self._plan.arguments(images, vec),
        )

    def _vec(self, images: Any, columns: Any) -> int:
        return vector_width(self._ctx, self._plan.shape[3] // self._plan.groups, images, columns)
