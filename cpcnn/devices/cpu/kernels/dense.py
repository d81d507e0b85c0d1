"""The fully connected product and the gradient of its input; all arrays are flat.

x is (N, F), w (F, U) and y (N, U). Both products multiply rows as they lie by a matrix of which
COLUMNS columns stay in cache, and finish a block of results while it is there as well.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .product import COLUMNS, ROWS, multiply
from .vector import LANES, fill, load, load_first, relu, store, store_first

GROUP = 4 * ROWS  # rows that share what is in cache of the other factor
DEPTH = 1024  # numbers of a row that are multiplied before the next row's turn
FEATURES = 8 * ROWS  # the same for the gradient, and whole cache lines of its rows


@part
def _clear(block):
    for k in range(0, block.shape[0], LANES):
        store(block, k, fill(np.float32(0)))


@part
def _multiply(a, depth, first, stop, b, width, column, columns, block, partial, a_rows, block_rows):
    """Write to `block`, COLUMNS wide, the rows from `first` to `stop` of A times columns of B."""
    _clear(block)
    for start in range(0, depth, DEPTH):
        for row in range(first, stop, ROWS):
            for i in range(ROWS):
                a_rows[i] = min(row + i, stop - 1) * depth
                block_rows[i] = (row - first + i) * COLUMNS
            multiply(
                columns, a, a_rows, start, 1, b, start * width + column, 0, width, partial,
                block_rows, 0, 0, min(DEPTH, depth - start),
            )  # fmt: skip
        for k in range(0, (stop - first) * COLUMNS, LANES):
            store(block, k, load(block, k) + load(partial, k))


@kernel
def forward(x, w, bias, y, rows, features, units, has_bias, rectify, begin, end):
    """Write the blocks from `begin` to `end` of y: GROUP rows and COLUMNS columns each."""
    block, partial = np.empty(GROUP * COLUMNS, np.float32), np.empty(GROUP * COLUMNS, np.float32)
    a_rows, block_rows = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    _clear(partial)
    panels = (units + COLUMNS - 1) // COLUMNS
    for number in range(begin, end):
        first, column = number // panels * GROUP, number % panels * COLUMNS
        stop, columns = min(first + GROUP, rows), min(COLUMNS, units - column)
        _multiply(
            x, features, first, stop, w, units, column, columns, block, partial, a_rows,
            block_rows,
        )  # fmt: skip
        for row in range(first, stop):
            for j in range(0, columns, LANES):
                n = min(LANES, columns - j)
                value = load_first(block, (row - first) * COLUMNS + j, n)
                if has_bias:
                    value = value + load_first(bias, column + j, n)
                if rectify:
                    value = relu(value)
                store_first(y, row * units + column + j, value, n)


@kernel
def input_gradient(turned, w, dx, rows, features, units, begin, end):
    """Write the columns of dx for groups of FEATURES features; `turned` is dy, transposed."""
    size = FEATURES * COLUMNS
    block, partial = np.empty(size, np.float32), np.empty(size, np.float32)
    a_rows, block_rows = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    _clear(partial)
    for first in range(begin * FEATURES, min(end * FEATURES, features), FEATURES):
        stop = min(first + FEATURES, features)
        for row in range(0, rows, COLUMNS):
            columns = min(COLUMNS, rows - row)
            _multiply(
                w, units, first, stop, turned, rows, row, columns, block, partial, a_rows,
                block_rows,
            )  # fmt: skip
            for n in range(columns):
                target = dx[(row + n) * features + first :]
                for k in range(stop - first):
                    target[k] = block[k * COLUMNS + n]
