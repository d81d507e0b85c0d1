"""Sums over rows: `column_sums.cu` on its own source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, EmulatedLauncher, guards
from hypothesis import given
from hypothesis import strategies as st
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.devices.cuda import geometry
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.devices.cuda.geometry import LIMITS, Launch, joins, row_parts
from cpcnn.devices.cuda.reductions import join, join_parts, sum_parts, sum_rows

STEPS = 24  # roundings of a sum: its tree is a few levels of a few rows each
widths = st.sampled_from([1, 2, 3, 4, 8, 9, 16, 24, 33, 64, 100, 264])


def sizes(array: Any, axis: int = 0) -> Any:
    """The sum of absolute values: what the errors of a sum are relative to."""
    return np.abs(exactly(array)).sum(axis)


@given(st.integers(0, 300), widths, dtypes, st.sampled_from([0, 1]), seeds)
def test_sum_rows(ctx: Context, rows: int, width: int, dtype: Any, shift: int, seed: int) -> None:
    with guards(shift) as g:
        x = g.input(normal(np.random.default_rng(seed), (rows, width), dtype) + dtype.type(0.5))
        sums = sum_rows(ctx, x)
    assert sums.dtype == dtype
    assert_rounded(sums, exactly(x).sum(0), steps=STEPS, magnitude=sizes(x))


@given(
    st.integers(1, 90), st.sampled_from([1, 3, 8, 24, 40]), dtypes, st.integers(1, 50),
    st.integers(1, 7), st.integers(1, 20), seeds,
)  # fmt: skip
def test_parts_of_any_size(
    ctx: Context, rows: int, width: int, dtype: Any, part_rows: int, x: int, y: int, seed: int
) -> None:
    """Blocks of any shape sum each part by itself; the join sums the parts."""
    values = normal(np.random.default_rng(seed), (rows, width), dtype)
    starts = range(0, rows, part_rows)
    for vec in (1, full_vector(C_TYPES[str(dtype)])):
        if width % vec:
            continue
        vectors = width // vec
        with guards() as g:
            source = g.input(values)
            parts = g.output((len(starts), width), accumulator_of(dtype))
            sum_parts(
                ctx, Launch((len(starts), -(-vectors // x), 1), (x, y, 1)),
                (C_TYPES[str(dtype)], vec), x=source, parts=parts, rows=rows, vectors=vectors,
                part_rows=part_rows,
            )  # fmt: skip
            pieces = [exactly(values)[start : start + part_rows] for start in starts]
            exact = np.stack([piece.sum(0) for piece in pieces])
            magnitude = np.stack([sizes(piece) for piece in pieces])
            assert_rounded(parts, exact, steps=STEPS, magnitude=magnitude)
            sums = g.output(width, dtype)
            join_parts(
                ctx, Launch((-(-width // x), 1, 1), (x, y, 1)), (C_TYPES[str(dtype)],),
                parts=g.input(parts), sums=sums, count=len(starts), columns=width,
            )  # fmt: skip
        assert_rounded(sums, exactly(parts).sum(0), steps=8, magnitude=sizes(parts))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_same_bits_in_every_order(dtype: Any) -> None:
    """What runs first does not matter: parts and joins are added in an order of their own."""
    x = normal(np.random.default_rng(0), (1500, 12), dtype)
    found = set()
    for seed in (0, 1, 2, 5):
        ctx = Context(EmulatedCudaDevice(EmulatedLauncher(seed)))
        found.add(sum_rows(ctx, x).tobytes())
    assert len(found) == 1


def test_a_long_sum_loses_nothing(ctx: Context) -> None:
    """One chain of float32 additions would be off by thousands of roundings."""
    x = np.full((300_000, 1), 0.1, "float32")
    assert row_parts(*x.shape).number > 100
    assert_rounded(sum_rows(ctx, x), exactly(x).sum(0), steps=8)


@given(dtypes, seeds)
def test_join_keeps_the_shape_behind_the_parts(ctx: Context, dtype: Any, seed: int) -> None:
    parts = normal(np.random.default_rng(seed), (5, 2, 3), accumulator_of(dtype))
    sums = join(ctx, parts, dtype)
    assert (sums.shape, sums.dtype) == ((2, 3), dtype)
    assert_rounded(sums, exactly(parts).sum(0), steps=8, magnitude=sizes(parts))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_is_not_hidden(ctx: Context, dtype: Any) -> None:
    x = np.zeros((700, 3), dtype)
    x[650, 1] = np.nan
    x[3, 2] = np.inf
    found = exactly(sum_rows(ctx, x))
    assert np.isnan(found).tolist() == [False, True, False]
    assert found[0] == 0
    assert found[2] == np.inf


@given(st.integers(0, 2**40), st.integers(1, 65535 * 32))
def test_parts_of_huge_arrays(elements: int, width: int) -> None:
    """Every row is in one part, the grid is legal, and counters of a part are ints."""
    rows = elements // width
    launch, number, part_rows = row_parts(rows, width)
    launch.check(geometry.THREADS)
    assert number == launch.grid[0]
    assert number * part_rows >= rows
    assert number == 0 or (number - 1) * part_rows < rows
    assert launch.grid[1] * launch.block[0] >= width
    assert (launch.grid[1] - 1) * launch.block[0] < width
    assert number == 1 or number * launch.grid[1] <= geometry.PART_BLOCKS + launch.grid[1]
    assert part_rows + geometry.THREADS <= LIMITS[0]
    assert part_rows >= launch.block[1] * geometry.PART_DEPTH  # or joining costs more than summing
    joins(width).check(geometry.THREADS)
    assert joins(width).grid[0] * joins(width).block[0] >= width
