"""What a kernel's source says of it, and which launches it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.devices.cuda import kernel as kernels
from cpcnn.devices.cuda.element_types import full_vector, is_floating
from cpcnn.devices.cuda.geometry import Launch, linear, rows, tiles, warps
from cpcnn.devices.cuda.kernel import Kernel, LaunchError, contiguous, vector_width, vectorised

SOURCE = """
#include "shared.cuh"
#include "shared.cuh"

// A comment with a parenthesis ( and __global__ in it.
template <typename T, int VEC>
__global__ void __launch_bounds__(128, 4) move(
    const T* __restrict__ x, T* __restrict__ y, const Accumulator<T>* __restrict__ sums,  // or null
    const unsigned char* bytes, unsigned long long count,
    int width, Accumulator<T> factor /* of x */) {
    body(count, width);
}

__global__ void __launch_bounds__(256) plain(float* y) {}
__global__ void __launch_bounds__(256) odd(float* y, short count) {}
"""


class Recorder:
    """A launcher on NumPy arrays that only notes what it is asked."""

    def __init__(self) -> None:
        self.launches: list[tuple[Any, ...]] = []

    def address(self, array: Any) -> int:
        return int(array.ctypes.data)

    def run(self, *launch: Any) -> None:
        self.launches.append(launch)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "moves.cu").write_text(SOURCE)
    (tmp_path / "shared.cuh").write_text("// shared\n")
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    monkeypatch.setattr(Kernel, "known", [])
    kernels.read_source.cache_clear()
    yield tmp_path
    kernels.read_source.cache_clear()


@pytest.fixture
def move() -> Kernel:
    return Kernel("moves.cu", "move", vectorised())


@pytest.fixture
def ctx() -> Any:
    return SimpleNamespace(device=SimpleNamespace(launcher=Recorder()), xp=np)


def arguments(**changes: Any) -> dict[str, Any]:
    """Arguments of `move<float, 4>` that fit."""
    buffer = np.zeros(64, np.float32)
    start = -buffer.ctypes.data % 16 // 4
    return {
        "x": buffer[start : start + 16],
        "y": np.zeros(36, np.float32)[:32],
        "sums": None,
        "bytes": np.zeros(3, np.uint8),
        "count": 16,
        "width": 4,
        "factor": 0.5,
    } | changes


def aligned(count: int, dtype: Any = np.float32, off: int = 0) -> Any:
    """An array that begins `off` elements behind a multiple of 64 bytes."""
    buffer = np.zeros(count + 128, dtype)
    start = -buffer.ctypes.data % 64 // buffer.itemsize + off
    return buffer[start : start + count]


# ---- Reading the source ----------------------------------------------------------------------


def test_headers_are_written_out_once(move: Kernel) -> None:
    assert move.source.count("// shared") == 1
    assert "#include" not in move.source


def test_the_declaration_is_read_from_the_source(move: Kernel) -> None:
    assert move.template == ("T", "VEC")
    assert move.max_threads == 128
    assert [p.name for p in move.parameters] == [
        "x",
        "y",
        "sums",
        "bytes",
        "count",
        "width",
        "factor",
    ]
    assert [p.pointer for p in move.parameters] == [True] * 4 + [False] * 3
    assert [p.name for p in move.parameters if p.optional] == ["sums"]


def test_a_kernel_without_a_template() -> None:
    plain = Kernel("moves.cu", "plain", [()])
    assert plain.template == ()
    assert plain.expression(()) == "plain"
    assert plain.max_threads == 256


def test_names_of_instances(move: Kernel) -> None:
    assert move.expression(("__half", 8)) == "move<__half, 8>"
    assert vectorised(["float", "double", "__half"]) == [
        ("float", 1), ("float", 4), ("double", 1), ("double", 2), ("__half", 1), ("__half", 8),
    ]  # fmt: skip
    assert full_vector("__nv_bfloat16") == 8


def test_types_follow_the_instance(move: Kernel) -> None:
    def dtypes(instance: Any) -> list[str]:
        return [parameter.dtype for parameter in move._resolve(instance)[0]]

    assert dtypes(("__half", 8)) == [
        "float16", "float16", "float32", "uint8", "uint64", "int32", "float32",
    ]  # fmt: skip
    assert dtypes(("double", 1))[1:3] == ["float64", "float64"]
    assert dtypes(("double", 1))[6] == "float64"


def test_an_unknown_kernel_is_an_error() -> None:
    with pytest.raises(LaunchError, match=r"moves\.cu declares no kernel mov"):
        _ = Kernel("moves.cu", "mov", [()]).parameters


def test_a_type_without_a_dtype_is_an_error(ctx: Any) -> None:
    odd = Kernel("moves.cu", "odd", [()])
    with pytest.raises(LaunchError, match="count is of a type that cannot be passed: short"):
        odd(ctx, linear(1), (), y=aligned(4), count=1)


# ---- Launching -------------------------------------------------------------------------------


def test_a_launch_that_fits(move: Kernel, ctx: Any) -> None:
    given = arguments(y=aligned(32))
    move(ctx, linear(100, 128), ("float", 4), **given)
    ((kernel, instance, launch, values),) = ctx.device.launcher.launches
    assert kernel is move
    assert instance == ("float", 4)
    assert launch == Launch((1, 1, 1), (128, 1, 1))
    assert values[0] is given["x"]
    assert values[2] is None
    assert [type(value) for value in values[4:]] == [np.uint64, np.int32, np.float32]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": np.zeros(16)}, "takes float32 in x, not float64"),
        ({"x": aligned(32)[::2]}, "takes a contiguous x; its strides are"),
        ({"x": aligned(16, off=1)}, "takes x aligned to 16 bytes"),
        ({"x": None}, "needs an array x"),
        ({"x": 5}, "takes an array x, not int"),
        ({"sums": np.zeros(4)}, "takes float32 in sums, not float64"),
        ({"bytes": np.zeros(3, np.int8)}, "takes uint8 in bytes, not int8"),
        ({"width": 2**31}, "width = 2147483648 is out of the range of int32"),
        ({"count": -1}, "count = -1 is out of the range of uint64"),
        ({"width": 1.5}, "takes int32 for width, not 1.5"),
        ({"width": True}, "takes int32 for width, not True"),
        ({"factor": "1"}, "takes float32 for factor, not '1'"),
        ({"factor": None}, "takes float32 for factor, not None"),
        ({"wide": 4}, "check wide"),
    ],
)
def test_a_launch_that_does_not_fit(
    move: Kernel, ctx: Any, changes: dict[str, Any], words: str
) -> None:
    given = arguments(y=aligned(32), **changes) if "y" not in changes else arguments(**changes)
    with pytest.raises(LaunchError, match=rf"move<float, 4> in moves\.cu: .*{words}"):
        move(ctx, linear(100, 128), ("float", 4), **given)
    assert ctx.device.launcher.launches == []


def test_a_missing_argument_is_named(move: Kernel, ctx: Any) -> None:
    given = arguments(y=aligned(32))
    del given["width"]
    with pytest.raises(LaunchError, match="check width"):
        move(ctx, linear(100, 128), ("float", 4), **given)


def test_an_instance_that_nobody_compiles(move: Kernel, ctx: Any) -> None:
    with pytest.raises(LaunchError, match=r"move<float, 2>.*none of the instances"):
        move(ctx, linear(1, 128), ("float", 2), **arguments())


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        (Launch((1, 1, 1), (256, 1, 1)), "256 threads in a block of at most 128"),
        (Launch((1, 1, 1), (0, 1, 1)), "0 threads"),
        (Launch((2**31, 1, 1), (32, 1, 1)), "blocks along x"),
        (Launch((1, 65536, 1), (32, 1, 1)), "65536 blocks along y"),
        (Launch((1, 1, 65536), (32, 1, 1)), "along z"),
    ],
)
def test_a_geometry_over_the_limits(move: Kernel, ctx: Any, launch: Launch, words: str) -> None:
    with pytest.raises(LaunchError, match=rf"move<float, 4>.*{words}"):
        move(ctx, launch, ("float", 4), **arguments(y=aligned(32)))


def test_nothing_to_do_launches_nothing(move: Kernel, ctx: Any) -> None:
    move(ctx, linear(0, 128), ("float", 4), **arguments(y=aligned(32)))
    assert ctx.device.launcher.launches == []


# ---- Choosing --------------------------------------------------------------------------------


def test_the_widest_load_that_is_legal(ctx: Any) -> None:
    assert vector_width(ctx, 8, aligned(32)) == 4
    assert vector_width(ctx, 8, aligned(32), None) == 4
    assert vector_width(ctx, 6, aligned(32)) == 1
    assert vector_width(ctx, 8, aligned(32), aligned(32, off=1)) == 1
    assert vector_width(ctx, 8, aligned(32, np.float16)) == 8
    assert vector_width(ctx, 4, aligned(32, np.float16)) == 1
    assert vector_width(ctx, 8, aligned(32, ml_dtypes.bfloat16)) == 8
    assert vector_width(ctx, 8, aligned(32, np.float64)) == 2


def test_types_that_kernels_compute_in() -> None:
    one, half = np.zeros(1, np.float32), np.zeros(1, ml_dtypes.bfloat16)
    assert is_floating(one, one)
    assert is_floating(half)
    assert not is_floating(one, half)
    assert not is_floating(np.zeros(1, np.int32))


def test_contiguous_copies_only_what_has_gaps(ctx: Context) -> None:
    array = aligned(32)
    assert contiguous(ctx, array) is array
    copied = contiguous(ctx, array[::2])
    assert copied.flags.c_contiguous
    assert copied.shape == (16,)


# ---- Geometry --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1 << 24, (1 << 24) + 1, 1 << 40])
def test_linear_covers_everything(count: int) -> None:
    launch = linear(count)
    launch.check(256)
    threads = launch.grid[0] * launch.block[0]
    assert threads >= min(count, 1 << 24)  # beyond that each thread takes several


@pytest.mark.parametrize("width", [1, 3, 27, 144, 256, 4000])
@pytest.mark.parametrize("height", [1, 4, 32, 1000])
def test_rows_fill_blocks(width: int, height: int) -> None:
    launch = rows(7, width, height)
    launch.check(256)
    x, y, _ = launch.block
    assert launch.grid == (7, 1, 1)
    assert x == min(width, 256)
    assert y <= height
    assert (x * (y + 1) > 256) or y == height  # as many as fit, or as there are


def test_warps_and_tiles() -> None:
    assert warps(17) == Launch((3, 1, 1), (32, 8, 1))
    assert tiles(5, 33) == Launch((5, 2, 1), (32, 8, 1))
    for launch in (rows(0, 4), warps(0), tiles(0, 8), linear(0)):
        assert launch.grid[0] == 0
        launch.check(256)
