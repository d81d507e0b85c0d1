"""How convolutions are cut into launches, and arrays of more elements than 32 bits count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from convolution_cases import instance
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sparse import sparse

from cpcnn.core.context import Context
from cpcnn.core.window import Window
from cpcnn.devices.cuda import columns, convolution
from cpcnn.devices.cuda.columns import ColumnPlan, col2im, im2col, plan_chunks
from cpcnn.devices.cuda.device import KernelDevice
from cpcnn.devices.cuda.geometry import Launch, row_tiles
from cpcnn.devices.cuda.kernel import Kernel


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
    size = 50_000
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
