"""Shares of images: whose class was predicted, or is among the first guesses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpcnn.core.errors import ShapeError, UsageError

from .base import Metric, checked_batch
from .top_k import top_k_hits


class _Share(Metric):
    """The share of images that are hits."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        self._hits = self._images = 0

    def _add(self, hits: NDArray[np.bool_]) -> None:
        self._hits += int(np.count_nonzero(hits))
        self._images += hits.size

    def result(self) -> float:
        return self._hits / self._images if self._images else float("nan")

    def get_state(self) -> dict[str, NDArray[Any]]:
        return {"counts": np.array([self._hits, self._images], np.int64)}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._hits, self._images = state["counts"].tolist()


class Accuracy(_Share):
    """The share of images whose most probable class, the first one of several, is the true one."""

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(name)

    def update(self, labels: ArrayLike, probabilities: ArrayLike, /) -> None:
        truth, values = checked_batch(labels, probabilities)
        self._add(values.argmax(axis=1) == truth)


class CategoricalAccuracy(Accuracy):
    """The same number under the name Keras gives it for one-hot labels."""

    def __init__(self, name: str = "categorical_accuracy") -> None:
        super().__init__(name)


class SparseCategoricalAccuracy(Accuracy):
    """The same number under the name Keras gives it for integer labels."""

    def __init__(self, name: str = "sparse_categorical_accuracy") -> None:
        super().__init__(name)


class BinaryAccuracy(_Share):
    """The share of images of two classes on the right side of `threshold`.

    An image counts as one of the second class when that one is more probable than `threshold`.
    ShapeError for more than two classes.
    """

    def __init__(self, name: str = "binary_accuracy", threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = threshold

    def update(self, labels: ArrayLike, probabilities: ArrayLike, /) -> None:
        truth, values = checked_batch(labels, probabilities)
        if values.shape[1] != 2:
            raise ShapeError(
                f"binary accuracy is for two classes, not {values.shape[1]}.",
                suggestion='Use "accuracy".',
            )
        self._add((values[:, 1] > self.threshold) == (truth == 1))


class TopKCategoricalAccuracy(_Share):
    """The share of images whose class is among the k most probable ones; see `top_k_hits`.

    With no more than k classes every image is a hit.
    """

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy") -> None:
        if k < 1:
            raise UsageError(f"Top-k accuracy needs k >= 1, {k} given.")
        super().__init__(name)
        self.k = k

    def update(self, labels: ArrayLike, probabilities: ArrayLike, /) -> None:
        truth, values = checked_batch(labels, probabilities)
        self._add(top_k_hits(values, truth, self.k))


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """The same number under the name Keras gives it for integer labels."""

    def __init__(self, k: int = 5, name: str = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(k, name)
