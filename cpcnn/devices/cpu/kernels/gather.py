"""Convolution as products of windows, read where they are, and weights: any kernel and stride.

Nothing is unfolded (im2col). A block of images, or a band of rows of one, is copied with its
padding, so that no window needs a test for the border; without padding there is no copy either.
Two tables then say where everything lies, relative to a block's start:
    pixels (P,)     of each result pixel: the first number of its window
    window (K,)     of each number of a window: its way from the first
The result is the product of A[pixel, number] = block[pixels[pixel] + window[number]] and the
weights, and the gradient of the weights the product of the transpose of A and the gradients.

`source` is (H, W, C, first row, first column, rows, columns): the images, and what of them a block
copies: `rows` × `columns` pixels from (first row, first column) on, zero outside the image.
`blocks` is (images of a block, bands of an image, rows of the source from one band to the next).
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .product import COLUMNS, ROWS, gather_multiply, gather_multiply_add
from .vector import LANES, fill, load_first, relu, store_first


@kernel
def pack_weights(w, depth, filters, groups, packed, begin, end):
    """w (depth, filters) to (groups, panels of a group, depth, COLUMNS); items are panels."""
    each = filters // groups
    panels = (each + COLUMNS - 1) // COLUMNS
    for item in range(begin, end):
        column = item % panels * COLUMNS
        columns = min(COLUMNS, each - column)
        for k in range(depth):
            row = k * filters + item // panels * each + column
            for j in range(0, columns, LANES):
                n = min(LANES, columns - j)
                store_first(packed, (item * depth + k) * COLUMNS + j, load_first(w, row + j, n), n)


@kernel
def pack_turned_weights(w, cells, channels, filters, groups, packed, begin, end):
    """The cells of w (cells, channels, filters) to (groups, panels, cells, filters, COLUMNS).

    Panels are of channels, and items are panels.
    """
    each = filters // groups
    panels = (channels + COLUMNS - 1) // COLUMNS
    for item in range(begin, end):
        first = item // panels * each
        channel = item % panels * COLUMNS
        width = min(COLUMNS, channels - channel)
        for k in range(len(cells)):
            for block in range(0, each, LANES):
                for c in range(width):
                    row = (cells[k] * channels + channel + c) * filters + first
                    for f in range(block, min(block + LANES, each)):
                        to = (item * len(cells) + k) * each + f
                        packed[to * COLUMNS + c] = w[row + f]


@part
def _copy_block(x, image, images, source, row, block):
    """Copy the images with their padding, from row `row` on."""
    height, width, channels, _, left, rows, columns = source
    before = max(-left, 0) * channels
    inner = max(min(left + columns, width) - max(left, 0), 0) * channels
    line = columns * channels
    for n in range(images):
        for i in range(rows):
            inside = inner if 0 <= row + i < height else 0
            start = (((image + n) * height + row + i) * width + max(left, 0)) * channels
            target = (n * rows + i) * line
            _clear(block, target, before if inside else 0)
            _copy(x, start, block, target + before, inside)
            done = before + inside if inside else 0
            _clear(block, target + done, line - done)


@part
def _copy(source, start, target, to, count):
    # vectors: a loop over single numbers, which allows for negative indices, is a third as fast
    for k in range(0, count, LANES):
        n = min(LANES, count - k)
        store_first(target, to + k, load_first(source, start + k, n), n)


@part
def _clear(target, to, count):
    for k in range(0, count, LANES):
        store_first(target, to + k, fill(np.float32(0)), min(LANES, count - k))


@part
def locate(block, blocks, source, copy, x, scratch, total):
    """Image and band of a block, how many images it has, and where its first number lies."""
    images, bands, source_step = blocks
    height, width, channels, top, _, _, _ = source
    image, band = block // bands * images, block % bands
    count = min(images, total - image)
    row = top + band * source_step
    if copy:
        _copy_block(x, image, count, source, row, scratch)
        return image, band, count, 0
    return image, band, count, (image * height + row) * width * channels


@kernel
def convolve(
    x, total, source, copy, blocks, pixels, per_band, per_last_band, window, groups, channels,
    weights, group_step, panel_step, row_step, columns, y, targets, y_first, y_image, y_band, bias,
    has_bias, rectify, begin, end, panel_begin, panel_end, scratch, rows,
):  # fmt: skip
    """Windows times panels of weights, plus bias, rectified, for the blocks from begin to end.

    `targets` (P,) are the places of a block's pixels in y, from `y_first` on and `y_image` and
    `y_band` further for each image and band before it. A group reads `channels` of a pixel, and
    writes `columns`. Scratch is a block.
    """
    a_rows, c_rows = rows[:ROWS], rows[ROWS:]
    array = scratch if copy else x
    for block in range(begin, end):
        image, band, count, start = locate(block, blocks, source, copy, x, scratch, total)
        count *= per_last_band if band == blocks[1] - 1 else per_band
        to = y_first + image * y_image + band * y_band
        for item in range(groups * panel_begin, groups * panel_end):
            group, panel = item % groups, item // groups
            column = panel * COLUMNS
            width = min(COLUMNS, columns - column)
            first = group * columns + column
            for q in range(0, count, ROWS):
                height = min(ROWS, count - q)
                # copied, as a part of an array costs more: each call would count references
                for r in range(ROWS):
                    a_rows[r] = pixels[min(q + r, count - 1)]
                    c_rows[r] = targets[min(q + r, count - 1)]
                gather_multiply(
                    width, array, a_rows, start + group * channels, window,
                    weights, group * group_step + panel * panel_step, row_step,
                    y, c_rows, to + first, len(window),
                )  # fmt: skip
                if has_bias or rectify:
                    _finish(y, c_rows, height, to + first, width, bias, first, has_bias, rectify)


@kernel
def pad(x, images, source, block):
    """Copy all images, with their padding."""
    _copy_block(x, np.int64(0), images, source, source[3], block)


@kernel
def convolve_few(block, pixels, window, w, filters, sums, rows, begin, end, panel):
    """Add to the `rows` of sums: windows times w (K, filters), for its rows from begin to end.

    There are whole ROWS of pixels, each with a row of its own. Scratch is as many `panel`s as there
    are, of some rows: weights are read once, in their order, and are in cache for all pixels.
    """
    step = len(panel) // ((filters + COLUMNS - 1) // COLUMNS * COLUMNS)
    for first in range(begin, end, step):
        depth = min(step, end - first)
        for k in range(depth):
            for j in range(0, filters, LANES):
                n = min(LANES, filters - j)
                to = (j // COLUMNS * step + k) * COLUMNS + j % COLUMNS
                store_first(panel, to, load_first(w, (first + k) * filters + j, n), n)
        for column in range(0, filters, COLUMNS):
            for q in range(0, len(pixels), ROWS):
                gather_multiply_add(
                    min(COLUMNS, filters - column), block, pixels[q:], 0, window[first:],
                    panel, column * step, COLUMNS, sums, rows[q:], column, depth,
                )  # fmt: skip


@kernel
def join(sums, parts, step, y, filters, bias, has_bias, rectify, begin, end):
    """Write to y the totals of all parts, `step` apart, plus bias, rectified; items are pixels."""
    for pixel in range(begin, end):
        for j in range(0, filters, LANES):
            n = min(LANES, filters - j)
            at = pixel * filters + j
            value = load_first(sums, at, n)
            for number in range(1, parts):
                value = value + load_first(sums, number * step + at, n)
            if has_bias:
                value = value + load_first(bias, j, n)
            if rectify:
                value = relu(value)
            store_first(y, at, value, n)


@part
def _finish(y, rows, height, start, width, bias, column, has_bias, rectify):
    for j in range(0, width, LANES):
        n = min(LANES, width - j)
        for r in range(height):
            value = load_first(y, rows[r] + start + j, n)
            if has_bias:
                value = value + load_first(bias, column + j, n)
            if rectify:
                value = relu(value)
            store_first(y, rows[r] + start + j, value, n)


@kernel
def weight_gradient(
    x, total, source, copy, blocks, pixels, per_band, per_last_band, window, groups, channels, dy,
    columns, dw, targets, begin, end, scratch,
):  # fmt: skip
    """Windows, transposed, times gradients, added to dw, for the blocks from begin to end.

    `window` is filled up to whole ROWS, and `targets` are the places of its numbers in dw; those of
    the surplus ones lie behind the last. A group reads `channels` and writes `columns`.
    """
    bands = blocks[1]
    per_image = per_band * (bands - 1) + per_last_band
    array = scratch if copy else x
    filters = groups * columns
    for block in range(begin, end):
        image, band, count, start = locate(block, blocks, source, copy, x, scratch, total)
        count *= per_last_band if band == bands - 1 else per_band
        b = (image * per_image + band * per_band) * filters
        for group in range(groups):
            for column in range(0, columns, COLUMNS):
                width = min(COLUMNS, columns - column)
                first = group * columns + column
                for k in range(0, len(window), ROWS):
                    gather_multiply_add(
                        width, array, window[k:], start + group * channels, pixels,
                        dy, b + first, filters, dw, targets[k:], first, count,
                    )  # fmt: skip
