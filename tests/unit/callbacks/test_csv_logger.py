"""The numbers of a training as a table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpcnn.callbacks import CSVLogger
from cpcnn.core.errors import UsageError
from cpcnn.models import History, Sequential
from cpcnn.training import EpochEnded

Fit = Callable[..., History]
COLUMNS = [
    "epoch", "accuracy", "learning_rate", "loss", "recall",
    "val_accuracy", "val_loss", "val_recall",
]  # fmt: skip


def rows(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=separator))


@pytest.mark.parametrize("separator", [",", ";"])
def test_every_epoch_is_a_row(fit: Fit, tmp_path: Path, separator: str) -> None:
    path = tmp_path / "log.csv"
    history = fit([0.5, 0.25], CSVLogger(path, separator))
    header, *epochs = rows(path, separator)
    assert header == COLUMNS
    assert [row[0] for row in epochs] == ["0", "1"]
    for number, row in enumerate(epochs):
        assert [float(value) for value in row[1:]] == [
            history.history[name][number] for name in COLUMNS[1:]
        ]


def test_a_file_is_replaced_or_continued(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for append, count in ((True, 1), (True, 2), (False, 1), (True, 2)):
        fit([0.5], CSVLogger(str(path), append=append))
        assert [row[0] for row in rows(path)] == ["epoch", *["0"] * count]
    path.write_text("")
    fit([0.5], CSVLogger(path, append=True))
    assert len(rows(path)) == 2


def test_other_columns_are_not_mixed(
    fit: Fit, model: Sequential, task: tuple[Any, Any], tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    fit([0.5], CSVLogger(path))
    before = path.read_text()
    with pytest.raises(UsageError, match="has the columns epoch, accuracy"):
        model.fit(*task, callbacks=CSVLogger(path, append=True), verbose=0)
    assert path.read_text() == before


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("name", ["missing/log.csv", "", "file/log.csv"])
def test_what_cannot_be_written_is_said_before_training(
    fit: Fit, model: Sequential, tmp_path: Path, name: str, append: bool
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        fit([0.5], CSVLogger(tmp_path / name, append=append))
    assert model.optimizer is not None
    assert model.optimizer.step == 0


def test_a_separator_is_one_character() -> None:
    with pytest.raises(UsageError, match="one character"):
        CSVLogger("log.csv", ", ")


def test_a_file_that_goes_away(fit: Fit, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"

    def spoil(event: object) -> None:
        if isinstance(event, EpochEnded):
            path.unlink()
            path.mkdir()

    with pytest.raises(UsageError, match="cannot write"):
        fit([0.5], spoil, CSVLogger(path))
