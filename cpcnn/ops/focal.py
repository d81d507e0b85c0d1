"""Cross-entropy between distributions over classes, and its focal form."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from .table import Op

EPSILON = 1e-7  # probabilities are kept this far from 0 and 1, as in Keras


def clip_probabilities(xp: Namespace, p: Array) -> tuple[Array, Array]:
    """Return p kept away from 0 and 1, and where that changed it: no gradient passes there."""
    return xp.clip(p, EPSILON, 1 - EPSILON), (p < EPSILON) | (p > 1 - EPSILON)


class SoftmaxFocalCrossEntropy(Op):
    """The focal cross-entropy of p = softmax(logits) against soft targets, one loss per row.

    logits, targets (N, K); losses (N,) = -sum over k of targets * (1 - p) ** gamma * log p; with
    gamma 0 it is plain cross-entropy (Lin et al., 2017, arXiv:1708.02002). Targets need not sum to
    one: weights of classes may be multiplied in. They get no gradient. p and 1 - p are computed
    each by itself, so both are exact next to 0.
    """

    @staticmethod
    def forward(
        ctx: Context, logits: Array, targets: Array, *, gamma: float = 0.0
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        log_p, p, q = _softmax(xp, logits)
        losses, slopes = _focal(xp, log_p, p, q, targets, gamma)
        of_others = xp.sum(slopes, axis=-1, keepdims=True) - slopes
        return losses, slopes * q - p * of_others  # slopes - p * sum(slopes), cancelling less

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of the logits; dy (N,) weighs the rows."""
        return saved * ctx.xp.reshape(dy, (-1, 1))


class FocalCrossEntropy(Op):
    """The focal cross-entropy of probabilities against soft targets, one loss per row.

    y, targets (N, K); losses (N,). p is y divided by the sum of its row and then kept within
    [1e-7, 1 - 1e-7], as in Keras; where that changes p its gradient is 0. The rest is as in
    `softmax_focal_cross_entropy`.
    """

    @staticmethod
    def forward(
        ctx: Context, y: Array, targets: Array, *, gamma: float = 0.0
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        total = xp.sum(y, axis=-1, keepdims=True)
        share = y / total
        p, cut = clip_probabilities(xp, share)
        losses, slopes = _focal(xp, xp.log(p), p, 1 - p, targets, gamma)
        of_share = xp.where(cut, xp.zeros_like(p), slopes / p)
        return losses, (of_share, share, total)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of y; dy (N,) weighs the rows."""
        of_share, share, total = saved
        xp = ctx.xp
        common = xp.sum(of_share * share, axis=-1, keepdims=True)
        return (of_share - common) / total * xp.reshape(dy, (-1, 1))


def _softmax(xp: Namespace, logits: Array) -> tuple[Array, Array, Array]:
    """Return log p, p and 1 - p of p = softmax(logits)."""
    numbers = xp.reshape(xp.arange(logits.shape[-1]), (1, -1))
    is_top = xp.argmax(logits, axis=-1, keepdims=True) == numbers
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    powers = xp.exp(shifted)
    others = xp.sum(xp.where(is_top, xp.zeros_like(powers), powers), axis=-1, keepdims=True)
    total = 1 + others  # the top one is exp(0)
    q = xp.where(is_top, others, total - powers) / total
    return shifted - xp.log1p(others), powers / total, q


def _focal(
    xp: Namespace, log_p: Array, p: Array, q: Array, targets: Array, gamma: float
) -> tuple[Array, Array]:
    """Return the losses, and their gradient with respect to log p; q is 1 - p."""
    weights = targets * q**gamma
    # q ** (gamma - 1) * log p would be infinity times 0 at p = 1; log p / q goes to -1 there
    one = xp.ones_like(q)
    ratio = xp.where(q > 0, log_p / xp.where(q > 0, q, one), -one)
    return -xp.sum(weights * log_p, axis=-1), weights * (gamma * p * ratio - 1)
