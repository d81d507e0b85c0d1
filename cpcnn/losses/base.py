"""What a loss is, and its form with weights of classes."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.typing import Array, Saved


class Loss(ABC):
    """A number for each image, to be made small, and its gradient.

    Called with outputs (N, K) and labels it returns (losses (N,), saved); training takes their
    mean. Labels are class indices (N,), or targets (N, K) as floats. `absorbs` names the activation
    at the end of a network that training leaves out, because the loss is exact without it;
    `from_logits` then says whether the outputs of this network are without it.
    """

    absorbs: str | None = None
    from_logits: bool | None = None

    @abstractmethod
    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        """Return (losses (N,), saved); `saved` of any kind, as `backward` likes it."""

    def backward(self, ctx: Context, dy: Array, saved: Saved) -> Array:
        """Return the gradient of the outputs (N, K) for that of the losses, dy (N,)."""
        return ctx.ops.backward(dy, saved)

    def bind(self, absorbed: bool, *, probabilities: bool = False) -> Loss:
        """Return the loss for a network that is known, with `from_logits` decided if it absorbs.

        absorbed: whether its final activation, `absorbs`, was left out. probabilities: whether the
        outputs are still those of a softmax or sigmoid.
        """
        if self.absorbs is None:
            return self
        given = not probabilities if self.from_logits is None else self.from_logits
        bound = copy.copy(self)
        object.__setattr__(bound, "from_logits", absorbed or given)  # a loss may be frozen
        return bound

    def with_class_weights(self, weights: ArrayLike) -> Loss:
        """Return the loss with each image's multiplied by the weight of its class, weights (K,)."""
        return ClassWeighted(self, weights)


class ClassWeighted(Loss):
    """A loss in which every image counts with the weight of its class.

    weights (K,), one for each class. The class of soft targets is that of the largest one. Training
    divides by the number of images, as in Keras; PyTorch's losses divide by the sum of the images'
    weights. UsageError when a weight is negative or not finite, ShapeError when there are more or
    fewer than classes.
    """

    def __init__(self, loss: Loss, weights: ArrayLike) -> None:
        self.loss = loss
        self.weights = np.asarray(weights, np.float64)
        self.absorbs = loss.absorbs
        self.from_logits = loss.from_logits
        if self.weights.ndim != 1:
            raise ShapeError(
                f"class weights must have shape (K,), one a class, not {self.weights.shape}."
            )
        if not np.all(np.isfinite(self.weights) & (self.weights >= 0)):
            raise UsageError(
                f"class weights must be finite and not negative, not {self.weights.tolist()}."
            )

    def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
        losses, saved = self.loss(ctx, outputs, labels)
        weights = self._of_images(ctx, outputs, labels)
        return losses * weights, (saved, weights)

    def backward(self, ctx: Context, dy: Array, saved: Saved) -> Array:
        inner, weights = saved
        return self.loss.backward(ctx, dy * weights, inner)

    def bind(self, absorbed: bool, *, probabilities: bool = False) -> Loss:
        return ClassWeighted(self.loss.bind(absorbed, probabilities=probabilities), self.weights)

    def _of_images(self, ctx: Context, outputs: Array, labels: Array) -> Array:
        classes = max(2, outputs.shape[-1])  # one output tells two classes apart
        if len(self.weights) != classes:
            raise ShapeError(f"{len(self.weights)} class weights do not go with {classes} classes.")
        xp = ctx.xp
        table = xp.astype(ctx.device.put(self.weights), outputs.dtype)
        return xp.take(table, _class_indices(xp, labels))


def _class_indices(xp: Any, labels: Array) -> Array:
    """Return int64 (N,) for class indices (N,), targets (N, K), or (N, 1) of the second class."""
    if labels.ndim == 1:
        return xp.astype(labels, xp.int64)
    if labels.shape[-1] == 1:
        return xp.astype(xp.reshape(labels, (-1,)) > 0.5, xp.int64)
    return xp.argmax(labels, axis=-1)
