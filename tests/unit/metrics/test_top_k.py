"""Top-k accuracy against scikit-learn's, its ties and its limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.metrics import top_k_accuracy, top_k_hits


@given(st.integers(3, 9), st.integers(1, 40), st.data(), st.integers(0, 2**32 - 1))
def test_equals_scikit_learn(k: int, n: int, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(k), n), rng.integers(0, k, n)
    top = data.draw(st.integers(1, k - 1))
    expected = top_k_accuracy_score(labels, probabilities, k=top, labels=range(k))
    assert top_k_accuracy(probabilities, labels, top) == expected


@pytest.mark.parametrize("k", [2, 5, 100])
def test_k_is_clamped_to_the_number_of_classes(k: int) -> None:
    assert top_k_accuracy([[0.9, 0.1], [0.2, 0.8]], [1, 0], k) == 1


def test_ties_go_to_the_first_class_as_in_argmax() -> None:
    probabilities = np.full((3, 3), 1 / 3, np.float32)
    assert top_k_hits(probabilities, [0, 1, 2], 1).tolist() == [True, False, False]
    assert top_k_hits(probabilities, [0, 1, 2], 2).tolist() == [True, True, False]


def test_what_is_not_a_number_is_no_hit() -> None:
    assert top_k_hits([[np.nan, 0.5, 0.5]], [1], 1).tolist() == [False]
    assert top_k_hits([[np.nan, np.nan, 0.5]], [0], 1).tolist() == [False]


def test_no_images() -> None:
    assert top_k_accuracy(np.zeros((0, 3)), np.zeros(0, int), 1) == 0


@pytest.mark.parametrize(
    ("probabilities", "labels", "k", "error"),
    [
        ([0.5, 0.5], [0], 1, ShapeError),
        ([[0.5, 0.5]], [0, 1], 1, ShapeError),
        ([[0.5, 0.5]], [0], 0, UsageError),
    ],
)
def test_nonsense_is_refused(
    probabilities: Any, labels: Any, k: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        top_k_hits(probabilities, labels, k)
