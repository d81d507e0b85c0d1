"""Metrics by name."""

from __future__ import annotations

from typing import Any

import pytest

from cpcnn import metrics
from cpcnn.core.errors import UsageError
from cpcnn.metrics import (
    AUC,
    Accuracy,
    ConfusionMatrix,
    F1Score,
    Precision,
    Recall,
    TopKCategoricalAccuracy,
    get_metric,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("accuracy", Accuracy),
        ("acc", Accuracy),
        ("categorical_accuracy", metrics.CategoricalAccuracy),
        ("sparse_categorical_accuracy", metrics.SparseCategoricalAccuracy),
        ("binary_accuracy", metrics.BinaryAccuracy),
        ("top_k_categorical_accuracy", TopKCategoricalAccuracy),
        ("sparse_top_k_categorical_accuracy", metrics.SparseTopKCategoricalAccuracy),
        ("precision", Precision),
        ("recall", Recall),
        ("f1", F1Score),
        ("f1_score", F1Score),
        ("confusion_matrix", ConfusionMatrix),
        ("auc", AUC),
    ],
)
def test_a_metric_bears_the_name_it_was_asked_for_by(name: str, kind: type[Any]) -> None:
    metric = get_metric(name)
    assert type(metric) is kind
    assert metric.name == name
    by_class_name = get_metric(kind.__name__)
    assert type(by_class_name) is type(get_metric(kind)) is kind
    assert by_class_name.name == kind.__name__
    assert get_metric(kind).name == kind().name


def test_every_call_makes_a_metric_of_its_own() -> None:
    assert get_metric("recall") is not get_metric("recall")


@pytest.mark.parametrize(("name", "k"), [("top_5", 5), ("top-3", 3), ("top_1", 1), ("top_12", 12)])
def test_the_first_k(name: str, k: int) -> None:
    metric = get_metric(name)
    assert isinstance(metric, TopKCategoricalAccuracy)
    assert (metric.k, metric.name) == (k, name)


def test_a_metric_is_itself_and_may_have_another_name() -> None:
    mine = Recall(class_id=1, name="recall_of_cats")
    assert get_metric(mine) is mine
    assert mine.name == "recall_of_cats"


def test_macro_is_said() -> None:
    assert get_metric.__doc__
    assert "macro" in get_metric.__doc__
    for kind in (Precision, Recall, F1Score):
        assert kind().average == "macro"


@pytest.mark.parametrize("metric", ["mse", "top_0", "top_k", None, 5, ["accuracy"], int])
def test_unknown_metrics(metric: Any) -> None:
    with pytest.raises(UsageError, match=r"Known metrics: accuracy, acc, .*auc, top_1"):
        get_metric(metric)


def test_a_slip_is_understood() -> None:
    with pytest.raises(UsageError, match=r"'acuracy'. Did you mean 'accuracy'"):
        get_metric("acuracy")
