"""Precision, recall and F1 from a confusion matrix, number for number as scikit-learn has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .confusion import Counts


@dataclass(frozen=True)
class Averages:
    """One average over the classes of each of the three scores."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The scores of every class, float64 of shape (K,), and their averages.

    A score whose denominator is zero is 0. As in scikit-learn's report, the averages are over the
    `present` classes: those that have an image or were predicted at least once. A class that a data
    set simply lacks therefore lowers no average.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    present: NDArray[np.bool_]
    accuracy: float
    macro: Averages
    weighted: Averages


def per_class(counts: Counts) -> ClassScores:
    """Return all scores that follow from confusion counts of shape (K, K), rows = true."""
    hits = np.diagonal(counts)
    support = counts.sum(axis=1)
    predicted = counts.sum(axis=0)
    precision = _divide(hits, predicted)
    recall = _divide(hits, support)
    f1 = _divide(2 * hits, support + predicted)
    present = (support + predicted) > 0
    scores = [score[present] for score in (precision, recall, f1)]
    weights = support[present]
    return ClassScores(
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        present=present,
        accuracy=float(_divide(hits.sum(), support.sum())),
        macro=Averages(*(_average(score, None) for score in scores)),
        weighted=Averages(*(_average(score, weights) for score in scores)),
    )


def _divide(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    zero = denominator == 0
    quotient: NDArray[np.float64] = np.where(zero, 0.0, numerator / np.where(zero, 1, denominator))
    return quotient


def _average(scores: NDArray[np.float64], weights: NDArray[np.int64] | None) -> float:
    return float(np.average(scores, weights=weights)) if scores.size else 0.0
