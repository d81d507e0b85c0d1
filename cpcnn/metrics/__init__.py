"""Metrics of a classifier: objects that gather batches, and the functions behind them."""

from __future__ import annotations

from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .auc import AUC
from .averages import F1Score, Precision, Recall
from .base import Metric
from .confusion import ConfusionMatrix
from .names import get_metric
from .scores import Averages, ClassScores, per_class
from .top_k import top_k_accuracy, top_k_hits

__all__ = [
    "AUC",
    "Accuracy",
    "Averages",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "ClassScores",
    "ConfusionMatrix",
    "F1Score",
    "Metric",
    "Precision",
    "Recall",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "get_metric",
    "per_class",
    "top_k_accuracy",
    "top_k_hits",
]
