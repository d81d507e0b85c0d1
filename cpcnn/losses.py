"""Losses. Each is computed from logits, together with its softmax, in one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .core.context import Context
from .core.errors import UsageError
from .core.typing import Array


@dataclass(frozen=True)
class CategoricalCrossentropy:
    """Cross-entropy between classes and softmax(logits), with optional label smoothing.

    Called with logits (N, K) and class indices (N,), it returns (losses (N,), record for backward).
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must be in [0, 1), not {self.label_smoothing!r}.")

    def __call__(self, ctx: Context, logits: Array, labels: Array) -> tuple[Array, Any]:
        return ctx.ops.softmax_cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """The same loss under the name Keras gives it for integer labels."""


LOSSES = {
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}


def get_loss(loss: str | CategoricalCrossentropy) -> CategoricalCrossentropy:
    """Return the loss itself, or make one by name; UsageError lists the known names."""
    if isinstance(loss, CategoricalCrossentropy):
        return loss
    try:
        return LOSSES[loss]()
    except (KeyError, TypeError):
        raise UsageError(
            f"there is no loss named {loss!r}.",
            suggestion=f"Known losses: {', '.join(LOSSES)}.",
        ) from None
