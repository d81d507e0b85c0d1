"""Dropout: compiled, mask and product in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.random import MASK, Philox
from ...core.typing import Saved
from ...ops.table import Op
from .kernels.dropout import WORDS, dropout
from .workers import cut, in_threads

FLOAT32 = np.dtype("float32")


class DrawnDropout(Op):
    """Dropout that keeps no mask: backward draws it again, which takes less time than reading."""

    @staticmethod
    def supports(ctx: Context, x: Any, rate: float, rng: Philox) -> bool:
        return x.dtype == FLOAT32 and x.flags.c_contiguous

    @staticmethod
    def forward(
        ctx: Context, x: NDArray[Any], rate: float, rng: Philox
    ) -> tuple[NDArray[Any], Saved]:
        return _dropped(ctx, x, rate, rng), (rate, rng)

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        return _dropped(ctx, np.ascontiguousarray(dy), *saved)


def _dropped(ctx: Context, x: NDArray[Any], rate: float, rng: Philox) -> NDArray[Any]:
    y = ctx.empty(x.shape, x.dtype)
    threshold = round(rate * 2**32)
    if threshold > MASK:  # no word reaches it
        y[...] = 0
        return y
    numbers = (threshold, 1 / (1 - rate), rng.epoch & MASK, rng.stream_word, *rng.key)
    elements, results = x.reshape(-1), y.reshape(-1)

    def work(piece: slice) -> None:
        dropout(elements, results, piece.start, piece.stop, *numbers)

    in_threads(ctx, work, cut(ctx, -(-x.size // WORDS), x.size))
    return y
