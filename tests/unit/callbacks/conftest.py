"""A small model, and trainings whose validation follows a script."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Flatten, Input
from cpcnn.models import History, Sequential
from cpcnn.optimizers import SGD
from cpcnn.training import Trainer

SHAPE = (5, 5, 1)


@pytest.fixture
def task() -> tuple[Any, Any]:
    labels = np.arange(24) % 2
    return Philox(0, "task").normal((24, *SHAPE)) + labels[:, None, None, None], labels


@pytest.fixture
def model() -> Sequential:
    layers = [Conv2D(2, 3), BatchNormalization(activation="relu"), Flatten()]
    model = Sequential([Input(SHAPE), *layers, Dense(2, activation="softmax")])
    model.to("numpy")
    model.compile(SGD(0.1, momentum=0.9), metrics=["recall"])
    return model


Fit = Callable[..., History]


@pytest.fixture
def fit(model: Sequential, task: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Fit:
    """Return a function that fits with these validation losses; one epoch for each of them."""

    def run(losses: list[float], *callbacks: Any, **options: Any) -> History:
        rest = iter(losses)

        def validate(trainer: Trainer) -> Any:
            loss = next(rest)
            results = {"recall": 1 - loss}
            return SimpleNamespace(loss=loss, accuracy=-loss, results=lambda: results)

        monkeypatch.setattr(Trainer, "_validate", validate)
        epochs = len(losses)
        options = {"epochs": epochs, "verbose": 0, "validation_data": task} | options
        return model.fit(*task, callbacks=list(callbacks), **options)

    return run
