"""Dropout on the GPU: `kernels/dropout.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.random import MASK, Philox
from ...core.typing import Array, Saved
from ...ops.table import Op
from .element_types import c_type_of, is_floating
from .geometry import linear
from .kernel import Kernel, contiguous, vector_width, vectorised

dropout = Kernel("dropout.cu", "dropout", vectorised())

WORDS = 4  # that a counter gives


class CountedDropout(Op):
    """Dropout that keeps no mask: backward draws the same words again."""

    @staticmethod
    def supports(ctx: Context, x: Any, rate: float, rng: Philox) -> bool:
        return is_floating(x)

    @staticmethod
    def forward(ctx: Context, x: Array, rate: float, rng: Philox) -> tuple[Array, Saved]:
        return _drop(ctx, x, rate, rng), (rate, rng)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        return _drop(ctx, dy, *saved)


def _drop(ctx: Context, x: Any, rate: float, rng: Philox) -> Array:
    x = contiguous(ctx, x)
    y = ctx.empty(x.shape, x.dtype)
    vec = vector_width(ctx, 0, x, y)  # any length: the kernel takes a short last pack
    dropout(
        ctx,
        linear(-(-x.size // max(vec, WORDS))),
        (c_type_of(x), vec),
        x=x,
        y=y,
        size=x.size,
        threshold=min(round(rate * 2**32), 2**32),
        scale=1 / (1 - rate) if rate < 1 else 0.0,
        epoch=rng.epoch & MASK,
        stream=rng.stream_word,
        key_0=rng.key[0],
        key_1=rng.key[1],
    )
    return y
