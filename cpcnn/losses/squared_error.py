"""The squared distance to the one-hot target."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.typing import Array, Saved
from .base import Loss
from .probability import targets_of


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The mean over an image's outputs (N, K) of (output - target) ** 2.

    The outputs are taken as they are, so end the network in softmax or sigmoid if they shall be
    probabilities. Labels are class indices (N,) or targets (N, K).
    """

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        return ctx.ops.mean_squared_error(outputs, targets_of(ctx, outputs, labels))
