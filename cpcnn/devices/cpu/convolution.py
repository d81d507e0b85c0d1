"""Convolution as matrix products over im2col blocks that fit the cache, in threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved, Shape
from ...core.window import Window
from ...ops.table import Op
from .elementwise import can_fuse, finish, is_float, mask_gradient
from .workers import cut, in_threads

COLUMNS = 1 << 18  # elements of a column block: 1 MiB of float32, half a core's L2
THIN = 8  # below this many channels columns are copied along image rows, not along channels


class PointwiseConv2D(Op):
    """A 1×1 convolution without stride: one matrix product over all pixels."""

    @staticmethod
    def supports(
        ctx: Context,
        x: Any,
        w: Any,
        b: Any,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> bool:
        return window.is_pointwise and Im2colConv2D.supports(
            ctx, x, w, b, window, groups=groups, activation=activation
        )

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        pixels = x.reshape(-1, x.shape[3])
        y, record = ctx.ops.dense(pixels, w[0, 0], b, activation=activation)
        return y.reshape(*x.shape[:3], w.shape[3]), (record, x.shape, w.shape)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        record, x_shape, w_shape = saved
        dx, dw, db = ctx.ops.backward(dy.reshape(-1, dy.shape[3]), record)
        return None if dx is None else dx.reshape(x_shape), dw.reshape(w_shape), db


class Im2colConv2D(Op):
    """Each block of output pixels gathers its windows into columns, then is one matrix product."""

    @staticmethod
    def supports(
        ctx: Context,
        x: Any,
        w: Any,
        b: Any,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> bool:
        taken = is_float(x, w) and x.flags.c_contiguous
        return taken and groups == 1 and can_fuse(activation)

    @staticmethod
    def forward(
        ctx: Context,
        x: NDArray[Any],
        w: NDArray[Any],
        b: NDArray[Any] | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[NDArray[Any], Saved]:
        y = _convolve(ctx, x, w, b, window, activation)
        kept = None if activation in (None, "linear") else y
        return y, (x, w, b is not None, window, activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> tuple[Any, Any, Any]:
        x, w, has_bias, window, activation, y = saved
        dy = mask_gradient(ctx, dy, y, activation)
        dw = _kernel_gradient(ctx, x, dy, w.shape, window)
        db = _sum_pixels(ctx, dy) if has_bias else None
        if not ctx.input_gradient:
            return None, dw, db
        if window.stride == (1, 1):
            return _input_gradient_by_convolution(ctx, w, dy, window, x.shape), dw, db
        return _input_gradient_by_scatter(ctx, w, dy, window, x.shape), dw, db


@dataclass(frozen=True)
class Block:
    """Output rows `rows` of the images `images`, with the columns under them."""

    images: slice
    rows: slice
    columns: NDArray[Any]  # (pixels, KH * KW * Cin)


class Gather:
    """Fills the column blocks of the images in `part`, one after the other in one buffer."""

    def __init__(
        self, ctx: Context, x: NDArray[Any], window: Window, part: slice, pixels: int
    ) -> None:
        self.part = part
        self.x = x
        self.window = window
        self.out_h, self.out_w = window.output(x.shape[1], x.shape[2])
        self.images = max(1, min(part.stop - part.start, pixels // (self.out_h * self.out_w)))
        self.rows = self.out_h if self.images > 1 else max(1, min(self.out_h, pixels // self.out_w))
        self.depth = window.kernel[0] * window.kernel[1] * x.shape[3]
        self._columns = ctx.empty((self.images * self.rows * self.out_w * self.depth,), x.dtype)
        input_rows = (self.rows - 1) * window.stride[0] + window.extent[0]
        padded_w = window.padded(x.shape[1], x.shape[2])[1]
        self._padded = ctx.empty((self.images, input_rows, padded_w, x.shape[3]), x.dtype)
        self._padded[...] = 0

    def __iter__(self) -> Iterator[Block]:
        """Yield every block; its columns live until the next."""
        for first in range(self.part.start, self.part.stop, self.images):
            images = slice(first, min(first + self.images, self.part.stop))
            for top in range(0, self.out_h, self.rows):
                rows = slice(top, min(top + self.rows, self.out_h))
                yield Block(images, rows, self._fill(images, rows))

    def _fill(self, images: slice, rows: slice) -> NDArray[Any]:
        source = self._pad(images, rows)
        n, r = images.stop - images.start, rows.stop - rows.start
        kernel, stride, dilation = self.window.kernel, self.window.stride, self.window.dilation
        s_n, s_h, s_w, s_c = source.strides
        channels = self.x.shape[3]
        outer = (n, r, self.out_w), (s_n, s_h * stride[0], s_w * stride[1])
        inner = (*kernel, channels), (s_h * dilation[0], s_w * dilation[1], s_c)
        pixels = n * r * self.out_w
        used = self._columns[: pixels * self.depth]
        if channels >= THIN:
            view = as_strided(source, outer[0] + inner[0], outer[1] + inner[1], writeable=False)
            np.copyto(used.reshape(view.shape), view)
            return used.reshape(pixels, self.depth)
        view = as_strided(source, inner[0] + outer[0], inner[1] + outer[1], writeable=False)
        np.copyto(used.reshape(view.shape), view)
        return used.reshape(self.depth, pixels).T

    def _pad(self, images: slice, rows: slice) -> NDArray[Any]:
        """The input pixels under output rows `rows`, with padding: a view where there is none."""
        (top, bottom), (left, right) = self.window.padding
        height, width = self.x.shape[1], self.x.shape[2]
        first = rows.start * self.window.stride[0] - top
        last = first + (rows.stop - rows.start - 1) * self.window.stride[0] + self.window.extent[0]
        if top == bottom == left == right == 0:
            return self.x[images, first:last]
        padded = self._padded[: images.stop - images.start, : last - first]
        # rows of the image among these: none where a block lies in the padding alone
        begin, end = (min(max(edge - first, 0), last - first) for edge in (0, height))
        padded[:, :begin] = 0
        padded[:, end:] = 0
        padded[:, begin:end, left : left + width] = self.x[images, first + begin : first + end]
        return padded


def _block_pixels(depth: int, least: int = 1) -> int:
    return max(COLUMNS // depth, least)


def _convolve(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    b: NDArray[Any] | None,
    window: Window,
    activation: str | None,
) -> NDArray[Any]:
    n, height, width, _ = x.shape
    matrix = np.ascontiguousarray(w).reshape(-1, w.shape[3])
    y: NDArray[Any] = ctx.empty((n, *window.output(height, width), w.shape[3]), x.dtype)

    def work(part: slice) -> None:
        for block in Gather(ctx, x, window, part, _block_pixels(matrix.shape[0])):
            result = y[block.images, block.rows].reshape(-1, w.shape[3])
            np.matmul(block.columns, matrix, out=result)
            finish(result, b, activation)

    in_threads(ctx, work, cut(n, y.size))
    return y


def _kernel_gradient(
    ctx: Context, x: NDArray[Any], dy: NDArray[Any], shape: Shape, window: Window
) -> NDArray[Any]:
    filters = shape[3]
    depth = shape[0] * shape[1] * shape[2]
    # few, large products: every one of them adds the whole of dw to its sum
    parts = cut(x.shape[0], x.size, 4)
    partial = ctx.empty((len(parts), depth, filters), x.dtype)
    partial[...] = 0
    number = {part.start: index for index, part in enumerate(parts)}

    def work(part: slice) -> None:
        product = ctx.empty((depth, filters), x.dtype)
        total = partial[number[part.start]]
        for block in Gather(ctx, x, window, part, _block_pixels(depth, least=2 * filters)):
            gradient = dy[block.images, block.rows].reshape(-1, filters)
            np.matmul(block.columns.T, gradient, out=product)
            total += product

    in_threads(ctx, work, parts)
    return partial.sum(axis=0).reshape(shape)


def _input_gradient_by_convolution(
    ctx: Context, w: NDArray[Any], dy: NDArray[Any], window: Window, x_shape: Shape
) -> NDArray[Any]:
    """Without stride the gradient is dy convolved with the kernel turned by 180 degrees."""
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)
    (top, bottom), (left, right) = window.padding
    down, across = window.extent[0] - 1, window.extent[1] - 1
    # rows and columns that no window reached still want a gradient (of zero)
    unread_h = x_shape[1] + top + bottom - (dy.shape[1] + down)
    unread_w = x_shape[2] + left + right - (dy.shape[2] + across)
    padding = (
        (down - top, down - bottom + unread_h),
        (across - left, across - right + unread_w),
    )
    if min(*padding[0], *padding[1]) < 0:  # more padding than the kernel spans
        return _input_gradient_by_scatter(ctx, w, dy, window, x_shape)
    mirror = Window(window.kernel, (1, 1), window.dilation, padding)
    return _convolve(ctx, dy, turned, None, mirror, None)


def _input_gradient_by_scatter(
    ctx: Context, w: NDArray[Any], dy: NDArray[Any], window: Window, x_shape: Shape
) -> NDArray[Any]:
    """Each cell of the kernel adds its share of dy to the pixels it met."""
    n, height, width, channels = x_shape
    out_h, out_w, filters = dy.shape[1:]
    turned = w.reshape(-1, filters).T
    dx: NDArray[Any] = ctx.empty(x_shape, dy.dtype)
    images = max(1, _block_pixels(turned.shape[1]) // (out_h * out_w))
    (top, _), (left, _) = window.padding

    def work(part: slice) -> None:
        padded = ctx.empty((images, *window.padded(height, width), channels), dy.dtype)
        for first in range(part.start, part.stop, images):
            here = slice(first, min(first + images, part.stop))
            used = padded[: here.stop - here.start]
            used[...] = 0
            columns = dy[here].reshape(-1, filters) @ turned
            cells = columns.reshape(-1, out_h, out_w, *window.kernel, channels)
            for i, j, rows, cols in window.taps(height, width):
                used[:, rows, cols] += cells[:, :, :, i, j]
            dx[here] = used[:, top : top + height, left : left + width]

    in_threads(ctx, work, cut(n, dx.size))
    return dx


def _sum_pixels(ctx: Context, dy: NDArray[Any]) -> NDArray[Any]:
    """The sum over images and pixels, by channel."""
    rows = dy.reshape(-1, dy.shape[-1])
    parts = cut(len(rows), rows.size)
    sums = np.empty((len(parts), rows.shape[1]), dy.dtype)
    number = {part.start: index for index, part in enumerate(parts)}

    def work(part: slice) -> None:
        np.matmul(
            np.ones(part.stop - part.start, dy.dtype), rows[part], out=sums[number[part.start]]
        )

    in_threads(ctx, work, parts)
    return sums.sum(axis=0)
