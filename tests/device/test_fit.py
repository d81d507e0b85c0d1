"""What fit can do besides the plain step, on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.devices import Device
from cpcnn.layers import Conv2D, Dense, Dropout, Flatten, Input
from cpcnn.models import Sequential
from cpcnn.optimizers import Adam

SHAPE = (5, 5, 2)


def fitted(device: Any, outputs: int, loss: str, metrics: list[str]) -> tuple[Sequential, Any]:
    """Fit with accumulation, an average, class weights, metrics and validation."""
    labels = np.arange(30) % max(outputs, 2)
    x = Philox(0, "fit").normal((30, *SHAPE)) + labels[:, None, None, None]
    end = Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")
    model = Sequential([Input(SHAPE), Conv2D(3, 3), Dropout(0.2), Flatten(), end])
    model.to(device)
    optimizer = Adam(0.02, global_clipnorm=1.0, use_ema=True, gradient_accumulation_steps=2)
    model.compile(optimizer, loss, metrics)
    options: dict[str, Any] = {"verbose": 0, "validation_split": 0.2, "class_weight": {0: 2.0}}
    history = [model.fit(x, labels, 5, 2, **options).history for _ in range(2)]
    return model, (history, model.evaluate(x, labels, verbose=0), model.predict(x))


@pytest.mark.parametrize(
    ("outputs", "loss"), [(3, "categorical_crossentropy"), (1, "binary_crossentropy")]
)
def test_every_device_fits_alike(device: Device, outputs: int, loss: str) -> None:
    metrics = ["accuracy", "recall", "auc"]
    _, (history, scores, predicted) = fitted("numpy", outputs, loss, metrics)
    model, (found_history, found_scores, found) = fitted(device, outputs, loss, metrics)
    np.testing.assert_allclose(found, predicted, atol=1e-3)
    np.testing.assert_allclose(found_scores, scores, atol=2e-2)
    for part, expected in zip(found_history, history, strict=True):
        assert list(part) == list(expected)
        np.testing.assert_allclose(part["loss"], expected["loss"], atol=1e-3)
        np.testing.assert_allclose(part["val_auc"], expected["val_auc"], atol=2e-2)
    # the optimizer's state goes along
    assert model.to("numpy").optimizer is not None
    model.fit(np.zeros((4, *SHAPE)), np.zeros(4, int), verbose=0)
    assert model.optimizer is not None
    assert model.optimizer.step == 2 * 2 * 3 + 1
