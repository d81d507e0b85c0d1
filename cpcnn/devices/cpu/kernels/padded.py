"""Convolution of blocks that are copied with their padding: no window needs a test for the border.

A block is some images, or a band of rows of one; without padding nothing is copied. Two tables say
where everything lies, relative to a block's start:
    pixels (P,)     of each result pixel: the first number of its window
    window (K,)     of each number of a window: its way from the first

`source` is (H, W, C, first row, first column, rows, columns): the images, and what of them a block
copies: `rows` × `columns` pixels from (first row, first column) on, zero outside the image.
`blocks` is (images of a block, bands of an image, rows of the source from one band to the next).
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .product import COLUMNS, ROWS, gather_multiply_add
from .vector import LANES, fill, load_first, relu, store_first


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
def pad(x, images, source, block):
    """Copy all images, with their padding."""
    _copy_block(x, np.int64(0), images, source, source[3], block)


@kernel
def convolve_few(block, pixels, window, w, filters, sums, rows, begin, end, panel, order):
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
                    min(COLUMNS, filters - column), block, pixels, 0, window[first:],
                    panel, column * step, order, COLUMNS, sums, rows, column, q, depth,
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
