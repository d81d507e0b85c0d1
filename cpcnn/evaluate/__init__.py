"""Evaluation of a trained model: predictions on a data set and the report of every class."""

from __future__ import annotations

from .classes import ClassMatch, match_classes
from .evaluator import Evaluation, evaluate_model
from .report import ClassificationReport, ClassRow, Confusion

__all__ = [
    "ClassMatch",
    "ClassRow",
    "ClassificationReport",
    "Confusion",
    "Evaluation",
    "evaluate_model",
    "match_classes",
]
