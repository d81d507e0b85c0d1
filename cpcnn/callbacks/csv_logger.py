"""Write a row of numbers for every epoch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from ..training.events import EpochEnded, Event
from ..training.trainer import Trainer
from .output_file import cannot_write


class CSVLogger:
    """Writes epochs to a CSV file: the epoch, counted from 0 as in Keras, and its quantities.

    The first row has their names, sorted. `append` goes on with a file that is there, otherwise it
    is replaced. UsageError before training for a file that cannot be written, or has other columns.
    """

    def __init__(self, filename: str | Path, separator: str = ",", append: bool = False) -> None:
        if len(separator) != 1:
            raise UsageError(f"CSVLogger: separator must be one character, not {separator!r}.")
        self.filename = Path(filename)
        self.separator = separator
        self.append = append

    def attach(self, trainer: Trainer) -> None:
        """Start the file."""
        self._columns = ["epoch", *sorted(trainer.log_names)]
        try:
            found = self._header() if self.append else None
            if found is None:
                self._write(self._columns, "w")
        except OSError as error:
            raise cannot_write(self.filename, error) from None
        if found is not None and found != self._columns:
            raise UsageError(
                f"{self.filename} has the columns {', '.join(found)}; "
                f"this training has {', '.join(self._columns)}.",
                suggestion="Choose another file, or append=False.",
            )

    def __call__(self, event: Event) -> None:
        if isinstance(event, EpochEnded):
            logs = event.logs | {"epoch": event.epoch - 1}
            try:
                self._write([logs[name] for name in self._columns], "a")
            except OSError as error:
                raise cannot_write(self.filename, error) from None

    def _header(self) -> list[str] | None:
        """Return the first row of the file; None if there is none. OSError if it is no file."""
        if not self.filename.exists():
            return None
        with self.filename.open("a+", encoding="utf-8", newline="") as file:  # writable, too
            file.seek(0)
            return next(csv.reader(file, delimiter=self.separator), None)

    def _write(self, row: list[Any], mode: str) -> None:
        with self.filename.open(mode, encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=self.separator).writerow(row)
