"""Gradients against differences along one random direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    names: Sequence[str] | None = None,
) -> None:
    """Compare a gradient with a central difference along one random direction, in float64.

    `function(*arrays)` returns (y, backward). Two more calls of it check all elements of all
    gradients at once, however many there are. Keep away from kinks and ties: a difference across
    them is no derivative. AssertionError tells whose gradient is wrong, by `names`, and both
    slopes.
    """
    arrays = [np.asarray(array, np.float64) for array in arrays]
    names = names or [f"argument {number}" for number in range(len(arrays))]
    y, backward = function(*arrays)
    dy = draw(y.shape, seed, "dy")
    gradients = backward(dy)
    if len(gradients) != len(arrays):
        raise AssertionError(f"{len(gradients)} gradients for {len(arrays)} arguments")
    for name, array, gradient in zip(names, arrays, gradients, strict=True):
        if gradient is not None and gradient.shape != array.shape:
            raise AssertionError(
                f"the gradient of {name} has shape {gradient.shape}, not {array.shape}"
            )
    probe = _Probe(function, arrays, dy, gradients, step, tolerance, seed)
    given = [number for number, gradient in enumerate(gradients) if gradient is not None]
    if complaint := probe.complaint(given, "all arguments"):
        single = [probe.complaint([number], names[number]) for number in given]
        raise AssertionError("; ".join(filter(None, single)) or complaint)


@dataclass
class _Probe:
    """Slopes along random directions: promised by a gradient, and measured."""

    function: Callable[..., tuple[NDArray[Any], Backward]]
    arrays: Sequence[NDArray[Any]]
    dy: NDArray[Any]
    gradients: Sequence[NDArray[Any] | None]
    step: float
    tolerance: float
    seed: int

    def complaint(self, numbers: Sequence[int], whose: str) -> str:
        """Move some arguments at once; tell how the two slopes differ, if they do."""
        slope, squares = 0.0, 0.0
        ahead, behind = list(self.arrays), list(self.arrays)
        for number in numbers:
            direction = draw(self.arrays[number].shape, self.seed, f"direction {number}")
            gradient = np.asarray(self.gradients[number])
            slope += float(np.sum(direction * gradient))
            squares += float(np.sum(np.square(gradient)))
            ahead[number] = self.arrays[number] + self.step * direction
            behind[number] = self.arrays[number] - self.step * direction
        rise = float(np.sum(self.dy * (self.function(*ahead)[0] - self.function(*behind)[0])))
        measured = rise / (2 * self.step)
        limit = self.tolerance * math.sqrt(squares) + 1e-8
        if abs(measured - slope) <= limit:
            return ""
        hint = ""
        if squares == 0:
            hint = " (it is zero everywhere: was it forgotten?)"
        elif abs(measured + slope) <= limit:
            hint = " (its sign is wrong)"
        return (
            f"along a random direction the gradient of {whose} promises a slope of {slope:.9g}, "
            f"differences measure {measured:.9g}{hint}"
        )
