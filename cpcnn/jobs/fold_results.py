"""What the folds of a cross-validation came to, one by one and together."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..core.errors import CheckpointError
from .run_directory import HISTORY, RunDirectory, cannot_write, write_csv

FOLDS_SCHEMA = 1
TABLE, DOCUMENT = "folds.csv", "folds.json"
# What is averaged, and its name in history.csv.
MEASURES = {
    "accuracy": "validation_accuracy",
    "macro_recall": "validation_macro_recall",
    "macro_f1": "validation_macro_f1",
}


@dataclass(frozen=True)
class FoldResult:
    """What one fold came to: the figures of its best epoch on the images that it held out."""

    fold: int
    run: Path
    train_images: int
    validation_images: int
    best_epoch: int
    accuracy: float
    macro_recall: float
    macro_f1: float


@dataclass(frozen=True)
class FoldsEnded:
    """The end, of all folds or, `interrupted`, of some: their results in order."""

    run: Path
    folds: int
    results: tuple[FoldResult, ...]
    interrupted: bool = False

    def mean(self) -> dict[str, float]:
        """Return the mean of each measure over the folds that have ended."""
        return {name: fmean(self._values(name)) for name in MEASURES} if self.results else {}

    def std(self) -> dict[str, float]:
        """Return the sample standard deviation (of n - 1) of each measure, if there are two."""
        if len(self.results) < 2:
            return {}
        return {name: stdev(self._values(name)) for name in MEASURES}

    def _values(self, name: str) -> list[float]:
        return [getattr(result, name) for result in self.results]

    def to_document(self) -> dict[str, Any]:
        """Return the results as plain JSON values."""
        return {
            "schema_version": FOLDS_SCHEMA,
            "run": str(self.run),
            "folds": self.folds,
            "interrupted": self.interrupted,
            "mean": self.mean(),
            "std": self.std(),
            "results": [asdict(result) | {"run": str(result.run)} for result in self.results],
        }


def read_result(inner: RunDirectory, fold: int) -> FoldResult:
    """Return what a fold came to, from its files."""
    try:
        with (inner.path / HISTORY).open(newline="", encoding="utf-8") as file:
            best = [row for row in csv.DictReader(file) if row["best"] == "1"][-1]
        figures = {name: float(best[column]) for name, column in MEASURES.items()}
        epoch = int(best["epoch"])
    except (OSError, LookupError, ValueError) as error:
        raise CheckpointError(
            f"{inner.path / HISTORY} does not say how good the fold was: {error}.",
            suggestion=f"Remove {inner.path} and resume: the fold is then trained anew.",
        ) from None
    splits = [row.split for row in inner.split()]
    return FoldResult(
        fold,
        inner.path,
        train_images=splits.count("train"),
        validation_images=splits.count("validation"),
        best_epoch=epoch,
        **figures,
    )


def write_results(end: FoldsEnded) -> None:
    """Write folds.csv and folds.json."""
    header = ("fold", "train_images", "validation_images", "best_epoch", *MEASURES)
    rows = ([getattr(result, name) for name in header] for result in end.results)
    write_csv(end.run / TABLE, header, rows)
    path = end.run / DOCUMENT
    try:
        path.write_text(json.dumps(end.to_document(), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from error
