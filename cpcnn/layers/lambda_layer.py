"""A layer made of a pair of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Saved, Shape
from .base import Layer

Forward: TypeAlias = Callable[[Any, Array], Any]  # (xp, x) -> (y, saved), or y alone
Backward: TypeAlias = Callable[[Any, Array, Saved], Array]  # (xp, dy, saved) -> dx


class Functions(NamedTuple):
    """A function and its gradient."""

    forward: Forward
    backward: Backward


REGISTERED: dict[str, Functions] = {}


def register_functions(name: str, forward: Forward, backward: Backward) -> None:
    """Give a pair of functions a name, so that `Lambda(name)` can be saved and loaded.

    A program that loads such a model has to register them as well: a file holds the name alone.
    UsageError when other functions have the name.
    """
    functions = Functions(forward, backward)
    if REGISTERED.setdefault(name, functions) != functions:
        raise UsageError(f"other functions are registered under the name {name!r} already.")


@dataclass(eq=False)
class Lambda(Layer):
    """A layer without parameters, made of two functions, or of the name of registered ones.

    `function(xp, x)` gets the namespace of the device's array library, and the input with the
    batch in front; it returns (y, saved) or y alone. `gradient(xp, dy, saved)` returns dx; nothing
    derives it, unlike in Keras. The shape of the result is found by a call with one NumPy image of
    ones, unless `result_shape` (without the batch; `output_shape` in Keras) is given. Functions
    cannot be saved; `register_functions` gives them a name that can.
    """

    function: Forward | str
    gradient: Backward | None = None
    result_shape: Shape | None = None

    def __post_init__(self) -> None:
        self.functions = self._find()
        if self.result_shape is not None:
            self.result_shape = tuple(self.result_shape)
            if not all(isinstance(size, int) and size > 0 for size in self.result_shape):
                raise UsageError(
                    f"Lambda: result_shape must be positive integers, not {self.result_shape!r}."
                )

    def _find(self) -> Functions:
        if isinstance(self.function, str):
            if self.function not in REGISTERED:
                raise UsageError(
                    f"there are no functions registered under the name {self.function!r}.",
                    suggestion="Call register_functions(name, forward, backward) before.",
                )
            if self.gradient is not None:
                raise UsageError("Lambda takes a registered name alone: it stands for both.")
            return REGISTERED[self.function]
        if not callable(self.function) or not callable(self.gradient):
            raise UsageError(
                "Lambda needs two functions, Lambda(forward, backward), or a registered name.",
                suggestion="Gradients are written by hand: backward(xp, dy, saved) returns dx.",
            )
        _check_arguments(self.function, "function", "(xp, x)")
        _check_arguments(self.gradient, "gradient", "(xp, dy, saved)")
        return Functions(self.function, self.gradient)

    def build(self, shape: Shape) -> Shape:
        if self.result_shape is not None:
            return self.result_shape
        with np.errstate(all="ignore"):
            y, _ = self._call(np, np.ones((1, *shape), np.float32))
        found = np.shape(y)
        if found[:1] != (1,):
            raise ShapeError(
                f"the function makes an array of shape {found} of one of shape {(1, *shape)}.",
                suggestion="Axis 0 is the batch: the function has to keep it.",
            )
        return found[1:]

    def _call(self, xp: Any, x: Array) -> tuple[Array, Saved]:
        result = self.functions.forward(xp, x)
        return result if isinstance(result, tuple) else (result, None)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        y, saved = self._call(ctx.xp, x)
        return y, saved if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return self.functions.backward(ctx.xp, dy, saved)


def _check_arguments(function: Callable[..., Any], name: str, arguments: str) -> None:
    """UsageError if a function cannot be called with as many arguments as it will be."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not tell
        return
    try:
        signature.bind(*arguments.split(","))
    except TypeError as error:
        raise UsageError(f"Lambda calls {name}{arguments}: {error}.") from None
