"""The learning-rate finder as a callback; see also tests/unit/models/test_fit.py."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from cpcnn.callbacks import LearningRateFinder
from cpcnn.core.errors import UsageError
from cpcnn.data import ArrayDataset, Batch, Loader
from cpcnn.models import Sequential


def test_as_a_callback_it_changes_nothing(model: Sequential, task: tuple[Any, Any]) -> None:
    plain = Sequential.from_layer(model.root, model.input_shape)
    finder = LearningRateFinder(steps=20)
    model.fit(*task, callbacks=finder, verbose=0)
    found = model.store.get_weights()
    plain.to("numpy")
    plain.build(seed=0)
    plain.store.initialize(0)
    plain.compile(model.optimizer)
    plain.fit(*task, verbose=0)
    for path, value in plain.store.get_weights().items():
        assert np.array_equal(found[path], value), path
    assert len(finder.rates) == len(finder.losses) == 20
    np.testing.assert_allclose(finder.rates, np.geomspace(1e-6, 1, 20))


class Broken(Loader):
    """Ends in the middle of an epoch."""

    def epoch(self, epoch: int = 0) -> Generator[Batch, None, None]:
        yield next(super().epoch(epoch))
        raise KeyError


def test_it_takes_all_back_after_a_failure(model: Sequential, task: tuple[Any, Any]) -> None:
    model.build()
    before = model.store.get_weights()

    with pytest.raises(KeyError):
        model.find_learning_rate(Broken(ArrayDataset(*task), 12), max_learning_rate=10.0)
    for path, value in model.store.get_weights().items():
        assert np.array_equal(value, before[path]), path


@pytest.mark.parametrize(
    "options",
    [
        {"min_learning_rate": 0.0},
        {"max_learning_rate": 1e-7},
        {"max_learning_rate": float("inf")},
        {"steps": 9},
        {"divergence": 1.0},
    ],
)
def test_what_cannot_be_meant(options: Any) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        LearningRateFinder(**options)


def test_there_is_no_suggestion_where_the_loss_never_fell() -> None:
    finder = LearningRateFinder()
    for losses in ([], [1.0], [float(k) for k in range(20)]):
        finder.losses, finder.rates = losses, [0.1] * len(losses)
        with pytest.raises(UsageError, match="did not fall"):
            _ = finder.suggestion
    finder.losses = [9.0 + k % 2 for k in range(20)] + [10.0 - k for k in range(10)] + [20.0]
    finder.rates = [float(k) for k in range(31)]
    assert 20 <= finder.suggestion <= 29
