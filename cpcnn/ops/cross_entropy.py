"""Softmax and cross-entropy in one op."""

from __future__ import annotations

from typing import Any

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from .table import Op


def one_hot(xp: Namespace, labels: Array, classes: int, dtype: Any) -> Array:
    """Return (N, K) rows that are 1 at the class index and 0 elsewhere, for indices (N,)."""
    numbers = xp.reshape(xp.arange(classes, dtype=labels.dtype), (1, -1))
    return xp.astype(xp.reshape(labels, (-1, 1)) == numbers, dtype)


class SoftmaxCrossEntropy(Op):
    """The cross-entropy of softmax(logits) against class indices, one loss per row.

    logits (N, K); labels integer (N,); losses (N,). The target gives 1 - label_smoothing to the
    class, and spreads label_smoothing over all K classes (Szegedy et al., 2016, arXiv:1512.00567).
    """

    @staticmethod
    def forward(
        ctx: Context, logits: Array, labels: Array, *, label_smoothing: float = 0.0
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        shifted = logits - xp.max(logits, axis=-1, keepdims=True)
        log_p = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
        classes = logits.shape[-1]
        spread = label_smoothing / classes
        target = one_hot(xp, labels, classes, logits.dtype) * (1 - label_smoothing) + spread
        return -xp.sum(target * log_p, axis=-1), (log_p, target)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of the logits; dy (N,) weighs the rows."""
        log_p, target = saved
        return (ctx.xp.exp(log_p) - target) * ctx.xp.reshape(dy, (-1, 1))
