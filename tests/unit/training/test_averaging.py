"""Training with a moving average of the weights: who sees the average, and who the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cpcnn.models import Model
from cpcnn.optimizers import SGD
from cpcnn.training import EpochEnded, Trainer, load_checkpoint

Make = Callable[..., Trainer]


@pytest.fixture
def trainer(make_trainer: Make, tmp_path: Path) -> Trainer:
    optimizer = SGD(0.2, momentum=0.9, use_ema=True, ema_momentum=0.9)
    return make_trainer(optimizer=optimizer, checkpoints=tmp_path, epochs=2, device="cpu")


def test_validation_and_the_best_checkpoint_have_the_average(
    trainer: Trainer, tmp_path: Path
) -> None:
    for event in trainer.run():
        if isinstance(event, EpochEnded):
            raw = trainer.model.store.get_weights()
            with trainer.evaluated_weights():
                average = trainer.model.store.get_weights()
                assert isinstance(trainer.model, Model)
                loss = trainer.model.evaluate(trainer.validation, verbose=0)
            assert np.abs(raw["dense.kernel"] - average["dense.kernel"]).max() > 1e-3
            assert loss == pytest.approx(event.validation_loss, rel=1e-6)
            assert loss != pytest.approx(
                trainer.model.evaluate(trainer.validation, verbose=0), rel=1e-4
            )
            last = load_checkpoint(tmp_path / "last.cpcnn")
            assert np.array_equal(last.weights["dense.kernel"], raw["dense.kernel"])
            assert "average/dense.kernel" in last.optimizer_state
            if event.best:
                best = load_checkpoint(tmp_path / "best.cpcnn")
                assert np.array_equal(best.weights["dense.kernel"], average["dense.kernel"])


def test_training_ends_with_the_average(trainer: Trainer) -> None:
    for event in trainer.run():
        if isinstance(event, EpochEnded):
            with trainer.evaluated_weights():
                average = trainer.model.store.get_weights()
    for path, value in trainer.model.store.get_weights().items():
        assert np.array_equal(value, average[path]), path
