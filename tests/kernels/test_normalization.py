"""Batch normalisation: `batch_norm.cu` on its own source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, EmulatedLauncher, guards
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.devices import get_device
from cpcnn.devices.cuda import normalization as kernels
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.devices.cuda.elementwise import CODES
from cpcnn.devices.cuda.geometry import Launch, row_parts
from cpcnn.devices.cuda.normalization import FusedBatchNorm
from cpcnn.ops.activations import ACTIVATIONS, get_activation, keeps_input
from cpcnn.ops.normalization import BatchNorm
from cpcnn.testing import check_op

OPTIONS = {"momentum": 0.75, "epsilon": 2.0**-8}  # numbers that every type holds
NEAR = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 4e-2}
FUSED = [name for name in ACTIVATIONS if not keeps_input(name)]
widths = st.sampled_from([1, 3, 4, 8, 16, 24, 33, 264])
given_or_not = st.booleans()


@dataclass
class Case:
    """Arguments of a batch normalisation."""

    x: NDArray[Any]
    gamma: NDArray[Any] | None
    beta: NDArray[Any] | None
    mean: NDArray[Any]
    variance: NDArray[Any]
    residual: NDArray[Any] | None
    dy: NDArray[Any]

    def put(self, place: Any) -> Case:
        """Return the case with every array placed."""
        return Case(*(None if array is None else place(array) for array in vars(self).values()))


def draw(
    seed: int, shape: Any, dtype: Any, gamma: bool = True, beta: bool = True, residual: bool = True
) -> Case:
    rng, width, wide = np.random.default_rng(seed), shape[-1], accumulator_of(dtype)
    x = (normal(rng, shape, "float64") * 2 + normal(rng, width, "float64")).astype(dtype)
    return Case(
        x=x,
        gamma=normal(rng, width, dtype) if gamma else None,
        beta=normal(rng, width, dtype) if beta else None,
        mean=normal(rng, width, wide),
        variance=(0.5 + rng.random(width)).astype(wide),
        residual=normal(rng, shape, dtype) if residual else None,
        dy=normal(rng, shape, dtype),
    )


def run(op: Any, ctx: Context, case: Case, name: str | None, y: Any = None) -> tuple[Any, Any]:
    """Return y and the gradients; `y` stands for the output that backward sees."""
    with np.errstate(all="ignore"):
        result, saved = op.forward(
            ctx, case.x, case.gamma, case.beta, case.mean, case.variance, **OPTIONS,
            activation=name, residual=case.residual,
        )  # fmt: skip
        if y is not None:
            saved = (*saved[:-1], y)
        return result, op.backward(ctx, case.dy, saved)


def assert_near(found: Any, exact: NDArray[np.float64], dtype: Any) -> None:
    limit = NEAR[str(np.dtype(dtype))]
    largest = np.abs(exact).max(initial=1.0)
    np.testing.assert_allclose(exactly(found), exact, rtol=0, atol=limit * largest)


def contexts(device: EmulatedCudaDevice, training: bool) -> tuple[Context, Context]:
    return (
        Context(device, training=training, grad=True),
        Context(get_device("numpy"), training=training, grad=True),
    )


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3), widths, dtypes, st.booleans(),
    st.tuples(given_or_not, given_or_not, given_or_not), st.sampled_from([None, *FUSED]),
    st.sampled_from([0, 1]), seeds,
)  # fmt: skip
def test_as_the_reference(
    device: EmulatedCudaDevice, sizes: list[int], width: int, dtype: Any, training: bool,
    parts: tuple[bool, bool, bool], name: str | None, shift: int, seed: int,
) -> None:  # fmt: skip
    ctx, exact_ctx = contexts(device, training)
    case = draw(seed, (*sizes, width), dtype, *parts)
    exact = case.put(exactly)
    with guards(shift) as g:
        here = case.put(g.input)
        here.mean, here.variance = g.inout(case.mean), g.inout(case.variance)
        y, gradients = run(FusedBatchNorm, ctx, here, name)
    exact_y, _ = run(BatchNorm, exact_ctx, case.put(exactly), name)
    # gradients are defined by the output as it is stored
    _, exact_gradients = run(BatchNorm, exact_ctx, exact, name, y=exactly(y))
    assert_near(y, exact_y, dtype)
    for found, wanted in zip(gradients, exact_gradients, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            assert found.dtype == dtype
            assert_near(found, wanted, dtype)
    for found, wanted in ((here.mean, exact.mean), (here.variance, exact.variance)):
        assert_near(found, wanted, found.dtype)


@given(
    st.integers(1, 90), st.sampled_from([1, 3, 8, 24, 40]), dtypes, st.integers(1, 50),
    st.integers(1, 7), st.integers(1, 20), st.sampled_from([0.0, 100.0, 3e4]), seeds,
)  # fmt: skip
def test_statistics_from_parts_of_any_size(
    ctx: Context, rows: int, width: int, dtype: Any, part_rows: int, x: int, y: int,
    mean: float, seed: int,
) -> None:  # fmt: skip
    """A mean of many deviations costs nothing: mean and variance are as exact as their type."""
    values = normal(np.random.default_rng(seed), (rows, width), "float64") + mean
    values, wide, count = values.astype(dtype), accumulator_of(dtype), -(-rows // part_rows)
    for vec in (1, full_vector(C_TYPES[str(dtype)])):
        if width % vec:
            continue
        vectors, c_type = width // vec, C_TYPES[str(dtype)]
        with guards() as g:
            source = g.input(values)
            parts = g.output((count, 2, width), wide)
            kernels.batch_norm_moments(
                ctx, Launch((count, -(-vectors // x), 1), (x, y, 1)), (c_type, vec),
                x=source, parts=parts, rows=rows, vectors=vectors, part_rows=part_rows,
            )  # fmt: skip
            running = [g.inout(np.zeros(width, wide)) for _ in range(2)]
            found = [g.output(width, wide) for _ in range(2)]
            kernels.batch_norm_statistics(
                ctx, Launch((-(-width // x), 1, 1), (x, y, 1)), (c_type,),
                x=source, parts=g.input(parts), running_mean=running[0],
                running_variance=running[1], mean=found[0], scale=found[1], rows=rows,
                channels=width, count=count, part_rows=part_rows, momentum=0.0, epsilon=0.25,
            )  # fmt: skip
        centre, variance = exactly(values).mean(0), exactly(values).var(0)
        # the reference rounds a mean of 30000 too, and its deviations with it
        slack = 1e-9 if wide == np.float64 and mean else 0.0
        # A thread adds the rows of a part that are its own. Parts are joined in double, exact for
        # float32, with a rounding each for float64. Sums are taken around the first row, and its
        # distance from the mean is squared with them.
        adding = -(-min(part_rows, rows) // y) + (count if wide == np.float64 else 0)
        spread = variance + (centre - exactly(values[0])) ** 2 + slack
        assert_rounded(
            found[0], centre, steps=8 + adding, magnitude=np.abs(exactly(values)).mean(0)
        )
        assert found[0].tobytes() == running[0].tobytes()
        assert_rounded(running[1], variance, steps=40 + adding, magnitude=spread)
        exact_scale = 1 / np.sqrt(variance + 0.25)
        assert_rounded(
            found[1], exact_scale, steps=40 + adding, magnitude=exact_scale**3 * spread + 2
        )


@given(
    st.integers(0, 40), st.sampled_from([1, 3, 8, 24, 40]), dtypes,
    st.sampled_from(list(CODES)), st.tuples(given_or_not, given_or_not, given_or_not),
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), seeds,
)  # fmt: skip
def test_any_geometry_gives_the_same(
    ctx: Context, rows: int, width: int, dtype: Any, name: str, parts: tuple[bool, bool, bool],
    blocks: int, x: int, y: int, seed: int,
) -> None:  # fmt: skip
    """Threads of the elementwise passes step on, along rows and along channels."""
    case, c_type = draw(seed, (rows, width), dtype, *parts), C_TYPES[str(dtype)]
    wide = accumulator_of(dtype)
    exact = case.put(exactly)
    gamma = 1.0 if exact.gamma is None else exact.gamma
    for vec in (1, full_vector(c_type)):
        if width % vec:
            continue
        launch = Launch((blocks, 1, 1), (x, y, 1))
        size = {"rows": rows, "vectors": width // vec, "activation": CODES[name]}
        with guards() as g:
            here = case.put(g.input)
            vectors = {
                "mean": here.mean,
                "scale": here.variance,
                "gamma": None if here.gamma is None else g.input(case.gamma.astype(wide)),
            }
            found = g.output((rows, width), dtype)
            kernels.batch_norm_forward(
                ctx, launch, (c_type, vec), x=here.x, residual=here.residual, y=found,
                beta=None if here.beta is None else g.input(case.beta.astype(wide)),
                **vectors, **size,
            )  # fmt: skip
            terms = [(exact.x - exact.mean) * exact.variance * gamma]
            terms += [term for term in (exact.beta, exact.residual) if term is not None]
            value = get_activation(name).forward(np, sum(terms))
            magnitude = 1 + sum(np.abs(term) for term in terms)
            assert_rounded(found, value, magnitude=magnitude, steps=8)

            dx, sums = g.output((rows, width), dtype), g.input(np.stack([case.mean] * 2))
            kernels.batch_norm_backward(
                ctx, launch, (c_type, vec), dy=here.dy, y=g.input(found), x=here.x, sums=sums,
                dx=dx, **vectors, **size,
            )  # fmt: skip
            hat = (exact.x - exact.mean) * exact.variance
            change = get_activation(name).backward(np, exact.dy, exactly(found))
            terms = [change, -exact.mean / max(rows, 1), -hat * exact.mean / max(rows, 1)]
            factor = exact.variance * gamma
            magnitude = np.abs(factor) * sum(np.abs(term) for term in [*terms, exact.dy])
            assert_rounded(dx, factor * sum(terms), magnitude=magnitude, steps=12)


@given(
    st.integers(1, 60), st.sampled_from([1, 3, 8, 24, 40]), dtypes,
    st.sampled_from(list(CODES)), st.booleans(), st.integers(1, 50), st.integers(1, 7),
    st.integers(1, 20), seeds,
)  # fmt: skip
def test_gradient_sums_from_parts_of_any_size(
    ctx: Context, rows: int, width: int, dtype: Any, name: str, written: bool, part_rows: int,
    x: int, y: int, seed: int,
) -> None:  # fmt: skip
    case, c_type = draw(seed, (rows, width), dtype), C_TYPES[str(dtype)]
    exact, starts = case.put(exactly), range(0, rows, part_rows)
    for vec in (1, full_vector(c_type)):
        if width % vec:
            continue
        vectors = width // vec
        with guards() as g:
            here = case.put(g.input)
            gradient = g.output((rows, width), dtype) if written else None
            parts = g.output((len(starts), 2, width), accumulator_of(dtype))
            kernels.batch_norm_gradient_sums(
                ctx, Launch((len(starts), -(-vectors // x), 1), (x, y, 1)), (c_type, vec),
                dy=here.dy, y=None if name == "linear" else here.residual, x=here.x,
                mean=here.mean, scale=here.variance, gradient=gradient, parts=parts, rows=rows,
                vectors=vectors, part_rows=part_rows, activation=CODES[name],
            )  # fmt: skip
        change = get_activation(name).backward(np, exact.dy, exact.residual)
        if gradient is not None:
            size = (1 + np.abs(exact.residual)) ** 2 * np.abs(exact.dy)
            assert_rounded(gradient, change, magnitude=size)
            change = exactly(gradient)  # the sums are of what was rounded
        else:
            change = exactly(change.astype(dtype))
        products = change * (exact.x - exact.mean) * exact.variance
        for number, terms in enumerate((change, products)):
            pieces = [terms[start : start + part_rows] for start in starts]
            wanted = np.stack([piece.sum(0) for piece in pieces])
            # where a gradient lies between two numbers of its type, either may have been taken
            doubt = (
                float(np.abs(exact.dy).max()) * 2.0**-7 * (gradient is None and name != "linear")
            )
            near = NEAR[str(accumulator_of(dtype))] + doubt * (dtype.itemsize == 2)
            limit = near * (1 + np.stack([np.abs(piece).sum(0) for piece in pieces]).max())
            np.testing.assert_allclose(exactly(parts[:, number]), wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["relu", None])
def test_many_parts_as_the_reference(
    device: EmulatedCudaDevice, name: str | None, dtype: Any
) -> None:
    """Rows enough for several parts in the geometry that is used on a GPU, the last one short."""
    ctx, exact_ctx = contexts(device, training=True)
    case = draw(3, (7, 13, 11, 24), dtype)
    assert row_parts(7 * 13 * 11, 24 // full_vector(C_TYPES[str(dtype)])).number > 1
    y, gradients = run(FusedBatchNorm, ctx, case.put(np.array), name)
    _, wanted = run(BatchNorm, exact_ctx, case.put(exactly), name, y=exactly(y))
    for found, exact in zip(gradients, wanted, strict=True):
        assert_near(found, exact, dtype)


def test_the_same_bits_in_every_order() -> None:
    """Statistics and gradients do not depend on which thread or block runs first."""
    case, found = draw(0, (600, 24), np.float32), set()
    for seed in (0, 1, 2, 5):
        ctx = Context(EmulatedCudaDevice(EmulatedLauncher(seed)), training=True, grad=True)
        here = case.put(np.array)
        y, gradients = run(FusedBatchNorm, ctx, here, "relu")
        found.add(b"".join(a.tobytes() for a in (y, *gradients, here.mean, here.variance)))
    assert len(found) == 1


def test_a_mean_of_many_deviations(ctx: Context) -> None:
    """A sum of squares of float32 would have no digit of this variance."""
    x = (np.random.default_rng(0).normal(size=(3000, 8)) * 0.01 + 100).astype("float32")
    mean, variance = np.zeros(8, "float32"), np.zeros(8, "float32")
    ctx.ops.batch_norm(x, None, None, mean, variance, momentum=0.0, epsilon=1e-3)
    np.testing.assert_allclose(variance, exactly(x).var(0), rtol=1e-6)
    np.testing.assert_allclose(mean, exactly(x).mean(0), rtol=1e-7)


def test_statistics_of_parts_that_begin_far_out(ctx: Context) -> None:
    """The first row of a part is what it is shifted by; no other row needs to be near it."""
    x = np.random.default_rng(0).normal(size=(3000, 8)).astype("float32")
    x[::16] += 1000
    mean, variance = np.zeros(8, "float32"), np.zeros(8, "float32")
    ctx.ops.batch_norm(x, None, None, mean, variance, momentum=0.0, epsilon=1e-3)
    np.testing.assert_allclose(variance, exactly(x).var(0), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [0.0, 0.1, -300.0])
def test_a_constant_channel_has_no_variance(ctx: Context, value: float, dtype: Any) -> None:
    x = np.full((700, 3), value, dtype)
    mean, variance = (np.ones(3, accumulator_of(dtype)) for _ in range(2))
    beta = np.full(3, 0.5, dtype)
    y, _ = ctx.ops.batch_norm(x, None, beta, mean, variance, momentum=0.0, epsilon=1e-3)
    assert variance.tolist() == [0, 0, 0]
    assert np.array_equal(exactly(mean), exactly(x[0]))
    assert np.array_equal(exactly(y), np.full((700, 3), 0.5))


@pytest.mark.parametrize("place", [0, 300, 699])
def test_nan_spoils_its_channel_alone(ctx: Context, place: int) -> None:
    case = draw(0, (700, 3), np.float32, residual=False)
    case.x[place, 1] = np.nan
    y, (dx, dgamma, _, _) = run(FusedBatchNorm, ctx, case, "relu")
    for found in (y, case.mean, case.variance):
        assert np.isnan(found).reshape(-1, 3).all(0).tolist() == [False, True, False]
        assert np.isnan(found).reshape(-1, 3).any(0).tolist() == [False, True, False]
    assert np.isnan(dgamma).tolist() == [False, True, False]
    assert np.isnan(dx[:, 0]).sum() == 0


@pytest.mark.parametrize("alone", ["x", "gamma", "beta", "mean", "variance", "residual", "dy"])
def test_one_array_off_its_alignment(ctx: Context, alone: str) -> None:
    """Vectors of 16 bytes are used where all arrays allow them, and nowhere else."""
    case = draw(0, (9, 24), np.float32)
    wanted_y, wanted = run(FusedBatchNorm, ctx, case.put(np.array), "relu")
    moved = case.put(np.array)
    with guards(shift=1) as g:
        setattr(moved, alone, g.inout(getattr(moved, alone)))
        y, gradients = run(FusedBatchNorm, ctx, moved, "relu")
    for found, exact in zip((y, *gradients), (wanted_y, *wanted), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_strided_arrays(ctx: Context) -> None:
    """Views with gaps are read through, and running statistics written through."""
    dense = draw(0, (9, 24), np.float32)
    strided = dense.put(lambda array: np.repeat(array, 2, axis=-1)[..., ::2])
    y, gradients = run(FusedBatchNorm, ctx, strided, "relu")
    wanted_y, wanted = run(FusedBatchNorm, ctx, dense, "relu")
    assert y.tobytes() == wanted_y.tobytes()
    for found, exact in zip(gradients, wanted, strict=True):
        assert found.tobytes() == exact.tobytes()
    assert np.array_equal(strided.mean, dense.mean)
    assert np.array_equal(strided.variance, dense.variance)


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=str)
def test_halves_with_float32_parameters(ctx: Context, dtype: Any) -> None:
    """gamma and beta may be wider than x; their gradients come back in their own type."""
    half = draw(0, (9, 8), dtype, residual=False)
    wide = draw(0, (9, 8), dtype, residual=False)
    wide.gamma, wide.beta = half.gamma.astype("float32"), half.beta.astype("float32")
    y, (dx, dgamma, dbeta, _) = run(FusedBatchNorm, ctx, half, "relu")
    wide_y, (wide_dx, wide_dgamma, wide_dbeta, _) = run(FusedBatchNorm, ctx, wide, "relu")
    assert y.tobytes() == wide_y.tobytes()
    assert dx.tobytes() == wide_dx.tobytes()
    assert wide_dgamma.dtype == wide_dbeta.dtype == np.float32
    assert np.array_equal(wide_dgamma.astype(dtype), dgamma)
    assert np.array_equal(wide_dbeta.astype(dtype), dbeta)


@pytest.mark.parametrize("name", [None, "relu", "softmax"])
def test_a_batch_of_nothing(device: EmulatedCudaDevice, name: str | None) -> None:
    ctx, _ = contexts(device, training=False)
    y, (dx, dgamma, dbeta, dresidual) = run(
        FusedBatchNorm, ctx, draw(0, (0, 3, 4), np.float32), name
    )
    assert y.shape == dx.shape == dresidual.shape == (0, 3, 4)
    assert dgamma.tolist() == dbeta.tolist() == [0, 0, 0, 0]


def test_what_it_leaves_to_the_reference(device: EmulatedCudaDevice) -> None:
    training, _ = contexts(device, training=True)
    inference, _ = contexts(device, training=False)

    def takes(ctx: Context, case: Case, **options: Any) -> bool:
        return FusedBatchNorm.supports(
            ctx, case.x, case.gamma, case.beta, case.mean, case.variance, **OPTIONS,
            residual=case.residual, **options,
        )  # fmt: skip

    case = draw(0, (5, 4), np.float16)
    assert takes(training, case)
    assert takes(training, case, activation="softmax")
    assert not takes(training, case, activation="gelu")
    assert not takes(training, draw(0, (0, 4), np.float32))
    assert takes(inference, draw(0, (0, 4), np.float32))
    assert not takes(training, case.put(lambda array: array.astype("int32")))
    case.mean = case.mean.astype("float64")
    assert not takes(training, case)
    case = draw(0, (5, 4), np.float32)
    case.residual = case.residual.astype("float64")
    assert not takes(training, case)
    case.residual = case.residual[:1].astype("float32")
    assert not takes(training, case)


@pytest.mark.parametrize("name", [None, "relu", "softmax"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_the_contract_of_ops(
    device: EmulatedCudaDevice, training: bool, residual: bool, name: str | None
) -> None:
    case = draw(0, (4, 3, 2, 4), np.float64, residual=residual)
    check_op(
        device, "batch_norm", case.x, case.gamma, case.beta, case.mean, case.variance, **OPTIONS,
        activation=name, residual=case.residual, training=training, gradient=name != "relu",
    )  # fmt: skip
