"""Gradients against differences along one random direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import draw

# dy -> one gradient per argument, None for an argument that gets none
Backward: TypeAlias = Callable[[NDArray[Any]], Sequence[NDArray[Any] | None]]


def check_gradient(
    function: Callable[..., tuple[NDArray[Any], Backward]],
    arrays: Sequence[NDArray[Any]],
    *,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> None:
    """Compare a gradient with a central difference along one random direction, in float64.

    `function(*arrays)` returns (y, backward). Two more calls of it check all elements of all
    gradients at once, however many there are. Keep away from kinks and ties: a difference across
    them is no derivative. AssertionError tells both slopes.
    """
    arrays = [np.asarray(array, np.float64) for array in arrays]
    y, backward = function(*arrays)
    dy = draw(y.shape, seed, "dy")
    gradients = backward(dy)
    if len(gradients) != len(arrays):
        raise AssertionError(f"{len(gradients)} gradients for {len(arrays)} arguments")
    slope, squares = 0.0, 0.0
    ahead, behind = list(arrays), list(arrays)
    for number, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if gradient is None:
            continue
        if gradient.shape != array.shape:
            raise AssertionError(
                f"the gradient of argument {number} has shape {gradient.shape}, not {array.shape}"
            )
        direction = draw(array.shape, seed, f"direction {number}")
        slope += float(np.sum(direction * gradient))
        squares += float(np.sum(np.square(gradient)))
        ahead[number], behind[number] = array + step * direction, array - step * direction
    rise = float(np.sum(dy * (function(*ahead)[0] - function(*behind)[0])))
    measured = rise / (2 * step)
    if not abs(measured - slope) <= tolerance * math.sqrt(squares) + 1e-8:
        raise AssertionError(
            f"along a random direction the gradient promises a slope of {slope:.9g}, "
            f"differences measure {measured:.9g}"
        )
