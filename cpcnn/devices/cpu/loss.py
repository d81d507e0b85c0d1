"""Softmax and cross-entropy: compiled, the gradient along with the losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Saved
from ...ops.table import Op
from .kernels.cross_entropy import cross_entropy, weigh_rows
from .workers import cut, in_threads

FLOAT32, INT64 = np.dtype("float32"), np.dtype("int64")


class RowwiseCrossEntropy(Op):
    """SoftmaxCrossEntropy in one pass over the logits; backward has but the weights to apply."""

    @staticmethod
    def supports(ctx: Context, logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> bool:
        return (
            logits.dtype == FLOAT32
            and labels.dtype == INT64
            and logits.ndim == 2
            and logits.shape[1] > 0
            and labels.shape == logits.shape[:1]
            and logits.flags.c_contiguous
            and labels.flags.c_contiguous
        )

    @staticmethod
    def forward(
        ctx: Context,
        logits: NDArray[Any],
        labels: NDArray[Any],
        *,
        label_smoothing: float = 0.0,
    ) -> tuple[NDArray[Any], Saved]:
        losses = ctx.empty(labels.shape, FLOAT32)
        gradient = ctx.empty(logits.shape, FLOAT32)
        smoothing = float(label_smoothing)

        def work(rows: slice) -> None:
            cross_entropy(logits, labels, losses, gradient, rows.start, rows.stop, smoothing)

        in_threads(ctx, work, cut(ctx, len(logits), logits.size))
        return losses, gradient

    @staticmethod
    def backward(ctx: Context, dy: NDArray[Any], saved: Saved) -> NDArray[Any]:
        result: NDArray[Any] = ctx.empty(saved.shape, FLOAT32)
        weights = np.ascontiguousarray(dy, FLOAT32)

        def work(rows: slice) -> None:
            weigh_rows(saved, weights, result, rows.start, rows.stop)

        in_threads(ctx, work, cut(ctx, len(result), result.size))
        return result
