"""The confusion matrix, filled batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpcnn.core.errors import ShapeError, UsageError

from .base import Metric, checked_batch, checked_classes

Counts: TypeAlias = NDArray[np.int64]


class ConfusionMatrix(Metric):
    """Counts of images by true class (rows) and predicted class (columns).

    `counts` is int64 of shape (K, K); without `num_classes` it is empty until the first batch of
    probabilities tells K. Matrices of several parts of a data set are added with `+`.
    """

    def __init__(self, num_classes: int | None = None, name: str = "confusion_matrix") -> None:
        if num_classes is not None and num_classes < 1:
            raise UsageError(f"A confusion matrix needs at least 1 class, {num_classes} given.")
        self.name = name
        self._given = num_classes or 0
        self.reset()

    @property
    def num_classes(self) -> int:
        """The number of classes K."""
        return len(self.counts)

    @property
    def total(self) -> int:
        """The number of images counted so far."""
        return int(self.counts.sum())

    def reset(self) -> None:
        self.counts: Counts = _zeros(self._given)

    def result(self) -> Counts:
        """Return a copy of the counts, int64 of shape (K, K)."""
        return self.counts.copy()

    def get_state(self) -> dict[str, NDArray[Any]]:
        return {"counts": self.counts.copy()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        counts = state["counts"]
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"counts of shape {counts.shape} are no confusion matrix")
        self.counts = counts.astype(np.int64)

    def update(self, labels: ArrayLike, predicted: ArrayLike, /) -> None:
        """Count one batch of class numbers (B,) in 0..K-1.

        `predicted` are class numbers too, or probabilities (B, K), of which the first largest
        counts.
        """
        if np.ndim(predicted) == 2:
            labels, predicted = self._most_probable(labels, predicted)
        rows = self._class_numbers(labels, "labels")
        columns = self._class_numbers(predicted, "predicted")
        if rows.shape != columns.shape:
            raise ShapeError(f"{rows.size} labels do not go with {columns.size} predictions.")
        k = self.num_classes
        self.counts += np.bincount(rows * k + columns, minlength=k * k).reshape(k, k)

    def _most_probable(
        self, labels: ArrayLike, probabilities: ArrayLike
    ) -> tuple[ArrayLike, ArrayLike]:
        truth, values = checked_batch(labels, probabilities)
        classes = checked_classes(self.num_classes or None, values.shape[1])
        if not self.num_classes:
            self.counts = _zeros(classes)
        return truth, values.argmax(axis=1)

    def _class_numbers(self, values: ArrayLike, name: str) -> NDArray[np.int64]:
        numbers = np.asarray(values)
        if numbers.size == 0:
            return np.zeros(0, np.int64)
        if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
            raise ShapeError(
                f"{name} must be integers of shape (B,), "
                f"found {numbers.dtype} of shape {numbers.shape}."
            )
        if not self.num_classes:
            raise UsageError("Class numbers do not tell how many classes there are: give K.")
        if numbers.min() < 0 or numbers.max() >= self.num_classes:
            raise UsageError(
                f"{name} must lie in 0..{self.num_classes - 1}, "
                f"found {numbers.min()}..{numbers.max()}."
            )
        return numbers.astype(np.int64)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if other.num_classes != self.num_classes:
            raise ShapeError(
                f"Confusion matrices of {self.num_classes} and {other.num_classes} classes "
                "cannot be added."
            )
        both = ConfusionMatrix(self.num_classes or None, self.name)
        both.counts = self.counts + other.counts
        return both


def _zeros(classes: int) -> Counts:
    return np.zeros((classes, classes), np.int64)
