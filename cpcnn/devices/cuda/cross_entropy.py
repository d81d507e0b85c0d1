"""Softmax and cross-entropy on the GPU: `kernels/cross_entropy.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved
from ...ops.table import Op
from .element_types import FLOATS, c_type_of, dtype_name, is_floating
from .geometry import warps
from .kernel import Kernel, contiguous, each

LABELS = ("int", "long long")

cross_entropy = Kernel(
    "cross_entropy.cu",
    "cross_entropy",
    [(c_type, label) for c_type in FLOATS for label in LABELS],
)
weigh_rows = Kernel("cross_entropy.cu", "weigh_rows", each())


class WarpCrossEntropy(Op):
    """Losses and gradient in one kernel; `saved` is the gradient of the rows' unweighted sum."""

    @staticmethod
    def supports(ctx: Context, logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> bool:
        return is_floating(logits) and dtype_name(labels) in ("int32", "int64")

    @staticmethod
    def forward(
        ctx: Context, logits: Array, labels: Array, *, label_smoothing: float = 0.0
    ) -> tuple[Array, Saved]:
        logits, labels = contiguous(ctx, logits), contiguous(ctx, labels)
        rows, classes = logits.shape
        losses = ctx.empty((rows,), logits.dtype)
        gradient = ctx.empty(logits.shape, logits.dtype) if ctx.grad else None
        cross_entropy(
            ctx,
            warps(rows),
            (c_type_of(logits), c_type_of(labels)),
            logits=logits,
            labels=labels,
            losses=losses,
            gradient=gradient,
            rows=rows,
            classes=classes,
            certainty=1 - label_smoothing,
            spread=label_smoothing / classes,
        )
        return losses, gradient

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        dy = contiguous(ctx, dy)
        rows, classes = saved.shape
        dx = ctx.empty(saved.shape, saved.dtype)
        weigh_rows(
            ctx,
            warps(rows),
            (c_type_of(saved),),
            gradient=saved,
            dy=dy,
            dx=dx,
            rows=rows,
            classes=classes,
        )
        return dx
