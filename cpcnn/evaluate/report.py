"""The per-class report: text, dictionary and tables from one confusion matrix."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cpcnn.core.errors import ShapeError
from cpcnn.metrics.confusion import Counts
from cpcnn.metrics.scores import Averages, ClassScores, per_class

from .classes import quoted

Values: TypeAlias = tuple[float, float, float, int]

_HEADERS = ("precision", "recall", "f1-score", "support")


class ClassRow(NamedTuple):
    """One line of the report."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int

    @property
    def values(self) -> Values:
        """The line without its name."""
        return self.precision, self.recall, self.f1, self.support


class Confusion(NamedTuple):
    """How many images of class `true` were taken for class `predicted`."""

    true: str
    predicted: str
    images: int


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """Precision, recall, F1 and support of every class of a model on one data set.

    `counts` is a confusion matrix, int64 of shape (K, K), rows = true. Text and dictionary equal
    those of scikit-learn's `classification_report` with `zero_division=0`: a class without images
    that was never predicted either has no line; it is among the `missing`.
    """

    classes: tuple[str, ...]
    counts: Counts

    def __post_init__(self) -> None:
        expected = (len(self.classes), len(self.classes))
        if self.counts.shape != expected:
            raise ShapeError(
                f"{len(self.classes)} classes need a confusion matrix of shape {expected}, "
                f"found {self.counts.shape}."
            )

    @cached_property
    def scores(self) -> ClassScores:
        """All scores as arrays over the K classes."""
        return per_class(self.counts)

    @property
    def total(self) -> int:
        """The number of images."""
        return int(self.scores.support.sum())

    @property
    def accuracy(self) -> float:
        """The share of images whose class was predicted."""
        return self.scores.accuracy

    @property
    def macro(self) -> Averages:
        """The unweighted averages; `macro.recall` is what is called the recall of a model."""
        return self.scores.macro

    @property
    def weighted(self) -> Averages:
        """The averages weighted with each class's number of images."""
        return self.scores.weighted

    @property
    def missing(self) -> tuple[str, ...]:
        """The model's classes of which the data has no image."""
        return tuple(
            name
            for name, support in zip(self.classes, self.scores.support, strict=True)
            if support == 0
        )

    @cached_property
    def rows(self) -> tuple[ClassRow, ...]:
        """One line for each class that has an image or was predicted."""
        scores = self.scores
        return tuple(
            ClassRow(
                self.classes[i],
                float(scores.precision[i]),
                float(scores.recall[i]),
                float(scores.f1[i]),
                int(scores.support[i]),
            )
            for i in np.flatnonzero(scores.present)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return scikit-learn's `output_dict`: class name -> scores, then accuracy and averages.

        As there, a class that is called `accuracy`, `macro avg` or `weighted avg` gives way to the
        number of that name; `rows` has every class.
        """
        result: dict[str, Any] = {row.name: _named(row.values) for row in self.rows}
        result["accuracy"] = self.accuracy
        result["macro avg"] = _named(self._values(self.macro))
        result["weighted avg"] = _named(self._values(self.weighted))
        return result

    def to_text(self, digits: int = 2) -> str:
        """Return the table in scikit-learn's layout, with this many digits after the point."""
        width = max([len("weighted avg"), digits, *(len(row.name) for row in self.rows)])

        def line(name: str, *cells: str | int) -> str:
            return f"{name:>{width}} " + "".join(f" {cell:>9}" for cell in cells) + "\n"

        def score_line(name: str, values: Values) -> str:
            *scores, support = values
            return line(name, *(f"{score:.{digits}f}" for score in scores), support)

        return "".join(
            [
                line("", *_HEADERS),
                "\n",
                *(score_line(row.name, row.values) for row in self.rows),
                "\n",
                line("accuracy", "", "", f"{self.accuracy:.{digits}f}", self.total),
                score_line("macro avg", self._values(self.macro)),
                score_line("weighted avg", self._values(self.weighted)),
            ]
        )

    def notes(self) -> list[str]:
        """Return what a reader of the numbers has to know besides them, as sentences."""
        if not self.missing:
            return []
        return [
            f"No image of {quoted(self.missing)}: the averages are over the classes that occur."
        ]

    def most_confused(self, limit: int = 10) -> list[Confusion]:
        """Return the most frequent mistakes, most frequent first, ties in the classes' order."""
        wrong = self.counts * ~np.eye(len(self.classes), dtype=bool)
        order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [
            Confusion(self.classes[true], self.classes[predicted], int(wrong[true, predicted]))
            for true, predicted in pairs
            if wrong[true, predicted]
        ]

    def confusion_csv(self) -> str:
        """Return the confusion matrix as CSV: a row per true class, a column per predicted class.

        Class names stand as they are, quoted where CSV needs it.
        """
        text = io.StringIO()
        writer = csv.writer(text)  # ends lines in "\r\n", and so quotes a name with either of them
        writer.writerow(["true \\ predicted", *self.classes])
        for name, row in zip(self.classes, self.counts.tolist(), strict=True):
            writer.writerow([name, *row])
        return text.getvalue()

    def write_confusion_csv(self, path: Path) -> None:
        """Write `confusion_csv` in UTF-8; names that no encoding fits keep their bytes."""
        path.write_text(self.confusion_csv(), "utf-8", "surrogateescape", newline="")

    def _values(self, average: Averages) -> Values:
        return average.precision, average.recall, average.f1, self.total


def _named(values: Values) -> dict[str, float]:
    return {header: float(value) for header, value in zip(_HEADERS, values, strict=True)}
