"""Precision, recall and F1 as metrics: their average over the classes, or that of one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpcnn.core.errors import UsageError

from .base import Metric
from .confusion import ConfusionMatrix
from .scores import per_class

Average: TypeAlias = Literal["macro", "weighted", "micro"]


class _ClassScore(Metric):
    """One of the scores of `per_class`, averaged or of one class."""

    score: ClassVar[str]

    def __init__(self, average: Average, class_id: int | None, name: str) -> None:
        if average not in get_args(Average):
            raise UsageError(
                f"there is no average named {average!r}.",
                suggestion=f"Known averages: {', '.join(get_args(Average))}.",
            )
        self.average = average
        self.class_id = class_id
        self.name = name
        self._confusion = ConfusionMatrix()

    def reset(self) -> None:
        self._confusion.reset()

    def update(self, labels: ArrayLike, probabilities: ArrayLike, /) -> None:
        self._confusion.update(labels, probabilities)

    def result(self) -> float:
        if not self._confusion.total:
            return float("nan")
        scores = per_class(self._confusion.counts)
        if self.class_id is not None:
            return _of_class(getattr(scores, self.score), self.class_id)
        if self.average == "micro":
            return scores.accuracy  # an image has one class and one prediction: all three are this
        return float(getattr(getattr(scores, self.average), self.score))

    def get_state(self) -> dict[str, NDArray[Any]]:
        return self._confusion.get_state()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._confusion.set_state(state)


def _of_class(scores: NDArray[np.float64], number: int) -> float:
    if not 0 <= number < len(scores):
        raise UsageError(f"class_id must lie in 0..{len(scores) - 1}, not {number}.")
    return float(scores[number])


class Precision(_ClassScore):
    """Of the images predicted to be of a class, the share that is: the mean over classes.

    `average` is "macro" (every class counts the same), "weighted" (by its images) or "micro" (every
    image counts the same: accuracy). Means are over the classes that have an image or were
    predicted, as in scikit-learn's report; a class that was never predicted has 0. `class_id` asks
    for one class alone. Predicted is the most probable class: there is no threshold.
    """

    score = "precision"

    def __init__(
        self, average: Average = "macro", class_id: int | None = None, name: str = "precision"
    ) -> None:
        super().__init__(average, class_id, name)


class Recall(_ClassScore):
    """Of a class's images, the share that was predicted to be: the mean over classes.

    Arguments and averages are those of `Precision`; a class without images has 0.
    """

    score = "recall"

    def __init__(
        self, average: Average = "macro", class_id: int | None = None, name: str = "recall"
    ) -> None:
        super().__init__(average, class_id, name)


class F1Score(_ClassScore):
    """The harmonic mean of a class's precision and recall: the mean over classes.

    Arguments and averages are those of `Precision`.
    """

    score = "f1"

    def __init__(
        self, average: Average = "macro", class_id: int | None = None, name: str = "f1_score"
    ) -> None:
        super().__init__(average, class_id, name)
