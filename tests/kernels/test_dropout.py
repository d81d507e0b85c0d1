"""Dropout: `dropout.cu` and `philox.cuh` on their own source, against the definition."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, guards, planted
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, dtypes, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.core.random import MASK, Philox
from cpcnn.devices import get_device
from cpcnn.devices.cuda import dropout as ours
from cpcnn.devices.cuda import geometry
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.devices.cuda.geometry import Launch, linear
from cpcnn.devices.cuda.kernel import FOLDER, Kernel
from cpcnn.ops.dropout import Dropout
from cpcnn.testing import check_op

words64 = st.integers(0, 2**64 - 1)
streams = st.builds(
    Philox, words64, st.sampled_from(["dropout/a", "dropout/b"]), st.integers(0, 2**40)
)
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)
rates = st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.75, 0.999, 1 - 1e-12, 1.0])

DRAW_WORDS = """#include "philox.cuh"

__global__ void __launch_bounds__(256) draw_words(
    const unsigned long long* index, unsigned int* words, int count, unsigned int epoch,
    unsigned int stream, unsigned int key_0, unsigned int key_1) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const Words drawn = philox(index[i], epoch, stream, key_0, key_1);
        for (int k = 0; k < 4; k++) words[4 * i + k] = drawn.values[k];
    }
}
"""


def test_every_counter_gives_the_words_of_core(ctx: Context, tmp_path: Path) -> None:
    """Of 64 bits, so far beyond the elements that a test can have."""
    (tmp_path / "draw_words.cu").write_text(DRAW_WORDS, "utf-8")
    shutil.copy(FOLDER / "philox.cuh", tmp_path)
    with planted(tmp_path):
        draw_words = Kernel("draw_words.cu", "draw_words", [()])

        @given(st.lists(words64, min_size=1, max_size=20), streams)
        def check(numbers: list[int], rng: Philox) -> None:
            index = np.array(numbers, np.uint64)
            with guards() as g:
                words = g.output((index.size, 4), "uint32")
                draw_words(
                    ctx, Launch((1, 1, 1), (7, 1, 1)), (), index=g.input(index), words=words,
                    count=index.size, epoch=rng.epoch & MASK, stream=rng.stream_word,
                    key_0=rng.key[0], key_1=rng.key[1],
                )  # fmt: skip
            assert np.array_equal(words, np.stack(rng.words_on(np, index), axis=-1))

        check()


def dropped(x: NDArray[Any], rate: float, rng: Philox) -> NDArray[Any]:
    """The definition, rounded once from the type that kernels compute in."""
    reference = Context(get_device("numpy"), training=True, grad=True)
    _, (kept, scale) = Dropout.forward(reference, np.ones(x.shape), rate, rng)
    wide = x.astype(accumulator_of(x.dtype))
    with np.errstate(all="ignore"):
        return np.where(kept, wide * wide.dtype.type(scale), 0).astype(x.dtype)


def assert_same_bits(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@given(shapes, dtypes, rates, streams, st.sampled_from([0, 1]), seeds)
def test_forward_and_backward(
    ctx: Context, shape: Any, dtype: Any, rate: float, rng: Philox, shift: int, seed: int
) -> None:
    numbers = np.random.default_rng(seed)
    with guards(shift) as g:
        x, dy = (g.input(normal(numbers, shape, dtype)) for _ in range(2))
        y, record = ctx.ops.dropout(x, rate, rng)
        dx = ctx.ops.backward(dy, record)
    assert_same_bits(y, dropped(x, rate, rng))
    assert_same_bits(dx, dropped(dy, rate, rng))


@given(st.integers(1, 90), dtypes, streams, st.integers(1, 3), st.integers(1, 9), seeds)
def test_any_geometry_gives_the_same(
    ctx: Context, size: int, dtype: Any, rng: Philox, blocks: int, threads: int, seed: int
) -> None:
    """Threads step on through groups; any length is taken, one element or a pack at a time."""
    values = normal(np.random.default_rng(seed), size, dtype)
    c_type = C_TYPES[str(dtype)]
    for vec in (1, full_vector(c_type)):
        with guards() as g:
            y = g.output(size, dtype)
            ours.dropout(
                ctx, Launch((blocks, 1, 1), (threads, 1, 1)), (c_type, vec), x=g.input(values),
                y=y, size=size, threshold=2**31, scale=2.0, epoch=rng.epoch & MASK,
                stream=rng.stream_word, key_0=rng.key[0], key_1=rng.key[1],
            )  # fmt: skip
        assert_same_bits(y, dropped(values, 0.5, rng))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_kept_keeps_nan_and_what_is_dropped_is_zero(ctx: Context, dtype: Any) -> None:
    x = np.resize([np.nan, np.inf, -np.inf, -1.0], 400).astype(dtype)
    rng = Philox(3, "dropout/x")
    y, _ = ctx.ops.dropout(x, 0.5, rng)
    kept = dropped(np.ones(400), 0.5, rng) != 0
    assert 100 < kept.sum() < 300
    wide = exactly(y)
    assert np.array_equal(wide[kept], 2 * exactly(x)[kept], equal_nan=True)
    assert not wide[~kept].any()
    assert not np.signbit(wide[~kept]).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_ends_of_the_rate(ctx: Context, dtype: Any) -> None:
    """At 0 everything is kept, at 1 nothing, not even a word of 2**32 - 1 or a NaN."""
    x = np.resize([1.5, np.nan, -2.0], 37).astype(dtype)
    rng = Philox(0, "dropout/x")
    np.testing.assert_array_equal(exactly(ctx.ops.dropout(x, 0.0, rng)[0]), exactly(x))
    assert_same_bits(ctx.ops.dropout(x, 1.0, rng)[0], np.zeros_like(x))


@given(streams, st.integers(0, 40), dtypes)
def test_a_word_at_the_threshold_is_kept(
    ctx: Context, rng: Philox, element: int, dtype: Any
) -> None:
    word = int(rng.words(np.array([element // 4]))[0, element % 4])
    x = np.ones(41, dtype)
    for threshold, kept in ((word, True), (word + 1, False)):
        y, _ = ctx.ops.dropout(x, threshold / 2**32, rng)
        assert (float(y[element]) != 0) == (kept and threshold < 2**32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 5, 1024, 5000])
def test_what_is_launched(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, size: int, dtype: Any
) -> None:
    """A thread for each group of elements; at rate 1 a threshold that no word reaches."""
    calls: list[Any] = []
    monkeypatch.setattr(ours, "dropout", lambda *args, **named: calls.append((args, named)))
    ctx.ops.dropout(np.ones(size, dtype), 1.0, Philox(0, "dropout/x"))
    ((_, launch, (_, vec)), named) = calls[0]
    assert named["threshold"] == 2**32
    group = max(vec, ours.WORDS) * launch.block[0]
    assert (launch.grid[0] - 1) * group < size <= launch.grid[0] * group


def test_no_mask_is_kept(ctx: Context) -> None:
    x, rng = np.ones((4, 5), "float32"), Philox(1, "dropout/x")
    assert ctx.ops.dropout(x, 0.25, rng)[1].saved == (0.25, rng)


def test_integers_are_left_to_the_definition(ctx: Context) -> None:
    assert not ours.CountedDropout.supports(ctx, np.ones(3, "int32"), 0.5, Philox(0, "x"))


@pytest.mark.parametrize("shape", [(7,), (0, 4), (1, 8), (3, 5, 4, 2)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_the_contract_of_ops(device: EmulatedCudaDevice, shape: Any, rate: float) -> None:
    x = normal(np.random.default_rng(0), shape, "float64")
    check_op(device, "dropout", x, rate, Philox(2, "dropout/x", 7), dtypes=tuple(map(str, DTYPES)))


@given(st.integers(1, 2**45), st.sampled_from([1, 2, 4, 8]))
def test_geometry_of_huge_arrays(size: int, vec: int) -> None:
    launch = linear(math.ceil(size / max(vec, ours.WORDS)))
    launch.check(geometry.THREADS)
    assert launch.grid[0] >= 1
