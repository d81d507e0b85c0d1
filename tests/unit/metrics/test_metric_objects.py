"""Metrics as objects: batches add up to scikit-learn's numbers."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.metrics import (
    AUC,
    Accuracy,
    BinaryAccuracy,
    ConfusionMatrix,
    F1Score,
    Metric,
    Precision,
    Recall,
    TopKCategoricalAccuracy,
    get_metric,
    top_k_accuracy,
)

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]
ALL = ["accuracy", "top_3", "precision", "recall", "f1", "auc", "confusion_matrix"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Labels, Scores]:
    """Draw labels and probabilities: with ties, and often with classes that have no image."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k, n = draw(st.integers(2, 8)), draw(st.integers(1, 60))
    labels = rng.choice(rng.integers(0, k, draw(st.integers(1, k))), n)
    scores = rng.dirichlet(np.ones(k), n)
    scores[np.arange(n), labels] += draw(st.sampled_from([0.0, 0.2, 2.0]))
    if draw(st.booleans()):
        scores = np.round(scores, 1)
    return labels, scores.astype(np.float32)


def fed(metric: Metric, labels: Any, scores: Any, size: int = 7) -> Any:
    """Feed a metric in batches, and return its result."""
    for start in range(0, len(labels), size):
        metric.update(labels[start : start + size], scores[start : start + size])
    return metric.result()


@given(cases())
def test_accuracies(case: tuple[Labels, Scores]) -> None:
    labels, scores = case
    assert fed(Accuracy(), labels, scores) == accuracy_score(labels, scores.argmax(1))
    for k in (1, 2, 5):
        assert fed(TopKCategoricalAccuracy(k), labels, scores) == top_k_accuracy(scores, labels, k)
    if scores.shape[1] == 2:
        expected = accuracy_score(labels == 1, scores[:, 1] > 0.3)
        assert fed(BinaryAccuracy(threshold=0.3), labels, scores) == expected


@given(cases(), st.sampled_from(["macro", "weighted", "micro"]))
def test_averages_are_those_of_scikit_learn(case: tuple[Labels, Scores], average: Any) -> None:
    labels, scores = case
    expected = precision_recall_fscore_support(
        labels, scores.argmax(1), average=average, zero_division=0
    )
    for kind, value in zip((Precision, Recall, F1Score), expected[:3], strict=True):
        assert fed(kind(average), labels, scores) == value


@given(cases(), st.data())
def test_the_scores_of_one_class(case: tuple[Labels, Scores], data: st.DataObject) -> None:
    labels, scores = case
    number = data.draw(st.integers(0, scores.shape[1] - 1))
    expected = precision_recall_fscore_support(
        labels, scores.argmax(1), labels=[number], zero_division=0
    )
    for kind, value in zip((Precision, Recall, F1Score), expected[:3], strict=True):
        assert fed(kind(class_id=number), labels, scores) == value[0]


@given(cases())
def test_the_confusion_matrix_of_probabilities(case: tuple[Labels, Scores]) -> None:
    labels, scores = case
    expected = confusion_matrix(labels, scores.argmax(1), labels=range(scores.shape[1]))
    for matrix in (ConfusionMatrix(), ConfusionMatrix(scores.shape[1])):
        assert np.array_equal(fed(matrix, labels, scores), expected)


@given(cases(), st.sampled_from(["macro", "weighted"]))
def test_areas_are_those_of_scikit_learn(case: tuple[Labels, Scores], average: Any) -> None:
    """Its own averages want every class, so that they are built from its area of each class."""
    labels, scores = case
    k = scores.shape[1]
    support = np.bincount(labels, minlength=k)
    asked = [c for c in range(k) if 0 < support[c] < len(labels)]
    if k == 2:
        asked = asked[1:]
    found = fed(AUC(average), labels, scores)
    if not asked:
        assert math.isnan(found)
        return
    areas = [roc_auc_score(labels == c, scores[:, c]) for c in asked]
    weights = support[asked] if average == "weighted" else None
    assert found == pytest.approx(np.average(areas, weights=weights), abs=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_areas_when_every_class_is_there(average: Any) -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.dirichlet(np.ones(4), 50), 1)
    scores[:, 0] += 1 - scores.sum(axis=1)
    labels = np.arange(50) % 4
    expected = roc_auc_score(labels, scores, multi_class="ovr", average=average)
    assert fed(AUC(average), labels, scores) == pytest.approx(expected, abs=1e-12)


def test_areas_by_hand() -> None:
    labels = np.array([1, 1, 0, 0])
    for ones, area in (
        ([0.9, 0.8, 0.2, 0.1], 1.0),
        ([0.1, 0.2, 0.8, 0.9], 0.0),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.9, 0.5, 0.5, 0.1], 0.875),
    ):
        assert fed(AUC(), labels, np.stack([1 - np.array(ones), ones], axis=1)) == area


def test_an_area_of_what_is_not_a_number_is_none() -> None:
    assert math.isnan(fed(AUC(), np.array([0, 1]), np.array([[0.5, np.nan], [0.5, 0.5]])))


@given(cases(), st.sampled_from(ALL), st.integers(1, 60))
def test_batches_and_resets_change_nothing(
    case: tuple[Labels, Scores], name: str, size: int
) -> None:
    labels, scores = case
    expected = fed(get_metric(name), labels, scores, len(labels))
    metric = get_metric(name)
    before = copy.deepcopy(metric)
    metric.update(labels[:0], scores[:0])
    for _ in range(2):
        np.testing.assert_array_equal(fed(metric, labels, scores, size), expected)
        np.testing.assert_array_equal(metric.result(), expected)  # asking changes nothing
        metric.reset()
        np.testing.assert_array_equal(metric.result(), before.result())


@pytest.mark.parametrize("name", ALL)
def test_a_metric_keeps_no_view_of_what_it_was_given(name: str) -> None:
    metric, labels = get_metric(name), np.array([0, 1, 2])
    scores = np.eye(3, dtype=np.float32)
    metric.update(labels, scores)
    expected = np.copy(metric.result())
    scores[:] = labels[:] = 0
    result = metric.result()
    np.testing.assert_array_equal(result, expected)
    if name == "confusion_matrix":
        result[:] = 0
        np.testing.assert_array_equal(metric.result(), expected)


@pytest.mark.parametrize("name", ALL)
def test_without_images_there_is_no_number(name: str) -> None:
    metric = get_metric(name)
    for _ in range(2):
        assert name == "confusion_matrix" or math.isnan(metric.result())
        metric.update(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))


def test_after_a_reset_there_may_be_other_classes() -> None:
    for name in ALL:
        metric = get_metric(name)
        metric.update([0, 1], np.eye(2))
        metric.reset()
        scores = np.eye(3)[[1, 2, 0]]
        np.testing.assert_array_equal(
            fed(metric, [0, 2, 0], scores), fed(get_metric(name), [0, 2, 0], scores)
        )


def test_a_matrix_that_was_given_its_classes_keeps_them() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update([0], [1])
    matrix.reset()
    assert matrix.counts.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("labels", "scores", "error"),
    [
        ([0, 1], [[0.5, 0.5]], ShapeError),
        ([[0]], [[0.5, 0.5]], ShapeError),
        ([0.0], [[0.5, 0.5]], ShapeError),
        ([2], [[0.5, 0.5]], UsageError),
        ([-1], [[0.5, 0.5]], UsageError),
    ],
)
def test_nonsense_is_refused(name: str, labels: Any, scores: Any, error: type[Exception]) -> None:
    metric = get_metric(name)
    with pytest.raises(error):
        metric.update(labels, scores)


@pytest.mark.parametrize("name", ["precision", "auc", "confusion_matrix"])
def test_the_number_of_classes_stays(name: str) -> None:
    metric = get_metric(name)
    metric.update([0], [[0.5, 0.5]])
    with pytest.raises(ShapeError, match="probabilities of 3 classes do not go with those of 2"):
        metric.update([0], [[0.5, 0.25, 0.25]])


def test_class_numbers_alone_do_not_tell_how_many_classes() -> None:
    with pytest.raises(UsageError, match="how many classes"):
        ConfusionMatrix().update([0], [1])


def test_options_that_there_are_not() -> None:
    kinds: list[Any] = [Precision, Recall, F1Score, AUC]
    for kind in kinds:
        with pytest.raises(UsageError, match=r"'samples'.*Known averages: macro, weighted"):
            kind("samples")
    with pytest.raises(UsageError, match="k >= 1"):
        TopKCategoricalAccuracy(0)
    with pytest.raises(UsageError, match=r"class_id must lie in 0\.\.1, not 2"):
        fed(Recall(class_id=2), [0], np.array([[0.5, 0.5]]))
    with pytest.raises(ShapeError, match="two classes, not 3"):
        fed(BinaryAccuracy(), [0], np.zeros((1, 3)))
