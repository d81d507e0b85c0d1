"""Losses by name, and what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.devices import get_device
from cpcnn.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy, get_loss


def test_cross_entropy_with_smoothing_and_its_gradient() -> None:
    ctx = Context(get_device("numpy"), grad=True)
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    losses, record = CategoricalCrossentropy(0.3)(ctx, logits, np.array([0, 2]))
    targets = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_allclose(losses, -(targets * logits).sum(1))
    np.testing.assert_allclose(
        ctx.ops.backward(np.ones(2), record), np.exp(logits) - targets, atol=1e-12
    )


def test_both_names_of_keras() -> None:
    assert get_loss("categorical_crossentropy") == CategoricalCrossentropy()
    assert isinstance(get_loss("sparse_categorical_crossentropy"), SparseCategoricalCrossentropy)
    mine = CategoricalCrossentropy(0.1)
    assert get_loss(mine) is mine


@pytest.mark.parametrize("loss", ["mse", None, 5, ["categorical_crossentropy"]])
def test_unknown_losses(loss: Any) -> None:
    with pytest.raises(UsageError, match="Known losses: categorical_crossentropy"):
        get_loss(loss)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(UsageError, match="label_smoothing"):
        CategoricalCrossentropy(smoothing)
