"""The emulator finds planted mistakes, and computes what CUDA would."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from emulation import (
    EmulatedCudaDevice,
    EmulatedLauncher,
    EmulationError,
    guarded,
    guards,
    planted,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import DeviceError
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.devices.cuda.kernel import Kernel

IN_ORDER, REVERSED, SHUFFLED = 0, 1, 2
PLANTED = Path(__file__).with_name("planted")
BARRIERS = (
    *("reads_too_early", "writes_too_early", "diverges", "leaves_early", "asks_an_absent_lane"),
    *("is_not_in_its_mask", "splits_a_warp", "waits_for_a_lane_at_a_barrier", "sums"),
    *("uses_up_its_stack", "warp_primitives"),
)
LOOPS = (
    "writes_at",
    "reads_at",
    "divides",
    "halves",
    "numbers",
    "hides_a_barrier",
    "arithmetic",
    "atomics",
)
FLOAT = np.float32


@pytest.fixture(scope="module")
def mistakes(device: EmulatedCudaDevice) -> Iterator[SimpleNamespace]:
    """The planted kernels by name."""
    with planted(PLANTED):
        yield SimpleNamespace(
            **{name: Kernel("barriers.cu", name, [()]) for name in BARRIERS},
            **{name: Kernel("loops.cu", name, [()]) for name in LOOPS},
            reads_what_nobody_wrote=Kernel(
                "barriers.cu", "reads_what_nobody_wrote", [("float",), ("double",)]
            ),
            takes_many_types=Kernel("loops.cu", "takes_many_types", [("float",)]),
        )


def one_block(threads: int, blocks: int = 1) -> Launch:
    return Launch((blocks, 1, 1), (threads, 1, 1))


def in_order(seed: int) -> Context:
    """A context whose threads run in the order of a seed."""
    return Context(EmulatedCudaDevice(EmulatedLauncher(seed)))


def count_up(count: int) -> NDArray[Any]:
    return np.arange(count, dtype=FLOAT)


# Races


@pytest.mark.parametrize("seed", [REVERSED, SHUFFLED, 3, 4])
def test_a_missing_barrier_before_a_read_is_seen(mistakes: SimpleNamespace, seed: int) -> None:
    with guards() as g:
        x, y = g.input(count_up(64)), g.output(64, FLOAT)
        mistakes.reads_too_early(in_order(seed), one_block(64), (), x=x, y=y)
    expected = np.maximum(x - 1, 0)
    assert not np.array_equal(y, expected)
    assert np.isnan(y).any()  # the poison of shared memory


@pytest.mark.parametrize("seed", [REVERSED, SHUFFLED, 3, 4])
def test_a_missing_barrier_before_a_write_is_seen(mistakes: SimpleNamespace, seed: int) -> None:
    x, y = count_up(64), guarded(64, FLOAT)
    mistakes.writes_too_early(in_order(seed), one_block(64), (), x=x, y=y)
    assert not np.array_equal(y, np.minimum(x + 1, 63))
    assert (y == -1).any()


def test_some_orders_hide_a_race(mistakes: SimpleNamespace) -> None:
    """So that it is known why there are several."""
    x, y = count_up(64), guarded(64, FLOAT)
    mistakes.reads_too_early(in_order(IN_ORDER), one_block(64), (), x=x, y=y)
    assert np.array_equal(y, np.maximum(x - 1, 0))


# Barriers and warps


def line_of(text: str) -> list[int]:
    """The lines of the file of planted barriers that hold a text."""
    lines = (PLANTED / "barriers.cu").read_text("utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if text in line]


def test_a_divergent_barrier(ctx: Context, mistakes: SimpleNamespace) -> None:
    with pytest.raises(EmulationError, match="different places") as caught:
        mistakes.diverges(ctx, one_block(64), (), y=guarded(64, FLOAT))
    message = str(caught.value)
    assert message.startswith("diverges in barriers.cu: block (0, 0, 0): ")
    lines = {int(line) for line in re.findall(r"barriers\.cu:(\d+)", message)}
    assert len(lines) == 2
    assert lines <= set(line_of("        __syncthreads();"))


def test_threads_that_end_before_a_barrier(ctx: Context, mistakes: SimpleNamespace) -> None:
    with pytest.raises(EmulationError, match=r"40 threads wait at the barrier, 24 have ended"):
        mistakes.leaves_early(ctx, one_block(64), (), y=guarded(64, FLOAT), count=40)
    mistakes.leaves_early(ctx, one_block(64), (), y=guarded(64, FLOAT), count=64)


def test_shared_memory_is_poisoned_before_each_block(
    ctx: Context, mistakes: SimpleNamespace
) -> None:
    for c_type, dtype in (("float", FLOAT), ("double", np.float64)):
        y = np.zeros(6, dtype)
        mistakes.reads_what_nobody_wrote(ctx, one_block(64, blocks=3), (c_type,), y=y)
        assert np.isnan(y).all()


@pytest.mark.parametrize("source", [20, 31])
def test_a_shuffle_from_an_absent_lane(
    ctx: Context, mistakes: SimpleNamespace, source: int
) -> None:
    x, y = count_up(64), guarded(64, FLOAT)
    found = rf"thread \(\d+, 0, 0\): barriers.cu:\d+: reads from lane {source}, which takes no part"
    with pytest.raises(EmulationError, match=found):
        mistakes.asks_an_absent_lane(ctx, one_block(64), (), x=x, y=y, source=source)
    mistakes.asks_an_absent_lane(ctx, one_block(64), (), x=x, y=y, source=3)
    assert y[:16].tolist() == [3.0] * 16


def test_a_lane_beyond_a_short_block(ctx: Context, mistakes: SimpleNamespace) -> None:
    x, y = count_up(64), guarded(64, FLOAT)
    with pytest.raises(EmulationError, match="reads from lane 12, which takes no part"):
        mistakes.asks_an_absent_lane(ctx, one_block(10), (), x=x, y=y, source=12)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("is_not_in_its_mask", "mask 0xffff does not name the calling lane"),
        ("splits_a_warp", "warp [01] diverges"),
        ("waits_for_a_lane_at_a_barrier", "different places"),
    ],
)
def test_warps_that_do_not_agree(
    ctx: Context, mistakes: SimpleNamespace, name: str, found: str
) -> None:
    with pytest.raises(EmulationError, match=found):
        getattr(mistakes, name)(ctx, one_block(64), (), y=guarded(64, FLOAT))


def test_a_barrier_in_a_kernel_built_without(ctx: Context, mistakes: SimpleNamespace) -> None:
    found = r"thread \(3, 0, 0\): loops.cu:\d+: a barrier or warp primitive in a kernel that was"
    with pytest.raises(EmulationError, match=found):
        mistakes.hides_a_barrier(ctx, one_block(64), (), y=guarded(64, FLOAT))


@given(st.integers(0, 31), st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(0, 10**6))
def test_warp_primitives(ctx: Context, mistakes: SimpleNamespace, by: int, width: int, low: int):
    names = ("indexed", "up", "down", "crossed")
    with guards() as g:
        x = g.input((low + np.arange(64) ** 2).astype(np.int32))
        y = {name: g.output(64, np.int32) for name in names}
        votes = g.output((64, 3), np.uint32)
        mistakes.warp_primitives(ctx, one_block(64), (), x=x, votes=votes, by=by, width=width, **y)
    for thread in range(64):
        begin = thread // width * width
        sources = {
            "indexed": begin + by % width,
            "up": thread - by if thread - by >= begin else thread,
            "down": thread + by if thread + by < begin + width else thread,
            "crossed": thread ^ by if thread ^ by < begin + width else thread,
        }
        assert {name: x[source] for name, source in sources.items()} == {
            name: array[thread] for name, array in y.items()
        }
        odd = x[thread // 32 * 32 :][:32] % 2
        ballot = sum(int(bit) << lane for lane, bit in enumerate(odd))
        assert votes[thread].tolist() == [ballot, odd.any(), odd.all()]


@pytest.mark.parametrize("seed", range(5))
def test_a_block_sum_in_every_order(mistakes: SimpleNamespace, seed: int) -> None:
    x = np.arange(192.0)
    y = guarded(3, np.float64)
    mistakes.sums(in_order(seed), one_block(64, blocks=3), (), x=x, y=y)
    assert y.tolist() == x.reshape(3, 64).sum(1).tolist()


# Memory


@pytest.mark.parametrize("place", [-1, -64, 8, 71])
def test_a_write_beside_an_array(ctx: Context, mistakes: SimpleNamespace, place: int) -> None:
    where = "before" if place < 0 else "behind"
    with pytest.raises(EmulationError, match=f"wrote outside of y: 4 bytes {where} it"):
        mistakes.writes_at(ctx, one_block(1), (), y=guarded(8, FLOAT), place=place)
    mistakes.writes_at(ctx, one_block(1), (), y=guarded(8, FLOAT), place=7)


@pytest.mark.parametrize("place", [-1, 8])
def test_a_read_beside_an_array_gives_nan(
    ctx: Context, mistakes: SimpleNamespace, place: int
) -> None:
    with guards() as g:
        x, y = g.input(count_up(8)), g.output(1, FLOAT)
        mistakes.reads_at(ctx, one_block(1), (), x=x, y=y, place=place)
    assert np.isnan(y[0])


def test_guards_find_a_changed_input_and_a_broken_band() -> None:
    with pytest.raises(AssertionError, match="an input"), guards() as g:
        g.input(count_up(4))[2] = 0
    with pytest.raises(AssertionError, match="array 0"), guards() as g:
        g.output(4, FLOAT).base[0] = 0
    with guards(shift=1) as g:
        assert g.output((2, 3), FLOAT).ctypes.data % 16 == 4


def test_a_crash_is_an_error_of_the_launch(ctx: Context, mistakes: SimpleNamespace) -> None:
    """And the process, this thread's signal handlers and the emulator live on."""
    for _ in range(2):
        with pytest.raises(EmulationError, match=r"thread \(0, 0, 0\): an access to address"):
            mistakes.writes_at(ctx, one_block(1), (), y=guarded(8, FLOAT), place=2**31 - 1)
        with pytest.raises(EmulationError, match=r"thread \(5, 0, 0\): integer division by zero"):
            mistakes.divides(ctx, one_block(32), (), y=guarded(64, np.int32), divisor=5)
        with pytest.raises(EmulationError, match="an access to address"):
            mistakes.uses_up_its_stack(ctx, one_block(64), (), y=guarded(64, np.int32))
    mistakes.writes_at(ctx, one_block(1), (), y=guarded(8, FLOAT), place=7)


# Arguments


def many_values() -> list[Any]:
    return [
        *(np.array([1], np.int32), guarded(1, FLOAT), np.uint8(2), np.uint32(3), np.int64(4)),
        *(np.uint64(5), np.float64(6), np.bool_(True), np.array([7], np.float16)),
        np.array([8], ml_dtypes.bfloat16),
    ]


def test_arguments_arrive(launcher: EmulatedLauncher, mistakes: SimpleNamespace) -> None:
    values = many_values()
    launcher.run(mistakes.takes_many_types, ("float",), one_block(1), values)
    assert values[1].tolist() == [37.0]


@pytest.mark.parametrize(
    ("place", "value", "found"),
    [
        (0, np.array([1], FLOAT), r"const int\* as argument 0, not float\*"),
        (0, np.array([1], np.int64), r"const int\* as argument 0, not long long\*"),
        (1, np.float32(1), r"float\* as argument 1, not float"),
        (2, np.int32(2), "unsigned char as argument 2, not int"),
        (3, np.int32(3), "unsigned int as argument 3, not int"),
        (4, np.int32(4), "long long as argument 4, not int"),
        (5, np.int64(4), "unsigned long long as argument 5, not long long"),
        (6, np.float32(6), "double as argument 6, not float"),
        (6, None, "double as argument 6, not nullptr"),
        (7, np.uint8(6), "bool as argument 7, not unsigned char"),
        (8, np.array([1], ml_dtypes.bfloat16), r"__half\* as argument 8, not __nv_bfloat16\*"),
        (9, np.array([1], np.int16), r"const __nv_bfloat16\* as argument 9, not int16\*"),
    ],
)
def test_wrong_types_are_refused(
    launcher: EmulatedLauncher, mistakes: SimpleNamespace, place: int, value: Any, found: str
) -> None:
    values = many_values()
    values[place] = value
    with pytest.raises(EmulationError, match=f"takes {found}$"):
        launcher.run(mistakes.takes_many_types, ("float",), one_block(1), values)


def test_a_missing_argument(launcher: EmulatedLauncher, mistakes: SimpleNamespace) -> None:
    with pytest.raises(EmulationError, match="takes 10 arguments, not 9"):
        launcher.run(mistakes.takes_many_types, ("float",), one_block(1), many_values()[1:])


def test_an_array_of_another_device(launcher: EmulatedLauncher) -> None:
    with pytest.raises(DeviceError, match="takes NumPy arrays, not list"):
        launcher.address([1.0])


def test_launches_are_counted(mistakes: SimpleNamespace) -> None:
    launcher = EmulatedLauncher()
    for _ in range(3):
        launcher.run(mistakes.takes_many_types, ("float",), one_block(1), many_values())
    assert launcher.launched == {("takes_many_types", ("float",)): 3}


# Order of execution


@given(st.tuples(*[st.integers(1, 4)] * 3), st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 20))
def test_every_thread_runs_once(
    mistakes: SimpleNamespace, grid: Any, block: Any, seed: int
) -> None:
    blocks, threads = math.prod(grid), math.prod(block)
    y = guarded((blocks, threads), np.int32)
    counter = np.zeros(1, np.int32)
    mistakes.numbers(in_order(seed), Launch(grid, block), (), counter=counter, y=y)
    assert np.array_equal(np.sort(y, axis=None), np.arange(blocks * threads))
    if seed == IN_ORDER:
        assert np.array_equal(y.ravel(), np.arange(y.size))
    if seed == REVERSED:
        assert np.array_equal(y.ravel(), np.arange(y.size)[::-1])


def test_orders_are_shuffled(mistakes: SimpleNamespace) -> None:
    orders = []
    for seed in (2, 3, 4, 2):
        y = guarded((7, 64), np.int32)
        counter = np.zeros(1, np.int32)
        mistakes.numbers(in_order(seed), one_block(64, blocks=7), (), counter=counter, y=y)
        orders.append(y.tolist())
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    in_blocks = np.argsort(orders[0], axis=1)
    assert len({tuple(block) for block in in_blocks}) == 7


# Arithmetic


@given(st.floats(0, width=32), st.floats(width=32))
def test_arithmetic(ctx: Context, mistakes: SimpleNamespace, x: float, y: float) -> None:
    a, b = np.array([x], FLOAT), np.array([y], FLOAT)
    with guards() as g:
        floats, doubles = g.output(6, FLOAT), g.output(3, np.float64)
        words = g.output(5, np.uint32)
        mistakes.arithmetic(
            ctx, one_block(1), (), a=a, b=b, floats=floats, doubles=doubles, words=words
        )
    with np.errstate(all="ignore"):
        roots = [(1 / np.sqrt(a))[0]] * 2
        # unlike NumPy's minimum, CUDA's prefers a number to NaN
        expected = [np.fmin(x, y), np.fmax(x, y), *roots, np.exp(a)[0], np.log(a)[0]]
        np.testing.assert_allclose(floats, np.array(expected, FLOAT), rtol=1e-6)
        wide = [1 / np.sqrt(np.float64(a[0])), np.fmin(x, y), np.fmax(x, y)]
    np.testing.assert_allclose(doubles, wide, rtol=1e-12)
    first, second = int(a.view(np.uint32)[0]), int(b.view(np.uint32)[0])
    high = first * second >> 32
    assert words.tolist() == [first, second, high, min(first, second), max(first, second)]


def test_atomics_return_what_was_there(mistakes: SimpleNamespace) -> None:
    x = np.array([5, 1, 7, 3], np.int32)
    total, most, wide = np.zeros(1, np.int32), np.zeros(1, np.uint32), np.zeros(1)
    before = guarded((4, 2), np.int32)
    mistakes.atomics(
        in_order(IN_ORDER), one_block(4), (), x=x, sum=total, most=most, wide=wide, before=before
    )
    assert before.tolist() == [[0, 0], [5, 5], [6, 5], [13, 7]]
    assert (total[0], most[0], wide[0]) == (16, 7, 8.0)


# Types of 16 bits


def convert(ctx: Context, mistakes: SimpleNamespace, x: NDArray[Any]) -> tuple[Any, ...]:
    with guards() as g:
        half, brain = g.output(x.size, np.float16), g.output(x.size, ml_dtypes.bfloat16)
        from_half, from_brain = g.output(x.size, FLOAT), g.output(x.size, FLOAT)
        mistakes.halves(
            ctx,
            one_block(256, blocks=2),
            (),
            x=g.input(x),
            half=half,
            brain=brain,
            from_half=from_half,
            from_brain=from_brain,
            count=x.size,
        )
    return half, brain, from_half, from_brain


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether all bits agree, except those of a NaN."""
    nan = np.isnan(expected.astype(FLOAT))
    bits = f"u{found.dtype.itemsize}"
    agree = found.view(bits) == expected.view(bits)
    return bool(np.array_equal(np.isnan(found.astype(FLOAT)), nan) and agree[~nan].all())


def test_all_values_of_16_bits(ctx: Context, mistakes: SimpleNamespace) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    *_, from_half, from_brain = convert(ctx, mistakes, np.zeros(2**16, FLOAT))
    with np.errstate(invalid="ignore"):
        assert same(from_half, bits.view(np.float16).astype(FLOAT))
        assert same(from_brain, bits.view(ml_dtypes.bfloat16).astype(FLOAT))


def test_rounding_to_16_bits(ctx: Context, mistakes: SimpleNamespace) -> None:
    generator = np.random.default_rng(0)
    anything = generator.integers(0, 2**32, 50_000, dtype=np.uint32).view(FLOAT)
    bits = np.arange(2**16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        values = np.concatenate(
            [bits.view(t).astype(FLOAT) for t in (np.float16, ml_dtypes.bfloat16)]
        )
        # halfway between neighbours, and one float beside that
        halfway = (values[:-1] + values[1:]) / 2
        beside = [np.nextafter(halfway, FLOAT(sign * np.inf)) for sign in (-1, 1)]
        near_half = generator.uniform(-1e-4, 1e-4, 50_000).astype(FLOAT)
        x = np.concatenate([anything, values, halfway, *beside, near_half])
        half, brain, *_ = convert(ctx, mistakes, x)
        assert same(half, x.astype(np.float16))
        assert same(brain, x.astype(ml_dtypes.bfloat16))
