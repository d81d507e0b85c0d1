"""Sums over rows on the GPU: `kernels/column_sums.cu`, in two stages and a fixed order."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array
from .element_types import C_TYPES, accumulator, c_type_of, dtype_name
from .geometry import joins, row_parts
from .kernel import Kernel, each, vector_width, vectorised

sum_parts = Kernel("column_sums.cu", "sum_parts", vectorised())
join_parts = Kernel("column_sums.cu", "join_parts", each())


def sum_rows(ctx: Context, rows: Array) -> Array:
    """Sum a contiguous array (M, C) over M: (C,) of the same dtype, the same bits every time."""
    count, columns = rows.shape
    vec = vector_width(ctx, columns, rows)
    launch, number, part_rows = row_parts(count, columns // vec)
    parts = ctx.empty((number, columns), accumulator_dtype(rows))
    sum_parts(
        ctx,
        launch,
        (c_type_of(rows), vec),
        x=rows,
        parts=parts,
        rows=count,
        vectors=columns // vec,
        part_rows=part_rows,
    )
    return join(ctx, parts, rows.dtype)


def join(ctx: Context, parts: Array, dtype: Any) -> Array:
    """Sum the parts (P, ...) of a two-stage sum over P, in double, and round to a dtype."""
    sums = ctx.empty(parts.shape[1:], dtype)
    join_parts(
        ctx,
        joins(sums.size),
        (C_TYPES[dtype_name(sums)],),
        parts=parts,
        sums=sums,
        count=parts.shape[0],
        columns=sums.size,
    )
    return sums


def accumulator_dtype(array: Any) -> str:
    """Return the dtype in which sums over an array are kept: float32, or float64 for float64."""
    return "float64" if accumulator(c_type_of(array)) == "double" else "float32"
