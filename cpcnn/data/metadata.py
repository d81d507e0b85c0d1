"""metadata.csv, a table of a folder's images: file_name, and label, group, split or more columns.

The form is that of Hugging Face's image folders. The file lies in the data folder; file names are
relative to it, with forward slashes. The text is UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import category, normalize

from ..core.errors import DataError

TABLE = "metadata.csv"
FILE_NAME, LABEL, GROUP, SPLIT = "file_name", "label", "group", "split"
SYNONYMS = {"filename": FILE_NAME, "class": LABEL}
KNOWN = (FILE_NAME, LABEL, GROUP, SPLIT)
ROWS_SHOWN = 5


@dataclass(frozen=True)
class TableRow:
    """One line of the table: its number, and its cells by column."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class ImageTable:
    """What a metadata.csv says: its columns, and the row of each file by its name in NFC."""

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, TableRow]

    def row(self, file: Path) -> TableRow | None:
        """Return the row of a file in the table's folder, or None."""
        return self.rows.get(_in_nfc(file.relative_to(self.path.parent).as_posix()))

    def unused(self, used: str | None = None) -> tuple[str, ...]:
        """Return the columns that have no meaning of their own, nor the one given by a user."""
        known = (*KNOWN, "", used)
        return tuple(column for column in self.columns if column not in known)

    def check(self, column: str, fault: Callable[[str], str | None]) -> None:
        """Raise DataError naming the rows in whose cells of a column `fault` finds something."""
        found = ((row.line, fault(row.cells[column])) for row in self.rows.values())
        self.refuse([(line, reason) for line, reason in found if reason])

    def refuse(
        self, faults: Sequence[tuple[int, str]], suggestion: str = "Correct them, or take them out."
    ) -> None:
        """Raise DataError if there are faults, each a line's number and what is wrong with it."""
        if faults:
            rows = "1 row" if len(faults) == 1 else f"{len(faults):,} rows"
            shown = "; ".join(f"line {line}: {reason}" for line, reason in faults[:ROWS_SHOWN])
            more = f"; and {len(faults) - ROWS_SHOWN:,} more" if len(faults) > ROWS_SHOWN else ""
            raise DataError(
                f"{self.path}: {rows} cannot be used: {shown}{more}.", suggestion=suggestion
            )


def read_table(root: Path) -> ImageTable | None:
    """Read the table of a folder; None if it has none, or one without a column of file names.

    Raises DataError for a table that cannot be read, a damaged line, a file named twice, a name
    that leads out of the folder, and a label that a terminal or a JSON file cannot show.
    """
    path = root / TABLE
    lines = _lines(path)
    columns = _columns(next(lines, (0, []))[1])
    if FILE_NAME not in columns:
        return None
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns {_quoted(twice)}.", suggestion="Rename one.")
    faults: list[tuple[int, str]] = []
    rows: dict[str, TableRow] = {}
    for line, cells in lines:
        fault = _add(rows, line, columns, cells)
        if fault:
            faults.append((line, fault))
    table = ImageTable(path, columns, rows)
    table.refuse(faults)
    if LABEL in columns:
        table.check(LABEL, _label_fault)
    return table


def missing_columns(root: Path, wanted: Iterable[str] = (FILE_NAME, LABEL)) -> str:
    """Say which columns the metadata.csv of a folder lacks; empty if there is no such file."""
    path = root / TABLE
    if not path.is_file():
        return ""
    header = next(_lines(path), (0, []))[1]
    lacking = [name for name in wanted if name not in _columns(header)]
    guesses = [match for name in lacking for match in get_close_matches(name, header, n=1)]
    text = f"{TABLE} has no column {' and '.join(lacking)} (it has: {_quoted(header)})."
    if len(header) == 1 and any(separator in header[0] for separator in ";\t"):
        return f"{text} Its cells must be separated by commas."
    return f"{text} Did you mean {_quoted(guesses)}?" if guesses else text


# ---- Lines -----------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that is not empty; nothing without a file."""
    try:
        # Names of files may be bytes that are not UTF-8: they are kept, labels are checked.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, strict=True)
            try:
                for cells in reader:
                    if any(cells):
                        yield reader.line_num, cells
            except csv.Error as error:
                raise DataError(
                    f"{path}, line {reader.line_num}: it is no CSV ({error}).",
                    suggestion='A cell with commas, quotes or line ends stands in "double quotes".',
                ) from error
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error}).") from error


def _columns(header: Iterable[str]) -> tuple[str, ...]:
    names = (_in_nfc(name.strip()) for name in header)
    return tuple(SYNONYMS.get(name, name) for name in names)


def _add(
    rows: dict[str, TableRow], line: int, columns: Sequence[str], cells: Sequence[str]
) -> str | None:
    """Add a line to the rows, or return what is wrong with it."""
    if len(cells) != len(columns):
        found = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        return f"it has {found}, the first line has {len(columns)}"
    row = dict(zip(columns, cells, strict=True))
    name = row.pop(FILE_NAME)
    fault = _name_fault(name)
    if fault:
        return fault
    key = _in_nfc(PurePosixPath(name).as_posix())
    if key in rows:
        return f"{name!r} stands in line {rows[key].line} already"
    rows[key] = TableRow(line, {column: _in_nfc(cell.strip()) for column, cell in row.items()})
    return None


def _name_fault(name: str) -> str | None:
    if not name.strip():
        return "it names no file"
    path = PureWindowsPath(name)  # knows the separators and roots of both worlds
    if ".." in path.parts or path.anchor:
        return f"{name!r} leads out of the folder"
    return None


def _label_fault(label: str) -> str | None:
    if not label:
        return "it has no label"
    if any(category(character) in ("Cc", "Cs") for character in label):
        return f"the label {label!a} has control characters or bytes that are not UTF-8"
    return None


def _in_nfc(text: str) -> str:
    return normalize("NFC", text)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
