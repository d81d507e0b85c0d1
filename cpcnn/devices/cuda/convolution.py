"""Convolution on the GPU as matrix products: of pixels, or of columns (`columns.py`)."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved, Shape
from ...core.window import Window
from ...ops.table import Op
from .columns import Columns
from .dense import multiply, same_floats
from .element_types import c_type_of
from .elementwise import can_fuse, finish, gradient_before, is_linear
from .geometry import LIMITS, THREADS, linear
from .kernel import Kernel, contiguous, each
from .reductions import accumulator_dtype, sum_rows

add_product = Kernel("im2col.cu", "add_product", each())

MOST_PLACES = THREADS * LIMITS[1]  # in the columns of a pixel, or among its outputs


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
        taken = same_floats(x, w, b) and can_fuse(activation)
        return taken and window.is_pointwise and groups == 1

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        w: Array,
        b: Array | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        pixels = xp.reshape(x, (-1, x.shape[3]))
        y, record = ctx.ops.dense(pixels, w[0, 0], b, activation=activation)
        return xp.reshape(y, (*x.shape[:3], w.shape[3])), (record, x.shape, w.shape)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        record, x_shape, w_shape = saved
        xp = ctx.xp
        dx, dw, db = ctx.ops.backward(xp.reshape(dy, (-1, dy.shape[3])), record)
        return None if dx is None else xp.reshape(dx, x_shape), xp.reshape(dw, w_shape), db


class Im2colConv2D(Op):
    """Columns of a chunk of images, then a matrix product for each group.

    In half precision dx sums one rounded number for each tap, and dw one for each chunk; the sums
    themselves are kept in float32.
    """

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
        places = window.kernel[0] * window.kernel[1] * x.shape[3]
        return places <= MOST_PLACES and same_floats(x, w, b) and can_fuse(activation)

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        w: Array,
        b: Array | None,
        window: Window,
        *,
        groups: int = 1,
        activation: str | None = None,
    ) -> tuple[Array, Saved]:
        x, w = contiguous(ctx, x), contiguous(ctx, w)
        columns = Columns(ctx, x, window, groups)
        filters = _by_group(ctx, w, groups)
        y = ctx.empty((x.shape[0], *window.output(*x.shape[1:3]), w.shape[3]), x.dtype)
        for chunk in columns.chunks:
            part = ctx.xp.reshape(y[chunk], (-1, w.shape[3]))
            _multiply_groups(ctx, columns.gather(x[chunk]), filters, part)
            finish(ctx, part, b, activation)
        kept = None if is_linear(activation) else y
        return y, (x, w, b is not None, window, groups, activation, kept)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, Array, Array | None]:
        """Return (dx, dw, db); dx is None when the context needs no input gradient."""
        x, w, has_bias, window, groups, activation, y = saved
        xp = ctx.xp
        dy = gradient_before(ctx, dy, y, activation)
        columns = Columns(ctx, x, window, groups)
        filters = _by_group(ctx, w, groups)
        dw = ProductSum(ctx, filters.shape, x.dtype, len(columns.chunks))
        dx = ctx.empty(x.shape, x.dtype) if ctx.input_gradient else None
        for chunk in columns.chunks:
            gradients = _by_group(ctx, dy[chunk], groups)
            dw.add(columns.gather(x[chunk]), gradients)
            if dx is not None:
                shares = columns.of(chunk.stop - chunk.start)
                for group in range(groups):
                    multiply(ctx, gradients[group], filters[group].T, shares[group])
                columns.scatter(dx[chunk])
        db = sum_rows(ctx, xp.reshape(dy, (-1, dy.shape[3]))) if has_bias else None
        joined = contiguous(ctx, xp.permute_dims(dw.sum, (1, 0, 2)))
        return dx, xp.reshape(joined, w.shape), db


class ProductSum:
    """The sum of `count` products (G, M, N) of one matrix for each group, rounded once.

    Products are added in the type that kernels sum in; `sum` is whole after the last one.
    """

    def __init__(self, ctx: Context, shape: Shape, dtype: Any, count: int) -> None:
        self._ctx = ctx
        self._left = count
        self.sum = ctx.empty(shape, dtype) if count else ctx.device.zeros(shape, dtype)
        self._total = self._product = None
        if count > 1:
            self._total = ctx.empty(shape, accumulator_dtype(self.sum))
            self._product = ctx.empty(shape, dtype)
        self._begins = True

    def add(self, a: Any, b: Any) -> None:
        """Add the transpose of a (G, K, M), times b (G, K, N)."""
        product = self.sum if self._product is None else self._product
        for group in range(len(product)):
            multiply(self._ctx, a[group].T, b[group], product[group])
        self._left -= 1
        if self._total is not None:
            add_product(
                self._ctx,
                linear(self.sum.size),
                (c_type_of(self.sum),),
                product=product,
                total=self._total,
                rounded=None if self._left else self.sum,
                count=self.sum.size,
                begins=int(self._begins),
            )
        self._begins = False


def _multiply_groups(ctx: Context, a: Any, b: Any, out: Any) -> None:
    """Write a (G, M, K) times b (G, K, N) to `out` (M, G * N), contiguous."""
    groups, filters = b.shape[0], b.shape[2]
    if groups == 1:
        multiply(ctx, a[0], b[0], out)
        return
    products = ctx.empty((groups, out.shape[0], filters), out.dtype)
    for group in range(groups):
        multiply(ctx, a[group], b[group], products[group])
    target = ctx.xp.reshape(out, (-1, groups, filters))
    target[...] = ctx.xp.permute_dims(products, (1, 0, 2))


def _by_group(ctx: Context, array: Any, groups: int) -> Any:
    """Return a contiguous (..., G * C) as contiguous matrices (G, M, C): itself for one group."""
    channels = array.shape[-1] // groups
    split = ctx.xp.reshape(array, (-1, groups, channels))
    return contiguous(ctx, ctx.xp.permute_dims(split, (1, 0, 2)))
