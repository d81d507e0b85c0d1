"""Softmax and cross-entropy: `cross_entropy.cu` on its own source, against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, guards
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, normal, seeds

from cpcnn.core.context import Context
from cpcnn.devices import get_device
from cpcnn.devices.cuda import cross_entropy as ours
from cpcnn.devices.cuda.element_types import C_TYPES
from cpcnn.devices.cuda.geometry import THREADS, warps
from cpcnn.ops.cross_entropy import SoftmaxCrossEntropy
from cpcnn.testing import check_op

row_counts = st.sampled_from([0, 1, 2, 7, 8, 9, 20])
class_counts = st.sampled_from([1, 2, 10, 31, 32, 33, 64, 100])
label_types = st.sampled_from(["int32", "int64"])
smoothings = st.sampled_from([0.0, 0.1, 0.5, 1.0])


def definition(
    logits: Any, labels: Any, smoothing: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses and the gradient of their sum, in float64."""
    ctx = Context(get_device("numpy"), training=True, grad=True)
    with np.errstate(all="ignore"):
        losses: Any
        losses, saved = SoftmaxCrossEntropy.forward(
            ctx, exactly(logits), labels, label_smoothing=smoothing
        )
        gradient: Any = SoftmaxCrossEntropy.backward(ctx, np.ones(losses.shape), saved)
    return losses, gradient


def draw_labels(rng: np.random.Generator, rows: int, classes: int, kind: str) -> NDArray[Any]:
    """Labels of which some are beyond the classes, on either side."""
    return rng.integers(-1, classes + 1, rows).astype(kind)


def spread_of(logits: Any) -> NDArray[np.float64]:
    """The size of the terms of each row."""
    return 1 + 2 * np.abs(exactly(logits)).max(-1, initial=0) + np.log(logits.shape[1])


@given(row_counts, class_counts, dtypes, label_types, smoothings, st.sampled_from([0, 1]), seeds)
def test_losses_and_gradient(
    ctx: Context,
    rows: int,
    classes: int,
    dtype: Any,
    kind: str,
    smoothing: float,
    shift: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    with guards(shift) as g:
        logits = g.input(normal(rng, (rows, classes), dtype) * dtype.type(4))
        labels = g.input(draw_labels(rng, rows, classes, kind))
        losses, record = ctx.ops.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    gradient = record.saved
    assert losses.dtype == gradient.dtype == dtype
    exact, slope = definition(logits, labels, smoothing)
    size = spread_of(logits)
    assert_rounded(losses, exact, magnitude=size, steps=16)
    assert_rounded(gradient, slope, magnitude=size[:, None], steps=16)


@given(row_counts, class_counts, dtypes, st.sampled_from([0, 1]), seeds)
def test_rows_are_weighed(
    ctx: Context, rows: int, classes: int, dtype: Any, shift: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    with guards(shift) as g:
        gradient, dy = (g.input(normal(rng, size, dtype)) for size in ((rows, classes), rows))
        dx = ours.WarpCrossEntropy.backward(ctx, dy, gradient)
    wide = accumulator_of(dtype)
    expected = (gradient.astype(wide) * dy.astype(wide)[:, None]).astype(dtype)
    assert dx.tobytes() == np.asarray(expected).tobytes()


@given(st.integers(1, 40), class_counts, dtypes, st.integers(1, 8), seeds)
def test_any_number_of_warps_gives_the_same(
    ctx: Context, rows: int, classes: int, dtype: Any, per_block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = normal(rng, (rows, classes), dtype)
    labels = draw_labels(rng, rows, classes, "int64")
    weights = normal(rng, rows, dtype)
    c_type = C_TYPES[str(dtype)]
    losses, record = ctx.ops.softmax_cross_entropy(logits, labels, label_smoothing=0.1)
    dx = ctx.ops.backward(weights, record)
    with guards() as g:
        again, slope, weighed = (g.output(a.shape, dtype) for a in (losses, logits, logits))
        launch, size = warps(rows, per_block), {"rows": rows, "classes": classes}
        ours.cross_entropy(
            ctx, launch, (c_type, "long long"), logits=g.input(logits), labels=g.input(labels),
            losses=again, gradient=slope, certainty=0.9, spread=0.1 / classes, **size,
        )  # fmt: skip
        ours.weigh_rows(
            ctx, launch, (c_type,), gradient=g.input(slope), dy=g.input(weights), dx=weighed, **size
        )
    assert again.tobytes() == losses.tobytes()
    assert slope.tobytes() == record.saved.tobytes()
    assert weighed.tobytes() == dx.tobytes()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extremes(ctx: Context, dtype: Any, smoothing: float) -> None:
    """Large logits do not overflow; NaN and infinity are not hidden, wherever in the row."""
    rows = [
        [-1e4, 0, 1e4, 0],
        [6e4, 6e4, 6e4, 6e4],
        [-6e4, -6e4, -6e4, -6e4],
        [0, 0, 0, 0],
        [np.nan, 1, 2, 3],
        [1, 2, 3, np.nan],
        [np.nan] * 4,
        [np.inf, 0, 0, 0],
        [-np.inf, 0, 0, 0],
        [-np.inf] * 4,
    ]
    logits = np.array(rows).astype(dtype)
    for label in range(-1, 5):
        labels = np.full(len(rows), label)
        losses, record = ctx.ops.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
        exact, slope = definition(logits, labels, smoothing)
        size = np.nan_to_num(spread_of(logits), posinf=1)
        assert_rounded(losses, exact, magnitude=size)
        assert_rounded(record.saved, slope, magnitude=1.0)


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_a_label_beyond_the_classes_is_no_class(ctx: Context, kind: str) -> None:
    """Not even one whose lower half is the number of a class."""
    beyond = [-1, 3, 2**31 - 1, -(2**31), *([2**32, 2**32 + 1] if kind == "int64" else [])]
    logits = np.zeros((len(beyond), 3), "float32")
    losses, record = ctx.ops.softmax_cross_entropy(logits, np.array(beyond, kind))
    assert not losses.any()
    np.testing.assert_allclose(record.saved, 1 / 3, rtol=1e-6)


def test_without_gradients_none_is_written(device: EmulatedCudaDevice) -> None:
    ctx = Context(device, training=True, grad=False)
    logits, labels = np.eye(3, dtype="float32"), np.arange(3)
    losses, gradient = ours.WarpCrossEntropy.forward(ctx, logits, labels, label_smoothing=0.1)
    assert gradient is None
    exact, _ = definition(logits, labels, 0.1)
    assert_rounded(losses, exact, magnitude=spread_of(logits))


def test_other_labels_are_left_to_the_definition(ctx: Context) -> None:
    logits = np.eye(3, dtype="float32")
    losses, record = ctx.ops.softmax_cross_entropy(logits, np.arange(3, dtype="uint8"))
    assert record.op is SoftmaxCrossEntropy
    assert_rounded(losses, definition(logits, np.arange(3), 0.0)[0], magnitude=spread_of(logits))


@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (5, 10), (17, 40)])
def test_the_contract_of_ops(
    device: EmulatedCudaDevice, rows: int, classes: int, kind: str
) -> None:
    logits = normal(np.random.default_rng(0), (rows, classes), "float64")
    labels = (np.arange(rows) % classes).astype(kind)
    for smoothing in (0.0, 0.2):
        check_op(
            device, "softmax_cross_entropy", logits, labels, label_smoothing=smoothing,
            dtypes=tuple(map(str, DTYPES)),
        )  # fmt: skip


@given(st.integers(1, 2**33))
def test_geometry_of_huge_batches(rows: int) -> None:
    launch = warps(rows)
    launch.check(THREADS)
    assert launch.grid[0] * launch.block[1] >= rows
