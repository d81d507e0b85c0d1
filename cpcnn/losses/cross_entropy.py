"""Cross-entropy: categorical for one class of several, binary for questions of yes or no."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.typing import Array, Saved
from .probability import ProbabilityLoss, check_classes, check_shapes, targets_of


@dataclass(frozen=True)
class CategoricalCrossentropy(ProbabilityLoss):
    """Cross-entropy between the class and the softmax of the outputs, with label smoothing.

    Smoothing gives every class label_smoothing / K of the target (Szegedy et al., 2016,
    arXiv:1512.00567). Outputs (N, K); labels are class indices (N,) or targets (N, K). From
    probabilities, they are divided by their sum and kept within [1e-7, 1 - 1e-7], as in Keras.
    """

    absorbs = "softmax"
    from_logits: bool | None = None
    label_smoothing: float = 0.0

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        check_shapes(outputs, labels)
        check_classes(self, outputs)
        if labels.ndim == 1 and self.from_logits is not False:
            return ctx.ops.softmax_cross_entropy(
                outputs, labels, label_smoothing=self.label_smoothing
            )
        targets = smoothed(targets_of(ctx, outputs, labels), self.label_smoothing)
        if self.from_logits is False:
            return ctx.ops.focal_cross_entropy(outputs, targets)
        return ctx.ops.softmax_focal_cross_entropy(outputs, targets)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """The same loss under the name Keras gives it for integer labels."""


@dataclass(frozen=True)
class BinaryCrossentropy(ProbabilityLoss):
    """Cross-entropy between yes-or-no targets and the sigmoid of each output, averaged over them.

    Outputs (N, 1) tell two classes apart, with labels 0 and 1, (N,) or (N, 1). Outputs (N, K) take
    class indices (N,), which ask for one yes among noes, or targets (N, K). Smoothing moves every
    target towards 1/2. From probabilities, they are kept within [1e-7, 1 - 1e-7], as in Keras.
    """

    absorbs = "sigmoid"
    from_logits: bool | None = None
    label_smoothing: float = 0.0

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        targets = smoothed(targets_of(ctx, outputs, labels), self.label_smoothing, classes=2)
        if self.from_logits is False:
            return ctx.ops.binary_focal_cross_entropy(outputs, targets)
        return ctx.ops.sigmoid_focal_cross_entropy(outputs, targets)


def smoothed(targets: Array, smoothing: float, classes: int | None = None) -> Array:
    """Return (1 - smoothing) * targets + smoothing / classes; by default K classes."""
    if smoothing == 0:
        return targets
    return targets * (1 - smoothing) + smoothing / (classes or targets.shape[-1])
