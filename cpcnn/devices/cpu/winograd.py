"""Winograd convolution in threads: which tiles, which panels of weights, in which memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Shape
from ...core.window import Window
from .kernels import winograd as kernels
from .kernels.product import COLUMNS, ROWS
from .kernels.vector import LANES
from .workers import PARTS, cut, in_threads, sum_in_threads

BLOCK = 48  # tiles whose products stay in a core's L2 cache; a multiple of ROWS
GROUP = 1 << 21  # numbers of transformed tiles, 8 MiB: what may wait for its products in L3 cache
CHANNELS = 48  # input channels of a block of the weight gradient; a multiple of ROWS
FEW = 2 * BLOCK  # tiles: up to here threads share them, and each has panels of its own
FEW_PIXELS = 16 * ROWS  # up to here, reading weights takes as long as multiplying, for all methods
LARGE = 1 << 15  # channels times filters: transformed, such weights are in no core's cache
SMALL = 1 << 14  # weights: for so few, a sum of gradients for each piece of the batch is cheap
NONE = np.empty(0, np.float32)


@dataclass(frozen=True)
class Plan:
    """How the tiles of a call lie: `across` × `down` an image."""

    geometry: tuple[int, int, int, int, int, int]
    channels: int
    filters: int
    images: int
    across: int
    down: int

    @cached_property
    def tiles(self) -> int:
        return self.images * self.tiles_per_image

    @cached_property
    def tiles_per_image(self) -> int:
        return self.across * self.down

    @cached_property
    def group(self) -> int:
        """Whole images' tiles, as many as may wait."""
        if self.tiles <= FEW:
            return self.tiles
        numbers = kernels.CELLS * (rounded(self.channels) + rounded(self.filters))
        images = max(1, GROUP // (numbers * self.tiles_per_image))
        return min(images, self.images) * self.tiles_per_image


@lru_cache(maxsize=512)
def plan(x_shape: Shape, filters: int, window: Window) -> Plan:
    images, height, width, channels = x_shape
    out_height, out_width = window.output(height, width)
    (top, _), (left, _) = window.padding
    geometry = (height, width, out_height, out_width, top, left)
    across, down = -(-out_width // kernels.TILE), -(-out_height // kernels.TILE)
    return Plan(geometry, channels, filters, images, across, down)


def is_worthwhile(x_shape: Shape, w_shape: Shape, window: Window) -> bool:
    """Whether there are enough pixels to repay the transforms of the weights and of their tiles."""
    height, width = window.output(x_shape[1], x_shape[2])
    pixels = x_shape[0] * height * width
    tiles = x_shape[0] * -(-height // kernels.TILE) * -(-width // kernels.TILE)
    if pixels > FEW_PIXELS:
        return pixels >= 4 * tiles  # a tile takes as many multiplications as so many pixels
    # and weights as many as so many more, if they do not fit the cache once they are transformed
    return pixels >= 4 * tiles + (60 if w_shape[2] * w_shape[3] >= LARGE else 40)


def rounded(channels: int) -> int:
    return -(-channels // LANES) * LANES


def panels(columns: int) -> int:
    return -(-columns // COLUMNS)


def room_for(numbers: int) -> int:
    """How many numbers an array takes that has so many for each cell."""
    return kernels.CELLS * (numbers + kernels.PAD)


class Scratch:
    """What one thread writes in passing."""

    def __init__(self, ctx: Context, tiles: int = BLOCK) -> None:
        self.small = ctx.empty(((kernels.CELLS + 9 * COLUMNS) * LANES,), np.float32)
        tiles = -(-tiles // ROWS) * ROWS
        self.cells = ctx.empty((room_for(tiles * COLUMNS),), np.float32)
        self.rows = np.empty(max(2 * tiles, 3 * ROWS), np.int64)


# ---- Forward -------------------------------------------------------------------------------------


def convolve(
    ctx: Context,
    x: NDArray[Any],
    w: NDArray[Any],
    bias: NDArray[Any] | None,
    window: Window,
    rectify: bool,
) -> NDArray[Any]:
    """Return the convolution of x (N, H, W, C) and w (3, 3, C, F), with bias, rectified."""
    p = plan(x.shape, w.shape[3], window)
    y = ctx.empty((p.images, *p.geometry[2:4], p.filters), np.float32)
    finish = (NONE if bias is None else bias, bias is not None, rectify, y.reshape(-1), p.geometry)
    if p.tiles <= FEW and (panels(p.filters) >= PARTS // 2 or p.tiles < PARTS // 2 * ROWS):
        _convolve_few(ctx, x.reshape(-1), w.reshape(-1), p, finish)
    else:
        _convolve_many(ctx, x.reshape(-1), w.reshape(-1), p, finish)
    return y


def _convolve_many(
    ctx: Context, x: NDArray[Any], w: NDArray[Any], p: Plan, finish: tuple[Any, ...]
) -> None:
    """Each thread transforms some tiles at a time, and multiplies them with all weights."""
    weights = _weights(ctx, w, p)
    block = min(BLOCK, -(-p.tiles // (PARTS * ROWS)) * ROWS)

    def work(blocks: slice) -> None:
        scratch = Scratch(ctx, block)
        tiles = ctx.empty((room_for(block * rounded(p.channels)),), np.float32)
        for first in range(blocks.start * block, min(blocks.stop * block, p.tiles), block):
            end = min(first + block, p.tiles)
            kernels.input_tiles(
                x, p.geometry, p.channels, tiles, block, first, first, end, scratch.small
            )
            kernels.multiply_forward(
                tiles, block, first, first, end, weights, 0, p.channels, p.filters,
                0, panels(p.filters), *finish, scratch.cells, scratch.rows, scratch.small,
            )  # fmt: skip

    blocks = -(-p.tiles // block)
    in_threads(ctx, work, cut(ctx, blocks, p.tiles * p.channels * p.filters, 2 * PARTS))


def _convolve_few(
    ctx: Context, x: NDArray[Any], w: NDArray[Any], p: Plan, finish: tuple[Any, ...]
) -> None:
    """All tiles are transformed, then each thread has filters of its own: weights are read once."""
    tiles = _transformed(ctx, kernels.input_tiles, x, p.channels, p, 0, p.tiles)

    def work(part: slice) -> None:
        scratch = Scratch(ctx, p.tiles)
        weights = ctx.empty((room_for(p.channels * COLUMNS),), np.float32)
        for panel in range(part.start, part.stop):
            kernels.transform_weights(
                w, p.channels, p.filters, weights, panel, scratch.small,
                panel * p.channels, (panel + 1) * p.channels,
            )  # fmt: skip
            kernels.multiply_forward(
                tiles, p.tiles, 0, 0, p.tiles, weights, panel, p.channels, p.filters,
                panel, panel + 1, *finish, scratch.cells, scratch.rows, scratch.small,
            )  # fmt: skip

    in_threads(ctx, work, cut(ctx, panels(p.filters), p.tiles * p.channels * p.filters))


def _weights(ctx: Context, w: NDArray[Any], p: Plan) -> NDArray[Any]:
    """Transform the weights, panel by panel of filters."""
    items = panels(p.filters) * p.channels
    weights = ctx.empty((panels(p.filters) * room_for(p.channels * COLUMNS),), np.float32)

    def work(part: slice) -> None:
        small = Scratch(ctx, 0).small
        kernels.transform_weights(
            w, p.channels, p.filters, weights, 0, small, part.start, part.stop
        )

    in_threads(ctx, work, cut(ctx, items, weights.size // 4))
    return weights


def _transformed(
    ctx: Context, kernel: Any, array: NDArray[Any], channels: int, p: Plan, first: int, end: int
) -> NDArray[Any]:
    """Transform the tiles of x or dy from `first` to `end`, by the kernel for it."""
    tiles = ctx.empty((room_for(p.group * rounded(channels)),), np.float32)

    def work(part: slice) -> None:
        small = Scratch(ctx, 0).small
        kernel(
            array, p.geometry, channels, tiles, p.group, first,
            first + part.start, first + part.stop, small,
        )  # fmt: skip

    in_threads(ctx, work, cut(ctx, end - first, (end - first) * kernels.CELLS * channels))
    return tiles


# ---- Gradients -----------------------------------------------------------------------------------


def gradients(
    ctx: Context, x: NDArray[Any], w: NDArray[Any], dy: NDArray[Any], window: Window
) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    """Return (dx, dw); dx is None when the context needs no input gradient.

    Both come from the same transformed gradients: of a block of tiles where the weights are small,
    else group by group of images, which threads then share by weights.
    """
    p = plan(x.shape, w.shape[3], window)
    if p.tiles > FEW and p.channels * p.filters <= SMALL:
        return _gradients_by_image(ctx, x, w, dy, p)
    dw = ctx.empty(w.shape, np.float32)
    dx = ctx.empty(x.shape, np.float32) if ctx.input_gradient else None
    weights = None
    if dx is not None:
        few = p.tiles <= FEW
        weights = NONE if few else _turned_weights(ctx, w.reshape(-1), p)
    for first in range(0, p.tiles, p.group):
        end = min(first + p.group, p.tiles)
        gradient_tiles = _transformed(
            ctx, kernels.gradient_tiles, dy.reshape(-1), p.filters, p, first, end
        )
        input_tiles = _transformed(
            ctx, kernels.input_tiles, x.reshape(-1), p.channels, p, first, end
        )
        _weight_gradient(ctx, input_tiles, gradient_tiles, p, end - first, dw, first > 0)
        if dx is not None and few:
            _input_gradient_few(ctx, gradient_tiles, w.reshape(-1), p, dx)
        elif dx is not None:
            _input_gradient_many(ctx, gradient_tiles, weights, p, first, end, dx)
    return dx, dw


def _gradients_by_image(
    ctx: Context, x: NDArray[Any], w: NDArray[Any], dy: NDArray[Any], p: Plan
) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    """Every thread has whole images, whose tiles overlap; their weights' gradients are summed."""
    dx = ctx.empty(x.shape, np.float32) if ctx.input_gradient else None
    weights = NONE if dx is None else _turned_weights(ctx, w.reshape(-1), p)
    pieces = cut(ctx, p.images, p.tiles * p.channels * p.filters)
    flat_x, flat_dy, flat_dx = x.reshape(-1), dy.reshape(-1), None if dx is None else dx.reshape(-1)

    def work(images: slice, total: NDArray[Any]) -> None:
        if dx is not None:
            dx[images] = 0
        scratch = Scratch(ctx, max(BLOCK, CHANNELS))
        input_tiles = ctx.empty((room_for(BLOCK * rounded(p.channels)),), np.float32)
        gradient_tiles = ctx.empty((room_for(BLOCK * rounded(p.filters)),), np.float32)
        begin, stop = images.start * p.tiles_per_image, images.stop * p.tiles_per_image
        for first in range(begin, stop, BLOCK):
            end = min(first + BLOCK, stop)
            kernels.input_tiles(
                flat_x, p.geometry, p.channels, input_tiles, BLOCK, first, first, end, scratch.small
            )
            kernels.gradient_tiles(
                flat_dy, p.geometry, p.filters, gradient_tiles, BLOCK, first, first, end,
                scratch.small,
            )  # fmt: skip
            kernels.multiply_weight_gradient(
                input_tiles, gradient_tiles, BLOCK, end - first, p.channels, p.filters, CHANNELS,
                0, -(-p.channels // CHANNELS) * panels(p.filters), total, first > begin,
                scratch.cells, scratch.rows, scratch.small,
            )  # fmt: skip
            if flat_dx is not None:
                kernels.multiply_backward(
                    gradient_tiles, BLOCK, first, first, end, weights, 0, p.channels, p.filters,
                    0, panels(p.channels), flat_dx, p.geometry,
                    scratch.cells, scratch.rows, scratch.small,
                )  # fmt: skip

    return dx, sum_in_threads(ctx, work, pieces, w.size).reshape(w.shape)


def _turned_weights(ctx: Context, w: NDArray[Any], p: Plan) -> NDArray[Any]:
    """Transform the weights with channels and filters exchanged, panel by panel of channels."""
    weights = ctx.empty((panels(p.channels) * room_for(p.filters * COLUMNS),), np.float32)

    def work(part: slice) -> None:
        small = Scratch(ctx, 0).small
        kernels.transform_weights_turned(
            w, p.channels, p.filters, weights, 0, small, part.start, part.stop
        )

    items = panels(p.channels) * (rounded(p.filters) // LANES)
    in_threads(ctx, work, cut(ctx, items, weights.size // 4))
    return weights


def _weight_gradient(
    ctx: Context,
    input_tiles: NDArray[Any],
    gradient_tiles: NDArray[Any],
    p: Plan,
    count: int,
    dw: NDArray[Any],
    add: bool,
) -> None:
    """Every thread has some weights of its own, and sums over all tiles."""
    items = -(-p.channels // CHANNELS) * panels(p.filters)
    flat = dw.reshape(-1)

    def work(part: slice) -> None:
        scratch = Scratch(ctx, CHANNELS)
        kernels.multiply_weight_gradient(
            input_tiles, gradient_tiles, p.group, count, p.channels, p.filters, CHANNELS,
            part.start, part.stop, flat, add, scratch.cells, scratch.rows, scratch.small,
        )  # fmt: skip

    in_threads(ctx, work, cut(ctx, items, count * p.channels * p.filters, 16))


def _input_gradient_many(
    ctx: Context,
    tiles: NDArray[Any],
    weights: NDArray[Any] | None,
    p: Plan,
    first: int,
    end: int,
    dx: NDArray[Any],
) -> None:
    """Every thread has whole images: their tiles overlap."""
    flat = dx.reshape(-1)
    per_image = p.tiles_per_image
    step = max(1, BLOCK // per_image) * per_image  # small images are multiplied together

    def work(images: slice) -> None:
        scratch = Scratch(ctx)
        begin, stop = first + images.start * per_image, first + images.stop * per_image
        dx[begin // per_image : stop // per_image] = 0
        for chunk in range(begin, stop, step):
            for block in range(chunk, min(chunk + step, stop), BLOCK):
                kernels.multiply_backward(
                    tiles, p.group, first, block, min(block + BLOCK, chunk + step, stop), weights,
                    0, p.channels, p.filters, 0, panels(p.channels), flat, p.geometry,
                    scratch.cells, scratch.rows, scratch.small,
                )  # fmt: skip

    in_threads(
        ctx, work, cut(ctx, (end - first) // per_image, (end - first) * p.channels * p.filters)
    )


def _input_gradient_few(
    ctx: Context, tiles: NDArray[Any], w: NDArray[Any], p: Plan, dx: NDArray[Any]
) -> None:
    """Every thread has some channels of its own, of all tiles."""
    flat = dx.reshape(-1)
    groups = rounded(p.filters) // LANES
    dx[...] = 0

    def work(part: slice) -> None:
        scratch = Scratch(ctx, p.tiles)
        weights = ctx.empty((room_for(p.filters * COLUMNS),), np.float32)
        for panel in range(part.start, part.stop):
            kernels.transform_weights_turned(
                w, p.channels, p.filters, weights, panel, scratch.small,
                panel * groups, (panel + 1) * groups,
            )  # fmt: skip
            kernels.multiply_backward(
                tiles, p.group, 0, 0, p.tiles, weights, panel, p.channels, p.filters,
                panel, panel + 1, flat, p.geometry, scratch.cells, scratch.rows, scratch.small,
            )  # fmt: skip

    in_threads(ctx, work, cut(ctx, panels(p.channels), p.tiles * p.channels * p.filters))
