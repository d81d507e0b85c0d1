"""The fully connected product and the gradient of its input; all arrays are flat.

x is (N, F), w (F, U) and y (N, U). Both products multiply rows as they lie by a matrix of which
COLUMNS columns stay in cache, and finish a block of results while it is there as well.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .product import COLUMNS, ROWS, multiply

GROUP = 4 * ROWS  # rows that share what is in cache of the other factor
DEPTH = 1024  # numbers of a row that are multiplied before the next row's turn
FEATURES = 8 * ROWS  # the same for the gradient, and whole cache lines of its rows


@part
def _multiply(a, depth, first, stop, b, width, column, columns, block, partial, a_rows, block_rows):
    """Write to `block`, COLUMNS wide, the rows from `first` to `stop` of A times columns of B."""
    block[:] = 0
    for start in range(0, depth, DEPTH):
        for row in range(first, stop, ROWS):
            for i in range(ROWS):
                a_rows[i] = min(row + i, stop - 1) * depth
                block_rows[i] = (row - first + i) * COLUMNS
            multiply(
                columns, a, a_rows, start, 1, b, start * width + column, width, partial,
                block_rows, 0, min(DEPTH, depth - start),
            )  # fmt: skip
        for k in range((stop - first) * COLUMNS):
            block[k] += partial[k]


@kernel
def forward(x, w, bias, y, rows, features, units, has_bias, rectify, begin, end):
    """Write the blocks from `begin` to `end` of y: GROUP rows and COLUMNS columns each."""
    block = np.empty(GROUP * COLUMNS, np.float32)
    partial, zero = np.zeros_like(block), np.float32(0)
    a_rows, block_rows = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    panels = (units + COLUMNS - 1) // COLUMNS
    for number in range(begin, end):
        first, column = number // panels * GROUP, number % panels * COLUMNS
        stop, columns = min(first + GROUP, rows), min(COLUMNS, units - column)
        _multiply(
            x, features, first, stop, w, units, column, columns, block, partial, a_rows,
            block_rows,
        )  # fmt: skip
        for row in range(first, stop):
            source, target = block[(row - first) * COLUMNS :], y[row * units + column :]
            added = bias[column:] if has_bias else source
            for j in range(columns):
                value = source[j] + added[j] if has_bias else source[j]
                target[j] = zero if rectify and value <= zero else value


@kernel
def input_gradient(turned, w, dx, rows, features, units, begin, end):
    """Write the columns of dx for groups of FEATURES features; `turned` is dy, transposed."""
    block = np.empty((FEATURES, COLUMNS), np.float32)
    flat = block.reshape(FEATURES * COLUMNS)
    partial = np.zeros_like(flat)
    a_rows, block_rows = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for first in range(begin * FEATURES, min(end * FEATURES, features), FEATURES):
        stop = min(first + FEATURES, features)
        for row in range(0, rows, COLUMNS):
            columns = min(COLUMNS, rows - row)
            _multiply(
                w, units, first, stop, turned, rows, row, columns, flat, partial, a_rows,
                block_rows,
            )  # fmt: skip
            for n in range(columns):
                target = dx[(row + n) * features + first :]
                for k in range(stop - first):
                    target[k] = block[k, n]
