"""Kernels that read beyond 2^31 elements: far pixels and rows of arrays that are mostly holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sparse import sparse

from cpcnn.core.context import Context
from cpcnn.core.window import Window
from cpcnn.devices.cuda import normalization, pooling, reductions
from cpcnn.devices.cuda.geometry import Launch

WIDE = 1 << 21  # elements of a row
ROWS = 1100  # of them: 2.3e9 elements
VECTORS = [1, 8]


def far_pixels(channels: int) -> tuple[Any, Window]:
    """A large image with something at its corners, and the window that meets just those."""
    size = 50_000
    x = sparse((1, size, size, channels), "float16")
    for number, place in enumerate([(0, 0), (0, -1), (-1, 0), (-1, -1)]):
        x[0, *place] = number + np.arange(channels) / 64 + 1
    return x, Window((1, 1), (size - 1, size - 1))


@pytest.mark.parametrize("channels", VECTORS)
@pytest.mark.parametrize("op", ["max_pool", "average_pool"])
def test_pooling_reads_far_pixels(ctx: Context, op: str, channels: int) -> None:
    x, window = far_pixels(channels)
    assert x.size > 1 << 31
    y, _ = getattr(ctx.ops, op)(x, window)
    corners = [[x[0, 0, 0], x[0, 0, -1]], [x[0, -1, 0], x[0, -1, -1]]]
    assert np.array_equal(y, np.array([corners]))


def far_rows(vec: int) -> Any:
    """Rows (ROWS, WIDE) with small numbers in the first columns."""
    x = sparse((ROWS, WIDE), "float16")
    x[:, :vec] = np.arange(ROWS)[:, None] % 7
    return x


@pytest.mark.parametrize("vec", VECTORS)
def test_global_pooling_reads_far_images(ctx: Context, vec: int) -> None:
    """The grid covers the first columns of many images."""
    x, y = far_rows(vec), sparse((ROWS, WIDE), "float16")
    pooling.global_average_forward(
        ctx, Launch((ROWS, 1, 1), (32, 8, 1)), ("__half", vec),
        x=x, y=y, pixels=1, vectors=WIDE // vec,
    )  # fmt: skip
    assert np.array_equal(y[:, : 2 * vec], x[:, : 2 * vec])
    if vec == 1:
        winner = sparse((ROWS, WIDE), "int32")
        pooling.global_max_forward(
            ctx, Launch((ROWS, 1, 1), (32, 8, 1)), ("__half",),
            x=x, y=y, winner=winner, pixels=1, channels=WIDE,
        )  # fmt: skip
        assert np.array_equal(y[:, :2], x[:, :2])


@pytest.mark.parametrize("vec", VECTORS)
def test_sums_read_far_rows(ctx: Context, vec: int) -> None:
    x, part_rows = far_rows(vec), 100
    launch = Launch((ROWS // part_rows, 1, 1), (2, 8, 1))
    parts = sparse((ROWS // part_rows, WIDE), "float32")
    reductions.sum_parts(
        ctx, launch, ("__half", vec),
        x=x, parts=parts, rows=ROWS, vectors=WIDE // vec, part_rows=part_rows,
    )  # fmt: skip
    values = x[:, :vec].astype(np.float64).reshape(-1, part_rows, vec)
    assert np.array_equal(parts[:, :vec], values.sum(1))
    moments = sparse((ROWS // part_rows, 2, WIDE), "float32")
    normalization.batch_norm_moments(
        ctx, launch, ("__half", vec),
        x=x, parts=moments, rows=ROWS, vectors=WIDE // vec, part_rows=part_rows,
    )  # fmt: skip
    distance = values - values[:, :1]
    expected = np.stack([distance.sum(1), (distance**2).sum(1)], axis=1)
    assert np.array_equal(moments[:, :, :vec], expected)
