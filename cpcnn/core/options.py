"""Checks of numbers that users give to optimizers, schedules, initialisers and layers."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, TypeGuard

from .errors import UsageError


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
    if is_number(value):
        over = (least is None or value >= least) and (above is None or value > above)
        under = (most is None or value <= most) and (below is None or value < below)
        if over and under:
            _keep(owner, option, int(value) if is_whole(value) else float(value))
            return
    bounds = [(least, "at least"), (above, "above"), (most, "at most"), (below, "below")]
    allowed = " and ".join(f"{word} {bound:g}" for bound, word in bounds if bound is not None)
    raise _refusal(owner, option, f"a finite number {allowed}".rstrip())


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
