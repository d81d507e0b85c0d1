"""Windowed and global pooling, vector by vector of channels.

`geometry` is (height, width, channels, height and width of the output, of the kernel, of the
stride, of the dilation, pixels of padding above and to the left).
"""

from __future__ import annotations

import numpy as np

from .choice import larger, load_bytes, store_bytes, where_equal, winner
from .jit import kernel, part
from .vector import LANES, fill, load_first, put, store, store_first

LOWEST = np.float32(-np.inf)
ZERO = np.float32(0)


@part
def _cells(place, size, cells, dilation):
    """Return the first and the end of the cells that meet a pixel, of a window at `place`."""
    if dilation == 1:
        return max(0, -place), min(cells, size - place)
    return max(0, -(place // dilation)), min(cells, (size - place + dilation - 1) // dilation)


# ---- Forward ----------------------------------------------------------------------------------


@part
def _maximum_row(x, y, cells, geometry, start, rows, target):
    """Write a row of outputs; `start` is where the windows' first row of pixels lies in x.

    `cells`: which cell won. The first of equals does, or else the first NaN.
    Two vectors are compared at a time, since each comparison waits for the one before.
    """
    _, width, channels, _, outputs, _, across, _, stride, down, right, _, left = geometry
    for output in range(outputs):
        place = output * stride - left
        first, end = _cells(place, width, across, right)
        number = fill(np.float32(rows[0] * across + first))
        for o in range(0, channels, 2 * LANES):
            count, after = min(LANES, channels - o), max(0, min(LANES, channels - o - LANES))
            a, b, of_a, of_b = fill(LOWEST), fill(LOWEST), number, number
            for i in range(rows[0], rows[1]):
                for j in range(first, end):
                    at = start + (i * down * width + place + j * right) * channels + o
                    value, cell = load_first(x, at, count), fill(np.float32(i * across + j))
                    of_a = winner(a, value, of_a, cell)
                    a = larger(a, value)
                    value = load_first(x, at + LANES, after)
                    of_b = winner(b, value, of_b, cell)
                    b = larger(b, value)
            at = target + output * channels + o
            store_first(y, at, a, count)
            store_first(y, at + LANES, b, after)
            store_bytes(cells, at, of_a, count)
            store_bytes(cells, at + LANES, of_b, after)


@part
def _largest_row(x, y, geometry, start, rows, target):
    """Do the same where no cell is kept: a quarter of the instructions."""
    _, width, channels, _, outputs, _, across, _, stride, down, right, _, left = geometry
    for output in range(outputs):
        place = output * stride - left
        first, end = _cells(place, width, across, right)
        for o in range(0, channels, 2 * LANES):
            count, after = min(LANES, channels - o), max(0, min(LANES, channels - o - LANES))
            a, b = fill(LOWEST), fill(LOWEST)
            for i in range(rows[0], rows[1]):
                for j in range(first, end):
                    at = start + (i * down * width + place + j * right) * channels + o
                    a = larger(a, load_first(x, at, count))
                    b = larger(b, load_first(x, at + LANES, after))
            at = target + output * channels + o
            store_first(y, at, a, count)
            store_first(y, at + LANES, b, after)


@part
def _mean_row(x, y, geometry, start, rows, target):
    _, width, channels, _, outputs, _, across, _, stride, down, right, _, left = geometry
    for output in range(outputs):
        place = output * stride - left
        first, end = _cells(place, width, across, right)
        share = np.float32(1) / np.float32((rows[1] - rows[0]) * (end - first))
        for o in range(0, channels, 2 * LANES):
            count, after = min(LANES, channels - o), max(0, min(LANES, channels - o - LANES))
            a, b = fill(ZERO), fill(ZERO)
            for i in range(rows[0], rows[1]):
                line_a, line_b = fill(ZERO), fill(ZERO)  # sums of sums: more exact in large windows
                for j in range(first, end):
                    at = start + (i * down * width + place + j * right) * channels + o
                    line_a = line_a + load_first(x, at, count)
                    line_b = line_b + load_first(x, at + LANES, after)
                a, b = a + line_a, b + line_b
            at = target + output * channels + o
            store_first(y, at, fill(share) * a, count)
            store_first(y, at + LANES, fill(share) * b, after)


@kernel
def pool(x, y, cells, maximum, kept, geometry, start, stop):
    """Write the rows of outputs from `start` to `stop`, of all images, by maximum or mean."""
    height, width, channels, down, across, tall, _, stride, _, dilation, _, top, _ = geometry
    for row in range(start, stop):
        image, output = row // down, row % down
        place = output * stride - top
        rows = _cells(place, height, tall, dilation)
        first = (image * height + place) * width * channels
        target = row * across * channels
        if maximum and not kept:
            _largest_row(x, y, geometry, first, rows, target)
        elif maximum:
            _maximum_row(x, y, cells, geometry, first, rows, target)
        else:
            _mean_row(x, y, geometry, first, rows, target)


@part
def _clear(array, start, stop):
    rest = (stop - start) % LANES
    for i in range(start, stop - rest, LANES):
        store(array, i, fill(ZERO))
    store_first(array, stop - rest, fill(ZERO), rest)


# ---- Backward ---------------------------------------------------------------------------------


@part
def _spread_row(dy, cells, dx, maximum, tiled, streamed, geometry, source, rows, start):
    """Give a row of output gradients to the cells that won, or in shares to all.

    `tiled`: each pixel is met once and written; otherwise gradients are added to it.
    `streamed`: it is written past the cache; the channels are whole vectors.
    """
    _, width, channels, _, outputs, _, across, _, stride, down, right, _, left = geometry
    for output in range(outputs):
        place = output * stride - left
        first, end = _cells(place, width, across, right)
        share = np.float32(1) / np.float32((rows[1] - rows[0]) * (end - first))
        for o in range(0, channels, LANES):
            count, at = min(LANES, channels - o), source + output * channels + o
            gradient, cell = load_first(dy, at, count), fill(ZERO)
            if maximum:
                cell = load_bytes(cells, at, count)
            else:
                gradient = fill(share) * gradient
            for i in range(rows[0], rows[1]):
                for j in range(first, end):
                    pixel = i * down * width + place + j * right
                    to, value = start + pixel * channels + o, gradient
                    if maximum:
                        value = where_equal(cell, fill(np.float32(i * across + j)), gradient)
                    if not tiled:
                        value = value + load_first(dx, to, count)
                    if streamed:
                        put(dx, to, value, True)
                    else:
                        store_first(dx, to, value, count)


@kernel
def spread(dy, cells, dx, maximum, tiled, streamed, geometry, start, stop):
    """Write the gradients of the images from `start` to `stop`."""
    height, width, channels, down, across, tall, _, stride, _, dilation, _, top, _ = geometry
    size = height * width * channels
    if not tiled:
        _clear(dx, start * size, stop * size)
    for row in range(start * down, stop * down):
        image, output = row // down, row % down
        place = output * stride - top
        rows = _cells(place, height, tall, dilation)
        first = image * size + place * width * channels
        source = row * across * channels
        _spread_row(dy, cells, dx, maximum, tiled, streamed, geometry, source, rows, first)


# ---- Global maximum ---------------------------------------------------------------------------


@kernel
def global_maximum(x, y, places, pixels, channels, start, stop):
    """Write the maxima of the images from `start` to `stop`, and which pixel each one was."""
    for image in range(start, stop):
        for o in range(0, channels, 2 * LANES):
            count, after = min(LANES, channels - o), max(0, min(LANES, channels - o - LANES))
            a, b, of_a, of_b = fill(LOWEST), fill(LOWEST), fill(ZERO), fill(ZERO)
            for pixel in range(pixels):
                at, place = (image * pixels + pixel) * channels + o, fill(np.float32(pixel))
                value = load_first(x, at, count)
                of_a = winner(a, value, of_a, place)
                a = larger(a, value)
                value = load_first(x, at + LANES, after)
                of_b = winner(b, value, of_b, place)
                b = larger(b, value)
            at = image * channels + o
            store_first(y, at, a, count)
            store_first(y, at + LANES, b, after)
            store_first(places, at, of_a, count)
            store_first(places, at + LANES, of_b, after)


@kernel
def global_maximum_gradient(dy, places, dx, pixels, channels, start, stop):
    """Give each gradient to the pixel that was the maximum; the others get zero."""
    size = pixels * channels
    _clear(dx, start * size, stop * size)
    for image in range(start, stop):
        for c in range(channels):
            at = image * channels + c
            dx[image * size + np.int64(places[at]) * channels + c] = dy[at]
