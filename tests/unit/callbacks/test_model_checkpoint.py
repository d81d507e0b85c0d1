"""Checkpoints of a training in files of one's own choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpcnn.callbacks import ModelCheckpoint
from cpcnn.core.errors import UsageError
from cpcnn.layers import Dense, Flatten, Lambda
from cpcnn.models import History, Sequential, load_model
from cpcnn.optimizers import SGD

Fit = Callable[..., History]
LOSSES = [0.5, 0.75, 0.25]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_every_epoch_has_its_file(fit: Fit, tmp_path: Path) -> None:
    fit(LOSSES, ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.2f}.cpcnn"))
    assert names(tmp_path) == ["01-0.50.cpcnn", "02-0.75.cpcnn", "03-0.25.cpcnn"]


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({}, [1, 3]),
        ({"mode": "max"}, [1, 2]),
        ({"monitor": "val_recall"}, [1, 3]),
        ({"initial_value_threshold": 0.3}, [3]),
    ],
)
def test_the_best_alone(fit: Fit, tmp_path: Path, options: Any, epochs: list[int]) -> None:
    saving = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, **options)
    for _ in range(2):  # it begins anew each time
        fit(LOSSES, saving)
        assert names(tmp_path) == [str(epoch) for epoch in epochs]
        for path in tmp_path.iterdir():
            path.unlink()


@pytest.mark.parametrize("ema", [False, True])
def test_the_file_holds_the_model(
    model: Sequential, task: tuple[Any, Any], tmp_path: Path, ema: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "new" / "model.cpcnn"
    model.compile(SGD(0.1, use_ema=ema))
    model.fit(*task, callbacks=ModelCheckpoint(str(path), verbose=1), verbose=0)
    again = load_model(path, "numpy")
    assert np.array_equal(again.predict(task[0]), model.predict(task[0]))
    assert capsys.readouterr().out == f"Epoch 1: saved {path}\n"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("{val_los}", {}, "'val_los'"),
        ("{}", {}, "''"),
        ("{epoch", {}, "no pattern"),
        ("{val_loss:d}", {}, "no pattern"),
        ("model", {"monitor": "val_f1", "save_best_only": True}, "'val_f1'"),
        ("file/model", {}, "cannot write"),
        ("file/{epoch}/model", {}, "cannot write"),
        ("", {}, "folder"),
    ],
)
def test_what_cannot_be_written_is_said_before_training(
    fit: Fit, model: Sequential, tmp_path: Path, name: str, options: Any, words: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=words):
        fit(LOSSES, ModelCheckpoint(f"{tmp_path}/{name}", **options))
    assert names(tmp_path) == ["file"]
    assert model.optimizer is not None
    assert model.optimizer.step == 0


def test_the_monitor_does_not_matter_where_all_epochs_are_saved(
    model: Sequential, task: tuple[Any, Any], tmp_path: Path
) -> None:
    model.fit(*task, callbacks=ModelCheckpoint(tmp_path / "model"), verbose=0)
    assert names(tmp_path) == ["model"]


def test_what_can_not_be_written_any_more(fit: Fit, tmp_path: Path) -> None:
    def spoil(event: object) -> None:
        (tmp_path / "sub").touch()

    with pytest.raises(UsageError, match="cannot write"):
        fit(LOSSES, spoil, ModelCheckpoint(tmp_path / "sub" / "{epoch}"))


def test_a_table_has_no_place_in_a_name(
    model: Sequential, task: tuple[Any, Any], tmp_path: Path
) -> None:
    model.compile(metrics=["confusion_matrix"])
    saving = ModelCheckpoint(tmp_path / "{confusion_matrix:.2f}")
    with pytest.raises(UsageError, match="no pattern"):
        model.fit(*task, callbacks=saving, verbose=0)


def test_a_model_that_cannot_be_saved_is_not_trained(task: tuple[Any, Any], tmp_path: Path) -> None:
    same = Lambda(lambda xp, x: x, lambda xp, dy, saved: dy)
    model = Sequential([same, Flatten(), Dense(2)])
    model.compile(SGD(0.1))
    with pytest.raises(UsageError, match="layer 'lambda' cannot be saved"):
        model.fit(*task, callbacks=[ModelCheckpoint(tmp_path / "model")], verbose=0)
    assert model.optimizer is not None
    assert model.optimizer.step == 0
