"""Pictures of a run: the curves of its training, and the confusion matrix of an evaluation."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluate.report import ClassificationReport
from .printable import printable
from .run_directory import HISTORY, cannot_write
from .svg import Picture, text_width

CURVES, CONFUSION_FIGURE = "curves.svg", "confusion.svg"

Row = Mapping[str, str]
Series = Sequence[float | None]


def write_curves(run: Path) -> None:
    """Draw a run's history.csv into curves.svg; UsageError when that cannot be written."""
    try:
        with (run / HISTORY).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        rows = []
    if rows:
        _write(run / CURVES, curves_svg(rows))


def write_confusion(folder: Path, report: ClassificationReport) -> None:
    """Draw the confusion matrix into confusion.svg; UsageError when that cannot be written."""
    _write(folder / CONFUSION_FIGURE, confusion_svg(report))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from error


# ---- Curves ------------------------------------------------------------------------------------

PANEL_WIDTH, PANEL_HEIGHT = 350.0, 220.0
PANELS_TOP, PANEL_LEFT, PANEL_GAP = 62.0, 58.0, 72.0
MARKED = 40  # points are marked up to so many epochs
LARGEST = 1e30  # what is larger, or not a number, is left out


def curves_svg(history: Sequence[Row]) -> str:
    """Draw loss and accuracy of training and validation by epoch; rows are those of history.csv."""
    epochs = [int(row["epoch"]) for row in history]
    best = [epoch for epoch, row in zip(epochs, history, strict=True) if row.get("best") == "1"]
    width = PANEL_LEFT + 2 * PANEL_WIDTH + PANEL_GAP + 24
    picture = Picture(width, PANELS_TOP + PANEL_HEIGHT + 54, "Loss and accuracy by epoch")
    validated = any(_value(row, "validation_loss") is not None for row in history)
    _legend(picture, best[-1] if best else None, validated=validated)
    for number, measure in enumerate(("loss", "accuracy")):
        panel = _Panel(
            left=PANEL_LEFT + number * (PANEL_WIDTH + PANEL_GAP),
            epochs=epochs,
            train=[_value(row, f"train_{measure}") for row in history],
            validation=[_value(row, f"validation_{measure}") for row in history],
            highest=1.0 if measure == "accuracy" else math.inf,
        )
        picture.text(panel.left, PANELS_TOP - 12, measure.capitalize(), bold=True, size=13)
        panel.draw(picture, best[-1] if best else None)
    return picture.render()


def _value(row: Row, name: str) -> float | None:
    try:
        value = float(row.get(name) or "")
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None


def _legend(picture: Picture, best: int | None, *, validated: bool) -> None:
    entries = [("first", "training")]
    if validated:
        entries.append(("second", "validation"))
    x = PANEL_LEFT
    for colour, label in entries:
        picture.line([(x, 20), (x + 22, 20)], colour, width=2.5)
        picture.text(x + 28, 24, label)
        x += 44 + text_width(label, 12)
    if best is not None:
        picture.line([(x + 11, 13), (x + 11, 27)], "quiet", dashed=True)
        picture.text(x + 20, 24, f"best epoch: {best}")


@dataclass(frozen=True)
class _Panel:
    """One chart over the epochs."""

    left: float
    epochs: Sequence[int]
    train: Series
    validation: Series
    highest: float

    def draw(self, picture: Picture, best: int | None) -> None:
        known = [value for value in (*self.train, *self.validation) if value is not None]
        ticks = nice_ticks(min(known, default=0.0), max(known, default=1.0), self.highest)
        for tick in ticks:
            y = self.y(tick, ticks)
            picture.line([(self.left, y), (self.left + PANEL_WIDTH, y)], "grid")
            label = f"{tick:.{_decimals(ticks[1] - ticks[0])}f}"
            picture.text(self.left - 8, y + 4, label, "quiet", size=11, anchor="end")
        bottom = PANELS_TOP + PANEL_HEIGHT
        for epoch in _epoch_ticks(self.epochs[0], self.epochs[-1]):
            x = self.x(epoch)
            picture.text(x, bottom + 18, str(epoch), "quiet", size=11, anchor="middle")
        middle = self.left + PANEL_WIDTH / 2
        picture.text(middle, bottom + 40, "epoch", "quiet", anchor="middle")
        if best is not None:
            x = self.x(best)
            picture.line([(x, PANELS_TOP), (x, bottom)], "quiet", dashed=True)
        self._curve(picture, self.train, "first", ticks)
        self._curve(picture, self.validation, "second", ticks)

    def _curve(self, picture: Picture, values: Series, colour: str, ticks: Sequence[float]) -> None:
        for part in _unbroken(self.epochs, values):
            points = [(self.x(epoch), self.y(value, ticks)) for epoch, value in part]
            if len(points) > 1:
                picture.line(points, colour, width=2)
            if len(points) == 1 or len(self.epochs) <= MARKED:
                for x, y in points:
                    picture.circle(x, y, 2.5, colour)

    def x(self, epoch: float) -> float:
        first, last = self.epochs[0], self.epochs[-1]
        share = (epoch - first) / (last - first) if last > first else 0.5
        return self.left + share * PANEL_WIDTH

    def y(self, value: float, ticks: Sequence[float]) -> float:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return PANELS_TOP + (1 - share) * PANEL_HEIGHT


def _unbroken(epochs: Sequence[int], values: Series) -> list[list[tuple[int, float]]]:
    """Return the points of a curve, cut where a value is missing."""
    parts: list[list[tuple[int, float]]] = [[]]
    for epoch, value in zip(epochs, values, strict=True):
        if value is not None:
            parts[-1].append((epoch, value))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def nice_ticks(low: float, high: float, highest: float = math.inf) -> list[float]:
    """Return three to nine round numbers, evenly apart, from at most `low` to at least `high`.

    None is above `highest`, unless `high` is.
    """
    span = high - low or abs(high) or 1.0
    exact = span / 5
    unit = 10.0 ** math.floor(math.log10(exact))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= exact * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last - first < 2:
        room = (last + 1) * step <= highest
        first, last = (first, first + 2) if room else (last - 2, last)
    return [number * step for number in range(first, last + 1)]


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _epoch_ticks(first: int, last: int) -> list[int]:
    """Return round epochs in the range, the first one with them."""
    step = next(
        factor * 10**power
        for power in range(12)
        for factor in (1, 2, 5)
        if (last - first) / (factor * 10**power) <= 8
    )
    return [first, *range(-(-(first + 1) // step) * step, last + 1, step)]


# ---- Confusion matrix --------------------------------------------------------------------------

LARGEST_NUMBERED = 30  # classes: counts are written into the cells up to here
LONGEST_LABEL = 170.0  # pixels
DARK_CELL = 0.75  # from this share on a cell's count is written in the colour of the page


def confusion_svg(report: ClassificationReport) -> str:
    """Draw a confusion matrix, a row for each true class, shaded by the share of the row."""
    matrix = _Matrix(report)
    picture = Picture(matrix.width, matrix.height, "Confusion matrix")
    matrix.draw(picture)
    return picture.render()


class _Matrix:
    """The measures of a matrix and how it is drawn: labels above and left, cells, a caption."""

    def __init__(self, report: ClassificationReport) -> None:
        self.names = report.classes
        self.counts = report.counts.tolist()
        self.accuracy, self.total = report.accuracy, report.total
        number = len(self.names)
        self.numbered = number <= LARGEST_NUMBERED
        digits = max(len(str(count)) for row in self.counts for count in row)
        self.cell = max(30.0, digits * 7.5 + 10) if self.numbered else 11.0
        self.font = 12.0 if self.numbered else 9.0
        widest = max(text_width(printable(name), self.font) for name in self.names)
        self.label = min(LONGEST_LABEL, max(widest, 40.0)) + 4
        self.left = 28 + self.label + 8
        self.top = 74 + self.label + 8
        self.side = number * self.cell
        self.width = max(self.left + self.side + 20, 460.0)
        self.height = self.top + self.side + 20

    def draw(self, picture: Picture) -> None:
        caption = f"{self.total:,} images, accuracy {self.accuracy:.4f}"
        picture.text(20, 24, "Confusion matrix", bold=True, size=14)
        picture.text(20, 42, f"{caption}. Shade: share of the row", "quiet")
        picture.text(self.left, 68, "predicted", "quiet")
        picture.text(18, self.top, "true", "quiet", anchor="end", upwards=True)
        for position, name in enumerate(self.names):
            centre = (position + 0.5) * self.cell + self.font * 0.36
            self._labels(picture, centre, name)
        self._grid(picture)
        for row, counts in enumerate(self.counts):
            self._row(picture, row, counts)

    def _labels(self, picture: Picture, centre: float, name: str) -> None:
        room, size = self.label, self.font
        picture.text(self.left - 8, self.top + centre, name, size=size, anchor="end", room=room)
        picture.text(self.left + centre, self.top - 8, name, size=size, upwards=True, room=room)

    def _grid(self, picture: Picture) -> None:
        right, bottom = self.left + self.side, self.top + self.side
        for number in range(len(self.names) + 1):
            x, y = self.left + number * self.cell, self.top + number * self.cell
            picture.line([(x, self.top), (x, bottom)], "grid")
            picture.line([(self.left, y), (right, y)], "grid")

    def _row(self, picture: Picture, row: int, counts: Sequence[int]) -> None:
        support = sum(counts)
        y = self.top + row * self.cell
        for column, count in enumerate(counts):
            if not count:
                continue
            x = self.left + column * self.cell
            share = count / support
            tip = f"{self.names[row]} → {self.names[column]}: {count:,} of {support:,}"
            colour = "first" if row == column else "second"
            shade = 0.08 + 0.92 * share
            picture.rectangle(x, y, self.cell, self.cell, colour, opacity=shade, tip=tip)
            if self.numbered:
                ink = "page" if shade >= DARK_CELL else "ink"
                place = (x + self.cell / 2, y + self.cell / 2 + 4)
                picture.text(*place, f"{count}", ink, size=12, anchor="middle")
