"""The matrix products that compiled convolutions are made of, at all sizes and offsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.random import Philox

pytest.importorskip("numba")

import numba

from cpcnn.devices.cpu.kernels.jit import kernel
from cpcnn.devices.cpu.kernels.product import (
    AHEAD,
    COLUMNS,
    ROWS,
    VECTORS,
    gather_multiply,
    gather_multiply_add,
    multiply,
)


@kernel
def multiply_rows(
    columns, a, a_rows, a_start, a_step, b, b_start, b_step, c, c_rows, c_start, row, n
):
    multiply(columns, a, a_rows, a_start, a_step, b, b_start, 0, b_step, c, c_rows, c_start, row, n)


@kernel
def gather_rows(
    add, columns, a, a_rows, a_start, steps, b, b_start, b_rows, b_step, c, c_rows, c_start, row, n
):
    if add:
        gather_multiply_add(
            columns, a, a_rows, a_start, steps, b, b_start, b_rows, b_step, c, c_rows, c_start, row,
            n,
        )  # fmt: skip
    else:
        gather_multiply(
            columns, a, a_rows, a_start, steps, b, b_start, b_rows, b_step, c, c_rows, c_start, row,
            n,
        )  # fmt: skip


@st.composite
def products(draw: Any) -> tuple[Any, ...]:
    """Sizes, starts and steps of a product."""
    columns, depth = draw(st.integers(1, COLUMNS)), draw(st.integers(1, 70))
    a_start, b_start, c_start = (draw(st.integers(0, 5)) for _ in range(3))
    return columns, depth, a_start, b_start, c_start, columns + draw(st.integers(0, 9))


def arrays(columns: int, depth: int, b_start: int, b_step: int) -> tuple[Any, Any, Any]:
    """A and C with room for any rows; B ends with its last number."""
    a, c = (Philox(1, name).normal((4000,)) for name in ("a", "c"))
    return a, Philox(1, "b").normal((b_start + (depth - 1) * b_step + columns,)), c


def rows_of_c(columns: int) -> Any:
    """Rows in any order, that do not touch."""
    return np.random.default_rng(columns).permutation(ROWS + 3)[:ROWS] * (columns + 7)


def after(number: int, table: Any, more: int = 0) -> Any:
    """A table that begins behind other numbers, and has more behind it: those are looked at."""
    return np.concatenate([np.full(number, 1 << 40), table, np.full(more, 1 << 40)])


def expected(
    a_at: Any, a: Any, b: Any, b_start: int, b_step: int, columns: int, b_rows: Any = None
) -> Any:
    depth = a_at.shape[1]
    b_rows = np.arange(depth) if b_rows is None else b_rows
    b_at = b_start + b_rows[:, None] * b_step + np.arange(columns)
    return a[a_at].astype(np.float64) @ b[b_at]


def check(c: Any, before: Any, rows: Any, start: int, wanted: Any) -> None:
    """Rows of C are as they should be, and all other numbers as they were."""
    at = rows[:, None] + start + np.arange(wanted.shape[1])
    np.testing.assert_allclose(c[at], wanted, atol=3e-5)
    untouched = np.ones(len(c), bool)
    untouched[at] = False
    assert np.array_equal(c[untouched], before[untouched])


@given(products(), st.integers(0, 30))
def test_rows_anywhere(case: tuple[Any, ...], a_step: int) -> None:
    columns, depth, a_start, b_start, c_start, b_step = case
    a, b, c = arrays(columns, depth, b_start, b_step)
    a_rows, c_rows = np.arange(ROWS)[::-1] * 31, rows_of_c(columns)
    before = c.copy()
    multiply_rows(
        columns, a, after(depth % 4, a_rows), a_start, a_step, b, b_start, b_step,
        c, after(depth % 4, c_rows), c_start, depth % 4, depth,
    )  # fmt: skip
    a_at = a_rows[:, None] + a_start + np.arange(depth) * a_step
    check(c, before, c_rows, c_start, expected(a_at, a, b, b_start, b_step, columns))


@given(products(), st.booleans())
def test_numbers_anywhere(case: tuple[Any, ...], add: bool) -> None:
    columns, depth, a_start, b_start, c_start, b_step = case
    a, b, c = arrays(columns, depth, b_start, b_step)
    a_rows, c_rows = np.arange(ROWS)[::-1] * 31, rows_of_c(columns)
    rng = np.random.default_rng(depth)
    steps, b_rows = rng.integers(0, 3000, depth), rng.integers(0, depth, depth)
    before = c.copy()
    gather_rows(
        add, columns, a, after(depth % 4, a_rows, ROWS), a_start, after(0, steps, AHEAD),
        b, b_start, b_rows, b_step, c, after(depth % 4, c_rows), c_start, depth % 4, depth,
    )  # fmt: skip
    wanted = expected(a_rows[:, None] + a_start + steps, a, b, b_start, b_step, columns, b_rows)
    if add:
        wanted += before[c_rows[:, None] + c_start + np.arange(columns)]
    check(c, before, c_rows, c_start, wanted)


def test_rows_of_c_may_be_the_same() -> None:
    a, b, c = arrays(COLUMNS, 3, 0, COLUMNS)
    a_rows, c_rows = np.zeros(ROWS, np.int64), np.full(ROWS, 9)
    multiply_rows(COLUMNS, a, a_rows, 0, 1, b, 0, COLUMNS, c, c_rows, 0, 0, 3)
    np.testing.assert_allclose(
        c[9 : 9 + COLUMNS], expected(np.arange(3)[None], a, b, 0, COLUMNS, COLUMNS)[0], atol=3e-5
    )


def test_loops_are_not_unrolled() -> None:
    # two rounds at once have more numbers than registers: some would pass through memory
    fresh = numba.njit(multiply_rows.py_func)
    a, b, c = arrays(COLUMNS, 3, 0, COLUMNS)
    a_rows, c_rows = np.zeros(ROWS, np.int64), np.arange(ROWS)
    fresh(COLUMNS, a, a_rows, 0, 1, b, 0, COLUMNS, c, c_rows, 0, 0, 3)
    (code,) = fresh.inspect_llvm().values()
    calls = [line for line in code.splitlines() if "@llvm.fma" in line and "declare" not in line]
    assert len(calls) == ROWS * sum(range(1, VECTORS + 1))
