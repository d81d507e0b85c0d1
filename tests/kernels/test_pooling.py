"""The kernels of pooling.cu and global_pooling.cu against the definitions, in every type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, guards
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import get_device
from cpcnn.devices.cuda import pooling
from cpcnn.devices.cuda.element_types import full_vector
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.devices.cuda.windows import window_arguments
from cpcnn.testing import check_op

DTYPES = ("float64", "float32", "float16", "bfloat16")
CHANNELS = [1, 2, 3, 4, 8, 12, 16]


def few(*shape: int) -> NDArray[np.float64]:
    """Values that are often equal, and that every type holds."""
    return Philox(0, "few").words(np.arange(np.prod(shape)))[:, 0].reshape(shape) % 5 / 4.0 - 0.5


@st.composite
def geometries(draw: Any) -> tuple[tuple[int, ...], Window]:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    pads = [tuple(draw(st.integers(0, size - 1)) for _ in range(2)) for size in kernel]
    strides = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3)]))
    window = Window(kernel, strides, dilation, (pads[0], pads[1]))  # type: ignore[arg-type]
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
        draw(st.sampled_from(CHANNELS)),
    )
    assume(min(window.output(*shape[1:3])) >= 1)
    # with a dilation a window may miss every pixel: such a mean has no meaning
    zeros, _ = Context(get_device("numpy")).ops.max_pool(np.zeros(shape), window)
    assume(np.isfinite(zeros).all())
    return shape, window


@given(geometries(), st.sampled_from(["max_pool", "average_pool"]))
def test_windows(device: EmulatedCudaDevice, case: Any, op: str) -> None:
    shape, window = case
    check_op(device, op, few(*shape), window, gradient=False, dtypes=DTYPES)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.sampled_from(CHANNELS))
)
def test_whole_images(device: EmulatedCudaDevice, shape: Any) -> None:
    for op in ("global_max_pool", "global_average_pool"):
        check_op(device, op, few(*shape), gradient=False, dtypes=DTYPES)


@pytest.mark.parametrize("channels", [33, 130, 300])
@pytest.mark.parametrize("pixels", [(1, 1), (2, 3), (9, 5)])
def test_whole_images_of_many_channels(
    device: EmulatedCudaDevice, channels: int, pixels: Any
) -> None:
    for op in ("global_max_pool", "global_average_pool"):
        check_op(device, op, few(2, *pixels, channels), gradient=False, dtypes=DTYPES)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_longer_than_a_block(device: EmulatedCudaDevice, dtype: str) -> None:
    window = Window((2, 2), (2, 2))
    for shape in ((1, 2, 700, 1), (1, 2, 4, 3000)):
        for op in ("max_pool", "average_pool"):
            check_op(device, op, few(*shape), window, gradient=False, dtypes=(dtype,))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_nan_wins(ctx: Context, dtype: str) -> None:
    x = ctx.device.put(few(2, 4, 4, 16).astype(ctx.device.empty((1,), dtype).dtype))
    x[0, 1, 1] = x[0, 1, 0] = np.nan
    y, record = ctx.ops.max_pool(x, Window((2, 2), (2, 2)))
    assert np.isnan(y[0, 0, 0].astype(float)).all()
    assert np.isfinite(y[1].astype(float)).all()
    dx = ctx.ops.backward(ctx.device.put(np.ones_like(y)), record)
    assert (dx[0, 1, 0].astype(float) == 1).all()
    assert (dx[0, 1, 1].astype(float) == 0).all()
    y, record = ctx.ops.global_max_pool(x)
    assert np.isnan(y[0].astype(float)).all()
    dx = ctx.ops.backward(ctx.device.put(np.ones_like(y)), record)
    assert (dx[0, 1, 0].astype(float) == 1).all()
    assert dx.astype(float).sum() == 2 * 16


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_of_equals_wins(ctx: Context, dtype: str) -> None:
    x = ctx.device.put(np.zeros((2, 4, 6, 16), ctx.device.empty((1,), dtype).dtype))
    y, record = ctx.ops.max_pool(x, Window((2, 3), (2, 3)))
    dx = ctx.ops.backward(ctx.device.put(np.ones_like(y)), record).astype(float)
    assert dx[:, ::2, ::3].all()
    assert dx.sum() == y.size
    y, record = ctx.ops.global_max_pool(x)
    dx = ctx.ops.backward(ctx.device.put(np.ones_like(y)), record).astype(float)
    assert dx[:, 0, 0].all()
    assert dx.sum() == y.size


@pytest.mark.parametrize("block", [(1, 1, 1), (3, 5, 1), (32, 8, 1), (256, 1, 1), (1, 256, 1)])
@pytest.mark.parametrize("wide", [False, True])
def test_any_block_covers_a_row(ctx: Context, block: Any, wide: bool) -> None:
    """Threads step on from wherever they begin: the geometry decides the speed alone."""
    window, shape = Window((3, 2), (2, 1), (1, 1), ((1, 1), (0, 1))), (2, 5, 6, 8)
    vec = full_vector("float") if wide else 1
    host = few(*shape).astype("float32")
    expected, _ = Context(get_device("numpy")).ops.max_pool(host, window)
    with guards() as guard:
        y = guard.output(expected.shape, "float32")
        pooling.max_pool_forward(
            ctx, Launch((expected.shape[0] * expected.shape[1], 1, 1), block), ("float", vec),
            x=guard.input(host), y=y, winner=None, vectors=8 // vec,
            **window_arguments(window, shape),
        )  # fmt: skip
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("shift", [0, 1])
def test_arrays_that_do_not_begin_at_a_vector(ctx: Context, shift: int) -> None:
    host = few(2, 6, 6, 8).astype("float32")
    with guards(shift) as guard:
        y, record = ctx.ops.max_pool(guard.input(host), Window((2, 2), (2, 2)))
        dx = ctx.ops.backward(guard.input(np.ones_like(y)), record)
    expected, _ = Context(get_device("numpy")).ops.max_pool(host, Window((2, 2), (2, 2)))
    assert np.array_equal(y, expected)
    assert dx.sum() == y.size


def test_windows_of_more_cells_than_a_byte_counts(device: EmulatedCudaDevice) -> None:
    """The largest that a kernel takes, and the next, which is left to the definition."""
    for kernel, taken in (((16, 16), True), ((16, 17), False)):
        window, x = Window(kernel, (3, 3)), few(1, 20, 20, 2)
        assert pooling.WindowMaxPool.supports(Context(device), x, window) == taken
        check_op(device, "max_pool", x, window, gradient=False)


@pytest.mark.parametrize("op", ["max_pool", "average_pool", "global_max_pool"])
def test_no_images(ctx: Context, op: str) -> None:
    x = ctx.device.put(np.zeros((0, 4, 4, 3), np.float32))
    window = (Window((2, 2), (2, 2)),) if op.endswith("e_pool") or op == "max_pool" else ()
    y, record = getattr(ctx.ops, op)(x, *window)
    assert y.shape[0] == 0
    assert ctx.ops.backward(y, record).shape == x.shape
