"""The squared distance between outputs and targets."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Saved
from .table import Op


class MeanSquaredError(Op):
    """The mean over each row of (y - targets) ** 2: y, targets (N, K), losses (N,).

    Targets get no gradient.
    """

    @staticmethod
    def forward(ctx: Context, y: Array, targets: Array) -> tuple[Array, Saved]:
        difference = y - targets
        return ctx.xp.mean(difference * difference, axis=-1), difference

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of y; dy (N,) weighs the rows."""
        return saved * ctx.xp.reshape(dy * 2 / saved.shape[-1], (-1, 1))
