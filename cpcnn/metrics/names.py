"""Metrics by name."""

from __future__ import annotations

import difflib
import re
from typing import Any

from cpcnn.core.errors import UsageError

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

METRICS: dict[str, type[Any]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "binary_accuracy": BinaryAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "precision": Precision,
    "recall": Recall,
    "f1": F1Score,
    "f1_score": F1Score,
    "confusion_matrix": ConfusionMatrix,
    "auc": AUC,
}
TOP = re.compile(r"top[-_]([1-9]\d*)")


def get_metric(metric: str | Metric | type[Metric]) -> Metric:
    """Return the metric itself, or make one of a class, of its name, or by one of these names.

    "accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy";
    "top_3" and the like, "top_k_categorical_accuracy" (k = 5); "precision", "recall", "f1", all
    three macro averages: the mean over classes; "confusion_matrix"; "auc". The metric bears the
    name it was asked for by. UsageError names the nearest and all known names.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) and issubclass(metric, Metric):
        return metric()
    if isinstance(metric, str):
        if top := TOP.fullmatch(metric):
            return TopKCategoricalAccuracy(int(top[1]), metric)
        if metric in METRICS:
            return METRICS[metric](name=metric)
        for kind in METRICS.values():
            if metric == kind.__name__:
                return kind(name=metric)
    close = difflib.get_close_matches(str(metric), METRICS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"there is no metric named {metric!r}.{hint}",
        suggestion=f"Known metrics: {', '.join(METRICS)}, top_1, top_2, ….",
    )
