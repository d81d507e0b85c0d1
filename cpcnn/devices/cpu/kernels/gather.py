"""Convolution as products of windows, read where they are, and weights: any kernel and stride.

Nothing is unfolded (im2col), and nothing padded. Tables say where everything lies. A block is some
images, or a band of rows of one; its pixels are sorted by which numbers of a window there are, and
lie relative to the first image:
    spans (bands + 1,)    where the segments of each band begin
    segments (S, 4)       pixels of the same window: where they begin in `pixels`, how many an image
                          has, where their window begins, and how many numbers it has
    pixels (P,)           of each pixel of the result: the first number of its window
    targets (P,)          where the pixel itself lies
    window (K,)           of each number of a window: its way from the first
    rows (K,)             and its row of the weights
The result is the product of A[pixel, number] = x[pixels[pixel] + window[number]] and the rows of
the weights, and their gradient the product of the transpose of A and the gradients.

`blocks` is (images of a block, bands of an image, numbers of an image, and of its result).
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .product import COLUMNS, ROWS, gather_multiply, gather_multiply_add
from .vector import LANES, fill, load_first, relu, store_first, transpose

AS_THEY_ARE, PACKED, TURNED = 0, 1, 2  # weights, in a product


@part
def _pack(w, depth, filters, first, width, panel):
    """`width` columns from `first` on of w (depth, filters) to (depth, COLUMNS)."""
    for k in range(depth):
        for j in range(0, width, LANES):
            n = min(LANES, width - j)
            store_first(panel, k * COLUMNS + j, load_first(w, k * filters + first + j, n), n)


@part
def _pack_turned(w, cells, channels, channel, width, filters, first, each, panel):
    """`width` channels and `each` filters of w (cells, channels, filters), turned, to the panel."""
    for cell in range(cells):
        for c in range(0, width, LANES):
            row = (cell * channels + channel + c) * filters + first
            for f in range(0, each, LANES):
                transpose(
                    w, row + f, filters, min(LANES, width - c), min(LANES, each - f),
                    panel, (cell * each + f) * COLUMNS + c, COLUMNS,
                )  # fmt: skip


@kernel
def convolve(
    x, total, blocks, spans, segments, pixels, targets, window, rows, groups, channels, columns,
    w, packing, y, bias, has_bias, rectify, begin, end, panel, few,
):  # fmt: skip
    """Windows times weights, plus bias, rectified; items are (block, group, panel of its columns).

    A group reads `channels` of a pixel, and writes `columns`. Weights are w (cells, channels,
    groups * columns), read as they are or packed, or w (cells, columns, groups * channels), turned.
    """
    images, bands, x_image, y_image = blocks
    panels = (columns + COLUMNS - 1) // COLUMNS
    for item in range(begin, end):
        block, group = item // (panels * groups), item // panels % groups
        column = item % panels * COLUMNS
        width, first = min(COLUMNS, columns - column), group * columns + column
        image, band = block // bands * images, block % bands
        b, b_start, b_step = w, first, groups * columns
        if packing != AS_THEY_ARE:
            b, b_start, b_step = panel, 0, COLUMNS
        if packing == PACKED:
            _pack(w, len(w) // (groups * columns), groups * columns, first, width, panel)
        elif packing == TURNED:
            cells, filters = len(w) // (columns * groups * channels), groups * channels
            _pack_turned(
                w, cells, columns, column, width, filters, group * channels, channels, panel
            )
        for s in range(spans[band], spans[band + 1]):
            at, per_image, start, depth = segments[s]
            _convolve_segment(
                width, x, image * x_image + group * channels, pixels, at,
                min(images, total - image) * per_image, window[start:], rows[start:], depth,
                b, b_start, b_step, y, targets, image * y_image + first,
                bias, first, has_bias, rectify, few,
            )  # fmt: skip


@part
def _convolve_segment(
    width, x, start, pixels, first, count, window, rows, depth, b, b_start, b_step, y, targets, to,
    bias, column, has_bias, rectify, few,
):  # fmt: skip
    """Write `count` pixels: their windows times `width` columns of weights, and what follows."""
    if depth == 0:
        _finish(y, targets, first, count, to, width, bias, column, False, has_bias, rectify)
        return
    height = min(ROWS, count)
    if count < ROWS:
        for i in range(ROWS):
            few[i] = pixels[first + min(i, count - 1)]
            few[ROWS + i] = targets[first + min(i, count - 1)]
        pixels, targets, first = few, few[ROWS:], 0
    for q in range(first, first + count, ROWS):
        at = min(q, first + count - height)  # the last ones may be written twice
        gather_multiply(
            width, x, pixels, start, window, b, b_start, rows, b_step, y, targets, to, at, depth
        )
        if has_bias or rectify:
            _finish(y, targets, at, height, to, width, bias, column, True, has_bias, rectify)


@part
def _finish(y, targets, at, count, start, width, bias, column, known, has_bias, rectify):
    """Add the bias to `count` pixels, or to zero where they are not known, and rectify."""
    for q in range(at, at + count):
        for j in range(0, width, LANES):
            n, place = min(LANES, width - j), targets[q] + start + j
            value = fill(np.float32(0))
            if known:
                value = load_first(y, place, n)
            if has_bias:
                value = value + load_first(bias, column + j, n)
            if rectify:
                value = relu(value)
            store_first(y, place, value, n)


@kernel
def weight_gradient(
    x, total, blocks, spans, segments, pixels, targets, window, rows, groups, channels, columns,
    dy, dw, size, count, sums, cuts, together, begin, end,
):  # fmt: skip
    """Windows, transposed, times gradients: as many `sums` of parts of the `count` blocks.

    Items are (sum, cut of the window, `together` panels of columns). `rows` are those of dw, filled
    up to whole ROWS for each window: surplus ones lie behind the last of its `size` numbers.
    """
    images, bands, x_image, y_image = blocks
    panels, filters = (columns + COLUMNS - 1) // COLUMNS, groups * columns
    turns, depth = groups * panels // together, size // filters - 1
    for item in range(begin, end):
        piece, cut, turn = item // (turns * cuts), item // turns % cuts, item % turns
        for number in range(turn * together, (turn + 1) * together):
            group, column = number // panels, number % panels * COLUMNS
            to = piece * size + group * columns + column
            for k in range(depth * cut // cuts, depth * (cut + 1) // cuts):
                _clear(dw, to + k * filters, min(COLUMNS, columns - column))
        for block in range(count * piece // sums, count * (piece + 1) // sums):
            image, span = block // bands * images, block % bands * cuts + cut
            for s in range(spans[span], spans[span + 1]):
                at, per_image, start, height = segments[s]
                for number in range(turn * together, (turn + 1) * together):
                    group, column = number // panels, number % panels * COLUMNS
                    first = group * columns + column
                    _add_segment(
                        min(COLUMNS, columns - column), x, image * x_image + group * channels,
                        window, rows, start, height, pixels[at:], targets[at:],
                        min(images, total - image) * per_image, dy, image * y_image + first,
                        dw, piece * size + first,
                    )  # fmt: skip


@part
def _add_segment(
    width, x, start, window, rows, first, height, pixels, targets, depth, dy, dy_start, dw, to
):
    """Add `depth` pixels to the `height` rows of dw from `first` of the tables on."""
    for k in range(first, first + height, ROWS):
        gather_multiply_add(
            width, x, window, start, pixels, dy, dy_start, targets, 1, dw, rows, to, k, depth
        )


@part
def _clear(target, to, count):
    for k in range(0, count, LANES):
        store_first(target, to + k, fill(np.float32(0)), min(LANES, count - k))
