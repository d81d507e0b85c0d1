"""check_op in half precision, and on ops whose results are no floats."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.ops.normalization import BatchNorm
from cpcnn.ops.table import Action, Op
from cpcnn.testing import check_op

X = Philox(0, "x").normal((6, 5)).astype(np.float64)
HALF = ("float16", "bfloat16")


def device_with(name: str, implementation: Any) -> Device:
    """A device that knows bfloat16 and has one implementation of its own."""

    class Halves(Device):
        fast = {name: (implementation,)}  # noqa: RUF012

        def _dtype(self, dtype: Any) -> Any:
            return ml_dtypes.bfloat16 if dtype == "bfloat16" else super()._dtype(dtype)

    return Halves()


class Tanh(Op):
    """A right implementation, that wrong ones are made from."""

    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        y = np.tanh(x.astype(np.float64)).astype(x.dtype)
        return y, y

    @staticmethod
    def backward(ctx: Context, dy: Any, saved: Any) -> Any:
        y = saved.astype(np.float64)
        return (dy.astype(np.float64) * (1 - y * y)).astype(dy.dtype)


class Imprecise(Tanh):
    """Right in float64 and float32, but off by 1 % in half precision."""

    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        y, saved = Tanh.forward(ctx, x, activation)
        return (y * 1.01).astype(x.dtype) if x.dtype.itemsize == 2 else y, saved


class Widens(Tanh):
    @staticmethod
    def forward(ctx: Context, x: Any, activation: str) -> Any:
        y, saved = Tanh.forward(ctx, x, activation)
        return y.astype(np.float32) if x.dtype.itemsize == 2 else y, saved


class WrongSlope(Tanh):
    @staticmethod
    def backward(ctx: Context, dy: Any, saved: Any) -> Any:
        return (Tanh.backward(ctx, dy, saved) * (1.2 if dy.dtype.itemsize == 2 else 1)).astype(
            dy.dtype
        )


class Declines(Tanh):
    @staticmethod
    def supports(ctx: Context, x: Any, activation: str) -> bool:
        return bool(x.dtype.itemsize > 2)


@pytest.mark.parametrize("dtypes", [*((dtype,) for dtype in HALF), ("float64", "float32", *HALF)])
def test_half_precision_is_checked_on_numbers_it_holds(dtypes: tuple[str, ...]) -> None:
    """All types get the same numbers, for inputs and for the gradient of the result."""
    seen: dict[str, list[Any]] = {}

    class Watched(Tanh):
        @staticmethod
        def forward(ctx: Context, x: Any, activation: str) -> Any:
            seen.setdefault(str(x.dtype), []).append(x.astype(np.float64))
            return Tanh.forward(ctx, x, activation)

        @staticmethod
        def backward(ctx: Context, dy: Any, saved: Any) -> Any:
            seen[str(dy.dtype)].append(dy.astype(np.float64))
            return Tanh.backward(ctx, dy, saved)

    device = device_with("activation", Watched)
    check_op(device, "activation", X * 1.3, "tanh", dtypes=dtypes, gradient=False)
    assert set(seen) == set(dtypes)
    for found in seen.values():  # contiguous, then strided; forward, then backward
        assert len(found) == 4
        for one, other in zip(found, seen[dtypes[0]], strict=True):
            assert np.array_equal(one, other)
    for dtype in dtypes:
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        assert all(np.array_equal(x.astype(kind).astype(float), x) for x in seen[dtype])


@pytest.mark.parametrize(
    ("implementation", "dtype", "words"),
    [
        (Imprecise, "float16", "float16.*result 0 differs"),
        (Widens, "float16", "is float32, not float16"),
        (Widens, "bfloat16", "is float32, not bfloat16"),
        (WrongSlope, "bfloat16", "gradients 0 differs"),
        (Declines, "float16", "no implementation for float16"),
    ],
)
def test_wrong_halves_are_found(implementation: Any, dtype: str, words: str) -> None:
    device = device_with("activation", implementation)
    check_op(device, "activation", X, "tanh")
    with pytest.raises(AssertionError, match=words):
        check_op(device, "activation", X, "tanh", dtypes=("float32", dtype))


def test_the_definitions_are_not_meant_for_half_precision() -> None:
    with pytest.raises(AssertionError, match="no implementation for float16"):
        check_op(Device(), "activation", X, "tanh", dtypes=("float16",))


class WideBatchNorm(BatchNorm):
    """Computes in float64; running statistics stay what they are."""

    kinds: set[tuple[str, str]] = set()  # noqa: RUF012

    @staticmethod
    def forward(ctx: Context, x: Any, gamma: Any, *rest: Any, **options: Any) -> Any:
        beta, mean, variance = rest
        WideBatchNorm.kinds.add((str(x.dtype), str(mean.dtype)))
        wide = (x.astype(np.float64), gamma.astype(np.float64), beta.astype(np.float64))
        y, saved = BatchNorm.forward(ctx, *wide, mean, variance, **options)
        return y.astype(x.dtype), saved

    @staticmethod
    def backward(ctx: Context, dy: Any, saved: Any) -> Any:
        gradients = BatchNorm.backward(ctx, dy.astype(np.float64), saved)
        return tuple(None if g is None else g.astype(dy.dtype) for g in gradients)


def test_running_statistics_stay_float32() -> None:
    check_op(
        device_with("batch_norm", WideBatchNorm), "batch_norm",
        X, X[0], X[1], X[2], X[3] ** 2,
        momentum=0.9, epsilon=1e-3, dtypes=("float64", "float32", *HALF),
    )  # fmt: skip
    assert WideBatchNorm.kinds == {
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float32"),
        ("bfloat16", "float32"),
    }


def test_results_that_are_no_floats_keep_their_type_and_value() -> None:
    class AsBytes(Action):
        @staticmethod
        def run(ctx: Context, values: Any) -> Any:
            return np.isfinite(values).all().reshape(1).astype(np.uint8)

    class Always(Action):
        @staticmethod
        def run(ctx: Context, values: Any) -> Any:
            return np.ones(1, bool)

    check_op(device_with("all_finite", Always), "all_finite", X)
    with pytest.raises(AssertionError, match="result 0 differs"):
        check_op(device_with("all_finite", Always), "all_finite", np.array([1.0, np.inf]))
    with pytest.raises(AssertionError, match="uint8, not bool"):
        check_op(device_with("all_finite", AsBytes), "all_finite", X)
