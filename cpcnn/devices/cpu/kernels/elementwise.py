"""Elementwise loops, and sums over rows.

Sums go along wide rows: rows (C,) are taken several at a time, so that a wide row is made of whole
vectors whatever C is. The last wide row of an array may be shorter. Rows are read one after the
other, though several at a time would load and store sums less often: memory is as fast as that
only in order.
"""

from __future__ import annotations

from .choice import where_positive
from .jit import kernel, part
from .vector import LANES, load, load_first, put, relu, store, store_first

RELU, ADD, MASK = 0, 1, 2
ROWS_OF_BLOCK = 128  # summed in float32 before they are added to a sum in float64


@part
def _combined(operation, a, b):
    if operation == RELU:
        return relu(a)
    if operation == ADD:
        return a + b
    return where_positive(b, a)


@kernel
def combine(operation, a, b, out, streamed, start, stop):
    """Write to out[start:stop] max(a, 0), a + b, or a where b > 0, as `operation` says.

    `start` is a multiple of LANES.
    """
    rest = (stop - start) % LANES
    for i in range(start, stop - rest, LANES):
        put(out, i, _combined(operation, load(a, i), load(b, i)), streamed)
    if rest:
        i = stop - rest
        result = _combined(operation, load_first(a, i, rest), load_first(b, i, rest))
        store_first(out, i, result, rest)


@part
def fold(partial, sums):
    """Add float32 sums of a wide row to the float64 sums of its columns, and clear them."""
    channels = sums.shape[0]
    for at in range(0, partial.shape[0], channels):
        for c in range(channels):
            sums[c] += partial[at + c]
            partial[at + c] = 0


@part
def _sum_rows(x, start, rows, partial):
    width = partial.shape[0]
    for row in range(rows):
        for o in range(0, width, LANES):
            store(partial, o, load(partial, o) + load(x, start + row * width + o))


@part
def _mask_rows(dy, y, out, streamed, start, rows, partial):
    width = partial.shape[0]
    for row in range(rows):
        for o in range(0, width, LANES):
            at = start + row * width + o
            value = where_positive(load(y, at), load(dy, at))
            put(out, at, value, streamed)
            store(partial, o, load(partial, o) + value)


@part
def _last_row(dy, y, out, masked, start, length, partial):
    for o in range(0, length, LANES):
        count = min(LANES, length - o)
        value = load_first(dy, start + o, count)
        if masked:
            value = where_positive(load_first(y, start + o, count), value)
            store_first(out, start + o, value, count)
        store(partial, o, load(partial, o) + value)


@kernel
def mask_and_sum(dy, y, out, masked, streamed, start, stop, sums, partial):
    """Add the columns of dy, from wide row `start` to `stop`, to `sums`.

    `masked`: of dy where y > 0, which is written to `out`. `partial` (width) holds zeros.
    """
    size, width = dy.shape[0], partial.shape[0]
    for first in range(start, stop, ROWS_OF_BLOCK):
        last = min(first + ROWS_OF_BLOCK, stop)
        whole = min(last, size // width)
        if masked:
            _mask_rows(dy, y, out, streamed, first * width, whole - first, partial)
        else:
            _sum_rows(dy, first * width, whole - first, partial)
        if whole < last:
            at = whole * width
            _last_row(dy, y, out, masked, at, size - at, partial)
        fold(partial, sums)
