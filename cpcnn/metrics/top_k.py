"""Top-k accuracy: is the true class among the k most probable ones?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpcnn.core.errors import ShapeError, UsageError


def top_k_hits(probabilities: ArrayLike, labels: ArrayLike, k: int) -> NDArray[np.bool_]:
    """Return for each image whether its label is among its k most probable classes.

    `probabilities` has shape (N, K), `labels` are integers of shape (N,). Of equally probable
    classes the first one counts as more probable, as in `argmax`; a NaN counts as more probable
    than any number. Where there are fewer than k classes, every label is a hit.
    """
    values, truth = np.asarray(probabilities), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ShapeError(
            "Expected probabilities (N, K) and labels (N,), "
            f"found {values.shape} and {truth.shape}."
        )
    if k < 1:
        raise UsageError(f"Top-k accuracy needs k >= 1, {k} given.")
    own = np.take_along_axis(values, truth[:, None], axis=1)
    before = np.arange(values.shape[1]) < truth[:, None]
    rank = np.sum(~(values <= own) | ((values == own) & before), axis=1)
    hits: NDArray[np.bool_] = rank < min(k, values.shape[1])
    return hits


def top_k_accuracy(probabilities: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Return the share of `top_k_hits`; 0 where there is no image."""
    hits = top_k_hits(probabilities, labels, k)
    return float(hits.mean()) if hits.size else 0.0
