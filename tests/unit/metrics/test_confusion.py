"""The confusion matrix, filled in pieces, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.metrics import ConfusionMatrix


@given(st.integers(2, 8), st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_batches_add_up_to_scikit_learns_matrix(k: int, n: int, batch: int, seed: int) -> None:
    labels, predicted = np.random.default_rng(seed).integers(0, k, (2, n))
    matrix = ConfusionMatrix(k)
    for start in range(0, n, batch):
        matrix.update(labels[start : start + batch], predicted[start : start + batch])
    assert matrix.counts.dtype == np.int64
    assert np.array_equal(matrix.counts, confusion_matrix(labels, predicted, labels=range(k)))
    assert matrix.total == n


def test_rows_are_true_classes() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update([0, 0, 2], [1, 1, 2])
    assert matrix.counts.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_small_label_types_do_not_overflow(dtype: type[np.integer[Any]]) -> None:
    matrix = ConfusionMatrix(100)
    matrix.update(np.array([99], dtype), np.array([98], dtype))
    assert matrix.counts[99, 98] == 1


def test_matrices_of_parts_are_added() -> None:
    first, second = ConfusionMatrix(2), ConfusionMatrix(2)
    first.update([0], [1])
    second.update([1, 0], [1, 1])
    both = first + second
    assert both.counts.tolist() == [[0, 2], [0, 1]]
    assert first.total == 1


def test_an_empty_batch_changes_nothing() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update([], [])
    assert matrix.total == 0


@pytest.mark.parametrize(
    ("labels", "predicted", "error"),
    [
        ([0, 1], [0], ShapeError),
        ([], [0], ShapeError),
        ([[0]], [[1]], ShapeError),
        ([0.5], [0], ShapeError),
        ([2], [0], UsageError),
        ([0], [-1], UsageError),
    ],
)
def test_nonsense_is_refused(labels: Any, predicted: Any, error: type[Exception]) -> None:
    matrix = ConfusionMatrix(2)
    with pytest.raises(error):
        matrix.update(labels, predicted)
    assert matrix.total == 0


def test_the_range_is_in_the_message() -> None:
    with pytest.raises(UsageError, match=r"labels must lie in 0\.\.1, found 0\.\.7"):
        ConfusionMatrix(2).update([0, 7], [0, 0])


def test_matrices_of_different_size_are_not_added() -> None:
    with pytest.raises(ShapeError, match="2 and 3 classes"):
        ConfusionMatrix(2) + ConfusionMatrix(3)


def test_no_class_is_no_matrix() -> None:
    with pytest.raises(UsageError):
        ConfusionMatrix(0)
