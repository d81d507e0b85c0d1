"""The kernels of im2col.cu, and convolutions and dense products made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convolutions import CHANNELS, columns_of, images_of, windows
from emulation import EmulatedCudaDevice, guards
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds
from sparse import sparse

from cpcnn.core.context import Context
from cpcnn.core.window import Window
from cpcnn.devices.cuda import columns, convolution
from cpcnn.devices.cuda.columns import ColumnPlan, Columns, col2im, im2col, plan_chunks
from cpcnn.devices.cuda.convolution import ProductSum, add_product
from cpcnn.devices.cuda.device import KernelDevice
from cpcnn.devices.cuda.geometry import Launch, row_tiles
from cpcnn.devices.cuda.kernel import C_TYPES, Kernel, full_vector
from cpcnn.testing import check_op

NAMES = tuple(map(str, DTYPES))
GROUPS = [1, 1, 2, 3]
ACTIVATIONS = [None, "relu", "sigmoid", "tanh", "softmax"]
# Asymmetric in everything, with taps that no pixel has.
ODD = Window((2, 3), (2, 1), (1, 2), ((1, 2), (0, 3)))


def instance(dtype: Any, wide: bool) -> tuple[str, int]:
    """The instance for a type: whole vectors, or one element."""
    c_type = C_TYPES[str(dtype)]
    return c_type, full_vector(c_type) if wide else 1


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


# Dense products


@given(
    st.lists(st.integers(1, 5), max_size=3),
    st.integers(1, 20),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(NAMES),
    seeds,
)
def test_dense(
    device: EmulatedCudaDevice,
    rows: list[int],
    features: int,
    units: int,
    bias: bool,
    activation: Any,
    dtype: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(*rows, features)), rng.normal(size=(features, units)) / 4
    b = rng.normal(size=units) if bias else None
    check_op(
        device, "dense", x, w, b, activation=activation, gradient=False, dtypes=("float64", dtype)
    )


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_dense_of_nothing(ctx: Context, shape: tuple[int, ...]) -> None:
    x, w = ctx.device.put(np.ones(shape, "f")), ctx.device.put(np.ones((3, 2), "f"))
    y, record = ctx.ops.dense(x, w, ctx.device.put(np.ones(2, "f")), activation="relu")
    dx, dw, db = ctx.ops.backward(y, record)
    assert y.shape == (*shape[:-1], 2)
    assert dx.shape == shape
    assert not dw.any()
    assert not db.any()


# Plans, and arrays of more than 2^31 elements


@given(st.integers(0, 5000), st.integers(1, 1 << 40))
def test_chunks_cover_the_batch(images: int, column_bytes: int) -> None:
    chunks = plan_chunks(images, column_bytes)
    assert [n for chunk in chunks for n in range(images)[chunk]] == list(range(images))
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    most = max(1, columns.COLUMN_BYTES // column_bytes)
    assert all(1 <= size <= most for size in sizes)
    assert len(sizes) == -(-images // most)  # as few as can be
    assert len(set(sizes[:-1])) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(st.integers(1, 1 << 31), st.integers(1, 1 << 24), st.integers(1, 1 << 16))
def test_tiles_of_a_row_cover_it_once(count: int, width: int, height: int) -> None:
    launch = row_tiles(count, width, height)
    (rows, tiles, _), (x, y, _) = launch
    assert rows == count
    assert tiles * x >= width > (tiles - 1) * x
    assert 1 <= x * y <= 256
    assert y <= height
    if count < 1 << 31 and width <= convolution.MOST_PLACES:
        launch.check(256)


class Recorder:
    """A launcher that runs nothing; launches have been checked when they arrive."""

    def __init__(self) -> None:
        self.launches: list[tuple[Kernel, Launch, dict[str, Any]]] = []

    def address(self, array: NDArray[Any]) -> int:
        return array.ctypes.data

    def run(self, kernel: Kernel, _: Any, launch: Launch, values: list[Any]) -> None:
        names = [parameter.name for parameter in kernel.parameters]
        self.launches.append((kernel, launch, dict(zip(names, values, strict=True))))


class Planning(KernelDevice):
    """A device that computes nothing, on arrays that take no memory."""

    name = "planning"

    def __init__(self) -> None:
        super().__init__()
        self.launcher = Recorder()

    def empty(self, shape: Any, dtype: Any) -> Any:
        return sparse(shape, self._dtype(dtype))

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        assert a.shape[0] == out.shape[0]
        assert a.shape[1] == b.shape[0]
        assert b.shape[1] == out.shape[1]
        return out


LARGE = {
    "one image a chunk": ((3, 20000, 20000, 8), 4, Window((3, 3))),
    "many images a chunk": ((1 << 21, 32, 32, 3), 16, Window((3, 3), padding=((1, 1), (1, 1)))),
    "a long row": ((1, 3, 1 << 26, 16), 16, Window((2, 2))),
    "many channels": ((2, 40, 40, 1 << 20), 1, Window((3, 3), (2, 2))),
}


@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE.keys())
def test_plans_beyond_2_31_elements(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every launch of forward and backward keeps all limits, and they cover the batch in order."""
    shape, filters, window = case
    monkeypatch.setattr(columns, "COLUMN_BYTES", 1 << 34 if shape[0] > 1000 else 1)
    device = Planning()
    ctx = Context(device, grad=True)
    x = sparse(shape, "float16")
    assert x.size > 1 << 31
    y, record = ctx.ops.conv2d(x, sparse((*window.kernel, shape[3], filters), "float16"), None,
                               window)  # fmt: skip
    dx, _, _ = ctx.ops.backward(y, record)
    out = window.output(*shape[1:3])
    assert y.shape == (shape[0], *out, filters)
    taps = window.kernel[0] * window.kernel[1] * shape[3]
    covered: dict[str, list[tuple[int, int]]] = {"im2col": [], "col2im": []}
    for kernel, launch, values in device.launcher.launches:
        if kernel.name not in covered:
            continue
        images = values["x"] if kernel.name == "im2col" else values["dx"]
        whole = x if kernel.name == "im2col" else dx
        covered[kernel.name].append((images.ctypes.data - whole.ctypes.data, images.nbytes))
        assert values["pixels"] == images.shape[0] * out[0] * out[1]
        assert values["columns"].size == values["pixels"] * taps
        assert launch.grid[0] == images.shape[0] * (out[0] if whole is x else shape[1])
    places = covered["col2im"]
    assert covered["im2col"] == 2 * places  # in forward and in backward
    assert [begin for begin, _ in places] == [0, *(sum(place) for place in places[:-1])]
    assert sum(places[-1]) == x.nbytes


@pytest.mark.parametrize("wide", [False, True])
def test_im2col_reads_and_writes_beyond_2_31_elements(ctx: Context, wide: bool) -> None:
    """Four far pixels of a large image; columns of a group that begins far away."""
    size = 1 << 15
    window = Window((1, 1), (size - 1, size - 1))
    kind = instance("float16", wide)
    x = sparse((1, size, size, 2 * kind[1]), "float16")
    places = [(0, 0), (0, size - 1), (size - 1, 0), (size - 1, size - 1)]
    for number, place in enumerate(places):
        x[0, *place] = number + np.arange(2.0 * kind[1]) / 64
    pixels = 1 << 31
    target = sparse((2, pixels, kind[1]), "float16")
    im2col(
        ctx, row_tiles(2, 2, 2), kind,
        x=x, columns=target, **{**ColumnPlan(x.shape, window, 2, "float16").arguments(1, kind[1]),
                                "pixels": pixels},
    )  # fmt: skip
    for group in range(2):
        part = slice(group * kind[1], (group + 1) * kind[1])
        expected = np.stack([x[0, *place, part] for place in places])
        assert np.array_equal(target[group, :4], expected)
    assert not target[:, 4:8].any()


@pytest.mark.parametrize("wide", [False, True])
def test_col2im_reads_and_writes_beyond_2_31_elements(ctx: Context, wide: bool) -> None:
    """The first channels of images with very many: a grid that covers no more of them."""
    kind = instance("float16", wide)
    vectors, images = (1 << 21) // kind[1], 1100
    plan = ColumnPlan((images, 1, 2, 1 << 21), Window((1, 1)), 1, "float16")
    source, dx = sparse((images * 2, 1 << 21), "float16"), sparse(plan.shape, "float16")
    source[:, : kind[1]] = np.arange(2 * images)[:, None] % 100
    col2im(
        ctx, Launch((images, 1, 1), (1, 2, 1)), kind,
        columns=source, dx=dx, **plan.arguments(images, kind[1]),
    )  # fmt: skip
    assert dx.size > 1 << 31
    assert plan.arguments(images, kind[1])["vectors"] == vectors
    assert np.array_equal(dx.reshape(-1, 1 << 21)[:, : kind[1]], source[:, : kind[1]])
    assert not dx[:, :, :, kind[1] : 2 * kind[1]].any()
