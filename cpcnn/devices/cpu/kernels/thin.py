"""Convolution with small windows, of one or three channels for the most part.

Here the loop over pixels is compiled code as a whole: some pixels' sums begin in registers with the
bias, and are rectified there. For so few products a pixel, calling a product for every few pixels,
and a second pass over its results, would take as long as the sums themselves.

Tables and blocks are those of padded.py; `targets` (P,) are the places of pixels in y.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .jit import kernel
from .loops import (
    add_products,
    entry,
    load_line,
    loop,
    masks_of,
    no_later,
    raised,
    store_line,
)
from .padded import locate
from .vector import LANES, VECTOR, bare, integer, prefetch, splat

PIXELS = 8 if LANES == 16 else 4  # that have their sums in registers, two vectors each
NUMBERS = 9 if LANES == 16 else 4  # of a window, whose weights' gradients are in registers
CHUNK = 128  # pixels that stay in the cache while all filters, or numbers, use them


@intrinsic
def _multiply(
    typing: Any,
    x: Any,
    start: Any,
    pixels: Any,
    first: Any,
    end: Any,
    window: Any,
    depth: Any,
    w: Any,
    w_start: Any,
    w_step: Any,
    columns: Any,
    y: Any,
    targets: Any,
    to: Any,
    bias: Any,
    column: Any,
    has_bias: Any,
    floor: Any,
) -> Any:
    """Write to y, for the pixels from first to end, `columns` (at most 2 * LANES) numbers each.

    y[targets[q] + to + j] = max(floor, bias[column + j] +
        sum over k < depth of x[start + pixels[q] + window[k]] * w[w_start + k * w_step + j])
    """
    n = types.int64
    finish = bias, n, types.boolean, types.float32
    sig = types.void(x, n, pixels, n, n, window, n, w, n, n, n, y, targets, n, *finish)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = bare(context, builder, sig, args)
        with builder.if_else(builder.icmp_signed("<=", args[10], integer(LANES))) as (one, two):
            with one:
                _write_products(builder, 1, *values)
            with two:
                _write_products(builder, 2, *values)
        return context.get_dummy_value()

    return sig, code


def _write_products(
    builder: Any,
    vectors: int,
    x: Any,
    start: Any,
    pixels: Any,
    first: Any,
    end: Any,
    window: Any,
    depth: Any,
    w: Any,
    w_start: Any,
    w_step: Any,
    columns: Any,
    y: Any,
    targets: Any,
    to: Any,
    bias: Any,
    column: Any,
    has_bias: Any,
    floor: Any,
) -> None:
    masks = masks_of(builder, columns, vectors)
    known = masks_of(builder, builder.select(has_bias, columns, integer(0)), vectors)
    shifts = load_line(builder, builder.gep(bias, [column]), known)
    lowest = splat(builder, floor)
    weights, image = builder.gep(w, [w_start]), builder.gep(x, [start])
    result, last = builder.gep(y, [to]), builder.sub(end, integer(1))

    def of_pixels(number: Any) -> list[Any]:
        numbers = no_later(builder, number, last, PIXELS)
        corners = [builder.gep(image, [entry(builder, pixels, q)]) for q in numbers]
        places = [builder.gep(result, [entry(builder, targets, q)]) for q in numbers]
        for place in places:  # until the sums are there
            for v in range(vectors):
                prefetch(builder, builder.gep(place, [integer(v * LANES)]), level=2)

        def of_number(k: Any, weight: Any, *sums: Any) -> list[Any]:
            line, way = load_line(builder, weight, masks), entry(builder, window, k)
            factors = [builder.load(builder.gep(corner, [way])) for corner in corners]
            following = builder.gep(weight, [w_step])
            return [following, *add_products(builder, factors, line, sums)]

        sums = loop(builder, integer(0), depth, 1, of_number, [weights, *shifts * PIXELS])[1:]
        values = [raised(builder, total, lowest) for total in sums]
        for p, place in enumerate(places):
            store_line(builder, values[p * vectors : (p + 1) * vectors], place, masks)
        return []

    loop(builder, first, end, PIXELS, of_pixels)


@intrinsic
def _multiply_transposed(
    typing: Any,
    x: Any,
    start: Any,
    window: Any,
    number: Any,
    pixels: Any,
    first: Any,
    end: Any,
    dy: Any,
    dy_start: Any,
    dy_step: Any,
    columns: Any,
    dw: Any,
    rows: Any,
    to: Any,
    ahead: Any,
    ahead_step: Any,
) -> Any:
    """Add to dw, for NUMBERS numbers of the window, `columns` (at most 2 * LANES) numbers each.

    dw[rows[k] + to + j] += sum over first <= q < end of
        x[start + window[k] + pixels[q]] * dy[dy_start + (q - first) * dy_step + j]
    Meanwhile what lies at dy[ahead + (q - first) * ahead_step] is fetched.
    """
    n = types.int64
    sig = types.void(x, n, window, n, pixels, n, n, dy, n, n, n, dw, rows, n, n, n)

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        values = bare(context, builder, sig, args)
        with builder.if_else(builder.icmp_signed("<=", args[10], integer(LANES))) as (one, two):
            with one:
                _write_transposed(builder, 1, *values)
            with two:
                _write_transposed(builder, 2, *values)
        return context.get_dummy_value()

    return sig, code


def _write_transposed(
    builder: Any,
    vectors: int,
    x: Any,
    start: Any,
    window: Any,
    number: Any,
    pixels: Any,
    first: Any,
    end: Any,
    dy: Any,
    dy_start: Any,
    dy_step: Any,
    columns: Any,
    dw: Any,
    rows: Any,
    to: Any,
    ahead: Any,
    ahead_step: Any,
) -> None:
    masks = masks_of(builder, columns, vectors)
    image, result = builder.gep(x, [start]), builder.gep(dw, [to])
    gradients = [builder.gep(dy, [dy_start]), builder.gep(dy, [ahead])]
    numbers = [builder.add(number, integer(k)) for k in range(NUMBERS)]
    lines = [builder.gep(image, [entry(builder, window, k)]) for k in numbers]

    def of_pixel(q: Any, gradient: Any, later: Any, *sums: Any) -> list[Any]:
        prefetch(builder, later, level=2)
        line, way = load_line(builder, gradient, masks), entry(builder, pixels, q)
        factors = [builder.load(builder.gep(row, [way])) for row in lines]
        following = [builder.gep(gradient, [dy_step]), builder.gep(later, [ahead_step])]
        return [*following, *add_products(builder, factors, line, sums)]

    zeros = [VECTOR(None)] * (NUMBERS * vectors)
    sums = loop(builder, first, end, 1, of_pixel, [*gradients, *zeros])[2:]
    for row, k in enumerate(numbers):
        place = builder.gep(result, [entry(builder, rows, k)])
        more = sums[row * vectors : (row + 1) * vectors]
        pairs = zip(load_line(builder, place, masks), more, strict=True)
        store_line(builder, [builder.fadd(*pair) for pair in pairs], place, masks)


@kernel
def convolve(
    x, total, source, copy, blocks, pixels, per_band, per_last_band, window, w, filters, y,
    targets, y_image, y_band, bias, has_bias, rectify, begin, end, scratch,
):  # fmt: skip
    """Windows times w (K, filters), plus bias, rectified, for the blocks from begin to end."""
    array = scratch if copy else x
    floor = np.float32(0) if rectify else np.float32(-np.inf)
    for block in range(begin, end):
        image, band, count, start = locate(block, blocks, source, copy, x, scratch, total)
        count *= per_last_band if band == blocks[1] - 1 else per_band
        to = image * y_image + band * y_band
        for q in range(0, count, CHUNK):
            for column in range(0, filters, 2 * LANES):
                _multiply(
                    array, start, pixels, q, min(q + CHUNK, count), window, len(window),
                    w, column, filters, filters - column, y, targets, to + column,
                    bias, column, has_bias, floor,
                )  # fmt: skip


@kernel
def weight_gradient(
    x, total, source, copy, blocks, pixels, per_band, per_last_band, window, dy, filters, dw, rows,
    begin, end, scratch,
):  # fmt: skip
    """Windows, transposed, times gradients, added to the `rows` of dw; items are blocks.

    `window` is filled up to whole NUMBERS, and the rows of surplus ones lie behind the last.
    """
    bands = blocks[1]
    per_image = per_band * (bands - 1) + per_last_band
    array = scratch if copy else x
    # each call fetches its share of the gradients that the next chunk begins with
    calls = (filters + 2 * LANES - 1) // (2 * LANES) * (len(window) // NUMBERS)
    share = (filters + calls - 1) // calls
    for block in range(begin, end):
        image, band, count, start = locate(block, blocks, source, copy, x, scratch, total)
        count *= per_last_band if band == bands - 1 else per_band
        for q in range(0, count, CHUNK):
            gradient = (image * per_image + band * per_band + q) * filters
            ahead = gradient + CHUNK * filters
            for column in range(0, filters, 2 * LANES):
                for k in range(0, len(window), NUMBERS):
                    _multiply_transposed(
                        array, start, window, k, pixels, q, min(q + CHUNK, count),
                        dy, gradient + column, filters, filters - column, dw, rows, column,
                        ahead, share,
                    )  # fmt: skip
                    ahead += CHUNK * share
