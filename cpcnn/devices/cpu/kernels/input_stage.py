"""From stored pixels to the network's input, image by image.

In all kernels an output image is made from `images[index[n]]`, or `images[n]` where the index is
empty; every channel loses its `mean` and is multiplied by its `factor`.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part

AT_ONCE = 1024  # elements: long enough for the start of a loop not to matter


@kernel
def normalise(images, index, mean, factor, out, start, stop):
    """Write images (N, H * W * C) of which no pixel moves."""
    size, channels = out.shape[1], len(mean)
    length = min(size, max(1, AT_ONCE // channels) * channels)
    means, factors = np.empty(length, np.float32), np.empty(length, np.float32)
    for k in range(length):
        means[k], factors[k] = mean[k % channels], factor[k % channels]
    for n in range(start, stop):
        image = images[index[n]] if len(index) > 0 else images[n]
        for first in range(0, size, length):
            source, target = image[first:], out[n, first:]
            for k in range(min(length, len(target))):
                target[k] = (np.float32(source[k]) - means[k]) * factors[k]


@part
def mirrored(place, size):
    """Fold any number into [0, size), as borders are mirrored without the edge."""
    if size == 1:
        return 0
    period = 2 * (size - 1)
    folded = place % period
    return folded if folded < size else period - folded


@kernel
def move(images, index, crop, flip, mean, factor, out, start, stop):
    """Write images (N, H, W, channels) moved by whole pixels, with zeros in further channels.

    `crop` and `flip` are empty where there are none.
    """
    height, width, found = images.shape[1:]
    columns = np.empty(width, np.int64)
    for n in range(start, stop):
        image = images[index[n]] if len(index) > 0 else images[n]
        top, left = (crop[n, 0], crop[n, 1]) if len(crop) > 0 else (0, 0)
        flipped = len(flip) > 0 and flip[n]
        for j in range(width):
            columns[j] = mirrored((width - 1 - j if flipped else j) + left, width)
        for i in range(height):
            source, target = image[mirrored(i + top, height)], out[n, i]
            for j in range(width):
                pixel, result = source[columns[j]], target[j]
                for c in range(found):
                    result[c] = (np.float32(pixel[c]) - mean[c]) * factor[c]
                for c in range(found, len(result)):
                    result[c] = 0


@part
def clamped(place, largest):
    """Bring a place into [0, largest]; NaN stays."""
    place = 0.0 if place < 0.0 else place
    return largest if place > largest else place


@kernel
def warp(images, index, crop, flip, affine, mean, factor, out, start, stop):
    """Write images as `move` does, each read at the places that its affine map says."""
    height, width, found = images.shape[1:]
    last_row, last_column = np.float64(height - 1), np.float64(width - 1)
    middle_row, middle_column = last_row / 2, last_column / 2
    rows, columns = np.empty(width, np.int32), np.empty(width, np.int32)
    downs, acrosses = np.empty(width, np.float32), np.empty(width, np.float32)
    for n in range(start, stop):
        image = images[index[n]] if len(index) > 0 else images[n]
        top, left = (crop[n, 0], crop[n, 1]) if len(crop) > 0 else (0, 0)
        a = affine[n]
        begin, step = (width - 1, -1.0) if len(flip) > 0 and flip[n] else (0, 1.0)
        begin = begin + left - middle_column
        for i in range(height):
            row = i + top - middle_row
            for j in range(width):
                column = begin + step * j
                r = a[0, 0] * row + a[0, 1] * column + a[0, 2] + middle_row
                c = a[1, 0] * row + a[1, 1] * column + a[1, 2] + middle_column
                r, c = clamped(r, last_row), clamped(c, last_column)
                low_row, low_column = np.floor(r), np.floor(c)
                downs[j], acrosses[j] = r - low_row, c - low_column
                # a place that is no number is read anywhere: the shares make NaN of it
                rows[j] = np.int32(low_row if low_row == low_row else 0.0)
                columns[j] = np.int32(low_column if low_column == low_column else 0.0)
            target = out[n, i]
            for j in range(width):
                down, across, result = downs[j], acrosses[j], target[j]
                upper, lower = image[rows[j]], image[min(rows[j] + 1, height - 1)]
                here, right = columns[j], min(columns[j] + 1, width - 1)
                for c in range(found):
                    first, second = np.float32(upper[here, c]), np.float32(lower[here, c])
                    first += (np.float32(upper[right, c]) - first) * across
                    second += (np.float32(lower[right, c]) - second) * across
                    result[c] = (first + (second - first) * down - mean[c]) * factor[c]
                for c in range(found, len(result)):
                    result[c] = 0
