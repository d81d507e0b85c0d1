"""Arrays inside nested tuples, lists and dicts: arguments, options and what forward saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.random import Philox


def is_array(value: Any) -> bool:
    """Whether a value is an array of some device."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def map_arrays(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply `function` to every array in a tree; sequences become tuples, the rest stays."""
    if is_array(value):
        return function(value)
    if type(value) in (tuple, list):
        return tuple(map_arrays(function, item) for item in value)
    if isinstance(value, dict):
        return {name: map_arrays(function, item) for name, item in value.items()}
    return value


def arrays_in(value: Any) -> Iterator[Any]:
    """Yield every array in a tree."""
    if is_array(value):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from arrays_in(item)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))


def draw(shape: tuple[int, ...], seed: int, stream: str) -> NDArray[np.float64]:
    """Draw standard normal numbers that float32 holds exactly."""
    return Philox(seed, f"testing/{stream}").normal(shape).astype(np.float64)


def assert_near(found: Any, expected: Any, tolerance: float, what: str) -> None:
    """Raise AssertionError unless all elements agree, relative to the largest expected one."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise AssertionError(f"{what} has shape {found.shape}, not {expected.shape}")
    finite = np.abs(expected[np.isfinite(expected)])
    limit = tolerance * max(1.0, float(finite.max(initial=0.0)))
    if not np.allclose(found, expected, rtol=0.0, atol=limit, equal_nan=True):
        with np.errstate(invalid="ignore"):
            worst = np.nanmax(np.abs(found - expected))
        raise AssertionError(f"{what} differs by up to {worst:.3g}, more than {limit:.3g}")
