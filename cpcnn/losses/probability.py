"""What losses of probabilities share: logits or not, label smoothing, and targets."""

from __future__ import annotations

from typing import Any

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.options import check_number
from ..core.typing import Array
from ..ops.cross_entropy import one_hot
from .base import Loss


class ProbabilityLoss(Loss):
    """A loss of probabilities, computed from logits where it can be.

    `from_logits` None, the default, asks the network: training leaves out the final activation that
    the loss undoes; another softmax or sigmoid gives probabilities, all else logits. True: the
    outputs are logits, and the network must not end in softmax or sigmoid. False: the outputs are
    probabilities; those of a final activation that is left out are still computed from logits.

    Subclasses are frozen dataclasses with `from_logits` and `label_smoothing` among their fields.
    """

    label_smoothing: float

    def __post_init__(self) -> None:
        if not (self.from_logits is None or isinstance(self.from_logits, bool)):
            raise UsageError(
                f"from_logits must be True, False or None, not {self.from_logits!r}.",
                suggestion="Give other arguments by name, for instance label_smoothing=0.1.",
            )
        check_number(self, "label_smoothing", least=0, below=1)

    def bind(self, absorbed: bool, *, probabilities: bool = False) -> Loss:
        """Return the loss with `from_logits` decided.

        UsageError for from_logits=True with a network that ends in softmax or sigmoid.
        """
        if self.from_logits and (absorbed or probabilities):
            raise UsageError(
                "the loss has from_logits=True, but the network gives probabilities.",
                suggestion="Leave from_logits out, or the activation at the end of the network.",
            )
        return super().bind(absorbed, probabilities=probabilities)


def targets_of(ctx: Context, outputs: Array, labels: Array) -> Array:
    """Return labels as targets (N, K) in the outputs' dtype: one-hot rows for class indices (N,).

    Of one output the target is the class index itself, 0 or 1. ShapeError when labels do not fit.
    """
    check_shapes(outputs, labels)
    xp = ctx.xp
    if labels.ndim == 1 and outputs.shape[-1] > 1:
        return one_hot(xp, labels, outputs.shape[-1], outputs.dtype)
    return xp.astype(xp.reshape(labels, outputs.shape), outputs.dtype)


def check_shapes(outputs: Array, labels: Array) -> None:
    """ShapeError unless outputs are (N, K) and labels (N,) or (N, K)."""
    if outputs.ndim != 2:
        raise ShapeError(
            f"a loss takes outputs of shape (N, K), one row an image; found {outputs.shape}.",
            suggestion="End the network in Flatten or GlobalAveragePooling2D, and Dense.",
        )
    rows = outputs.shape[:1]
    if labels.shape not in (rows, outputs.shape):
        raise ShapeError(
            f"outputs of shape {outputs.shape} take class indices of shape {rows} or targets of "
            f"shape {outputs.shape}, not labels of shape {labels.shape}."
        )


def check_classes(loss: Any, outputs: Array) -> None:
    """ShapeError for one output, which is always the most probable of one."""
    if outputs.shape[-1] == 1:
        raise ShapeError(
            f"{type(loss).__name__} takes one output for each class, and there is only one.",
            suggestion='Use loss="binary_crossentropy" with Dense(1, activation="sigmoid").',
        )
