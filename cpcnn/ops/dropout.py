"""Dropout (Srivastava et al., 2014), inverted: the kept values are scaled up in training."""

from __future__ import annotations

import math

from ..core.context import Context
from ..core.random import Philox
from ..core.typing import Array, Saved
from .table import Op


class Dropout(Op):
    """Zero each element with probability `rate`, and divide the others by 1 - rate.

    Element i, in row-major order, is dropped when word i % 4 of Philox counter i // 4 of `rng`
    is below rate * 2**32, on every device.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, rate: float, rng: Philox) -> tuple[Array, Saved]:
        xp = ctx.xp
        size = math.prod(x.shape)
        words = rng.words_on(xp, xp.arange((size + 3) // 4, dtype=xp.uint64))
        threshold = xp.asarray(min(round(rate * 2**32), 2**32), dtype=xp.uint64)
        kept = xp.reshape(xp.stack(words, axis=-1), (-1,))[:size] >= threshold
        kept = xp.reshape(kept, x.shape)
        scale = 1 / (1 - rate) if rate < 1 else 0.0
        return xp.where(kept, x * scale, xp.zeros_like(x)), (kept, scale)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        kept, scale = saved
        return ctx.xp.where(kept, dy * scale, ctx.xp.zeros_like(dy))
