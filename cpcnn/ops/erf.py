"""The complementary error function, which the standard lacks (Cody, 1969, Math. Comp. 23, 631–637).

Three rational approximations, each near the best of its degree: of erf(x) / x around zero, of
erfc(x) exp(x²) beyond it, and of what is left of its asymptotic series from 4 on. Coefficients
stand with the highest power first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core.typing import Array, Namespace

NEAR = 0.46875  # up to here erf itself is approximated, beyond it erfc
FAR = 4.0
VANISHED = 28.0  # erfc is zero from here on, in every type

NEAR_NUMERATOR = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
NEAR_DENOMINATOR = (
    1.0,
    2.36012909523441209e1,
    2.44024637934444173e2,
    1.28261652607737228e3,
    2.84423683343917062e3,
)
MIDDLE_NUMERATOR = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
MIDDLE_DENOMINATOR = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
FAR_NUMERATOR = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
FAR_DENOMINATOR = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346725e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)


def erfc(xp: Namespace, x: Array) -> Array:
    """Return 1 - 2/√π · ∫₀ˣ exp(-t²) dt, right to some units in the last place also near zero."""
    size = xp.abs(x)
    beyond = _erfc_beyond(xp, size)
    return xp.where(size <= NEAR, 1 - _erf_near(xp, x), xp.where(x < 0, 2 - beyond, beyond))


def _erf_near(xp: Namespace, x: Array) -> Array:
    """erf(x) for |x| up to NEAR; some finite number for larger ones."""
    x = xp.clip(x, -NEAR, NEAR)
    square = x * x
    return x * (_polynomial(NEAR_NUMERATOR, square) / _polynomial(NEAR_DENOMINATOR, square))


def _erfc_beyond(xp: Namespace, size: Array) -> Array:
    """erfc(|x|) for |x| from NEAR on; some finite number for smaller ones."""
    size = xp.clip(size, None, VANISHED)
    middle = xp.clip(size, NEAR, FAR)
    far = xp.clip(size, FAR, None)
    inverse = 1 / far**2
    series = inverse * _polynomial(FAR_NUMERATOR, inverse) / _polynomial(FAR_DENOMINATOR, inverse)
    scaled = xp.where(
        size <= FAR,
        _polynomial(MIDDLE_NUMERATOR, middle) / _polynomial(MIDDLE_DENOMINATOR, middle),
        (1 / math.sqrt(math.pi) - series) / far,
    )
    # exp(-x²) in two factors, the first with an exact square: the rounding of x² would be magnified
    short = xp.floor(size * 16) / 16
    return xp.exp(-short * short) * xp.exp(-(size - short) * (size + short)) * scaled


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    result = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        result = result * x + coefficient
    return result
