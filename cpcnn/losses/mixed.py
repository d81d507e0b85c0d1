"""A loss of images that have two labels, as MixUp and CutMix make them."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Saved
from .base import Loss


class MixedLoss(Loss):
    """weights · loss(labels) + (1 - weights) · loss(others), per image.

    others (N,) are the second class indices and weights (N,) what the first ones count. As
    cross-entropy is linear in its target, this is cross-entropy with the mixed target (Zhang et
    al., 2017, arXiv:1710.09412). Label smoothing, and weights of classes, which go by each of the
    two labels, are those of `loss`, which is a bound one.
    """

    def __init__(self, loss: Loss, others: Array, weights: Array) -> None:
        self.loss = loss
        self.others = others
        self.weights = weights
        self.absorbs = loss.absorbs
        self.from_logits = loss.from_logits

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        first, kept_first = self.loss(ctx, outputs, labels)
        second, kept_second = self.loss(ctx, outputs, self.others)
        weights = ctx.xp.astype(self.weights, first.dtype)
        losses = weights * first + (1 - weights) * second
        return losses, (weights, kept_first, kept_second)

    def backward(self, ctx: Context, dy: Array, saved: Saved) -> Array:
        weights, first, second = saved
        gradient = self.loss.backward(ctx, weights * dy, first)
        return gradient + self.loss.backward(ctx, (1 - weights) * dy, second)
