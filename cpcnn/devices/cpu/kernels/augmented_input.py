"""The input stage with changes of colour, erased boxes and mixed images, a row at a time.

A row of pixels is made in float32 where the cache holds it, channel by channel, so that all but
reading and writing pixels is done for a vector of them at a time. A second row is made where
another image is mixed in. Places in the stored images are unsigned: it is not looked whether they
are negative, and count from the end.
"""

from __future__ import annotations

import numpy as np

from .input_stage import clamped, mirrored
from .jit import kernel, part

HALF, ZERO, ONE, MOST = np.float32(0.5), np.float32(0), np.float32(1), np.float32(255)


@part
def moved_row(pixels, image, shape, i, top, left, flipped, first, last, row):
    """Write the pixels `first` to `last` of row i, moved by whole pixels."""
    height, width, found = shape
    start = (image * height + mirrored(i + top, height)) * width
    for j in range(first, last):
        column = mirrored((width - 1 - j if flipped else j) + left, width)
        place = np.uint64((start + column) * found)
        for c in range(found):
            row[c, j] = pixels[place + np.uint64(c)]


@part
def find_places(shape, i, top, left, flipped, first, last, a, places, shares):
    """Write of the pixels `first` to `last` of row i where they are read.

    places (3, W): the upper left one of four pixels in the image, and how far the next row and
    column are from it; shares (2, W): those of the lower row and of the right column.
    """
    height, width, found = shape
    last_row, last_column = np.float64(height - 1), np.float64(width - 1)
    middle_row, middle_column = last_row / 2, last_column / 2
    begin, step = (width - 1, -1.0) if flipped else (0, 1.0)
    begin = begin + left - middle_column
    down = i + top - middle_row
    start_row = a[0, 0] * down + a[0, 2] + middle_row
    start_column = a[1, 0] * down + a[1, 2] + middle_column
    for j in range(first, last):
        across = begin + step * j
        r = clamped(start_row + a[0, 1] * across, last_row)
        s = clamped(start_column + a[1, 1] * across, last_column)
        low_row, low_column = np.floor(r), np.floor(s)
        shares[0, j], shares[1, j] = r - low_row, s - low_column
        # a place that is no number is read anywhere: the shares make NaN of it
        upper = np.int32(low_row if low_row == low_row else 0.0)
        here = np.int32(low_column if low_column == low_column else 0.0)
        places[0, j] = (upper * width + here) * found
        places[1, j] = width * found if upper < height - 1 else 0
        places[2, j] = found if here < width - 1 else 0


@part
def warped_row(pixels, image, shape, first, last, places, shares, row):
    """Write the pixels `first` to `last` of a row, from the four around each place."""
    height, width, found = shape
    start = np.uint64(image * (height * width * found))
    for j in range(first, last):
        place = start + np.uint64(places[0, j])
        below, right = np.uint64(places[1, j]), np.uint64(places[2, j])
        down, across = shares[0, j], shares[1, j]
        for c in range(found):
            here = place + np.uint64(c)
            upper, lower = np.float32(pixels[here]), np.float32(pixels[here + below])
            upper += (np.float32(pixels[here + right]) - upper) * across
            lower += (np.float32(pixels[here + below + right]) - lower) * across
            row[c, j] = upper + (lower - upper) * down


@part
def within(value):
    """Bring a value into 0..255; NaN stays."""
    value = ZERO if value < ZERO else value
    return MOST if value > MOST else value


@part
def recolour(row, first, last, m):
    """Map the colours of a row (C, W) by a matrix (C, C + 1)."""
    found = row.shape[0]
    if found == 3:
        reds, greens, blues = row[0], row[1], row[2]
        for j in range(first, last):
            x, y, z = reds[j], greens[j], blues[j]
            reds[j] = within(m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
            greens[j] = within(m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
            blues[j] = within(m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
        return
    old = np.empty(found, np.float32)
    for j in range(first, last):
        for c in range(found):
            old[c] = row[c, j]
        for c in range(found):
            value = m[c, found]
            for k in range(found):
                value += m[c, k] * old[k]
            row[c, j] = within(value)


@part
def retone(values, first, last, threshold, step):
    """Invert values from `threshold` on, then round down to multiples of `step`."""
    for j in range(first, last):
        value = values[j]
        values[j] = MOST - value if value + HALF >= threshold else value
    if step > ONE:
        inverse = ONE / step  # a power of two: nothing is rounded
        for j in range(first, last):
            values[j] = np.floor((values[j] + HALF) * inverse) * step


@part
def finished_row(
    pixels, shape, index, crop, flip, affine, colour, tone, erase, mean, factor, n, i, first, last,
    places, shares, row,
):  # fmt: skip
    """Write the pixels `first` to `last` of row i of image n as they are before they are mixed."""
    image = index[n] if len(index) > 0 else n
    top, left = (crop[n, 0], crop[n, 1]) if len(crop) > 0 else (0, 0)
    flipped = len(flip) > 0 and flip[n]
    if len(affine) > 0:
        find_places(shape, i, top, left, flipped, first, last, affine[n], places, shares)
        warped_row(pixels, image, shape, first, last, places, shares, row)
    else:
        moved_row(pixels, image, shape, i, top, left, flipped, first, last, row)
    if len(colour) > 0:
        recolour(row, first, last, colour[n])
    for c in range(len(row)):
        values, less, times = row[c], mean[c], factor[c]
        if len(tone) > 0:
            retone(values, first, last, tone[n, 0], tone[n, 1])
        for j in range(first, last):
            values[j] = (values[j] - less) * times
        if len(erase) > 0 and erase[n, 0] <= i < erase[n, 2]:
            for j in range(max(first, erase[n, 1]), min(last, erase[n, 3])):
                values[j] = ZERO


@kernel
def augment(
    pixels, shape, index, crop, flip, affine, colour, tone, erase, partner, share, box, mean,
    factor, out, start, stop,
):  # fmt: skip
    """Write images (N, H, W, channels) with zeros in further channels.

    pixels are those of all stored images one behind the other, each of `shape` (H, W, C). Arrays
    that are empty do nothing.
    """
    height, width, found = shape
    own, other = np.empty((found, width), np.float32), np.empty((found, width), np.float32)
    places, shares = np.empty((3, width), np.int32), np.empty((2, width), np.float32)
    for n in range(start, stop):
        for i in range(height):
            finished_row(
                pixels, shape, index, crop, flip, affine, colour, tone, erase, mean, factor, n, i,
                0, width, places, shares, own,
            )  # fmt: skip
            if len(partner) > 0 and box[n, 0] <= i < box[n, 2]:
                first, last = max(0, box[n, 1]), min(width, box[n, 3])
                finished_row(
                    pixels, shape, index, crop, flip, affine, colour, tone, erase, mean, factor,
                    partner[n], i, first, last, places, shares, other,
                )  # fmt: skip
                kept, taken = share[n], ONE - share[n]
                for c in range(found):
                    values, others = own[c], other[c]
                    for j in range(first, last):
                        values[j] = kept * values[j] + taken * others[j]
            target = out[n, i]
            for j in range(width):
                for c in range(found):
                    target[j, c] = own[c, j]
                for c in range(found, target.shape[1]):
                    target[j, c] = ZERO
