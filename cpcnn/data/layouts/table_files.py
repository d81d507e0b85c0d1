"""The rows of a table, be it a CSV, JSON Lines or Parquet file.

Text is UTF-8, with or without a byte order mark; bytes that are not are kept, as names of files may
have such. Of JSON Lines, every line is an object and its keys are columns; of Parquet, the columns
of text, numbers and booleans count. Parquet needs pyarrow.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ...core.errors import DataError

CSV, JSONL, PARQUET = ".csv", ".jsonl", ".parquet"
TABLE_EXTENSIONS = (CSV, JSONL, PARQUET)
BATCH = 1 << 14  # rows of a Parquet file that are held at once

# A row's number, and its cells by column, or what is wrong with it.
Row: TypeAlias = tuple[int, "Iterable[tuple[str, str]] | str"]


@dataclass(frozen=True)
class TableFile:
    """The columns that a table begins with, its rows, and what these are called.

    The columns are those of the file, before synonyms. In JSON Lines they are the first line's;
    later ones may have more. The rows can be read once.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[Row]
    unit: str = "line"


def open_table(path: Path) -> TableFile | None:
    """Open a table by its extension; None if there is no such file. DataError if it is damaged."""
    openers: dict[str, Callable[[Path], TableFile]] = {CSV: _csv, JSONL: _jsonl, PARQUET: _parquet}
    try:
        return openers[path.suffix.lower()](path)
    except FileNotFoundError:
        return None


# ---- CSV -------------------------------------------------------------------------------------


def _csv(path: Path) -> TableFile:
    lines = _csv_lines(path)
    header = tuple(next(lines, (0, []))[1])
    return TableFile(path, header, (_csv_row(header, *line) for line in lines))


def _csv_row(header: tuple[str, ...], line: int, cells: list[str]) -> Row:
    if len(cells) != len(header):
        found = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        return line, f"it has {found}, the first line has {len(header)}"
    return line, zip(header, cells, strict=True)


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that is not empty."""
    with _text(path) as file:
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
        except OSError as error:
            raise _unreadable(path, error) from error


def _text(path: Path) -> Any:
    try:
        return path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot read {path} ({error.strerror or error}).")


# ---- JSON Lines ------------------------------------------------------------------------------


def _jsonl(path: Path) -> TableFile:
    rows = _jsonl_rows(path)
    first = next(rows, None)
    if first is None:
        return TableFile(path, (), iter(()))
    line, cells = first
    if isinstance(cells, str):
        raise DataError(f"{path}, line {line}: {cells}.")
    return TableFile(path, tuple(column for column, _ in cells), _after(first, rows))


def _after(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(line)
        except OSError as error:
            raise _unreadable(path, error) from error


def _object(line: str) -> list[tuple[str, str]] | str:
    """Return the cells of a JSON object, or what is wrong with it."""
    try:
        pairs = json.loads(line, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:  # a number of too many digits is one, too
        return f"it is no JSON ({error})"
    if not isinstance(pairs, _Pairs):
        return 'it is no JSON object, such as {"file_name": "1.png", "label": "cat"}'
    return _cells(pairs)


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of an object, told from a list of pairs; a key may stand there twice."""


def _cells(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    found = ((str(column), text_of(value)) for column, value in pairs)
    return [(column, text) for column, text in found if text is not None]


def text_of(value: object) -> str | None:
    """Return a value as the text of a cell, None for lists and objects: they are no cells.

    Whole numbers are written without a point, as tables with gaps keep them as floating point.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


# ---- Parquet ---------------------------------------------------------------------------------


def _parquet(path: Path) -> TableFile:
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{path} is a Parquet file; pyarrow, which reads these, is not installed.",
            suggestion='Install it with `pip install "cpcnn[parquet]"`, or write the table as CSV '
            "or JSON Lines.",
        ) from None
    try:
        file = parquet.ParquetFile(path)
        columns = [field.name for field in file.schema_arrow if _is_cell(field.type)]
    except (pyarrow.ArrowException, OSError) as error:
        raise _no_parquet(path, error) from error
    return TableFile(path, tuple(columns), _parquet_rows(path, file, columns), unit="row")


def _is_cell(kind: Any) -> bool:
    """Say whether values of a type can be cells: no lists, no structures, no bytes."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
    )


def _parquet_rows(path: Path, file: Any, columns: list[str]) -> Iterator[Row]:
    import pyarrow

    number = 0
    try:
        with file:
            for batch in file.iter_batches(BATCH, columns=columns):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, _cells(zip(batch.schema.names, values, strict=True))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: Path, error: Exception) -> DataError:
    detail = " ".join(str(error).split())
    return DataError(f"{path} cannot be read as a Parquet file ({detail}).")
