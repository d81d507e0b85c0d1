"""Checks of numbers that users give to optimizers, schedules, initialisers and layers."""

from __future__ import annotations

import math
from numbers import Integral, Real

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
    """Raise UsageError unless an attribute of `owner` is a finite number within the bounds."""
    value = getattr(owner, option)
    if _is(Real, value) and abs(value) < math.inf:
        over = (least is None or value >= least) and (above is None or value > above)
        under = (most is None or value <= most) and (below is None or value < below)
        if over and under:
            return
    bounds = [(least, "at least"), (above, "above"), (most, "at most"), (below, "below")]
    allowed = " and ".join(f"{word} {bound:g}" for bound, word in bounds if bound is not None)
    raise _refusal(owner, option, f"a finite number {allowed}".rstrip())


def check_whole(owner: object, option: str, *, least: int) -> None:
    """Raise UsageError unless an attribute of `owner` is an integer of at least `least`."""
    value = getattr(owner, option)
    if not _is(Integral, value) or value < least:
        raise _refusal(owner, option, f"a whole number of at least {least}")


def check_seed(owner: object) -> None:
    """Raise UsageError unless the attribute `seed` of `owner` is an integer or None."""
    seed = vars(owner)["seed"]
    if seed is not None and not _is(Integral, seed):
        raise _refusal(owner, "seed", "an integer or None")


def _is(kind: type, value: object) -> bool:
    """Whether a value is a number of a kind; bool is no number here."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _refusal(owner: object, option: str, allowed: str) -> UsageError:
    found = f"{type(owner).__name__}: {option} cannot be {getattr(owner, option)!r}"
    return UsageError(f"{found}; it must be {allowed}.")
