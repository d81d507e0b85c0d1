"""Cross-entropy of outputs that each answer a yes-or-no question, and its focal form."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from .focal import clip_probabilities
from .table import Op


class SigmoidFocalCrossEntropy(Op):
    """The binary focal cross-entropy of p = sigmoid(logits), averaged over each row's outputs.

    logits, targets (N, K), targets in [0, 1]; losses (N,) = mean over k of a * m ** gamma * e with
    e = -(t * log p + (1 - t) * log(1 - p)), the miss m = t * (1 - p) + (1 - t) * p, and the balance
    a = alpha * t + (1 - alpha) * (1 - t), or 1 where alpha is None. With gamma 0 it is plain binary
    cross-entropy (Lin et al., 2017, arXiv:1708.02002). Targets get no gradient. p and 1 - p are
    computed each by itself, so both are exact next to 0.
    """

    @staticmethod
    def forward(
        ctx: Context,
        logits: Array,
        targets: Array,
        *,
        gamma: float = 0.0,
        alpha: float | None = None,
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        power = xp.exp(-xp.abs(logits))  # never overflows
        likely, unlikely = 1 / (1 + power), power / (1 + power)
        p = xp.where(logits >= 0, likely, unlikely)
        q = xp.where(logits >= 0, unlikely, likely)
        zero = xp.zeros_like(logits)
        log_p = xp.minimum(logits, zero) - xp.log1p(power)
        log_q = xp.minimum(-logits, zero) - xp.log1p(power)
        entropy = -(targets * log_p + (1 - targets) * log_q)
        return _binary_focal(xp, entropy, p, q, targets, gamma, alpha)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of the logits; dy (N,) weighs the rows."""
        return saved * ctx.xp.reshape(dy, (-1, 1))


class BinaryFocalCrossEntropy(Op):
    """The binary focal cross-entropy of probabilities, averaged over each row's outputs.

    y, targets (N, K); losses (N,). p is y kept within [1e-7, 1 - 1e-7], as in Keras; where that
    changes p its gradient is 0. The rest is as in `sigmoid_focal_cross_entropy`.
    """

    @staticmethod
    def forward(
        ctx: Context, y: Array, targets: Array, *, gamma: float = 0.0, alpha: float | None = None
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        p, cut = clip_probabilities(xp, y)
        q = 1 - p
        entropy = -(targets * xp.log(p) + (1 - targets) * xp.log(q))
        losses, of_logits = _binary_focal(xp, entropy, p, q, targets, gamma, alpha)
        return losses, xp.where(cut, xp.zeros_like(p), of_logits / (p * q))

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of y; dy (N,) weighs the rows."""
        return saved * ctx.xp.reshape(dy, (-1, 1))


def _binary_focal(
    xp: Namespace,
    entropy: Array,
    p: Array,
    q: Array,
    targets: Array,
    gamma: float,
    alpha: float | None,
) -> tuple[Array, Array]:
    """Return the losses, and their gradient with respect to log(p / q), the logits; q is 1 - p."""
    miss = targets * q + (1 - targets) * p
    weights = miss**gamma
    if alpha is not None:
        weights = weights * (targets * alpha + (1 - targets) * (1 - alpha))
    # where nothing is missed the entropy is 0 too, and so is this part of the gradient
    rise = (1 - 2 * targets) * p * q / xp.where(miss > 0, miss, xp.ones_like(miss))
    slopes = weights * (gamma * rise * entropy + (1 - targets) * p - targets * q)
    return xp.mean(weights * entropy, axis=-1), slopes / p.shape[-1]
