"""Optimizer updates and what steers them: `updates.cu` and `gradient_checks.cu` on their source."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, guards
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import assert_rounded, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.devices import get_device
from cpcnn.devices.cuda import geometry
from cpcnn.devices.cuda import updates as ours
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.devices.cuda.geometry import WARP, Launch
from cpcnn.testing import check_op

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")
dtypes = st.sampled_from([FLOAT32, FLOAT64])
sizes = st.one_of(st.integers(0, 20), st.integers(0, 2000))
shifts = st.sampled_from([0, 1])
scales = st.sampled_from([None, 0.0, 0.25, 1.0, 1e-30, -2.0])
sgd_options = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([0.1, 1e-3]),
        "momentum": st.sampled_from([0.0, 0.9]),
        "nesterov": st.booleans(),
        "weight_decay": st.sampled_from([0.0, 0.01]),
    }
)
adam_options = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([0.1, 1e-3]),
        "beta_1": st.sampled_from([0.0, 0.9]),
        "beta_2": st.sampled_from([0.99, 0.999]),
        "epsilon": st.sampled_from([1e-8, 0.1]),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "step": st.sampled_from([1, 2, 1000]),
    }
)
SGD = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.01}
ADAM = {
    "learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01,
    "step": 3,
}  # fmt: skip
UPDATES = {
    "sgd_update": (3, SGD),
    "adam_update": (4, ADAM),
}
SPECIAL = [np.nan, np.inf, -np.inf, 1e30, -0.0, 0.0, 3.0]


def draw(seed: int, count: int, size: int, dtype: Any) -> list[NDArray[Any]]:
    """Draw the arrays of an update; the last one, a second moment, is not negative."""
    rng = np.random.default_rng(seed)
    *others, last = (normal(rng, size, dtype) for _ in range(count))
    return [*others, np.abs(last)]


def run(ctx: Context, name: str, arrays: list[Any], scale: Any, **options: Any) -> None:
    given = None if scale is None else np.array([scale], arrays[0].dtype)
    getattr(ctx.ops, name)(*arrays, **options, scale=given)


def defined(name: str, arrays: list[Any], scale: Any, **options: Any) -> list[NDArray[np.float64]]:
    """Return the arrays after the definition's step in float64."""
    copies = [exactly(array).copy() for array in arrays]
    run(Context(get_device("numpy")), name, copies, scale, **options)
    return copies


def on_guards(
    ctx: Context, name: str, arrays: list[Any], scale: Any, shift: int, **options: Any
) -> list[Any]:
    """Return the arrays after a step on guarded copies, of which the gradient must not change."""
    with guards(shift) as g:
        here = [(g.input if place == 1 else g.inout)(a) for place, a in enumerate(arrays)]
        run(ctx, name, here, scale, **options)
    return here


@given(sizes, dtypes, sgd_options, scales, shifts, seeds)
def test_sgd(
    ctx: Context, size: int, dtype: Any, options: Any, scale: Any, shift: int, seed: int
) -> None:
    arrays = draw(seed, 3, size, dtype)
    found = on_guards(ctx, "sgd_update", arrays, scale, shift, **options)
    exact = defined("sgd_update", arrays, scale, **options)
    value, grad, velocity = (np.abs(exactly(array)) for array in arrays)
    terms = value + velocity + 3 * grad
    assert_rounded(found[0], exact[0], magnitude=terms)
    assert_rounded(found[2], exact[2], magnitude=terms)


@given(sizes, dtypes, adam_options, scales, shifts, seeds)
def test_adam(
    ctx: Context, size: int, dtype: Any, options: Any, scale: Any, shift: int, seed: int
) -> None:
    arrays = draw(seed, 4, size, dtype)
    found = on_guards(ctx, "adam_update", arrays, scale, shift, **options)
    exact = defined("adam_update", arrays, scale, **options)
    terms = np.abs(exactly(arrays[2])) + 2 * np.abs(exactly(arrays[1]))
    assert_rounded(found[2], exact[2], magnitude=terms)
    assert_rounded(found[3], exact[3])
    step = options["step"]
    root = np.sqrt(exact[3] / (1 - options["beta_2"] ** step)) + options["epsilon"]
    rate = options["learning_rate"] / (1 - options["beta_1"] ** step)
    assert_rounded(found[0], exact[0], magnitude=np.abs(arrays[0]) + rate * terms / root, steps=12)


@given(sizes, dtypes, st.sampled_from([0.0, 0.5, 0.999, 1.0]), shifts, seeds)
def test_average(ctx: Context, size: int, dtype: Any, decay: float, shift: int, seed: int) -> None:
    average, value = draw(seed, 2, size, dtype)
    with guards(shift) as g:
        here = g.inout(average)
        ctx.ops.average_update(here, g.input(value), decay=decay)
    exact = decay * exactly(average) + (1 - decay) * exactly(value)
    assert_rounded(here, exact, magnitude=np.abs(exactly(average)) + np.abs(exactly(value)))


@given(st.integers(1, 60), dtypes, st.integers(1, 3), st.integers(1, 9), seeds)
def test_any_geometry_gives_the_same(
    ctx: Context, size: int, dtype: Any, blocks: int, threads: int, seed: int
) -> None:
    """Threads step on through packs, and through the elements behind the last one."""
    launch = Launch((blocks, 1, 1), (threads, 1, 1))
    c_type = C_TYPES[str(dtype)]
    a, b, c, d = draw(seed, 4, size, dtype)
    numbers = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": 1}
    expected: list[list[Any]] = [[], [], []]
    for vec in (1, full_vector(c_type)):
        with guards() as g:
            sgd = [g.inout(a), g.input(b), g.inout(c)]
            names = ("value", "grad", "velocity")
            ours.sgd_update(
                ctx, launch, (c_type, vec), **dict(zip(names, sgd, strict=True)), scale=None,
                size=size, **numbers,
            )  # fmt: skip
            adam = [g.inout(a), g.input(b), g.inout(c), g.inout(d)]
            ours.adam_update(
                ctx, launch, (c_type, vec),
                **dict(zip(("value", "grad", "first", "second"), adam, strict=True)), scale=None,
                size=size, keep_first=0.9, take_first=0.1, keep_second=0.99, take_second=0.01,
                rate=0.1, correction=0.5, epsilon=1e-8, shrink=0.9,
            )  # fmt: skip
            mean = [g.inout(a), g.input(b)]
            ours.average_update(
                ctx, launch, (c_type, vec), average=mean[0], value=mean[1], size=size, keep=0.75,
                take=0.25,
            )  # fmt: skip
        for number, arrays in enumerate((sgd, adam, mean)):
            expected[number] = expected[number] or arrays
            for found, wanted in zip(arrays, expected[number], strict=True):
                assert found.tobytes() == wanted.tobytes()
    exact = defined("sgd_update", [a, b, c], None, **SGD | {"nesterov": True})
    assert_rounded(expected[0][0], exact[0], magnitude=20.0)
    assert_rounded(expected[2][0], 0.75 * exactly(a) + 0.25 * exactly(b), magnitude=20.0)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("name", UPDATES)
def test_a_scale_of_zero_changes_nothing(ctx: Context, name: str, dtype: Any, shift: int) -> None:
    """Nor does one that can only be a mistake."""
    count, options = UPDATES[name]
    arrays = [np.resize(np.roll(SPECIAL, k), 41).astype(dtype) for k in range(count)]
    for zero in (0.0, -0.0, -1.0, np.nan):
        found = on_guards(ctx, name, arrays, zero, shift, **options)
        for after, before in zip(found, arrays, strict=True):
            assert after.tobytes() == before.tobytes()


@pytest.mark.parametrize("size", [3, 8])
def test_without_momentum_the_velocity_is_left_alone(ctx: Context, size: int) -> None:
    value, grad = np.ones(size, "float32"), np.full(size, 2, "float32")
    velocity = np.full(size, np.nan, "float32")
    before = velocity.tobytes()
    run(ctx, "sgd_update", [value, grad, velocity], None, **SGD | {"momentum": 0.0})
    assert velocity.tobytes() == before
    np.testing.assert_allclose(value, 1 - 0.1 * 2.01, rtol=1e-6)


def test_without_weight_decay_an_infinite_value_gives_no_nan(ctx: Context) -> None:
    arrays = [np.full(5, np.inf, "float32"), np.ones(5, "float32"), np.zeros(5, "float32")]
    run(ctx, "sgd_update", arrays, None, **SGD | {"weight_decay": 0.0})
    assert np.isposinf(arrays[0]).all()
    np.testing.assert_allclose(arrays[2], -0.1, rtol=1e-6)


def test_what_cannot_be_changed_in_place_is_left_to_the_definition(ctx: Context) -> None:
    whole, half = np.zeros(6, "float32"), np.zeros(6, "float16")
    for gap in range(3):
        arrays = [np.zeros(12, "float32")[::2] if place == gap else whole for place in range(3)]
        assert ours.FusedSGDUpdate.supports(ctx, *arrays, **SGD) == (gap == 1)
    for gap in range(4):
        arrays = [np.zeros(12, "float32")[::2] if place == gap else whole for place in range(4)]
        assert ours.FusedAdamUpdate.supports(ctx, *arrays, **ADAM) == (gap == 1)
    assert not ours.FusedAverageUpdate.supports(ctx, np.zeros(12, "float32")[::2], whole, decay=0.5)
    assert not ours.FusedAverageUpdate.supports(ctx, half, half, decay=0.5)
    assert not ours.FusedSGDUpdate.supports(ctx, whole, whole, whole, **SGD, scale=half)
    assert not ours.TwoStageGradientScale.supports(ctx, half, max_norm=1.0)
    assert not ours.TwoStageGradientScale.supports(ctx, whole.reshape(2, 3), max_norm=1.0)
    assert not ours.OnePassAllFinite.supports(ctx, half)


# --- the factor that clips --------------------------------------------------------------------

max_norms = st.sampled_from([1e-3, 1.0, 7.5, 1e9, math.inf])


def clipped(values: Any, max_norm: float) -> float:
    norm = math.sqrt(math.fsum(value * value for value in exactly(values).tolist()))
    return max_norm / norm if norm > max_norm else 1.0


def scale_by(ctx: Context, x: Any, blocks: int, vec: int, max_norm: float) -> Any:
    """Return the factor, summed by a number of blocks."""
    c_type, block = C_TYPES[str(x.dtype)], (WARP, geometry.THREADS // WARP, 1)
    with guards() as g:
        parts, scale = g.output(blocks, "float64"), g.output(1, x.dtype)
        ours.square_parts(
            ctx, Launch((blocks, 1, 1), block), (c_type, vec), x=g.input(x), parts=parts,
            size=x.size,
        )  # fmt: skip
        ours.clipping_scale(
            ctx, Launch((1, 1, 1), block), (c_type,), parts=g.input(parts), scale=scale,
            count=blocks, max_norm=max_norm,
        )  # fmt: skip
    return scale


@given(sizes, dtypes, max_norms, shifts, seeds)
def test_gradient_scale(
    ctx: Context, size: int, dtype: Any, max_norm: float, shift: int, seed: int
) -> None:
    with guards(shift) as g:
        grad = g.input(normal(np.random.default_rng(seed), size, dtype))
        found = ctx.ops.gradient_scale(grad, max_norm=max_norm)
    assert found.dtype == dtype
    assert found.shape == (1,)
    assert_rounded(found, np.array([clipped(grad, max_norm)]))


@given(st.integers(0, 4000), dtypes, st.integers(1, 4), seeds)
def test_every_element_is_in_one_part(
    ctx: Context, size: int, dtype: Any, blocks: int, seed: int
) -> None:
    """And the width of the loads does not decide who takes it."""
    grad = normal(np.random.default_rng(seed), size, dtype)
    wide = scale_by(ctx, grad, blocks, full_vector(C_TYPES[str(dtype)]), 0.5)
    narrow = scale_by(ctx, grad, blocks, 1, 0.5)
    assert wide.tobytes() == narrow.tobytes()
    assert_rounded(wide, np.array([clipped(grad, 0.5)]))


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_large_gradients_have_several_parts(ctx: Context, dtype: Any) -> None:
    grad = normal(np.random.default_rng(0), 20_001, dtype)
    assert ours._part_count(grad.size, full_vector(C_TYPES[str(dtype)])) > 2
    assert_rounded(ctx.ops.gradient_scale(grad, max_norm=3.0), np.array([clipped(grad, 3.0)]))


@given(st.integers(1, ours.MAX_PARTS), seeds)
def test_any_number_of_parts_is_joined(ctx: Context, count: int, seed: int) -> None:
    squares = np.random.default_rng(seed).uniform(1, 2, count)
    with guards() as g:
        scale = g.output(1, "float64")
        ours.clipping_scale(
            ctx, ours._blocks(1), ("double",), parts=g.input(squares), scale=scale, count=count,
            max_norm=0.5,
        )  # fmt: skip
    assert_rounded(scale, np.array([0.5 / math.sqrt(math.fsum(squares))]))


@given(st.integers(1, 3000), dtypes, st.sampled_from(SPECIAL[:3]), max_norms, st.data())
def test_a_gradient_that_is_not_finite_has_the_scale_zero(
    ctx: Context, size: int, dtype: Any, bad: float, max_norm: float, data: st.DataObject
) -> None:
    grad = np.ones(size, dtype)
    grad[data.draw(st.integers(0, size - 1))] = bad
    assert ctx.ops.gradient_scale(grad, max_norm=max_norm).tolist() == [0.0]
    assert ctx.ops.all_finite(grad).tolist() == [False]


def test_squares_neither_overflow_nor_vanish(ctx: Context) -> None:
    for size in (1e-30, 1e20, 3e38):
        grad = np.full(100, size, "float32")
        assert ctx.ops.gradient_scale(grad, max_norm=size)[0] == pytest.approx(0.1, rel=1e-6)
        assert ctx.ops.gradient_scale(grad, max_norm=math.inf).tolist() == [1.0]


# --- finite -----------------------------------------------------------------------------------


@given(sizes, dtypes, shifts, st.data())
def test_all_finite(ctx: Context, size: int, dtype: Any, shift: int, data: st.DataObject) -> None:
    values = np.full(size, np.finfo(dtype).max)
    values[::2] = -np.finfo(dtype).max
    for place in data.draw(st.lists(st.integers(0, max(size - 1, 0)), max_size=2 if size else 0)):
        values[place] = data.draw(st.sampled_from([*SPECIAL, 1.0]))
    with guards(shift) as g:
        found = ctx.ops.all_finite(g.input(values))
    assert found.dtype == bool
    assert found.tolist() == [bool(np.isfinite(values).all())]


@given(st.integers(1, 60), dtypes, st.integers(1, 3), st.integers(1, 9), st.data())
def test_any_geometry_finds_what_is_not_finite(
    ctx: Context, size: int, dtype: Any, blocks: int, threads: int, data: st.DataObject
) -> None:
    values = np.zeros(size, dtype)
    values[data.draw(st.integers(0, size - 1))] = np.nan
    c_type = C_TYPES[str(dtype)]
    for vec in (1, full_vector(c_type)):
        result = np.ones(1, bool)
        ours.find_not_finite(
            ctx, Launch((blocks, 1, 1), (threads, 1, 1)), (c_type, vec), x=values, result=result,
            size=size,
        )  # fmt: skip
        assert not result


# --- the contract -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 17, 1000])
@pytest.mark.parametrize("scale", [None, 0.0, 0.5])
@pytest.mark.parametrize("name", UPDATES)
def test_updates_keep_the_contract_of_ops(
    device: EmulatedCudaDevice, name: str, size: int, scale: Any
) -> None:
    count, options = UPDATES[name]
    arrays = draw(0, count, size, FLOAT64)
    given = {} if scale is None else {"scale": np.array([scale])}
    check_op(device, name, *arrays, **options, **given)


@pytest.mark.parametrize("size", [0, 1, 17, 1000])
def test_the_others_keep_the_contract_of_ops(device: EmulatedCudaDevice, size: int) -> None:
    average, value = draw(0, 2, size, FLOAT64)
    check_op(device, "average_update", average, value, decay=0.9)
    check_op(device, "gradient_scale", value, max_norm=2.0)
    check_op(device, "all_finite", value)
    check_op(device, "all_finite", value.reshape(-1, 1))


@given(st.integers(1, 2**45), st.sampled_from([1, 2, 4]))
def test_geometry_of_huge_arrays(size: int, vec: int) -> None:
    geometry.linear(math.ceil(size / vec)).check(geometry.THREADS)
    count = ours._part_count(size, vec)
    assert 1 <= count <= ours.MAX_PARTS
    ours._blocks(count).check(geometry.THREADS)
