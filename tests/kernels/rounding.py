"""How near the result of a kernel must be: the exact number, rounded as its type is stored."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

DTYPES = tuple(map(np.dtype, ("float32", "float64", "float16", ml_dtypes.bfloat16)))
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**32 - 1)  # of the numbers in an array


def accumulator_of(dtype: Any) -> np.dtype[Any]:
    """Return the type in which kernels compute with elements of a type."""
    return np.dtype("float64" if np.dtype(dtype) == np.float64 else "float32")


def normal(rng: np.random.Generator, shape: Any, dtype: Any) -> NDArray[Any]:
    """Draw normal numbers, rounded to a type."""
    return np.asarray(rng.normal(size=shape)).astype(dtype)


def exactly(array: Any) -> NDArray[np.float64]:
    """Return the numbers of an array, copied to float64."""
    return np.array(array, np.float64)


def assert_rounded(
    found: Any, exact: NDArray[np.float64], steps: float = 8, magnitude: Any = None
) -> None:
    """AssertionError unless `found` is `exact` but for rounding.

    Allowed are one rounding to the type of `found`, and `steps` roundings of the type that kernels
    compute in, relative to `magnitude` (of the terms of a sum, say; the result's when not given).
    Infinity and NaN must be where they are in `exact`.
    """
    with np.errstate(over="ignore"):
        target = exactly(exact.astype(found.dtype))  # infinite where the type ends
    values = exactly(found)
    assert values.shape == target.shape
    finite = np.isfinite(target)
    np.testing.assert_array_equal(values[~finite], target[~finite])
    magnitude = np.abs(exact) if magnitude is None else np.broadcast_to(magnitude, exact.shape)
    info = ml_dtypes.finfo(found.dtype)
    single = ml_dtypes.finfo(accumulator_of(found.dtype))
    limit = float(info.eps) / 2 * np.abs(exact) + float(info.smallest_subnormal) / 2
    limit = limit + steps * (float(single.eps) / 2 * magnitude + float(single.smallest_subnormal))
    with np.errstate(invalid="ignore"):  # infinities were looked at above
        error = np.abs(values - exact)
    wrong = finite & ~(error <= limit)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.size} are wrong, first {found[place]} at {place} for "
            f"{exact[place]}: off by {error[place]:.3g}, allowed are {limit[place]:.3g}"
        )
