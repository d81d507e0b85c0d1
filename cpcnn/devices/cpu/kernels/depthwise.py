"""Depthwise convolution: every channel with a kernel of its own, LANES channels at a time.

Arrays are flat, float32: x (N, H, W, C), w (cells, C), y (N, OH, OW, C). `geometry` is (H, W, OH,
OW, KH, KW, stride down, across, dilation down, across, padding top, left).
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .vector import LANES, fill, fma, load_first, relu, store_first


@part
def _reach(position, size, kernel_size, stride, dilation, before):
    """The cells of a window that lie inside the image: the first one, and the end."""
    start = position * stride - before
    first = max(0, (dilation - 1 - start) // dilation)
    return first, min(kernel_size, (size - start + dilation - 1) // dilation)


@part
def _one(x, w, channels, start, cells, steps, c, n, total):
    """Add one window's products to `total`; `cells` are (first and end down, and across, KW)."""
    i0, i1, j0, j1, kw = cells
    for i in range(i0, i1):
        for j in range(j0, j1):
            pixel = (start + i * steps[0] + j * steps[1]) * channels + c
            weight = load_first(w, (i * kw + j) * channels + c, n)
            total = fma(load_first(x, pixel, n), weight, total)
    return total


@part
def _four(x, w, channels, start, cells, steps, next_window, c, n, shift):
    """Return the sums of four neighbouring windows, which share the loads of the weights."""
    i0, i1, j0, j1, kw = cells
    a, b, d, e = shift, shift, shift, shift
    for i in range(i0, i1):
        for j in range(j0, j1):
            pixel = (start + i * steps[0] + j * steps[1]) * channels + c
            weight = load_first(w, (i * kw + j) * channels + c, n)
            a = fma(load_first(x, pixel, n), weight, a)
            b = fma(load_first(x, pixel + next_window, n), weight, b)
            d = fma(load_first(x, pixel + 2 * next_window, n), weight, d)
            e = fma(load_first(x, pixel + 3 * next_window, n), weight, e)
    return a, b, d, e


@part
def _finish(y, to, value, rectify, n):
    if rectify:
        value = relu(value)
    store_first(y, to, value, n)


@kernel
def convolve(x, w, channels, geometry, bias, has_bias, rectify, y, begin, end):
    """The rows of y from begin to end (of all images)."""
    height, width, out_height, out_width, kh, kw, sy, sx, dy, dx, top, left = geometry
    # results from `inner` to `inner_end` read windows that lie inside, as far as columns go
    inner = min((left + sx - 1) // sx, out_width)
    inner_end = max(inner, min(out_width, (width + left - (kw - 1) * dx - 1) // sx + 1))
    steps = (dy * width, dx)
    for item in range(begin, end):
        image, row = item // out_height, item % out_height
        i0, i1 = _reach(row, height, kh, sy, dy, top)
        line = (image * height + row * sy - top) * width - left
        for c in range(0, channels, LANES):
            n = min(LANES, channels - c)
            shift = load_first(bias, c, n) if has_bias else fill(np.float32(0))
            to = item * out_width * channels + c
            column = 0
            while column < out_width:
                if inner <= column and column + 4 <= inner_end:
                    sums = _four(
                        x, w, channels, line + column * sx, (i0, i1, 0, kw, kw), steps,
                        sx * channels, c, n, shift,
                    )  # fmt: skip
                    _finish(y, to + column * channels, sums[0], rectify, n)
                    _finish(y, to + (column + 1) * channels, sums[1], rectify, n)
                    _finish(y, to + (column + 2) * channels, sums[2], rectify, n)
                    _finish(y, to + (column + 3) * channels, sums[3], rectify, n)
                    column += 4
                    continue
                j0, j1 = _reach(column, width, kw, sx, dx, left)
                cells = (i0, i1, j0, j1, kw)
                total = _one(x, w, channels, line + column * sx, cells, steps, c, n, shift)
                _finish(y, to + column * channels, total, rectify, n)
                column += 1


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
def weight_gradient(x, dy, channels, geometry, dw, begin, end):
    """Add to dw what the images from begin to end give."""
    height, width, out_height, out_width, kh, kw, sy, sx, ey, ex, top, left = geometry
    for image in range(begin, end):
        for row in range(out_height):
            i0, i1 = _reach(row, height, kh, sy, ey, top)
            for i in range(i0, i1):
                line = (image * height + row * sy - top + i * ey) * width
                for j in range(kw):
                    # the columns whose cell j lies inside the image
                    first = max(0, (left - j * ex + sx - 1) // sx)
                    last = min(out_width, (width - 1 + left - j * ex) // sx + 1)
                    for c in range(0, channels, LANES):
                        n = min(LANES, channels - c)
                        to = (i * kw + j) * channels + c
                        total = load_first(dw, to, n)
                        for column in range(first, last):
                            pixel = line + column * sx - left + j * ex
                            gradient = (image * out_height + row) * out_width + column
                            total = fma(
                                load_first(x, pixel * channels + c, n),
                                load_first(dy, gradient * channels + c, n),
                                total,
                            )
                        store_first(dw, to, total, n)
