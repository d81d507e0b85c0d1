"""The kernels of im2col.cu, and convolutions made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convolution_cases import CHANNELS, columns_of, images_of, instance, windows
from emulation import EmulatedCudaDevice, guards
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.core.window import Window
from cpcnn.devices.cuda import columns, convolution
from cpcnn.devices.cuda.columns import ColumnPlan, Columns, col2im, im2col
from cpcnn.devices.cuda.convolution import ProductSum, add_product
from cpcnn.devices.cuda.element_types import C_TYPES
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.testing import check_op

NAMES = tuple(map(str, DTYPES))
GROUPS = [1, 1, 2, 3]
ACTIVATIONS = [None, "relu", "sigmoid", "tanh", "silu", "softmax"]
# Asymmetric in everything, with taps that no pixel has.
ODD = Window((2, 3), (2, 1), (1, 2), ((1, 2), (0, 3)))


# The columns themselves


@given(windows(), st.sampled_from(CHANNELS), st.sampled_from(GROUPS), dtypes, seeds)
def test_columns_are_copies_of_the_windows(
    ctx: Context, case: Any, channels: int, groups: int, dtype: Any, seed: int
) -> None:
    shape, window = case
    host = normal(np.random.default_rng(seed), (*shape, channels * groups), dtype)
    with guards() as guard:
        x = guard.input(host)
        found = Columns(ctx, x, window, groups).gather(x)
        assert found.tobytes() == columns_of(host, window, groups).tobytes()


@given(windows(), st.sampled_from(CHANNELS), st.sampled_from(GROUPS), dtypes, seeds)
def test_pixels_are_sums_of_their_columns(
    ctx: Context, case: Any, channels: int, groups: int, dtype: Any, seed: int
) -> None:
    shape, window = case
    rng = np.random.default_rng(seed)
    with guards() as guard:
        dx = guard.output((*shape, channels * groups), dtype)
        scattering = Columns(ctx, dx, window, groups)
        given = scattering.of(shape[0])
        given[...] = normal(rng, given.shape, dtype)
        cells = exactly(given).reshape(
            groups, shape[0], *window.output(*shape[1:]), *window.kernel, channels
        )
        scattering.scatter(dx)
    taps = window.kernel[0] * window.kernel[1]
    exact, magnitude = (images_of(part, window, *shape[1:]) for part in (cells, np.abs(cells)))
    assert_rounded(dx, exact, steps=taps, magnitude=magnitude)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
def test_every_instance_runs(ctx: Context, dtype: Any, wide: bool) -> None:
    """Which one is launched is what the channels and the alignment say."""
    launched = ctx.device.launcher.launched
    kind = instance(dtype, wide)
    before = launched["im2col", kind], launched["col2im", kind]
    x = ctx.device.put(np.ones((2, 4, 5, 16 if wide else 9), dtype))
    both = Columns(ctx, x, ODD, 1)
    both.gather(x)
    both.scatter(x)
    assert (launched["im2col", kind], launched["col2im", kind]) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("block", [(1, 1), (7, 3), (32, 8), (256, 1), (1, 256)])
def test_any_block_does_all_of_a_row(ctx: Context, block: Any, wide: bool, groups: int) -> None:
    shape = (2, 5, 6, 16)
    kind, plan = instance("float32", wide), ColumnPlan((2, 5, 6, 16), ODD, groups, "float32")
    out = ODD.output(5, 6)
    host = normal(np.random.default_rng(0), shape, "float32")

    def launch(rows: int, places: int) -> Launch:
        return Launch((rows, -(-places // kind[1] // block[0]), 1), (*block, 1))

    expected = columns_of(host, ODD, groups)
    with guards() as guard:
        gathered = guard.output(plan.columns(2), "float32")
        im2col(
            ctx, launch(2 * out[0], groups * plan.depth), kind,
            x=guard.input(host), columns=gathered, **plan.arguments(2, kind[1]),
        )  # fmt: skip
        dx = guard.output(shape, "float32")
        col2im(
            ctx, launch(2 * 5, 16), kind,
            columns=guard.input(expected), dx=dx, **plan.arguments(2, kind[1]),
        )  # fmt: skip
    assert gathered.tobytes() == expected.tobytes()
    np.testing.assert_allclose(dx, images_of(expected, ODD, 5, 6), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [300, 1100])
def test_columns_longer_than_a_block(ctx: Context, channels: int) -> None:
    host = normal(np.random.default_rng(0), (1, 3, 3, channels), "float32")
    x = ctx.device.put(host)
    both = Columns(ctx, x, ODD, 1)
    expected = columns_of(host, ODD, 1)
    assert both.gather(x).tobytes() == expected.tobytes()
    both.scatter(x)
    np.testing.assert_allclose(x, images_of(expected, ODD, 3, 3), rtol=1e-5, atol=1e-6)


def test_nan_goes_to_every_pixel_that_it_belongs_to(ctx: Context) -> None:
    host = np.zeros((1, 4, 4, 1), np.float32)
    host[0, 1, 2, 0] = np.nan
    x = ctx.device.put(host)
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    both = Columns(ctx, x, window, 1)
    assert np.isnan(both.gather(x)).sum() == 9
    both.scatter(x)
    assert np.isnan(x).sum() == 1
    y, _ = ctx.ops.conv2d(ctx.device.put(host), ctx.device.put(np.ones((3, 3, 1, 1), "f")), None,
                          window, activation="relu")  # fmt: skip
    assert np.isnan(y).sum() == 9


# Sums over chunks


@given(st.integers(1, 4), st.integers(1, 700), dtypes, seeds)
def test_sums_of_products(ctx: Context, chunks: int, count: int, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    products = [normal(rng, (1, 1, count), dtype) for _ in range(chunks)]
    one = ctx.device.put(np.ones((1, 1, 1), dtype))
    total = ProductSum(ctx, (1, 1, count), np.dtype(dtype), chunks)
    with guards() as guard:
        for product in products:
            total.add(one, guard.input(product))
    exact = sum(map(exactly, products))
    magnitude = sum(np.abs(exactly(product)) for product in products)
    assert_rounded(total.sum, exact, steps=chunks, magnitude=magnitude)  # type: ignore[arg-type]


@pytest.mark.parametrize("grid", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
def test_totals_begin_and_end(ctx: Context, dtype: Any, grid: int) -> None:
    """The first product overwrites the total; the last sum goes to the rounded array alone."""
    rng = np.random.default_rng(0)
    products = [normal(rng, 100, dtype) for _ in range(3)]
    launch = Launch((grid, 1, 1), (32, 1, 1))
    with guards() as guard:
        total, rounded = guard.output(100, accumulator_of(dtype)), guard.output(100, dtype)
        for number, product in enumerate(products):
            kept = total.copy()
            add_product(
                ctx, launch, (C_TYPES[str(dtype)],), product=guard.input(product), total=total,
                rounded=rounded if number == 2 else None, count=100, begins=int(number == 0),
            )  # fmt: skip
            assert np.isnan(exactly(rounded)).all() == (number < 2)
    wide = [product.astype(total.dtype) for product in products]
    assert np.array_equal(total, wide[0] + wide[1])
    assert np.array_equal(kept, total)
    assert np.array_equal(rounded, (wide[0] + wide[1] + wide[2]).astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_over_chunks_are_kept_in_float32(
    ctx: Context, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One large number and many small ones, each too small to move a sum in half precision."""
    monkeypatch.setattr(columns, "COLUMN_BYTES", 1)
    kind = ctx.device.empty((1,), dtype).dtype
    x = np.ones((65, 1, 1, 1), kind)
    x[0] = 2048
    w = ctx.device.put(np.ones((1, 1, 1, 1), kind))
    y, record = ctx.ops.conv2d(ctx.device.put(x), w, None, Window((1, 1), (2, 2)))
    _, dw, _ = ctx.ops.backward(ctx.device.put(np.ones_like(y)), record)
    assert dw.item() == 2048 + 64


# Whole convolutions


@settings(max_examples=25)
@given(
    windows(),
    st.sampled_from(CHANNELS),
    st.sampled_from(GROUPS),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from([1, 3000, 24 << 20]),
    st.sampled_from(NAMES),
    seeds,
)
def test_conv2d(
    device: EmulatedCudaDevice,
    case: Any,
    channels: int,
    groups: int,
    filters: int,
    bias: bool,
    activation: Any,
    column_bytes: int,
    dtype: str,
    seed: int,
) -> None:
    shape, window = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*shape, channels * groups))
    w = rng.normal(size=(*window.kernel, channels, filters * groups)) / 4
    b = rng.normal(size=filters * groups) if bias else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "COLUMN_BYTES", column_bytes)
        check_op(
            device, "conv2d", x, w, b, window, groups=groups, activation=activation,
            gradient=False, dtypes=("float64", dtype),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", NAMES)
def test_a_pixel_is_a_product(device: EmulatedCudaDevice, dtype: str) -> None:
    x, w, b = np.ones((3, 4, 5, 8)), np.arange(48.0).reshape(1, 1, 8, 6) / 64, np.arange(6.0)
    assert convolution.PointwiseConv2D.supports(Context(device), x, w, b, Window((1, 1)))
    check_op(device, "conv2d", x, w, b, Window((1, 1)), gradient=False, dtypes=(dtype,))


def test_which_implementation_takes_what(ctx: Context) -> None:
    """Windows without products of their own come last, and types without kernels are left."""
    window, x = Window((3, 3)), np.ones((1, 5, 5, 4))

    def first(x: Any, w: Any, window: Window, groups: int, b: Any = None) -> str:
        takes = [
            implementation.__name__
            for implementation in ctx.device.table["conv2d"]
            if implementation.supports(ctx, x, w, b, window, groups=groups)
        ]
        assert takes[-1] == "Conv2D"
        return takes[0]

    assert first(x, np.ones((1, 1, 4, 3)), Window((1, 1)), 1) == "PointwiseConv2D"
    assert first(x, np.ones((1, 1, 4, 3)), Window((1, 1), (2, 1)), 1) == "Im2colConv2D"
    assert first(x, np.ones((1, 1, 2, 4)), Window((1, 1)), 2) == "Im2colConv2D"
    assert first(x, np.ones((3, 3, 4, 3)), window, 1) == "Im2colConv2D"
    assert first(x, np.ones((3, 3, 1, 8)), window, 4) == "DepthwiseConv2D"
    assert first(x[..., :1], np.ones((3, 3, 1, 8)), window, 1) == "Im2colConv2D"
    assert first(x, np.ones((3, 3, 4, 3), "float32"), window, 1) == "Conv2D"
    assert first(x, np.ones((3, 3, 4, 3)), window, 1, np.ones(3, "float32")) == "Conv2D"
    assert first(x.astype(int), np.ones((3, 3, 4, 3), int), window, 1) == "Conv2D"


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_no_images(ctx: Context, groups: int, size: int) -> None:
    x = ctx.device.put(np.zeros((0, 4, 4, 4), np.float32))
    w = ctx.device.put(np.ones((size, size, 4 // groups, 6), np.float32))
    b = ctx.device.put(np.ones(6, np.float32))
    y, record = ctx.ops.conv2d(x, w, b, Window((size, size)), groups=groups, activation="relu")
    dx, dw, db = ctx.ops.backward(y, record)
    assert y.shape == (0, 5 - size, 5 - size, 6)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    assert not dw.any()
    assert not db.any()


def test_without_input_gradient_there_is_none(device: EmulatedCudaDevice) -> None:
    ctx = Context(device, grad=True, input_gradient=False)
    x, b = device.put(np.ones((2, 5, 5, 4), "f")), device.put(np.ones(6, "f"))
    for window, groups in ((Window((3, 3)), 1), (Window((3, 3)), 2), (Window((1, 1)), 1)):
        w = device.put(np.ones((*window.kernel, 4 // groups, 6), "f"))
        y, record = ctx.ops.conv2d(x, w, b, window, groups=groups)
        dx, dw, db = ctx.ops.backward(device.put(np.ones_like(y)), record)
        assert dx is None
        assert (dw == y.size // 6).all()
        assert (db == y.size // 6).all()


@pytest.mark.parametrize("column_bytes", [1, 1 << 20])
def test_the_same_bits_every_time(
    ctx: Context, column_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "COLUMN_BYTES", column_bytes)
    rng = np.random.default_rng(0)
    x, w = normal(rng, (5, 6, 6, 4), "f"), normal(rng, (2, 3, 4, 4), "f")

    def run() -> list[bytes]:
        y, record = ctx.ops.conv2d(ctx.device.put(x), ctx.device.put(w), None, ODD)
        return [part.tobytes() for part in (y, *ctx.ops.backward(y, record)[:2])]

    assert run() == run()


class Strict(EmulatedCudaDevice):
    """Products take whole matrices and their transposes, whatever a library makes of others."""

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        assert a.flags.forc
        assert b.flags.forc
        assert out.flags.c_contiguous
        return super().matmul(a, b, out)


@pytest.mark.parametrize("groups", [1, 2])
def test_products_get_matrices_without_gaps(device: EmulatedCudaDevice, groups: int) -> None:
    strict = Strict(device.launcher)
    x, w, b = np.ones((2, 4, 4, 4)), np.ones((3, 3, 4 // groups, 6)), np.ones(6)
    check_op(strict, "conv2d", x, w, b, Window((3, 3)), groups=groups, gradient=False)
    check_op(strict, "conv2d", x, w[:1, :1], b, Window((1, 1)), groups=groups, gradient=False)
    check_op(strict, "dense", x, w[0, 0, :, :].repeat(groups, 0), b, gradient=False)
