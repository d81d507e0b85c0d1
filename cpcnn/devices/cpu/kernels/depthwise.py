"""Depthwise convolution: every channel with a kernel of its own, LANES channels at a time.

Arrays are flat, float32: x (N, H, W, C), w (cells, C), y (N, OH, OW, C). `geometry` is (H, W, OH,
OW, KH, KW, stride down, across, dilation down, across, padding top, left).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .jit import kernel, part
from .loops import fetch, loop, no_later, raised
from .vector import (
    LANES,
    bare,
    fill,
    fma,
    fused_multiply_add,
    integer,
    load_first,
    mask_of,
    masked_load,
    masked_store,
    relu,
    splat,
    store_first,
    vector_at,
)

WINDOWS = 4  # next to each other, that are in hand at a time
ROWS = 8  # whose gradients of the weights are added up, before they are added to those of others


@part
def _reach(position, size, kernel_size, stride, dilation, before):
    """The cells of a window that lie inside the image: the first one, and the end."""
    start = position * stride - before
    first = max(0, (dilation - 1 - start) // dilation)
    return first, min(kernel_size, (size - start + dilation - 1) // dilation)


@part
def _row(row, geometry):
    """The rows of the cells that lie inside, and the columns of results whose cells all do."""
    height, width, _, out_width, kh, kw, sy, sx, dy, dx, top, left = geometry
    i0, i1 = _reach(row, height, kh, sy, dy, top)
    inner = min((left + sx - 1) // sx, out_width)
    inner_end = max(inner, min(out_width, (width + left - (kw - 1) * dx - 1) // sx + 1))
    return i0, i1, inner, inner_end


@part
def _fetch_next(x, y, item, start, column, count, c, channels, geometry):
    """Fetch a share of what the next row of results reads first, and of that row."""
    _, width, _, out_width, kh, _, sy, sx, dy, _, _, _ = geometry
    n = min(LANES, channels - c) * count
    for k in range(sy):
        pixel = start + ((kh - 1) * dy + 1 + k) * width
        fetch(x, pixel * channels + c * count * sx, n * sx)
    fetch(y, ((item + 1) * out_width + column) * channels + c * count, n)


@intrinsic
def _convolve_windows(
    typing: Any,
    x: Any,
    start: Any,
    w: Any,
    w_start: Any,
    y: Any,
    to: Any,
    cells: Any,
    steps: Any,
    count: Any,
    n: Any,
    shift: Any,
    floor: Any,
) -> Any:
    """Write to y the sums of `count` (at most WINDOWS) windows, of `n` (at most LANES) channels.

    `cells` are the first and last rows and columns of those inside, of which there are some; and
    `steps` those of windows in x and in y, those of cells in x, down and across, and in w.
    """
    k = types.int64
    sig = types.void(x, k, w, k, y, k, cells, steps, k, k, shift, types.float32)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, start, w, w_start, y, to, cells, steps, count, n, shift, floor = bare(
            context, builder, sig, args
        )
        corners, places = _windows(builder, x, start, y, to, steps, count)
        mask, lowest = mask_of(builder, n), splat(builder, floor)

        def of_cell(at: Any, weight: Any, *sums: Any) -> list[Any]:
            factor = masked_load(builder, vector_at(builder, w, weight), mask)
            pixels = [masked_load(builder, vector_at(builder, c, at), mask) for c in corners]
            return [
                fused_multiply_add(builder, factor, pixel, total)
                for pixel, total in zip(pixels, sums, strict=True)
            ]

        sums = _loop_over_cells(builder, cells, steps, w_start, of_cell, [shift] * WINDOWS)
        for place, total in zip(places, sums, strict=True):
            masked_store(builder, raised(builder, total, lowest), place, mask)
        return context.get_dummy_value()

    return sig, code


@intrinsic
def _add_gradients(
    typing: Any,
    x: Any,
    start: Any,
    dw: Any,
    w_start: Any,
    dy: Any,
    to: Any,
    cells: Any,
    steps: Any,
    count: Any,
    n: Any,
) -> Any:
    """Add to dw what `count` windows give, which lie as for `_convolve_windows`."""
    k = types.int64
    sig = types.void(x, k, dw, k, dy, k, cells, steps, k, k)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, start, dw, w_start, dy, to, cells, steps, count, n = bare(context, builder, sig, args)
        corners, places = _windows(builder, x, start, dy, to, steps, count)
        mask = mask_of(builder, n)
        gradients = []
        for k, place in enumerate(places):  # zero after the last
            there = builder.icmp_signed("<", integer(k), count)
            known = mask_of(builder, builder.select(there, n, integer(0)))
            gradients.append(masked_load(builder, place, known))

        def of_cell(at: Any, weight: Any) -> list[Any]:
            place = vector_at(builder, dw, weight)
            total = masked_load(builder, place, mask)
            for corner, gradient in zip(corners, gradients, strict=True):
                pixel = masked_load(builder, vector_at(builder, corner, at), mask)
                total = fused_multiply_add(builder, pixel, gradient, total)
            masked_store(builder, total, place, mask)
            return []

        _loop_over_cells(builder, cells, steps, w_start, of_cell, [])
        return context.get_dummy_value()

    return sig, code


def _windows(
    builder: Any, x: Any, start: Any, y: Any, to: Any, steps: Any, count: Any
) -> tuple[list[Any], list[Any]]:
    """Return where WINDOWS windows begin in x, and where their results lie, as vectors, in y."""
    numbers = no_later(builder, integer(0), builder.sub(count, integer(1)), WINDOWS)
    x_step, y_step = (builder.extract_value(steps, k) for k in range(2))
    corners = [builder.add(start, builder.mul(p, x_step)) for p in numbers]
    places = [builder.add(to, builder.mul(p, y_step)) for p in numbers]
    return (
        [builder.gep(x, [corner]) for corner in corners],
        [vector_at(builder, y, place) for place in places],
    )


def _loop_over_cells(
    builder: Any,
    cells: Any,
    steps: Any,
    w_start: Any,
    body: Callable[..., list[Any]],
    values: list[Any],
) -> list[Any]:
    """Loop over cells: `body` has to do with their ways from the first one, and their weights."""
    i0, i1, j0, j1 = (builder.extract_value(cells, k) for k in range(4))
    down, across, w_down, w_across = (builder.extract_value(steps, k) for k in range(2, 6))

    def of_row(i: Any, *values: Any) -> list[Any]:
        at = builder.add(builder.mul(i, down), builder.mul(j0, across))
        weight = builder.add(builder.mul(i, w_down), builder.mul(j0, w_across))

        def of_cell(_: Any, at: Any, weight: Any, *values: Any) -> list[Any]:
            following = [builder.add(at, across), builder.add(weight, w_across)]
            return [*following, *body(at, weight, *values)]

        start = [at, builder.add(weight, w_start)]
        return loop(builder, j0, j1, 1, of_cell, [*start, *values])[2:]

    return loop(builder, i0, i1, 1, of_row, values)


@kernel
def convolve(x, w, channels, geometry, bias, has_bias, rectify, y, begin, end):
    """The rows of y from begin to end (of all images)."""
    height, width, out_height, out_width, _, kw, sy, sx, dy, dx, top, left = geometry
    floor = np.float32(0) if rectify else np.float32(-np.inf)
    steps = (sx * channels, channels, dy * width * channels, dx * channels, kw * channels, channels)
    for item in range(begin, end):
        image, row = item // out_height, item % out_height
        i0, i1, inner, inner_end = _row(row, geometry)
        line = (image * height + row * sy - top) * width - left
        column = 0
        while column < out_width:
            count = min(WINDOWS, inner_end - column) if inner <= column < inner_end else 1
            j0, j1 = _reach(column, width, kw, sx, dx, left)
            start = line + column * sx
            for c in range(0, channels, LANES):
                _fetch_next(x, y, item, start, column, count, c, channels, geometry)
                n, to = min(LANES, channels - c), (item * out_width + column) * channels + c
                shift = load_first(bias, c, n) if has_bias else fill(np.float32(0))
                if i0 < i1 and j0 < j1:
                    _convolve_windows(
                        x, start * channels + c, w, c, y, to, (i0, i1, j0, j1), steps, count, n,
                        shift, floor,
                    )  # fmt: skip
                else:
                    value = relu(shift) if rectify else shift
                    for k in range(count):
                        store_first(y, to + k * channels, value, n)
            column += count


@kernel
def input_gradient(dy, w, channels, geometry, dx, begin, end):
    """The rows of dx from begin to end (of all images), by what each cell reached."""
    height, width, out_height, out_width, kh, kw, sy, sx, ey, ex, top, left = geometry
    for item in range(begin, end):
        image, row = item // height, item % height
        for column in range(width):
            to = (item * width + column) * channels
            for c in range(0, channels, LANES):
                n = min(LANES, channels - c)
                total = fill(np.float32(0))
                for i in range(kh):
                    above = row + top - i * ey
                    if above % sy or not 0 <= above // sy < out_height:
                        continue
                    start = (image * out_height + above // sy) * out_width
                    for j in range(kw):
                        before = column + left - j * ex
                        if before % sx or not 0 <= before // sx < out_width:
                            continue
                        pixel = (start + before // sx) * channels + c
                        weight = load_first(w, (i * kw + j) * channels + c, n)
                        total = fma(load_first(dy, pixel, n), weight, total)
                store_first(dx, to + c, total, n)


@kernel
def weight_gradient(x, dy, channels, geometry, dw, begin, end, partial):
    """Add to dw what the images from begin to end give; scratch is as large."""
    height, width, out_height, out_width, _, kw, sy, sx, ey, ex, top, left = geometry
    steps = (sx * channels, channels, ey * width * channels, ex * channels, kw * channels, channels)
    partial[:] = 0
    for item in range(begin * out_height, end * out_height):
        image, row = item // out_height, item % out_height
        i0, i1, inner, inner_end = _row(row, geometry)
        line = (image * height + row * sy - top) * width - left
        column = 0
        while column < out_width:
            count = min(WINDOWS, inner_end - column) if inner <= column < inner_end else 1
            j0, j1 = _reach(column, width, kw, sx, ex, left)
            start = line + column * sx
            for c in range(0, channels, LANES):
                _fetch_next(x, dy, item, start, column, count, c, channels, geometry)
                if i0 < i1 and j0 < j1:
                    _add_gradients(
                        x, start * channels + c, partial, c,
                        dy, (item * out_width + column) * channels + c,
                        (i0, i1, j0, j1), steps, count, min(LANES, channels - c),
                    )  # fmt: skip
            column += count
        if row % ROWS == ROWS - 1 or row == out_height - 1:
            for k in range(0, len(dw), LANES):
                n = min(LANES, len(dw) - k)
                store_first(dw, k, load_first(dw, k, n) + load_first(partial, k, n), n)
                store_first(partial, k, fill(np.float32(0)), n)
