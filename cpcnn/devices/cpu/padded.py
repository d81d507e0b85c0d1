"""Convolution with small windows, or of few pixels: images are copied with their padding first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Shape
from ...core.window import Window
from .kernels import padded as kernels
from .kernels import thin
from .kernels.product import AHEAD, COLUMNS, ROWS
from .winograd import FEW_PIXELS, panels
from .workers import PARTS, at_once, cut, in_threads, sum_in_threads

BLOCK = 1 << 17  # numbers of x
WORTH_CUTTING = 1 << 20  # multiplications: below this an image stays in one piece
LEAST_DEPTH = 64  # numbers of a window
SMALL_WINDOW = 32  # numbers
PANELS = 1 << 16  # numbers of weights that are in a core's cache for all of few pixels


@dataclass(frozen=True, eq=False)
class Plan:
    """The tables of one call, as kernels/padded.py describes them."""

    source: tuple[int, ...]
    copy: bool
    blocks: tuple[int, int, int]
    count: int  # of blocks
    pixels: NDArray[np.int64]
    per_band: int  # pixels
    per_last_band: int
    window: NDArray[np.int64]
    targets: NDArray[np.int64]
    image_step: int  # numbers of y
    band_step: int
    scratch: int  # numbers of a block
    work: int  # multiplications of all images for one filter


@lru_cache(maxsize=512)
def make_plan(shape: Shape, window: Window, filters: int, block: int | None = BLOCK) -> Plan:
    """Plan the convolution of x `shape`, in blocks of so many numbers, or in one."""
    images, height, width, channels = shape
    out = window.output(height, width)
    top, left = (-before for before, _ in window.padding)
    reach, across = window.extent
    columns = (out[1] - 1) * window.stride[1] + across
    needed = (out[0] - 1) * window.stride[0] + reach
    copy = top < 0 or left < 0 or top + needed > height or left + columns > width
    if not copy:
        columns = width
    taps = [(i * window.dilation[0], j * window.dilation[1]) for i, j in np.ndindex(window.kernel)]
    work = out[0] * out[1] * len(taps) * channels
    together, rows = images, out[0]
    if block is not None:
        line = window.stride[0] * columns * channels
        together, rows = _cut_images(images, out[0], line, work, block)
    bands = -(-out[0] // rows)
    band = (rows - 1) * window.stride[0] + reach if copy else height
    first = np.array([(i * columns + j) * channels for i, j in taps])
    i, m, q = np.ogrid[:together, :rows, : out[1]]
    row, column = m * window.stride[0], q * window.stride[1]
    return Plan(
        source=(height, width, channels, top, left, band, columns),
        copy=copy,
        blocks=(together, bands, rows * window.stride[0]),
        count=-(-images // together) * bands,
        pixels=(((i * band + row) * columns + column) * channels).reshape(-1),
        per_band=rows * out[1],
        per_last_band=(out[0] - (bands - 1) * rows) * out[1],
        window=(first[:, None] + np.arange(channels)).reshape(-1),
        targets=(((i * out[0] + m) * out[1] + q) * filters).reshape(-1),
        image_step=out[0] * out[1] * filters,
        band_step=rows * out[1] * filters,
        scratch=together * band * columns * channels if copy else 0,
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


# ---- Small windows -------------------------------------------------------------------------------


def is_thin(shape: Shape, groups: int) -> bool:
    """Whether weights of this shape have small windows."""
    return groups == 1 and math.prod(shape[:3]) <= SMALL_WINDOW


def convolve_thin(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    window: Window,
    y: NDArray[Any],
    finish: tuple[Any, ...],
) -> None:
    """Threads share the blocks; weights are read as they are."""
    filters = w.shape[3]
    plan = make_plan(x.shape, window, filters)
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)

    def work(part: slice) -> None:
        scratch = ctx.empty((plan.scratch,), np.float32)
        thin.convolve(
            flat_x, x.shape[0], plan.source, plan.copy, plan.blocks, plan.pixels, plan.per_band,
            plan.per_last_band, plan.window, flat_w, filters, flat_y, plan.targets,
            plan.image_step, plan.band_step, *finish, part.start, part.stop, scratch,
        )  # fmt: skip

    in_threads(ctx, work, cut(ctx, plan.count, plan.work * filters // 16))


def thin_weight_gradient(
    ctx: Context, x: NDArray[Any], dy: NDArray[Any], shape: Shape, window: Window
) -> NDArray[Any]:
    """Return the gradient of the weights: sums over parts of the batch, added in their order."""
    filters = shape[3]
    plan = make_plan(x.shape, window, filters)
    numbers, rows = _whole_numbers(plan, filters)
    flat_x, flat_dy = x.reshape(-1), dy.reshape(-1)

    def work(part: slice, total: NDArray[Any]) -> None:
        total[...] = 0
        scratch = ctx.empty((plan.scratch,), np.float32)
        thin.weight_gradient(
            flat_x, x.shape[0], plan.source, plan.copy, plan.blocks, plan.pixels, plan.per_band,
            plan.per_last_band, numbers, flat_dy, filters, total, rows, part.start, part.stop,
            scratch,
        )  # fmt: skip

    pieces = cut(ctx, plan.count, plan.work * filters // 16)
    size = len(plan.window) * filters
    dw = sum_in_threads(ctx, work, pieces, size + filters)  # with a row for the surplus numbers
    return dw[:size].reshape(shape)


@lru_cache(maxsize=512)
def _whole_numbers(plan: Plan, filters: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the window in whole NUMBERS, and the rows of their weights."""
    count = len(plan.window)
    more = -count % thin.NUMBERS
    window = np.append(plan.window, np.repeat(plan.window[-1:], more))
    return window, np.append(np.arange(count), np.repeat(count, more)) * filters


# ---- Few pixels ----------------------------------------------------------------------------------


def is_few(w: NDArray[Any], pixels: int, groups: int) -> bool:
    """Whether reading the weights takes as long as multiplying."""
    return groups == 1 and pixels <= FEW_PIXELS and w.size >= LEAST_DEPTH * w.shape[3]


def convolve_few(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    window: Window,
    y: NDArray[Any],
    finish: tuple[Any, ...],
) -> None:
    """Threads share the rows of the weights, each of which is read once, and have their sums."""
    filters = w.shape[3]
    plan = make_plan(x.shape, window, filters, None)
    pixels, rows, numbers = _whole_rows(plan, filters)
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
    order = np.arange(step)

    def work(piece: slice) -> None:
        total = sums[number[piece.start]]
        total[...] = 0
        panel = ctx.empty((step * panels(filters) * COLUMNS,), np.float32)
        kernels.convolve_few(
            block, pixels, numbers, flat, filters, total, rows, piece.start, piece.stop, panel,
            order,
        )  # fmt: skip

    in_threads(ctx, work, pieces)
    arrays = (sums.reshape(-1), len(pieces), sums.shape[1], y.reshape(-1), filters, *finish)
    at_once(ctx, lambda: kernels.join(*arrays, 0, count))


@lru_cache(maxsize=512)
def _whole_rows(plan: Plan, filters: int) -> tuple[NDArray[np.int64], ...]:
    """Return the pixels of one block in whole ROWS, their rows of sums, and the window."""
    more = -len(plan.pixels) % ROWS
    pixels = np.append(plan.pixels, np.repeat(plan.pixels[-1:], more))
    return pixels, np.arange(len(pixels)) * filters, np.append(plan.window, np.zeros(AHEAD, int))
