"""Metrics of a classifier: the streaming confusion matrix and all that follows from it."""

from __future__ import annotations

from .confusion import ConfusionMatrix
from .scores import Averages, ClassScores, per_class
from .top_k import top_k_accuracy, top_k_hits

__all__ = [
    "Averages",
    "ClassScores",
    "ConfusionMatrix",
    "per_class",
    "top_k_accuracy",
    "top_k_hits",
]
