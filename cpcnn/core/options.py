"""Checks of numbers that users give to optimizers, schedules, initialisers and layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeGuard

from .errors import UsageError


@dataclass(frozen=True)
class Bounds:
    """What a number may be; written as words, such as "at least 0 and below 1"."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def hold(self, value: Any) -> TypeGuard[float]:
        """Whether a value is a finite number within the bounds."""
        return (
            is_number(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = {"at least": self.least, "above": self.above}
        words |= {"at most": self.most, "below": self.below}
        return " and ".join(f"{w} {bound:g}" for w, bound in words.items() if bound is not None)


def check_number(
    owner: object,
    option: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raise UsageError unless an attribute of `owner` is a finite number within the bounds.

    It is kept as a number of Python: one of NumPy would widen float32 arrays, and not fit JSON.
    """
    value = getattr(owner, option)
    bounds = Bounds(least, above, most, below)
    if not bounds.hold(value):
        raise _refusal(owner, option, f"a finite number {bounds}".rstrip())
    _keep(owner, option, int(value) if is_whole(value) else float(value))


def check_whole(owner: object, option: str, *, least: int) -> None:
    """Raise UsageError unless an attribute of `owner` is an integer of at least `least`."""
    value = getattr(owner, option)
    if not is_whole(value) or value < least:
        raise _refusal(owner, option, f"a whole number of at least {least}")
    _keep(owner, option, int(value))


def check_seed(owner: object) -> None:
    """Raise UsageError unless the attribute `seed` of `owner` is an integer or None."""
    seed = vars(owner)["seed"]
    if seed is None:
        return
    if not is_whole(seed):
        raise _refusal(owner, "seed", "an integer or None")
    _keep(owner, "seed", int(seed))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number, of Python or NumPy; bool is no number here."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    try:
        return real and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def is_whole(value: object) -> bool:
    """Whether a value is an integer, of Python or NumPy; bool is no number here."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _keep(owner: object, option: str, number: float) -> None:
    object.__setattr__(owner, option, number)  # schedules and initialisers are frozen


def _refusal(owner: object, option: str, allowed: str) -> UsageError:
    found = f"{type(owner).__name__}: {option} cannot be {getattr(owner, option)!r}"
    return UsageError(f"{found}; it must be {allowed}.")
