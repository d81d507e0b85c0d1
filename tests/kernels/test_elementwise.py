"""Activations and biases: `activation.cu`, `unfused_activation.cu` and `softmax.cu`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, guards
from hypothesis import given
from hypothesis import strategies as st
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.devices.cuda import elementwise, geometry
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.devices.cuda.elementwise import CODES, SOFTMAX, UNFUSED, finish, gradient_before
from cpcnn.devices.cuda.geometry import LIMITS, Launch, linear, sweep, warps
from cpcnn.ops.activations import (
    ACTIVATIONS,
    Activation,
    Function,
    activate,
    get_activation,
    keeps_input,
    leaky_relu,
)
from cpcnn.testing import check_op

NAMES = tuple(ACTIVATIONS)
FUSED = [name for name in NAMES if not keeps_input(name)]
activations = st.sampled_from(NAMES)
leading = st.lists(st.integers(0, 5), max_size=3).map(tuple)
channels = st.sampled_from([1, 2, 3, 4, 8, 9, 16, 24, 33, 64, 100, 257, 520])
shapes = st.builds(lambda sizes, last: (*sizes, last), leading, channels)
misalignments = st.sampled_from([0, 1])


def forward(name: str | None, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return get_activation(name).forward(np, x)


def kept(name: str | None, x: Any) -> Any:
    """What the gradient of an activation needs, rounded as a device would keep it."""
    with np.errstate(all="ignore"):
        return activate(np, exactly(x), name)[1].astype(x.dtype)


def backward(name: str, dy: Any, kept: Any) -> Any:
    with np.errstate(all="ignore"):
        return get_activation(name).backward(np, exactly(dy), exactly(kept))


def steps_of(name: str | None, x: Any) -> float:
    """Roundings in an activation: an absolute error of an exponent is a relative one of its power.

    Exponents of softmax and of its like are as large as x, those of the tails of GELU as x³.
    """
    largest = float(np.abs(exactly(x)).max(initial=0))
    return 16 + (4 * largest**3 if "gelu" in str(name) else 2 * largest)


def widest(dtype: Any) -> list[int]:
    """The VEC instances of a type."""
    return [1, full_vector(C_TYPES[str(dtype)])]


def test_every_activation_has_a_number() -> None:
    """A new one in ops/activations.py needs a case in unfused_activation.cu."""
    assert {*CODES, *UNFUSED, *SOFTMAX} == ACTIVATIONS.keys()
    assert len(CODES) + len(UNFUSED) + len(SOFTMAX) == len(ACTIVATIONS)
    assert sorted(CODES.values()) == list(range(len(CODES)))
    assert sorted(UNFUSED.values()) == list(range(1, len(UNFUSED) + 1))


@given(shapes, dtypes, st.sampled_from([None, *FUSED]), st.booleans(), misalignments, seeds)
def test_finish(
    ctx: Context, shape: Any, dtype: Any, name: str | None, biased: bool, shift: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    before, vector = normal(rng, shape, dtype), normal(rng, shape[-1], dtype)
    with guards(shift) as g:
        y = g.inout(before)
        bias = g.input(vector) if biased else None
        finish(ctx, y, bias, name)
    wide = accumulator_of(dtype)
    if name in SOFTMAX or name in UNFUSED:  # it reads what the bias left
        left = (before.astype(wide) + vector.astype(wide)).astype(dtype) if biased else before
        exact = forward(name, exactly(left))
        # the logarithm is a difference of numbers as large as its terms
        size = np.abs(exact) + np.abs(exactly(left)).max(initial=0) * (name == "log_softmax")
        assert_rounded(y, exact, magnitude=size, steps=steps_of(name, left))
        return
    exact = exactly(before) + exactly(vector) if biased else exactly(before)
    size = np.abs(exactly(before)) + np.abs(exactly(vector))
    # tanh and sigmoid have slopes of at most 1, so that errors before them are not magnified
    assert_rounded(
        y, forward(name, exact), magnitude=np.maximum(size, np.abs(forward(name, exact)))
    )


@given(shapes, dtypes, activations, misalignments, seeds)
def test_forward(ctx: Context, shape: Any, dtype: Any, name: str, shift: int, seed: int) -> None:
    with guards(shift) as g:
        x = g.input(normal(np.random.default_rng(seed), shape, dtype))
        y, (_, (_, keeps)) = ctx.ops.activation(x, name)
    assert y.dtype == dtype
    assert keeps is (x if keeps_input(name) else y)
    exact = forward(name, exactly(x))
    size = np.abs(exact) + np.abs(exactly(x)).max(initial=0) * (name == "log_softmax")
    assert_rounded(y, exact, magnitude=size, steps=steps_of(name, x))


@given(shapes, dtypes, activations, misalignments, seeds)
def test_backward(ctx: Context, shape: Any, dtype: Any, name: str, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with guards(shift) as g:
        x = g.input(kept(name, normal(rng, shape, dtype)))
        dy = g.input(normal(rng, shape, dtype))
        dx = gradient_before(ctx, dy, x, name)
    assert dx.dtype == dtype
    exact = backward(name, dy, x)
    magnitude, size = np.abs(exactly(dy)), np.abs(exactly(x))
    if name == "softmax":
        magnitude = size * (magnitude + (magnitude * size).sum(-1, keepdims=True))
    elif name == "log_softmax":
        magnitude = magnitude + np.exp(exactly(x)) * magnitude.sum(-1, keepdims=True)
    elif name in UNFUSED:  # a gate's slope times x, or a slope that is the output
        magnitude = magnitude * (2 + size)
    assert_rounded(dx, exact, magnitude=magnitude, steps=40 if name in SOFTMAX else 8)


@given(
    st.integers(0, 40), st.sampled_from([1, 3, 8, 24, 40]), dtypes, st.sampled_from(list(CODES)),
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), seeds,
)  # fmt: skip
def test_any_geometry_gives_the_same(
    ctx: Context, rows: int, width: int, dtype: Any, name: str, blocks: int, x: int, y: int,
    seed: int,
) -> None:  # fmt: skip
    """Threads step on: along rows, along channels and along all elements."""
    rng = np.random.default_rng(seed)
    values, vector = normal(rng, (rows, width), dtype), normal(rng, width, dtype)
    for vec in widest(dtype):
        instance = (C_TYPES[str(dtype)], vec)
        if width % vec:
            continue
        flat = Launch((blocks, 1, 1), (x * y, 1, 1))
        size = {"packs": rows * width // vec, "activation": CODES[name]}
        with guards() as g:
            source, target = g.input(values), g.output(values.shape, dtype)
            elementwise.activation_forward(ctx, flat, instance, x=source, y=target, **size)
            assert_rounded(target, forward(name, exactly(values)), steps=8 + 2 * 6)
            slope = g.output(values.shape, dtype)
            elementwise.activation_backward(
                ctx, flat, instance, dy=source, y=g.input(target), dx=slope, **size
            )
            exact = backward(name, values, target)
            assert_rounded(slope, exact, magnitude=np.abs(exactly(values)))
            both = g.inout(values)
            elementwise.bias_activation(
                ctx, Launch((blocks, 1, 1), (x, y, 1)), instance, y=both, bias=g.input(vector),
                rows=rows, vectors=width // vec, activation=CODES[name],
            )  # fmt: skip
        exact = forward(name, exactly(values) + exactly(vector))
        size = np.abs(exactly(values)) + np.abs(exactly(vector)) + np.abs(exact)
        assert_rounded(both, exact, magnitude=size)


@given(
    st.integers(0, 999), dtypes, st.sampled_from(list(UNFUSED)),
    st.integers(1, 3), st.integers(1, 81), seeds,
)  # fmt: skip
def test_any_geometry_of_unfused_activations(
    ctx: Context, packs: int, dtype: Any, name: str, blocks: int, threads: int, seed: int
) -> None:
    """In place and not; threads step on along all elements."""
    rng = np.random.default_rng(seed)
    launch = Launch((blocks, 1, 1), (threads, 1, 1))
    size = {"packs": packs, "activation": UNFUSED[name]}
    for vec in widest(dtype):
        instance = (C_TYPES[str(dtype)], vec)
        values = normal(rng, packs * vec, dtype)
        with guards() as g:
            source, target = g.input(values), g.output(values.shape, dtype)
            elementwise.unfused_activation_forward(
                ctx, launch, instance, x=source, y=target, **size
            )
            again = g.inout(values)
            elementwise.unfused_activation_forward(ctx, launch, instance, x=again, y=again, **size)
            assert again.tobytes() == target.tobytes()
            memory, slope = g.input(kept(name, values)), g.output(values.shape, dtype)
            elementwise.unfused_activation_backward(
                ctx, launch, instance, dy=source, kept=memory, dx=slope, **size
            )
        assert_rounded(target, forward(name, exactly(values)), steps=steps_of(name, values))
        magnitude = np.abs(exactly(values)) * (2 + np.abs(exactly(memory)))
        assert_rounded(slope, backward(name, values, memory), magnitude=magnitude)


@given(
    st.integers(1, 70), st.integers(1, 200), dtypes, st.sampled_from(list(SOFTMAX)),
    st.integers(1, 8), seeds,
)  # fmt: skip
def test_softmax_of_any_width(
    ctx: Context, rows: int, columns: int, dtype: Any, name: str, per_block: int, seed: int
) -> None:
    """In place and not, forward and backward, from any number of warps in a block."""
    rng = np.random.default_rng(seed)
    instance = (C_TYPES[str(dtype)],)
    launch = warps(rows, per_block)
    size = {"rows": rows, "columns": columns, "logarithmic": SOFTMAX[name]}
    with guards() as g:
        x, y = (
            g.input(normal(rng, (rows, columns), dtype) * dtype.type(3)),
            g.output((rows, columns), dtype),
        )
        elementwise.softmax_forward(ctx, launch, instance, x=x, y=y, **size)
        again = g.inout(x)
        elementwise.softmax_forward(ctx, launch, instance, x=again, y=again, **size)
        assert again.tobytes() == y.tobytes()
        dy, dx = g.input(normal(rng, (rows, columns), dtype)), g.output((rows, columns), dtype)
        elementwise.softmax_backward(ctx, launch, instance, dy=dy, y=g.input(y), dx=dx, **size)
    exact = forward(name, exactly(x))
    magnitude = np.abs(exact) + np.abs(exactly(x)).max() * (name == "log_softmax")
    assert_rounded(y, exact, steps=60, magnitude=magnitude)
    share, terms = exactly(y), np.abs(exactly(dy))
    if name == "softmax":
        magnitude = share * (terms + (terms * share).sum(-1, keepdims=True))
    else:
        magnitude = terms + np.exp(share) * terms.sum(-1, keepdims=True)
    assert_rounded(dx, backward(name, dy, y), steps=60, magnitude=magnitude)


@pytest.mark.parametrize("name", ["relu", "elu", "softmax"])
@pytest.mark.parametrize("shifts", [(0, 1), (1, 0)])
def test_one_array_off_its_alignment(ctx: Context, name: str, shifts: tuple[int, int]) -> None:
    """Vectors of 16 bytes are used where both arrays allow them, and nowhere else."""
    rng = np.random.default_rng(0)
    values, vector = normal(rng, (5, 16), "float32"), normal(rng, 16, "float32")
    with guards(shifts[0]) as g, guards(shifts[1]) as other:
        y = g.inout(values)
        finish(ctx, y, other.input(vector), name)
        dx = gradient_before(ctx, other.input(values), y, name)
    assert_rounded(y, forward(name, exactly(values + vector)), steps=16)
    exact = backward(name, values, y)
    assert_rounded(dx, exact, steps=40, magnitude=np.abs(exactly(values)).max())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_extremes(ctx: Context, name: str, dtype: Any) -> None:
    """Nothing overflows on the way, and neither NaN nor infinity is hidden."""
    big = float(np.finfo(np.float16).max)
    numbers = [np.nan, np.inf, -np.inf, -big, big, -100.0, -20.0, -0.0, 0.0, 1e-7, 20.0, 100.0]
    x = np.array(numbers * 4).astype(dtype).reshape(-1, 1 if name in SOFTMAX else 4)
    y, record = ctx.ops.activation(x, name)
    assert_rounded(y, forward(name, exactly(x)), steps=250)
    dx = ctx.ops.backward(np.ones_like(x), record)
    exact = backward(name, np.ones(x.shape), x if keeps_input(name) else y)
    assert_rounded(dx, exact, magnitude=1.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_softmax_far_out(ctx: Context, dtype: Any) -> None:
    rows = [[-1e4, 0, 1e4], [np.nan, 1, 2], [1, 2, np.nan], [-np.inf, 0, 0], [np.inf, 0, 0]]
    x = np.array(rows).astype(dtype)
    y, _ = ctx.ops.activation(x, "softmax")
    nan = [np.nan] * 3
    np.testing.assert_array_equal(exactly(y), [[0, 0, 1], nan, nan, [0, 0.5, 0.5], nan])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_kink_of_relu(ctx: Context, dtype: Any) -> None:
    """The gradient is zero at zero, and no gradient passes where none is due, not even NaN's."""
    tiny = float(np.finfo(np.float16).smallest_subnormal)
    y = np.array([0.0, -0.0, tiny, 1.0, 0.0, np.nan]).astype(dtype)
    dy = np.array([1.0, 1.0, 2.0, 3.0, np.inf, 4.0]).astype(dtype)
    found = gradient_before(ctx, dy, y, "relu")
    assert exactly(found).tolist() == [0.0, 0.0, 2.0, 3.0, 0.0, 0.0]


def test_a_linear_gradient_is_the_same_array(ctx: Context) -> None:
    dy, y = np.ones((3, 4), "float32"), np.ones((3, 4), "float32")
    assert gradient_before(ctx, dy, y, None) is dy
    assert gradient_before(ctx, dy, y, "linear") is dy
    assert gradient_before(ctx, dy.T, y.T, None).flags.c_contiguous


def test_an_unknown_activation_is_a_usage_error(ctx: Context) -> None:
    with pytest.raises(UsageError, match="no activation named 'swoosh'"):
        ctx.ops.activation(np.ones((3, 4), "float32"), "swoosh")


def test_an_activation_without_a_kernel_goes_to_the_reference(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACTIVATIONS, "square", Function(lambda xp, x: x * x, lambda xp, dy, y: dy))
    y, record = ctx.ops.activation(np.full((3, 4), 3, "float32"), "square")
    assert np.array_equal(y, np.full((3, 4), 9))
    assert record.op is Activation
    dense, _ = ctx.ops.dense(
        np.ones((2, 3), "float32"), np.ones((3, 2), "float32"), None, activation="square"
    )
    assert np.array_equal(dense, np.full((2, 2), 9))


def test_a_function_without_a_name_goes_to_the_reference(ctx: Context) -> None:
    y, record = ctx.ops.activation(np.array([[-2, 3]], "float32"), leaky_relu(0.5))
    assert y.tolist() == [[-1, 3]]
    assert record.op is Activation


@pytest.mark.parametrize("shape", [(7,), (0, 4), (1, 4), (3, 5, 4, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_the_contract_of_ops(device: EmulatedCudaDevice, name: str, shape: Any) -> None:
    check_op(device, "activation", normal(np.random.default_rng(0), shape, "float64"), name)


@given(st.integers(0, 2**40), st.integers(1, 2**20))
def test_geometry_of_huge_arrays(rows: int, width: int) -> None:
    """A sweep meets every row and every column, whatever there is."""
    launch = sweep(rows, width)
    launch.check(geometry.THREADS)
    x, y, _ = launch.block
    assert launch.grid[0] <= geometry.SWEEP_BLOCKS
    assert (launch.grid[0] > 0) == (rows > 0)
    assert -(-width // x) == -(-width // geometry.THREADS)  # no more turns than needed
    if rows <= geometry.SWEEP_BLOCKS:
        assert (launch.grid[0] - 1) * y < max(rows, 1)  # no block without a row
    assert x <= width <= LIMITS[0]
    linear(rows).check(geometry.THREADS)
