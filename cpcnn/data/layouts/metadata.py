"""Tables of images: file_name, and label, group, split or more columns.

The form is that of Hugging Face's image folders: a file metadata.csv, metadata.jsonl or
metadata.parquet in the data folder. File names are relative to it, with forward slashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PureWindowsPath
from unicodedata import category

from ...core.errors import DataError
from .image_table import FILE_NAME, LABEL, ImageTable, in_nfc, is_unusual
from .table_files import TABLE_EXTENSIONS, TableFile, open_table

TABLES = tuple(f"metadata{extension}" for extension in TABLE_EXTENSIONS)
SYNONYMS = {"filename": FILE_NAME, "class": LABEL}
LIST_SYNONYMS = SYNONYMS | {"path": FILE_NAME, "file": FILE_NAME}
SHARED = 1 << 16  # different texts that are kept once; more are hardly labels


def read_table(root: Path) -> ImageTable | None:
    """Read the table of a folder; None if it has none, or one without a column of file names.

    Raises DataError for two tables, one that cannot be read, a damaged line, a file named twice, a
    name that leads out of the folder, and a label that a terminal or a JSON file cannot show.
    """
    tables = [table for name in TABLES if (table := _named_in(root, name)) is not None]
    if len(tables) > 1:
        names = " and ".join(table.path.name for table in tables)
        raise DataError(f"{root} has two tables: {names}.", suggestion="Keep one of them.")
    return tables[0] if tables else None


def _named_in(root: Path, name: str) -> ImageTable | None:
    file = open_table(root / name)
    if file is None or FILE_NAME not in _columns(file.columns, SYNONYMS):
        return None
    return read_rows(file, inside=True)


def read_rows(file: TableFile, *, inside: bool) -> ImageTable:
    """Read the rows of a table that has file names; with `inside` none may lead out of its folder.

    Raises DataError as `read_table` does.
    """
    synonyms = SYNONYMS if inside else LIST_SYNONYMS
    columns = dict.fromkeys(_columns(file.columns, synonyms))
    if len(columns) < len(file.columns):
        _refuse_twice(file, synonyms)
    table = ImageTable(file.path, (), file.path.parent, file.unit)
    faults: list[tuple[int, str]] = []
    names: dict[str, str] = {}
    shared: dict[str, str] = {}
    home = "" if inside else f"{table.base.absolute().as_posix()}/"
    for line, cells in file.rows:
        fault = cells if isinstance(cells, str) else None
        if not isinstance(cells, str):
            row = []
            name = ""
            for heading, text in cells:
                column = names.get(heading) or names.setdefault(heading, _column(heading, synonyms))
                if column == FILE_NAME:
                    name = text
                else:
                    row.append((column, _shared(shared, text)))
            name = name.removeprefix(home)  # the same name, from wherever the list is read
            fault = _name_fault(name, inside) or table.add(line, name, row)
        if fault:
            faults.append((line, fault))
    table = replace(table, columns=tuple(columns | dict.fromkeys(names.values())))
    table.refuse(faults)
    if LABEL in columns:
        table.check(LABEL, label_fault)
    return table


def _refuse_twice(file: TableFile, synonyms: Mapping[str, str]) -> None:
    columns = _columns(file.columns, synonyms)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    raise DataError(f"{file.path} has two columns {_quoted(twice)}.", suggestion="Rename one.")


def _shared(shared: dict[str, str], text: str) -> str:
    """Return a cell in its normal form, and the same object for the same text."""
    text = text.strip()
    text = text if text.isascii() else in_nfc(text)
    if len(shared) < SHARED:
        return shared.setdefault(text, text)
    return shared.get(text, text)


def missing_columns(root: Path, wanted: Iterable[str] = (FILE_NAME, LABEL)) -> str:
    """Say which columns the table of a folder lacks; empty if there is no such file."""
    paths = (root / name for name in TABLES)
    path = next((path for path in paths if path.is_file()), None)
    return "" if path is None else lacking_columns(path, wanted)


def lacking_columns(
    path: Path, wanted: Iterable[str], synonyms: Mapping[str, str] = SYNONYMS
) -> str:
    """Say which columns a table lacks, and which were perhaps meant; empty if it lacks none."""
    file = open_table(path)
    header = () if file is None else file.columns
    lacking = [name for name in wanted if name not in _columns(header, synonyms)]
    if not lacking:
        return ""
    guesses = [match for name in lacking for match in get_close_matches(name, header, n=1)]
    text = f"{path.name} has no column {' and '.join(lacking)} (it has: {_quoted(header)})."
    if len(header) == 1 and any(separator in header[0] for separator in ";\t"):
        return f"{text} Its cells must be separated by commas."
    return f"{text} Did you mean {_quoted(guesses)}?" if guesses else text


# ---- Names and labels ------------------------------------------------------------------------


def _columns(header: Iterable[str], synonyms: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(_column(name, synonyms) for name in header)


def _column(heading: str, synonyms: Mapping[str, str]) -> str:
    name = in_nfc(heading.strip())
    return synonyms.get(name, name)


def _name_fault(name: str, inside: bool) -> str | None:
    if not is_unusual(name):
        return None
    if not name.strip():
        return "it names no file"
    if not inside:
        return None
    path = PureWindowsPath(name)  # knows the separators and roots of both worlds
    if ".." in path.parts or path.anchor:
        return f"{name!r} leads out of the folder"
    return None


def label_fault(label: str) -> str | None:
    """Say what is wrong with a label, if anything."""
    if not label:
        return "it has no label"
    if not label.isprintable() and any(category(c) in ("Cc", "Cs") for c in label):
        return f"the label {label!a} has control characters or bytes that are not UTF-8"
    return None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
