"""Focal losses: images that are classified well already count little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.options import check_number
from ..core.typing import Array, Saved
from .cross_entropy import smoothed
from .probability import ProbabilityLoss, check_classes, check_shapes, targets_of


@dataclass(frozen=True)
class CategoricalFocalCrossentropy(ProbabilityLoss):
    """The sum over classes of -alpha * target * (1 - p) ** gamma * log p, p = softmax(outputs).

    `alpha` is a number, or one for each class. Outputs (N, K); labels are class indices (N,) or
    targets (N, K). Lin et al., "Focal loss for dense object detection", 2017, arXiv:1708.02002.
    """

    absorbs = "softmax"
    alpha: float | Sequence[float] = 0.25
    gamma: float = 2.0
    from_logits: bool | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "gamma", least=0)  # below, certain images would count most
        if np.isscalar(self.alpha):
            check_number(self, "alpha", least=0)
        else:  # a tuple, so that equal losses are equal
            object.__setattr__(self, "alpha", tuple(np.asarray(self.alpha, np.float64).tolist()))

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        check_shapes(outputs, labels)
        check_classes(self, outputs)
        targets = smoothed(targets_of(ctx, outputs, labels), self.label_smoothing)
        targets = targets * self._balance(ctx, outputs)
        if self.from_logits is False:
            return ctx.ops.focal_cross_entropy(outputs, targets, gamma=self.gamma)
        return ctx.ops.softmax_focal_cross_entropy(outputs, targets, gamma=self.gamma)

    def _balance(self, ctx: Context, outputs: Array) -> float | Array:
        if isinstance(self.alpha, (int, float)):
            return self.alpha
        alpha = np.asarray(self.alpha, np.float64)
        if alpha.shape != outputs.shape[1:]:
            raise ShapeError(
                f"alpha must be a number or {outputs.shape[1]}, one for each class, "
                f"found shape {alpha.shape}."
            )
        return ctx.xp.astype(ctx.device.put(alpha), outputs.dtype)


@dataclass(frozen=True)
class BinaryFocalCrossentropy(ProbabilityLoss):
    """Binary cross-entropy times (1 - p) ** gamma, p the probability given to the right answer.

    With `apply_class_balancing` a yes counts `alpha` and a no 1 - alpha. Outputs and labels are as
    in `BinaryCrossentropy`. Lin et al., 2017, arXiv:1708.02002.
    """

    absorbs = "sigmoid"
    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool | None = None
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "gamma", least=0)
        check_number(self, "alpha", least=0, most=1)

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        targets = smoothed(targets_of(ctx, outputs, labels), self.label_smoothing, classes=2)
        alpha = self.alpha if self.apply_class_balancing else None
        if self.from_logits is False:
            return ctx.ops.binary_focal_cross_entropy(
                outputs, targets, gamma=self.gamma, alpha=alpha
            )
        return ctx.ops.sigmoid_focal_cross_entropy(outputs, targets, gamma=self.gamma, alpha=alpha)
