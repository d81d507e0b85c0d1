"""Which epoch is the best: the one with the best value of what is monitored."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cpcnn.core.errors import UsageError
from cpcnn.metrics import F1Score
from cpcnn.training import Trainer

Make = Callable[..., Trainer]


@pytest.mark.parametrize(
    ("monitor", "epochs", "best"),
    [
        # accuracy, loss and f1 of each epoch
        ("val_accuracy", [(0.5, 3, 0.9), (0.7, 2, 0.1), (0.6, 1, 0.2)], 2),
        ("val_loss", [(0.5, 3, 0.9), (0.7, 1, 0.1), (0.6, 2, 0.2)], 2),
        ("val_loss", [(0.5, 1, 0.9), (0.7, 1, 0.1), (0.6, 2, 0.2)], 1),
        ("val_f1", [(0.5, 3, 0.3), (0.7, 2, 0.1), (0.6, 1, 0.9)], 3),
        ("val_f1", [(0.5, 3, 0.3), (0.7, 2, 0.3), (0.6, 4, 0.3)], 2),
        ("val_f1", [(0.5, 3, math.nan), (0.7, 9, 0.0), (0.6, 1, math.nan)], 2),
    ],
)
def test_the_best_epoch_is_that_of_the_monitor(
    make_trainer: Make,
    monkeypatch: pytest.MonkeyPatch,
    monitor: str,
    epochs: list[tuple[float, float, float]],
    best: int,
) -> None:
    rest = iter(epochs)

    def validate(trainer: Trainer) -> Any:
        accuracy, loss, f1 = next(rest)
        return SimpleNamespace(accuracy=accuracy, loss=loss, results=lambda: {"f1": f1})

    monkeypatch.setattr(Trainer, "_validate", validate)
    trainer = make_trainer(epochs=3, monitor=monitor, metrics=[F1Score(name="f1")])
    *_, ended = trainer.run()
    assert ended.best_epoch == best  # type: ignore[union-attr]


def test_a_quantity_that_training_does_not_have(make_trainer: Make) -> None:
    with pytest.raises(UsageError, match=r"no quantity 'val_f1'.*val_loss, val_accuracy"):
        next(iter(make_trainer(monitor="val_f1").run()))
