"""Batch normalisation: statistics, normalise + residual + ReLU, and the two passes of backward.

All passes go along wide rows (elementwise.py). What belongs to a channel is repeated to a wide
row's width and stands in a `table` (4, width), and for backward in `change` (2, width).
"""

from __future__ import annotations

import math

import numpy as np

from .choice import where_positive
from .elementwise import ROWS_OF_BLOCK, fold
from .jit import kernel, part
from .vector import LANES, fma, load, load_first, put, relu, store, store_first

COUNT, MEANS, SPREAD, OFFSETS, DEVIATIONS = range(5)  # of a part; the last two are scratch
FACTOR, SHIFT, MEAN, SCALE = range(4)  # y = x * factor + shift; factor = gamma * scale
SLOPE, OFFSET = 0, 1  # dx = dy * factor + x * slope + offset
FIRST_ROWS = 16  # whose mean is what the first block's deviations are taken from
# What stands between dy and the sum: nothing, or a ReLU that x tells, or one that only y tells.
PLAIN, FROM_X, FROM_Y = 0, 1, 2


# ---- Statistics -------------------------------------------------------------------------------


@part
def _deviation_rows(x, start, rows, centre, sums, squares):
    """Sum x - centre and its square."""
    width = centre.shape[0]
    for row in range(rows):
        for o in range(0, width, LANES):
            a = load(x, start + row * width + o) - load(centre, o)
            store(sums, o, load(sums, o) + a)
            store(squares, o, fma(a, a, load(squares, o)))


@part
def _deviations(x, first, last, centre, sums, squares):
    """Sum over the wide rows from `first` to `last`; returns how many elements these have."""
    width, size = centre.shape[0], x.shape[0]
    whole = min(last, size // width)
    _deviation_rows(x, first * width, whole - first, centre, sums, squares)
    if whole < last:
        at = whole * width
        for o in range(0, size - at, LANES):
            count = min(LANES, size - at - o)
            a = load_first(x, at + o, count) - load_first(centre, o, count)
            store(sums, o, load(sums, o) + a)
            store(squares, o, fma(a, a, load(squares, o)))
    return min(last * width, size) - first * width


@part
def _repeat(values, wide):
    """Write the channels' values again and again along a wide row."""
    channels = values.shape[0]
    for at in range(0, wide.shape[0], channels):
        for c in range(channels):
            wide[at + c] = values[c]


@part
def _repeat_rows(table, channels):
    """Repeat the first `channels` columns to the end of a table."""
    for kind in range(table.shape[0]):
        for at in range(channels, table.shape[1]):
            table[kind, at] = table[kind, at - channels]


@part
def _merge(count, mean, spread, new, offsets, deviations, centre):
    """Merge a block of `new` rows, whose sums are about `centre`, into the moments of `count`."""
    share = new / (count + new)
    for c in range(mean.shape[0]):
        offset = offsets[c] / new
        within = deviations[c] - offset * offsets[c]
        within = 0.0 if within < 0.0 else within  # by rounding; NaN stays
        delta = centre[c] + offset - mean[c]
        mean[c] += delta * share
        spread[c] += within + delta * delta * (count * share)
        offsets[c] = 0.0
        deviations[c] = 0.0


@kernel
def statistics(x, channels, start, stop, moments, scratch):
    """Write count, means and squared deviations of the wide rows from `start` to `stop`.

    A block is read once: its deviations are taken from the mean of all before it, in float32, and
    corrected as they are merged in float64 (Chan, Golub and LeVeque, 1983). What the correction
    loses to rounding is small beside what the blocks' means differ, which is part of the result.
    `moments` (5, channels) and `scratch` (3, width) hold zeros.
    """
    count, mean, spread = moments[COUNT], moments[MEANS], moments[SPREAD]
    offsets, deviations = moments[OFFSETS], moments[DEVIATIONS]
    centre, sums, squares = scratch[0], scratch[1], scratch[2]
    first = _deviations(x, start, min(start + FIRST_ROWS, stop), centre, sums, squares)
    fold(sums, mean)
    fold(squares, deviations)
    for c in range(channels):
        mean[c] /= first // channels
        deviations[c] = 0.0
    for row in range(start, stop, ROWS_OF_BLOCK):
        _repeat(mean, centre)
        last = min(row + ROWS_OF_BLOCK, stop)
        new = _deviations(x, row, last, centre, sums, squares) // channels
        fold(sums, offsets)
        fold(squares, deviations)
        _merge(count[0], mean, spread, new, offsets, deviations, centre)
        count[0] += new


@kernel
def prepare(moments, gamma, beta, running_mean, running_variance, momentum, epsilon, table):
    """Join the parts' moments, move the running statistics, and write the table.

    No moments: use the running statistics as they are. Empty gamma or beta: there is none.
    """
    for c in range(running_mean.shape[0]):
        count, mean, spread = 0.0, 0.0, 0.0
        for number in range(len(moments)):
            new = moments[number, COUNT, 0]
            delta = moments[number, MEANS, c] - mean
            mean += delta * (new / (count + new))
            spread += moments[number, SPREAD, c] + delta * delta * (count * new / (count + new))
            count += new
        if count:
            variance = spread / count
            running_mean[c] = momentum * running_mean[c] + (1 - momentum) * mean
            running_variance[c] = momentum * running_variance[c] + (1 - momentum) * variance
        else:
            mean, variance = np.float64(running_mean[c]), np.float64(running_variance[c])
        scale = 1 / math.sqrt(variance + epsilon)
        factor = scale * gamma[c] if len(gamma) else scale
        table[FACTOR, c] = factor
        table[SHIFT, c] = (beta[c] if len(beta) else 0.0) - mean * factor
        table[MEAN, c] = mean
        table[SCALE, c] = scale
    _repeat_rows(table, running_mean.shape[0])


# ---- Forward ----------------------------------------------------------------------------------


@part
def _finished(value, residual, added, rectified):
    if added:
        value = value + residual
    return relu(value) if rectified else value


@kernel
def normalise(x, residual, y, streamed, table, added, rectified, start, stop):
    """Write x * factor + shift, the residual `added` to it and then `rectified`, to y."""
    factor, shift = table[FACTOR], table[SHIFT]
    width, size = table.shape[1], x.shape[0]
    for row in range(start, min(stop, size // width)):
        for o in range(0, width, LANES):
            at = row * width + o
            value = fma(load(x, at), load(factor, o), load(shift, o))
            put(y, at, _finished(value, load(residual, at), added, rectified), streamed)
    done = size // width * width
    if stop * width > size:
        for o in range(0, size - done, LANES):
            count = min(LANES, size - done - o)
            value = fma(load_first(x, done + o, count), load(factor, o), load(shift, o))
            other = load_first(residual, done + o, count)
            store_first(y, done + o, _finished(value, other, added, rectified), count)


# ---- Backward ---------------------------------------------------------------------------------


@part
def _before(mode, dy, x, y, factor, shift):
    """Return dy before the ReLU."""
    if mode == PLAIN:
        return dy
    if mode == FROM_X:
        return where_positive(fma(x, factor, shift), dy)  # forward's number, bit for bit
    return where_positive(y, dy)


@part
def _sum_rows(x, dy, y, out, streamed, table, mode, start, rows, sums, products):
    factor, shift, mean = table[FACTOR], table[SHIFT], table[MEAN]
    width = table.shape[1]
    for row in range(rows):
        for o in range(0, width, LANES):
            at = start + row * width + o
            value = load(x, at)
            gradient = _before(
                mode, load(dy, at), value, load(y, at), load(factor, o), load(shift, o)
            )
            if mode == FROM_Y:
                put(out, at, gradient, streamed)
            store(sums, o, load(sums, o) + gradient)
            store(products, o, fma(gradient, value - load(mean, o), load(products, o)))


@part
def _sum_last(x, dy, y, out, table, mode, start, length, sums, products):
    factor, shift, mean = table[FACTOR], table[SHIFT], table[MEAN]
    for o in range(0, length, LANES):
        at, count = start + o, min(LANES, length - o)
        value = load_first(x, at, count)
        gate = load_first(y, at, count)
        gradient = load_first(dy, at, count)
        gradient = _before(mode, gradient, value, gate, load(factor, o), load(shift, o))
        if mode == FROM_Y:
            store_first(out, at, gradient, count)
        store(sums, o, load(sums, o) + gradient)
        store(products, o, fma(gradient, value - load(mean, o), load(products, o)))


@kernel
def gradient_sums(x, dy, y, out, streamed, table, mode, start, stop, totals, scratch):
    """Write the sums of dy before the ReLU, and of it times x - mean, to `totals` (2, channels).

    With FROM_Y dy before the ReLU, which is the residual's gradient, is written to `out`. `totals`
    and `scratch` (2, width) hold zeros.
    """
    width, size = table.shape[1], x.shape[0]
    sums, products = scratch[0], scratch[1]
    for first in range(start, stop, ROWS_OF_BLOCK):
        last = min(first + ROWS_OF_BLOCK, stop)
        whole = min(last, size // width)
        rows = whole - first
        _sum_rows(x, dy, y, out, streamed, table, mode, first * width, rows, sums, products)
        if whole < last:
            at = whole * width
            _sum_last(x, dy, y, out, table, mode, at, size - at, sums, products)
        fold(sums, totals[0])
        fold(products, totals[1])


@kernel
def prepare_gradient(parts, table, count, training, change, dgamma, dbeta):
    """Join the parts' sums into the gradients of gamma and beta, and write `change`."""
    channels = dgamma.shape[0]
    for c in range(channels):
        total, product = 0.0, 0.0
        for number in range(len(parts)):
            total += parts[number, 0, c]
            product += parts[number, 1, c]
        product *= table[SCALE, c]
        dgamma[c] = product
        dbeta[c] = total
        # dx = factor * (dy - total / n - (x - mean) * scale * product / n), ordered by x
        slope = -table[FACTOR, c] * table[SCALE, c] * product / count if training else 0.0
        change[SLOPE, c] = slope
        offset = -table[FACTOR, c] * total / count - table[MEAN, c] * slope
        change[OFFSET, c] = offset if training else 0.0
    _repeat_rows(change, channels)


@part
def _input_gradient(training, gradient, x, factor, slope, offset):
    if training:
        return fma(gradient, factor, fma(x, slope, offset))
    return gradient * factor


@kernel
def input_gradient(x, dy, dx, streamed, table, change, mode, training, start, stop):
    """Write the gradient of x; `mode` is PLAIN or FROM_X."""
    factor, shift = table[FACTOR], table[SHIFT]
    slope, offset = change[SLOPE], change[OFFSET]
    width, size = table.shape[1], x.shape[0]
    for row in range(start, min(stop, size // width)):
        for o in range(0, width, LANES):
            at, f = row * width + o, load(factor, o)
            value = load(x, at)
            gradient = _before(mode, load(dy, at), value, value, f, load(shift, o))
            result = _input_gradient(training, gradient, value, f, load(slope, o), load(offset, o))
            put(dx, at, result, streamed)
    done = size // width * width
    if stop * width > size:
        for o in range(0, size - done, LANES):
            at, f, count = done + o, load(factor, o), min(LANES, size - done - o)
            value, gradient = load_first(x, at, count), load_first(dy, at, count)
            gradient = _before(mode, gradient, value, value, f, load(shift, o))
            result = _input_gradient(training, gradient, value, f, load(slope, o), load(offset, o))
            store_first(dx, at, result, count)
