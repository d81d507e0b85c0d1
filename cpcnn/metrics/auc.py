"""The area under the ROC curve, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpcnn.core.errors import UsageError

from .base import Metric, checked_batch, checked_classes


class AUC(Metric):
    """The area under the ROC curve: of each class against the rest, and their mean.

    A class's area is the probability that one of its images gets a higher probability of the class
    than an image of another class; equal ones count half. `average` is "macro" or "weighted" (by
    the classes' images). Classes without images, or with all of them, have no area and are left
    out; without any area the result is nan. Of two classes the area is that of the second. Nothing
    is rounded to thresholds, so all probabilities are kept: N * K numbers.
    """

    def __init__(self, average: Literal["macro", "weighted"] = "macro", name: str = "auc") -> None:
        if average not in ("macro", "weighted"):
            raise UsageError(
                f"there is no average named {average!r}.",
                suggestion="Known averages: macro, weighted.",
            )
        self.average = average
        self.name = name
        self.reset()

    def reset(self) -> None:
        self._classes: int | None = None
        self._batches: list[tuple[NDArray[np.int64], NDArray[Any]]] = []

    def update(self, labels: ArrayLike, probabilities: ArrayLike, /) -> None:
        truth, values = checked_batch(labels, probabilities)
        self._classes = checked_classes(self._classes, values.shape[1])
        self._batches.append((truth, values.copy()))

    def result(self) -> float:
        if self._classes is None:
            return float("nan")
        truth, values = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        support = np.bincount(truth, minlength=self._classes)
        asked = (support > 0) & (support < len(truth))
        if self._classes == 2:
            asked[0] = False  # the same area, from numbers that may be rounded otherwise
        if not asked.any():
            return float("nan")
        areas = [roc_area(values[:, k], truth == k) for k in np.flatnonzero(asked)]
        weights = support[asked] if self.average == "weighted" else None
        return float(np.average(areas, weights=weights))

    def get_state(self) -> dict[str, NDArray[Any]]:
        if self._classes is None:
            return {}
        truth, values = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        return {"labels": truth, "probabilities": values}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.reset()
        if state:
            self.update(state["labels"], state["probabilities"])


def roc_area(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of scores (N,); nan when a score is.

    It follows from the ranks of the positives (Hanley and McNeil, 1982); equal scores share theirs.
    """
    if np.isnan(scores).any():
        return float("nan")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    doubled_ranks = 2 * np.cumsum(sizes) - sizes + 1  # integers, so that nothing is rounded
    positives = int(np.count_nonzero(positive))
    negatives = len(scores) - positives
    above = int(doubled_ranks[group[positive]].sum()) - positives * (positives + 1)
    return above / (2 * positives * negatives)
