"""Convolution as products over windows in threads: what is cut how, and in which order."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Shape
from ...core.window import Window
from . import padded
from .kernels import gather as kernels
from .kernels import narrow
from .kernels.product import CHAIN, COLUMNS, ROWS
from .kernels.vector import LANES
from .windows import Plan, backward_sides, forward_sides, make_plan
from .winograd import NONE, panels
from .workers import LEAST_WORK, PARTS, cut, in_threads

BLOCK = 1 << 17  # numbers of x that panels of weights take turns at
GRADIENT_BLOCK = 1 << 16  # the same for the weights' gradient, where rows of dw do
PIXELS_OF_SUM = 1 << 10  # so many repay a gradient of the weights of their own
VECTOR_WORK = 16  # multiplications that take as long as what `cut` calls an element
ROWS_TOGETHER = 64 * ROWS  # of dw: a panel of so many stays in a core's cache
NO_PACKING = 8 * ROWS  # pixels: for so few, weights are read as they are


def convolve(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None,
    window: Window,
    groups: int,
    rectify: bool,
) -> NDArray[Any]:
    """Convolve x (N, H, W, C) and w (KH, KW, C / groups, F); add the bias, and rectify."""
    out, filters = window.output(x.shape[1], x.shape[2]), w.shape[3]
    y = ctx.empty((x.shape[0], *out, filters), np.float32)
    finish = (NONE if bias is None else bias, bias is not None, rectify)
    pixels = y.size // filters
    if padded.is_few(w, pixels, groups):
        padded.convolve_few(ctx, x, w, window, y, finish)
    elif padded.is_thin(w.shape, groups):
        padded.convolve_thin(ctx, x, w, window, y, finish)
    else:
        good = filters <= COLUMNS or pixels <= NO_PACKING
        packing = kernels.AS_THEY_ARE if good else kernels.PACKED
        plan = forward_plan(x.shape, w.shape, window, groups)
        _run(ctx, x, plan, (groups, w.shape[2], filters // groups), w, packing, y, finish)
    return y


@lru_cache(maxsize=512)
def forward_plan(x_shape: Shape, w_shape: Shape, window: Window, groups: int) -> Plan:
    work = _work(x_shape, w_shape, window)
    return make_plan(
        forward_sides(window, x_shape[1:3]), x_shape, w_shape[3], window.kernel, w_shape[2],
        work, BLOCK, _blocks(work, groups * panels(w_shape[3] // groups)),
    )  # fmt: skip


def _work(x_shape: Shape, w_shape: Shape, window: Window) -> int:
    """Return how many multiplications there are."""
    return x_shape[0] * math.prod(window.output(*x_shape[1:3])) * math.prod(w_shape)


def _blocks(work: int, count: int) -> int:
    """Return how many blocks there should be at least, so that with the panels work can be cut."""
    return max(1, -(-min(PARTS, work // (VECTOR_WORK * LEAST_WORK)) // count))


def input_gradient(
    ctx: Context,
    w: NDArray[Any],
    dy: NDArray[Any],
    window: Window,
    groups: int,
    x_shape: Shape,
) -> NDArray[Any]:
    """Return the gradient of the input: a convolution of dy with the weights, turned."""
    dx = ctx.empty(x_shape, np.float32)
    plan = backward_plan(x_shape, dy.shape, w.shape, window, groups)
    if groups == 1 and x_shape[3] in narrow.RESULTS and plan.depth <= CHAIN * LANES:
        _run_narrow(ctx, dy, plan, w, dx)
        return dx
    sizes = (groups, w.shape[3] // groups, w.shape[2])
    _run(ctx, dy, plan, sizes, w, kernels.TURNED, dx, (NONE, False, False))
    return dx


@lru_cache(maxsize=512)
def backward_plan(
    x_shape: Shape, dy_shape: Shape, w_shape: Shape, window: Window, groups: int
) -> Plan:
    work = _work(x_shape, w_shape, window)
    return make_plan(
        backward_sides(window, x_shape[1:3]), dy_shape, x_shape[3], window.kernel,
        w_shape[3] // groups, work, BLOCK, _blocks(work, groups * panels(w_shape[2])),
    )  # fmt: skip


def _run(
    ctx: Context,
    source: NDArray[Any],
    plan: Plan,
    sizes: tuple[int, int, int],
    w: NDArray[Any],
    packing: int,
    target: NDArray[Any],
    finish: tuple[Any, ...],
) -> None:
    """Threads share the blocks, and the panels of weights, which each packs when it needs them.

    `sizes` are how many groups there are, and how many numbers a group reads, and writes.
    """
    groups, _, columns = sizes
    arrays = (source.reshape(-1), source.shape[0], *plan.tables, *sizes, w.reshape(-1), packing)
    flat = target.reshape(-1)
    packed = 0 if packing == kernels.AS_THEY_ARE else plan.depth * COLUMNS

    def work(part: slice) -> None:
        kernels.convolve(
            *arrays, flat, *finish, part.start, part.stop, ctx.empty((packed,), np.float32),
            np.zeros(3 * ROWS, np.int64),
        )  # fmt: skip

    items = plan.count * groups * panels(columns)
    in_threads(ctx, work, cut(ctx, items, plan.work // VECTOR_WORK))


def _run_narrow(
    ctx: Context, source: NDArray[Any], plan: Plan, w: NDArray[Any], target: NDArray[Any]
) -> None:
    """Threads share the blocks; weights are read as they are."""
    arrays = (source.reshape(-1), source.shape[0], *plan.tables, w.shape[3], w.shape[2])
    flat_w, flat = w.reshape(-1), target.reshape(-1)

    def work(part: slice) -> None:
        narrow.convolve(*arrays, flat_w, flat, part.start, part.stop)

    in_threads(ctx, work, cut(ctx, plan.count, plan.work // VECTOR_WORK))


def weight_gradient(
    ctx: Context, x: NDArray[Any], dy: NDArray[Any], shape: Shape, window: Window, groups: int
) -> NDArray[Any]:
    """Return the gradient of the weights.

    Threads share its rows and columns; where there are many pixels for them, the blocks, and sums
    of these are added in their order.
    """
    if padded.is_thin(shape, groups):
        return padded.thin_weight_gradient(ctx, x, dy, shape, window)
    filters = shape[3]
    plan, sums, cuts, together = gradient_plan(x.shape, shape, window, groups)
    sums = len(cut(ctx, sums, plan.work // VECTOR_WORK))
    # one row more than there are: the surplus rows of the last product go there
    size = (plan.depth + 1) * filters
    dw = ctx.empty((sums, size), np.float32)
    arrays = (x.reshape(-1), x.shape[0], *plan.tables, groups, shape[2], filters // groups)
    flat_dy, flat_dw = dy.reshape(-1), dw.reshape(-1)

    def work(part: slice) -> None:
        kernels.weight_gradient(
            *arrays, flat_dy, flat_dw, size, plan.count, sums, cuts, together, part.start, part.stop
        )

    items = sums * cuts * (groups * panels(filters // groups) // together)
    in_threads(ctx, work, cut(ctx, items, plan.work // VECTOR_WORK, 2 * PARTS))
    total = dw[0] if sums == 1 else dw.sum(axis=0)
    return total[:-filters].reshape(shape)


@lru_cache(maxsize=512)
def gradient_plan(
    x_shape: Shape, w_shape: Shape, window: Window, groups: int
) -> tuple[Plan, int, int, int]:
    """Return the plan, how many sums there are, cuts of a window, and panels that stay together."""
    filters, depth = w_shape[3], math.prod(w_shape[:3])
    count = groups * panels(filters // groups)
    sums, cuts, together = PARTS, 1, count
    pixels = x_shape[0] * math.prod(window.output(*x_shape[1:3]))
    if pixels < PARTS * PIXELS_OF_SUM:
        cuts, together = -(-depth // ROWS_TOGETHER), 1
        sums = max(1, min(-(-PARTS // (cuts * count)), pixels // PIXELS_OF_SUM))
    plan = make_plan(
        forward_sides(window, x_shape[1:3]), x_shape, filters, window.kernel, w_shape[2],
        _work(x_shape, w_shape, window), GRADIENT_BLOCK, sums, cuts,
    )  # fmt: skip
    tables = plan.tables._replace(rows=plan.tables.rows * filters)
    return replace(plan, tables=tables), min(sums, plan.count), cuts, together
