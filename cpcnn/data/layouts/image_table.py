"""A table of images in memory: columns, and the row of each file, for millions of them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from ...core.errors import DataError
from .table_files import TABLE_EXTENSIONS

FILE_NAME, LABEL, GROUP, SPLIT = "file_name", "label", "group", "split"
KNOWN = (FILE_NAME, LABEL, GROUP, SPLIT)
ROWS_SHOWN = 5


@dataclass(frozen=True)
class TableRow:
    """One line of the table: its number, and its cells by column."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class ImageTable:
    """What a table says: its columns, and the row of each file by its name in NFC.

    Names are relative to the folder `base`. `unit` is what a row is called. Cells lie in a list for
    each column, as there may be millions of rows.
    """

    path: Path
    columns: tuple[str, ...]
    base: Path
    unit: str = "line"
    _places: dict[str, int] = field(default_factory=dict, repr=False)
    _lines: array[int] = field(default_factory=lambda: array("q"), repr=False)
    _cells: dict[str, list[str]] = field(default_factory=dict, repr=False)
    _written: dict[int, str] = field(default_factory=dict, repr=False)  # names that NFC changes

    @property
    def rows(self) -> Mapping[str, TableRow]:
        """The rows by the names of files in NFC, in the order of the table."""
        return _Rows(self)

    def row(self, file: Path) -> TableRow | None:
        """Return the row of a file, or None."""
        name = file.relative_to(self.base) if file.is_relative_to(self.base) else file
        return self.rows.get(in_nfc(name.as_posix()))

    def place(self, name: str) -> int | None:
        """Return the place of the row of a file, by its name relative to `base`, or None."""
        return self._places.get(in_nfc(name))

    def line(self, place: int) -> int:
        """Return the number of the row at a place."""
        return self._lines[place]

    def cell(self, place: int, column: str) -> str:
        """Return a cell of the row at a place; empty if the row has none."""
        cells = self._cells.get(column, ())
        return cells[place] if place < len(cells) else ""

    def unused(self, used: str | None = None) -> tuple[str, ...]:
        """Return the columns that have no meaning of their own, nor the one given by a user."""
        known = (*KNOWN, "", used)
        return tuple(column for column in self.columns if column not in known)

    def check(self, column: str, fault: Callable[[str], str | None]) -> None:
        """Raise DataError naming the rows in whose cells of a column `fault` finds something."""
        cells = self._cells.get(column, [])
        texts = set(cells) if len(cells) == len(self._lines) else {*cells, ""}
        reasons = {text: fault(text) for text in texts}
        if any(reasons.values()):
            found = (
                (self._lines[place], reasons[self.cell(place, column)])
                for place in range(len(self._lines))
            )
            self.refuse([(line, reason) for line, reason in found if reason])

    def refuse(
        self, faults: Sequence[tuple[int, str]], suggestion: str = "Correct them, or take them out."
    ) -> None:
        """Raise DataError if there are faults, each a line's number and what is wrong with it."""
        if faults:
            rows = "1 row" if len(faults) == 1 else f"{len(faults):,} rows"
            shown = "; ".join(f"{self.unit} {line}: {why}" for line, why in faults[:ROWS_SHOWN])
            more = f"; and {len(faults) - ROWS_SHOWN:,} more" if len(faults) > ROWS_SHOWN else ""
            raise DataError(
                f"{self.path}: {rows} cannot be used: {shown}{more}.", suggestion=suggestion
            )

    def written(self) -> Iterator[str]:
        """Yield the names of the files as a file system may know them, by their rows."""
        if not self._written:
            return iter(self._places)
        return (self._written.get(place, name) for place, name in enumerate(self._places))

    @property
    def is_file(self) -> bool:
        """Whether it is a table that somebody wrote, and not the fields of shards."""
        return self.path.suffix.lower() in TABLE_EXTENSIONS

    def with_its_columns(self) -> ImageTable:
        """Return the same table with the columns that its rows have."""
        return replace(self, columns=(FILE_NAME, *self._cells))

    def add(self, line: int, name: str, cells: Iterable[tuple[str, str]]) -> str | None:
        """Add the row of a file, or return what is wrong with it."""
        written = normal_name(name)
        key = in_nfc(written)
        place = self._places.setdefault(key, len(self._lines))
        if place < len(self._lines):
            return f"{name!r} stands in {self.unit} {self._lines[place]} already"
        self._lines.append(line)
        if key != written:
            self._written[place] = written
        for column, text in cells:
            column_cells = self._cells.get(column)
            if column_cells is None:
                column_cells = self._cells[column] = []
            if len(column_cells) < place:  # rows before that do not have this column
                column_cells.extend([""] * (place - len(column_cells)))
            column_cells.append(text)
        return None


class _Rows(Mapping[str, TableRow]):
    """The rows of a table, made when they are asked for."""

    def __init__(self, table: ImageTable) -> None:
        self._table = table

    def __getitem__(self, name: str) -> TableRow:
        table, place = self._table, self._table._places[name]
        cells = {column: table.cell(place, column) for column in table.columns}
        cells.pop(FILE_NAME, None)
        return TableRow(table.line(place), cells)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table._places)

    def __len__(self) -> int:
        return len(self._table._places)


# In names: what may lead out of a folder, and what is not written the normal way.
_UNUSUAL = re.compile(r"\A\s*\Z|[\\:]|\A/|//|/\Z|(?:\A|/)\.\.?(?:/|\Z)")


def is_unusual(name: str) -> bool:
    """Say whether a name is empty, may lead out of a folder, or is not written the normal way."""
    return _UNUSUAL.search(name) is not None


def normal_name(name: str) -> str:
    """Return a relative path without empty parts and dots."""
    return PurePosixPath(name).as_posix() if is_unusual(name) else name


def in_nfc(text: str) -> str:
    """Return a text in Unicode's composed form, in which equal texts are equal."""
    return text if text.isascii() else normalize("NFC", text)
