"""Every score equals scikit-learn's, bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from cpcnn.metrics import ConfusionMatrix, per_class

Labels = NDArray[np.int64]


@st.composite
def predictions(draw: st.DrawFn) -> tuple[int, Labels, Labels]:
    """Draw (classes, labels, predicted); often some classes do not occur in one or both."""
    k = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 200))
    used = rng.integers(0, k, (2, draw(st.integers(1, k))))
    labels, guesses = (rng.choice(numbers, n) for numbers in used)
    right = rng.random(n) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    return k, labels, np.where(right, labels, guesses)


def counts_of(k: int, labels: Labels, predicted: Labels) -> NDArray[np.int64]:
    matrix = ConfusionMatrix(k)
    matrix.update(labels, predicted)
    return matrix.counts


@given(predictions())
def test_scores_of_each_class(case: tuple[int, Labels, Labels]) -> None:
    k, labels, predicted = case
    scores = per_class(counts_of(*case))
    expected = precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
    ours = (scores.precision, scores.recall, scores.f1, scores.support)
    for own, theirs in zip(ours, expected, strict=True):
        assert np.array_equal(own, theirs)
    assert np.array_equal(np.flatnonzero(scores.present), np.union1d(labels, predicted))
    assert scores.accuracy == accuracy_score(labels, predicted)


@given(predictions())
def test_averages(case: tuple[int, Labels, Labels]) -> None:
    _, labels, predicted = case
    scores = per_class(counts_of(*case))
    for name, own in (("macro", scores.macro), ("weighted", scores.weighted)):
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, predicted, average=name, zero_division=0
        )
        assert (own.precision, own.recall, own.f1) == (precision, recall, f1)


def test_recall_is_the_mean_over_classes_not_over_images() -> None:
    scores = per_class(np.array([[98, 0], [2, 0]]))
    assert scores.accuracy == 0.98
    assert scores.macro.recall == 0.5


def test_a_class_the_data_lacks_lowers_no_average() -> None:
    scores = per_class(np.diag([5, 0, 3]))
    assert scores.recall.tolist() == [1, 0, 1]
    assert scores.macro.recall == scores.weighted.f1 == 1


def test_without_images_everything_is_zero() -> None:
    scores = per_class(np.zeros((2, 2), np.int64))
    assert scores.accuracy == scores.macro.f1 == scores.weighted.precision == 0
