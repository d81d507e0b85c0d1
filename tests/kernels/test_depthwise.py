"""The kernels of depthwise.cu against the definition, each by itself and as a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convolution_cases import instance, windows
from emulation import EmulatedCudaDevice, guards
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds
from sparse import sparse

from cpcnn.core.context import Context
from cpcnn.core.window import Window
from cpcnn.devices import get_device
from cpcnn.devices.cuda import geometry
from cpcnn.devices.cuda.depthwise import (
    depthwise_forward,
    depthwise_input_gradient,
    depthwise_weight_gradient,
)
from cpcnn.devices.cuda.geometry import Launch, place_parts
from cpcnn.devices.cuda.windows import window_arguments
from cpcnn.testing import check_op

NAMES = tuple(map(str, DTYPES))
CHANNELS = [2, 3, 4, 8, 16, 24]
MULTIPLIERS = [1, 1, 1, 2, 3]
ACTIVATIONS = [None, "relu", "tanh", "softmax"]
ODD = Window((2, 3), (2, 1), (1, 2), ((1, 2), (0, 3)))


def exact_results(
    x: NDArray[Any], w: NDArray[Any], dy: NDArray[Any], window: Window
) -> tuple[NDArray[np.float64], ...]:
    """Return (y, dx, dw) of the definition in float64."""
    ctx = Context(get_device("numpy"), grad=True)
    y, record = ctx.ops.conv2d(exactly(x), exactly(w), None, window, groups=x.shape[3])
    return (y, *ctx.ops.backward(exactly(dy), record)[:2])


@given(windows(), st.sampled_from(CHANNELS), st.sampled_from(MULTIPLIERS), dtypes, seeds)
def test_sums_are_rounded_once(
    ctx: Context, case: Any, channels: int, multiplier: int, dtype: Any, seed: int
) -> None:
    shape, window = case
    rng = np.random.default_rng(seed)
    x = normal(rng, (*shape, channels), dtype)
    w = normal(rng, (*window.kernel, 1, channels * multiplier), dtype)
    dy = normal(rng, (shape[0], *window.output(*shape[1:]), w.shape[3]), dtype)
    with guards() as guard:
        y, record = ctx.ops.conv2d(guard.input(x), guard.input(w), None, window, groups=channels)
        dx, dw, _ = ctx.ops.backward(guard.input(dy), record)
    assert record.op.__name__ == "DepthwiseConv2D"
    exact = exact_results(x, w, dy, window)
    magnitude = exact_results(np.abs(x), np.abs(w), np.abs(dy), window)
    taps = window.kernel[0] * window.kernel[1]
    terms = (taps, taps * multiplier, dy.size // w.shape[3])
    for found, value, size, count in zip((y, dx, dw), exact, magnitude, terms, strict=True):
        assert_rounded(found, value, steps=2 * count + 2, magnitude=size)


@settings(max_examples=15)
@given(
    windows(),
    st.sampled_from(CHANNELS),
    st.sampled_from(MULTIPLIERS),
    st.booleans(),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(NAMES),
    seeds,
)
def test_conv2d(
    device: EmulatedCudaDevice,
    case: Any,
    channels: int,
    multiplier: int,
    bias: bool,
    activation: Any,
    dtype: str,
    seed: int,
) -> None:
    shape, window = case
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*shape, channels))
    w = rng.normal(size=(*window.kernel, 1, channels * multiplier)) / 2
    b = rng.normal(size=channels * multiplier) if bias else None
    check_op(
        device, "conv2d", x, w, b, window, groups=channels, activation=activation,
        gradient=False, dtypes=("float64", dtype),
    )  # fmt: skip


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=NAMES)
def test_every_instance_runs(ctx: Context, dtype: Any, wide: bool) -> None:
    launched = ctx.device.launcher.launched
    kind = instance(dtype, wide)
    kernels = (depthwise_forward, depthwise_input_gradient, depthwise_weight_gradient)
    before = [launched[kernel.name, kind] for kernel in kernels]
    x = ctx.device.put(np.ones((2, 4, 5, 16 if wide else 9), dtype))
    w = ctx.device.put(np.ones((*ODD.kernel, 1, x.shape[3]), dtype))
    y, record = ctx.ops.conv2d(x, w, None, ODD, groups=x.shape[3])
    ctx.ops.backward(y, record)
    assert [launched[kernel.name, kind] for kernel in kernels] == [n + 1 for n in before]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_several_outputs_are_no_vector(ctx: Context, multiplier: int) -> None:
    """A pack of outputs has one channel each, or its channels lie elsewhere."""
    launched = ctx.device.launcher.launched
    kind = ("float", 4 if multiplier == 1 else 1)
    before = launched["depthwise_forward", kind]
    x = ctx.device.put(np.ones((1, 3, 3, 8), "f"))
    w = ctx.device.put(np.ones((3, 3, 1, 8 * multiplier), "f"))
    ctx.ops.conv2d(x, w, None, Window((3, 3)), groups=8)
    assert launched["depthwise_forward", kind] == before + 1


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("block", [(1, 1), (7, 3), (32, 8), (256, 1), (1, 256)])
@pytest.mark.parametrize("part_rows", [1, 2, 5, 100])
def test_any_block_does_all_of_a_row(ctx: Context, block: Any, wide: bool, part_rows: int) -> None:
    kind, shape = instance("float32", wide), (2, 5, 6, 8)
    rng = np.random.default_rng(0)
    x, w = normal(rng, shape, "float32"), normal(rng, (*ODD.kernel, 1, 8), "float32")
    n, out_height, out_width = 2, *ODD.output(5, 6)
    dy = normal(rng, (n, out_height, out_width, 8), "float32")
    shared = {"vectors": 8 // kind[1], "multiplier": 1, **window_arguments(ODD, shape)}
    tiles, rows = -(-shared["vectors"] // block[0]), n * out_height
    number, places = -(-rows // part_rows), w.size // kind[1]
    with guards() as guard:
        y, dx = guard.output(dy.shape, "float32"), guard.output(shape, "float32")
        parts = guard.output((number, *w.shape), "float32")
        images, weights, gradients = guard.input(x), guard.input(w), guard.input(dy)
        depthwise_forward(
            ctx, Launch((rows, tiles, 1), (*block, 1)), kind,
            x=images, weights=weights, y=y, **shared,
        )  # fmt: skip
        depthwise_input_gradient(
            ctx, Launch((n * shape[1], tiles, 1), (*block, 1)), kind,
            dy=gradients, weights=weights, dx=dx, **shared,
        )  # fmt: skip
        depthwise_weight_gradient(
            ctx, Launch((-(-places // block[0]), number, 1), (block[0], 1, 1)), kind,
            x=images, dy=gradients, parts=parts, rows=rows, part_rows=part_rows, **shared,
        )  # fmt: skip
    exact = exact_results(x, w, dy, ODD)
    for found, expected in zip((y, dx, parts.sum(0)), exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [300, 1100])
def test_more_channels_than_threads(ctx: Context, channels: int) -> None:
    rng = np.random.default_rng(0)
    x, w = normal(rng, (1, 3, 3, channels), "f"), normal(rng, (*ODD.kernel, 1, channels), "f")
    y, record = ctx.ops.conv2d(ctx.device.put(x), ctx.device.put(w), None, ODD, groups=channels)
    dy = normal(rng, y.shape, "f")
    dx, dw, _ = ctx.ops.backward(ctx.device.put(dy), record)
    for found, expected in zip((y, dx, dw), exact_results(x, w, dy, ODD), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part_sums", [1, 100, 1 << 20])
def test_parts_give_the_same_sums(
    ctx: Context, part_sums: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers, so that no rounding hides a row that is missing or counted twice."""
    monkeypatch.setattr(geometry, "PART_SUMS", part_sums)
    rng = np.random.default_rng(0)
    x, w = rng.integers(-3, 4, (3, 5, 4, 4)).astype("f"), np.ones((2, 2, 1, 4), "f")
    y, record = ctx.ops.conv2d(ctx.device.put(x), ctx.device.put(w), None, Window((2, 2)), groups=4)
    dy = rng.integers(-3, 4, y.shape).astype("f")
    _, dw, _ = ctx.ops.backward(ctx.device.put(dy), record)
    assert np.array_equal(dw, exact_results(x, w, dy, Window((2, 2)))[2])


@given(st.integers(0, 1 << 26), st.integers(1, 1 << 24), st.sampled_from([1, 2, 4, 8]))
def test_parts_cover_all_rows(count: int, width: int, pack: int) -> None:
    width *= pack
    launch, number, rows = place_parts(count, width, pack)
    launch.check(256)
    assert number * rows >= count > (number - 1) * rows or number == count == 0
    assert launch.grid[1] == number
    assert (
        (launch.grid[0] - 1) * launch.block[0] < width // pack <= launch.grid[0] * launch.block[0]
    )
    assert number * width <= max(geometry.PART_SUMS, width)
    assert place_parts(count, width, 1)[1:] == (number, rows)  # the shape alone decides


def test_nan_is_not_hidden(ctx: Context) -> None:
    x, w = np.zeros((1, 4, 4, 4), "f"), np.ones((3, 3, 1, 4), "f")
    x[0, 1, 2, 3] = np.nan
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    y, record = ctx.ops.conv2d(ctx.device.put(x), ctx.device.put(w), None, window, groups=4)
    assert np.isnan(y[..., 3]).sum() == 9
    assert np.isfinite(y[..., :3]).all()
    dy = np.zeros_like(y)
    dy[0, 0, 0, 2] = np.nan
    dx, dw, _ = ctx.ops.backward(ctx.device.put(dy), record)
    assert np.isnan(dx[..., 2]).sum() == 4
    assert np.isnan(dw[..., 2]).sum() == 4
    assert np.isnan(dw[..., 3]).all()
    assert np.isfinite(dx[..., [0, 1, 3]]).all()


@pytest.mark.parametrize("multiplier", [1, 2])
def test_no_images(ctx: Context, multiplier: int) -> None:
    x = ctx.device.put(np.zeros((0, 4, 4, 4), "f"))
    w = ctx.device.put(np.ones((3, 3, 1, 4 * multiplier), "f"))
    y, record = ctx.ops.conv2d(x, w, None, Window((3, 3)), groups=4)
    dx, dw, db = ctx.ops.backward(y, record)
    assert y.shape == (0, 2, 2, 4 * multiplier)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    assert not dw.any()
    assert db is None


def test_without_input_gradient_there_is_none(device: EmulatedCudaDevice) -> None:
    ctx = Context(device, grad=True, input_gradient=False)
    x, w = device.put(np.ones((2, 5, 5, 4), "f")), device.put(np.ones((3, 3, 1, 4), "f"))
    y, record = ctx.ops.conv2d(x, w, device.put(np.ones(4, "f")), Window((3, 3)), groups=4)
    dx, dw, db = ctx.ops.backward(device.put(np.ones_like(y)), record)
    assert dx is None
    assert (dw == 18).all()
    assert (db == 18).all()


# Arrays of more than 2^31 elements: the first channels of very many.

FAR = 1 << 21  # channels
ROWS = 1100


@pytest.mark.parametrize("wide", [False, True])
def test_pixels_beyond_2_31_elements(ctx: Context, wide: bool) -> None:
    """Kernels of one cell, in grids that cover one thread of channels."""
    kind = instance("float16", wide)
    shape = (ROWS, 1, 2, FAR)
    shared = {"vectors": FAR // kind[1], "multiplier": 1, **window_arguments(Window((1, 1)), shape)}
    source, target = sparse(shape, "float16"), sparse(shape, "float16")
    assert source.size > 1 << 31
    source[..., : kind[1]] = np.arange(2 * ROWS).reshape(ROWS, 1, 2, 1) % 100
    weights = sparse((1, 1, 1, FAR), "float16")
    weights[..., : kind[1]] = 2
    launch = Launch((ROWS, 1, 1), (1, 2, 1))
    for kernel, images in ((depthwise_forward, "xy"), (depthwise_input_gradient, ("dy", "dx"))):
        named = dict(zip(images, (source, target), strict=True))
        kernel(ctx, launch, kind, weights=weights, **named, **shared)
        assert np.array_equal(target[..., : kind[1]], 2 * source[..., : kind[1]])
        assert not target[..., kind[1] : 2 * kind[1]].any()
        target[..., : kind[1]] = 0


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_sums_beyond_2_31_elements(ctx: Context, wide: bool, dtype: str) -> None:
    """Parts of one row each, so that the parts lie far away too."""
    kind = instance(dtype, wide)
    shape = (ROWS, 1, 2, FAR)
    x, dy = sparse(shape, dtype), sparse(shape, dtype)
    x[..., : kind[1]] = np.arange(2 * ROWS).reshape(ROWS, 1, 2, 1) % 100
    dy[..., : kind[1]] = 3
    parts = sparse((ROWS, FAR), accumulator_of(dtype))
    depthwise_weight_gradient(
        ctx, Launch((1, ROWS, 1), (1, 1, 1)), kind,
        x=x, dy=dy, parts=parts, rows=ROWS, part_rows=1, vectors=FAR // kind[1], multiplier=1,
        **window_arguments(Window((1, 1)), shape),
    )  # fmt: skip
    assert np.array_equal(parts[:, : kind[1]], 3 * exactly(x[..., : kind[1]]).sum((1, 2)))
    assert not parts[:, kind[1] : 2 * kind[1]].any()
