"""What a metric is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpcnn.core.errors import ShapeError, UsageError


class Metric(ABC):
    """A number about predictions, gathered batch by batch on the host.

    `name` is its key in logs and in what `evaluate` returns. Before the first image, and where it
    is not defined, a metric is nan.
    """

    name: str

    @abstractmethod
    def reset(self) -> None:
        """Forget all images."""

    @abstractmethod
    def update(self, labels: ArrayLike, probabilities: ArrayLike, /) -> None:
        """Add a batch: class indices (N,) and class probabilities (N, K)."""

    @abstractmethod
    def result(self) -> Any:
        """Return the metric of all images so far: a float, or an array where the class says so."""

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return what was gathered so far, for a training that is resumed within an epoch.

        A metric without this method and the next counts only the images after the interruption.
        """
        return {}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027  may stay empty
        """Continue from a state that `get_state` returned."""


def checked_batch(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return a batch as arrays.

    ShapeError unless they are integers (N,) and numbers (N, K), UsageError for a label outside of
    0..K-1.
    """
    truth, values = np.asarray(labels), np.asarray(probabilities)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ShapeError(
            "a metric takes class indices of shape (N,) and probabilities of shape (N, K), "
            f"found {truth.shape} and {values.shape}."
        )
    if not truth.size:
        return np.zeros(0, np.int64), values
    if not np.issubdtype(truth.dtype, np.integer):
        raise ShapeError(f"a metric takes integers as class indices, found {truth.dtype}.")
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        raise UsageError(
            f"labels must lie in 0..{values.shape[1] - 1}, found {truth.min()}..{truth.max()}."
        )
    return truth.astype(np.int64), values


def checked_classes(known: int | None, found: int) -> int:
    """Return the number of classes found; ShapeError when batches before had another number."""
    if known is not None and found != known:
        raise ShapeError(f"probabilities of {found} classes do not go with those of {known}.")
    return found
