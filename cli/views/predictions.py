"""Predictions in five formats: a table for people, and four for programs."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from textwrap import fill
from typing import Any

from cpcnn.jobs.predict import Prediction

from .text import columns, printable, shorten

LONGEST_CLASS, LONGEST_PATH = 24, 60
PROBABILITY = "Probability"


@dataclass(frozen=True)
class Rows(ABC):
    """A format that is written row by row, each text with the end of its line.

    It knows beforehand the classes, and how many of them an image gets at most.
    """

    classes: tuple[str, ...]
    top: int

    def header(self) -> str:
        """Return what comes before the first row."""
        return ""

    @abstractmethod
    def row(self, prediction: Prediction) -> str:
        """Return the text of one prediction."""


class Table(Rows):
    """Aligned columns for people; what is too long for them is shortened."""

    def header(self) -> str:
        return self._line("Image", "Class", PROBABILITY)

    def row(self, prediction: Prediction) -> str:
        path = str(prediction.path)
        if prediction.error:
            error = f"error: {printable(prediction.error)}"
            text = fill(error, self._width, initial_indent="  ", subsequent_indent="    ")
            return f"{shorten(path, self._width)}\n{text}\n"
        ranked = ((name, f"{value:.4f}") for name, value in prediction.ranked)
        first = self._line(path, *next(ranked))
        return first + "".join(self._line("", name, value) for name, value in ranked)

    def _line(self, path: str, name: str, value: str) -> str:
        of_path, of_class, of_value = self._widths
        path, name = shorten(path, of_path), shorten(name, of_class)
        return f"{path:<{of_path}}  {name:<{of_class}}  {value:>{of_value}}\n"

    @cached_property
    def _width(self) -> int:
        return columns()

    @cached_property
    def _widths(self) -> tuple[int, int, int]:
        longest = max(len(printable(name)) for name in self.classes)
        of_class = min(max(longest, len("Class")), LONGEST_CLASS)
        rest = self._width - of_class - len(PROBABILITY) - 4
        return min(max(rest, len("Image")), LONGEST_PATH), of_class, len(PROBABILITY)


class TabSeparated(Rows):
    """A line an image: path, class, probability, further classes; or path and error."""

    def row(self, prediction: Prediction) -> str:
        cells = [printable(str(prediction.path))]
        if prediction.error:
            cells.append(f"error: {printable(prediction.error)}")
        for name, probability in prediction.ranked:
            cells += [printable(name), f"{probability:.4f}"]
        return "\t".join(cells) + "\n"


class CommaSeparated(Rows):
    """CSV with a header; names are exact, and every row has a cell for each rank and the error."""

    def header(self) -> str:
        further = [
            f"{word}_{rank}"
            for rank in range(2, self._ranks + 1)
            for word in ("class", "probability")
        ]
        return _csv_line(["path", "class", "probability", *further, "error"])

    def row(self, prediction: Prediction) -> str:
        cells = [cell for name, value in prediction.ranked for cell in (name, f"{value:.6f}")]
        cells += [""] * (2 * self._ranks - len(cells))
        return _csv_line([str(prediction.path), *cells, prediction.error])

    @property
    def _ranks(self) -> int:
        return min(self.top, len(self.classes))


class JsonLines(Rows):
    """A line an image: a JSON object, as in the list of the JSON document."""

    def row(self, prediction: Prediction) -> str:
        return json.dumps(prediction_document(prediction)) + "\n"


ROWS: dict[str, type[Rows]] = {
    "table": Table,
    "tsv": TabSeparated,
    "csv": CommaSeparated,
    "jsonl": JsonLines,
}


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as plain JSON values."""
    document: dict[str, Any] = {"path": str(prediction.path)}
    if prediction.error:
        return document | {"error": prediction.error}
    ranked = [{"class": name, "probability": round(value, 6)} for name, value in prediction.ranked]
    return document | {"predictions": ranked}


def _csv_line(cells: Iterable[str]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()
