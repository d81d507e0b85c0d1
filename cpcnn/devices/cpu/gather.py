"""Products over windows in threads: where windows lie, how images are cut, weights packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Shape
from ...core.window import Window
from .kernels import gather as kernels
from .kernels import thin
from .kernels.product import COLUMNS, ROWS
from .winograd import FEW_PIXELS, NONE, panels
from .workers import PARTS, at_once, cut, in_threads, sum_in_threads

BLOCK = 1 << 17  # numbers of x
GRADIENT_BLOCK = 1 << 18  # for the weights' gradient: each block is added to all of its sum
WORTH_CUTTING = 1 << 20  # multiplications: below this an image stays in one piece
PARTIAL = 1 << 22  # numbers of all partial weight gradients together
NO_PACKING = 8 * ROWS  # rows of a product: for so few, weights are read as they are
LEAST_DEPTH = 64  # numbers of a window
PANELS = 1 << 16  # numbers of weights that are in a core's cache for all of few pixels

Taps = Sequence[tuple[int, int]]


class Target(NamedTuple):
    """Where results go: the first one, and the way from image, row and column to the next."""

    first: int
    image: int
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class Plan:
    """The tables of one call, as kernels/gather.py describes them."""

    source: tuple[int, ...]
    copy: bool
    blocks: tuple[int, int, int]
    count: int  # of blocks
    pixels: NDArray[np.int64]
    per_band: int  # pixels
    per_last_band: int
    window: NDArray[np.int64]
    target: Target
    targets: NDArray[np.int64]
    band_step: int
    scratch: int  # numbers of a block
    work: int  # multiplications of all images for one filter


def make_plan(
    shape: Shape,
    taps: Taps,
    stride: tuple[int, int],
    out: tuple[int, int],
    channels: int,
    target: Target,
    block: int | None,
) -> Plan:
    """Plan the gathering of `out` results an image of x `shape`, each from the same `taps`.

    Result (m, q) reads `channels` of the pixels (m, q) * stride + tap; `block` is how many numbers
    a block may have (None: all are one block).
    """
    images, height, width, depth = shape
    down, across = [t[0] for t in taps], [t[1] for t in taps]
    top, left = min(down), min(across)
    reach = max(down) - top + 1
    columns = (out[1] - 1) * stride[1] + max(across) - left + 1
    needed = (out[0] - 1) * stride[0] + reach
    copy = top < 0 or left < 0 or top + needed > height or left + columns > width
    if not copy:
        top, left, columns = 0, 0, width
    work = out[0] * out[1] * len(taps) * channels
    together, rows = images, out[0]
    if block is not None:
        together, rows = _cut_images(images, out[0], stride[0] * columns * depth, work, block)
    bands = -(-out[0] // rows)
    band = (rows - 1) * stride[0] + reach if copy else height
    first = np.array([((t[0] - top) * columns + t[1] - left) * depth for t in taps])
    i, m, q = np.ogrid[:together, :rows, : out[1]]
    return Plan(
        source=(height, width, depth, top, left, band, columns),
        copy=copy,
        blocks=(together, bands, rows * stride[0]),
        count=-(-images // together) * bands,
        pixels=(((i * band + m * stride[0]) * columns + q * stride[1]) * depth).reshape(-1),
        per_band=rows * out[1],
        per_last_band=(out[0] - (bands - 1) * rows) * out[1],
        window=(first[:, None] + np.arange(channels)).reshape(-1),
        target=target,
        targets=(i * target.image + m * target.row + q * target.column).reshape(-1),
        band_step=rows * target.row,
        scratch=together * band * columns * depth if copy else 0,
        work=images * work,
    )


def _cut_images(images: int, rows: int, line: int, work: int, block: int) -> tuple[int, int]:
    """Return how many images are a block, and how many result rows; a row takes `line` numbers."""
    if images >= PARTS and rows * line <= block:
        return max(1, min(block // (rows * line), images // PARTS)), rows
    most = max(1, block // line)
    if images < PARTS and work * COLUMNS > WORTH_CUTTING:
        most = min(most, -(-rows * images // PARTS))
    return 1, min(rows, most)


# ---- Forward -------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def forward_plan(
    shape: Shape, window: Window, filters: int, channels: int, block: int | None = BLOCK
) -> Plan:
    """Plan the convolution of x `shape`, of which every filter reads `channels`."""
    out = window.output(shape[1], shape[2])
    (top, _), (left, _) = window.padding
    taps = [
        (i * window.dilation[0] - top, j * window.dilation[1] - left)
        for i in range(window.kernel[0])
        for j in range(window.kernel[1])
    ]
    target = Target(0, out[0] * out[1] * filters, out[1] * filters, filters)
    return make_plan(shape, taps, window.stride, out, channels, target, block)


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
    out = window.output(x.shape[1], x.shape[2])
    y = ctx.empty((x.shape[0], *out, w.shape[3]), np.float32)
    finish = (NONE if bias is None else bias, bias is not None, rectify)
    if (
        groups == 1
        and x.shape[0] * out[0] * out[1] <= FEW_PIXELS
        and w.size >= LEAST_DEPTH * w.shape[3]
    ):
        _convolve_few(ctx, x, w, window, y, finish)
    elif _is_thin(w, window, groups):
        _convolve_thin(ctx, x, w, window, y, finish)
    else:
        plan = forward_plan(x.shape, window, w.shape[3], w.shape[2])
        _run(ctx, x, plan, _packed(ctx, w, plan, groups), y, finish)
    return y


def _is_thin(w: NDArray[Any], window: Window, groups: int) -> bool:
    return (
        groups == 1
        and w.shape[2] in (1, 3)
        and window.kernel == (thin.SIDE, thin.SIDE)
        and window.dilation == (1, 1)
    )


def _convolve_thin(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    window: Window,
    y: NDArray[Any],
    finish: tuple[Any, ...],
) -> None:
    """Threads share the blocks; weights are read as they are."""
    filters = w.shape[3]
    plan = forward_plan(x.shape, window, filters, w.shape[2])
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)

    def work(part: slice) -> None:
        scratch = ctx.empty((plan.scratch,), np.float32)
        thin.convolve(
            flat_x, x.shape[0], plan.source, plan.copy, plan.blocks, plan.pixels, plan.per_band,
            plan.per_last_band, flat_w, filters, flat_y, plan.targets, plan.target.image,
            plan.band_step, *finish, part.start, part.stop, scratch,
        )  # fmt: skip

    in_threads(ctx, work, cut(ctx, plan.count, plan.work * filters // 16))


def _convolve_few(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    window: Window,
    y: NDArray[Any],
    finish: tuple[Any, ...],
) -> None:
    """Threads share the rows of the weights, each of which is read once, and have their sums."""
    filters = w.shape[3]
    plan = forward_plan(x.shape, window, filters, w.shape[2], None)
    pixels, rows = _whole_rows(plan, filters)
    count, depth = len(plan.pixels), len(plan.window)
    block = x.reshape(-1)
    if plan.copy:
        block = ctx.empty((plan.scratch,), np.float32)
        padding = (x.reshape(-1), x.shape[0], plan.source, block)
        at_once(ctx, lambda: kernels.pad(*padding))
    # so many parts that adding their sums takes little of the time
    pieces = cut(ctx, depth, count * w.size // 16, min(PARTS, max(2, depth // (4 * count))))
    number = {piece.start: index for index, piece in enumerate(pieces)}
    sums = ctx.empty((len(pieces), len(pixels) * filters), np.float32)
    flat = w.reshape(-1)
    step = max(ROWS, PANELS // (panels(filters) * COLUMNS))

    def work(piece: slice) -> None:
        total = sums[number[piece.start]]
        total[...] = 0
        panel = ctx.empty((step * panels(filters) * COLUMNS,), np.float32)
        kernels.convolve_few(
            block, pixels, plan.window, flat, filters, total, rows, piece.start, piece.stop, panel
        )

    in_threads(ctx, work, pieces)
    arrays = (sums.reshape(-1), len(pieces), sums.shape[1], y.reshape(-1), filters, *finish)
    at_once(ctx, lambda: kernels.join(*arrays, 0, count))


@lru_cache(maxsize=512)
def _whole_rows(plan: Plan, filters: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a plan of one block in whole ROWS, and for each a row of its sums."""
    more = -len(plan.pixels) % ROWS
    pixels = np.append(plan.pixels, np.repeat(plan.pixels[-1:], more))
    return pixels, np.arange(len(pixels)) * filters


class Weights(NamedTuple):
    """Weights as products read them: the way from a group, a panel and a row to the next."""

    groups: int
    channels: int  # that a group reads
    array: NDArray[Any]
    group_step: int
    panel_step: int
    row_step: int
    columns: int  # of a group


def _packed(ctx: Context, w: NDArray[Any], plan: Plan, groups: int) -> Weights:
    """Return weights in panels, or as they are where that is as good."""
    filters = w.shape[3]
    each, depth = filters // groups, w.size // filters
    flat = w.reshape(-1)
    if each <= COLUMNS or len(plan.pixels) * plan.count <= NO_PACKING:
        return Weights(groups, w.shape[2], flat, each, COLUMNS, filters, each)
    packed = ctx.empty((groups * panels(each) * depth * COLUMNS,), np.float32)

    def work(part: slice) -> None:
        kernels.pack_weights(flat, depth, filters, groups, packed, part.start, part.stop)

    in_threads(ctx, work, cut(ctx, groups * panels(each), packed.size))
    step = depth * COLUMNS
    return Weights(groups, w.shape[2], packed, panels(each) * step, step, COLUMNS, each)


def _run(
    ctx: Context,
    x: NDArray[Any],
    plan: Plan,
    weights: Weights,
    y: NDArray[Any],
    finish: tuple[Any, ...],
) -> None:
    """Convolve all blocks; threads share them, or the panels of weights where blocks are few."""
    flat_x, flat_y, target = x.reshape(-1), y.reshape(-1), plan.target
    count = panels(weights.columns)
    by_panel = plan.count < PARTS // 2 and count > plan.count

    def work(part: slice) -> None:
        scratch = ctx.empty((plan.scratch,), np.float32)
        rows = np.empty(2 * ROWS, np.int64)
        blocks = (0, plan.count) if by_panel else (part.start, part.stop)
        these = (part.start, part.stop) if by_panel else (0, count)
        kernels.convolve(
            flat_x, x.shape[0], plan.source, plan.copy, plan.blocks, plan.pixels,
            plan.per_band, plan.per_last_band, plan.window, *weights,
            flat_y, plan.targets, target.first, target.image, plan.band_step,
            *finish, *blocks, *these, scratch, rows,
        )  # fmt: skip

    size = plan.work * weights.groups * weights.columns // 16
    in_threads(ctx, work, cut(ctx, count if by_panel else plan.count, size))


# ---- Gradients -----------------------------------------------------------------------------------


def weight_gradient(
    ctx: Context, x: NDArray[Any], dy: NDArray[Any], shape: Shape, window: Window, groups: int
) -> NDArray[Any]:
    """Return the gradient of the weights: parts of the batch, summed in their order."""
    filters, rows = shape[3], shape[0] * shape[1] * shape[2]
    plan = forward_plan(x.shape, window, filters, shape[2], GRADIENT_BLOCK)
    numbers, targets = _kernel_rows(plan, filters)
    parts = min(PARTS, max(2, PARTIAL // (rows * filters)))
    pieces = cut(ctx, plan.count, plan.work * filters // 16, parts)
    flat_x, flat_dy = x.reshape(-1), dy.reshape(-1)

    def work(piece: slice, total: NDArray[Any]) -> None:
        total[...] = 0
        scratch = ctx.empty((plan.scratch,), np.float32)
        kernels.weight_gradient(
            flat_x, x.shape[0], plan.source, plan.copy, plan.blocks, plan.pixels,
            plan.per_band, plan.per_last_band, numbers, groups, shape[2],
            flat_dy, filters // groups, total, targets, piece.start, piece.stop, scratch,
        )  # fmt: skip

    # one row more than there are: the surplus rows of the last product go there
    dw = sum_in_threads(ctx, work, pieces, (rows + 1) * filters)
    return dw[: rows * filters].reshape(shape)


@lru_cache(maxsize=512)
def _kernel_rows(plan: Plan, filters: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the numbers of a window lie, and their gradients' rows, in whole ROWS."""
    count = len(plan.window)
    more = -count % ROWS
    source = np.append(plan.window, np.repeat(plan.window[-1:], more))
    return source, np.append(np.arange(count), np.repeat(count, more)) * filters


@dataclass(frozen=True, eq=False)
class Phase:
    """Input pixels that the same cells of the kernel reach, and those cells; all of one stride."""

    plan: Plan
    cells: NDArray[np.int64]


def input_gradient(
    ctx: Context,
    w: NDArray[Any],
    dy: NDArray[Any],
    window: Window,
    groups: int,
    x_shape: Shape,
) -> NDArray[Any]:
    """Return the gradient of the input: one convolution of dy for every phase of the stride."""
    dx = ctx.empty(x_shape, np.float32)
    phases, complete = backward_phases(x_shape, dy.shape, window, groups)
    if not complete:
        dx[...] = 0
    for phase in phases:
        weights = _turned(ctx, w, phase.cells, groups)
        _run(ctx, dy, phase.plan, weights, dx, (NONE, False, False))
    return dx


def _turned(ctx: Context, w: NDArray[Any], cells: NDArray[np.int64], groups: int) -> Weights:
    """Return weights with channels and filters exchanged, in panels."""
    channels, filters = w.shape[2:]
    each = filters // groups
    step = len(cells) * each * COLUMNS
    packed = ctx.empty((groups * panels(channels) * step,), np.float32)
    flat = w.reshape(-1)

    def work(part: slice) -> None:
        kernels.pack_turned_weights(
            flat, cells, channels, filters, groups, packed, part.start, part.stop
        )

    in_threads(ctx, work, cut(ctx, groups * panels(channels), packed.size))
    return Weights(groups, each, packed, panels(channels) * step, step, COLUMNS, channels)


@lru_cache(maxsize=512)
def backward_phases(
    x_shape: Shape, dy_shape: Shape, window: Window, groups: int
) -> tuple[list[Phase], bool]:
    """Return the phases of the stride that any cell reaches, and whether that is all of them."""
    _, height, width, channels = x_shape
    phases = []
    complete = True
    for row, down in enumerate(_cells_by_phase(window, 0)[:height]):
        for column, across in enumerate(_cells_by_phase(window, 1)[:width]):
            if not down or not across:
                complete = False
                continue
            out = -(-(height - row) // window.stride[0]), -(-(width - column) // window.stride[1])
            target = Target(
                (row * width + column) * channels,
                height * width * channels,
                window.stride[0] * width * channels,
                window.stride[1] * channels,
            )
            taps = [(a, b) for _, a in down for _, b in across]
            plan = make_plan(dy_shape, taps, (1, 1), out, dy_shape[3] // groups, target, BLOCK)
            cells = np.array([i * window.kernel[1] + j for i, _ in down for j, _ in across])
            phases.append(Phase(plan, cells))
    return phases, complete


def _cells_by_phase(window: Window, axis: int) -> list[list[tuple[int, int]]]:
    """For every remainder of the stride: (kernel index, way in dy) of the cells that reach it.

    Pixel p * stride + remainder is read by cell i of the window p + way.
    """
    stride, dilation = window.stride[axis], window.dilation[axis]
    before = window.padding[axis][0]
    phases: list[list[tuple[int, int]]] = [[] for _ in range(stride)]
    for i in reversed(range(window.kernel[axis])):  # so that ways grow, as memory does
        for remainder in range(stride):
            way = remainder + before - i * dilation
            if way % stride == 0:
                phases[remainder].append((i, way // stride))
    return phases
