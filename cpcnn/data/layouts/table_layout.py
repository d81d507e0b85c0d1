"""A folder of images whose table gives each its label, or its split, or both; a list of paths."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ...core.errors import DataError
from .image_folder import (
    SPLIT_NAMES,
    SPLIT_OF,
    UNSPLIT,
    ImageFolder,
    Sample,
    counted,
    empty_classes,
)
from .image_table import FILE_NAME, LABEL, SPLIT, ImageTable, in_nfc
from .metadata import LIST_SYNONYMS, lacking_columns, read_rows
from .table_files import TABLE_EXTENSIONS, open_table
from .walk import Ignored, Walker, joined, path_order, text_of


def labelled_by(table: ImageTable, walker: Walker) -> list[Sample]:
    """Return the images that the table names, with its labels, sorted by class and path."""
    samples, named = [], bytearray(len(table.rows))
    above = joined(text_of(table.base), "")
    for folder, name in walker.images(table.base).in_order():
        path = joined(folder, name)
        place = table.place(path.removeprefix(above))
        if place is None:
            walker.ignore(Path(path), f"not in {table.path.name}")
        else:
            samples.append(Sample.at(folder, name, table.cell(place, LABEL)))
            named[place] = True
    _refuse_gone(table, named, walker)
    return sorted(samples, key=lambda sample: sample.label)


def _refuse_gone(table: ImageTable, named: Sequence[int], walker: Walker) -> None:
    """Raise DataError for the rows whose image was not found, unless patterns leave it out."""
    if all(named):
        return
    reasons = {
        in_nfc(path.relative_to(table.base).as_posix()): reason
        for path, reason in walker.ignored
        if path.is_relative_to(table.base)
    }
    gone = []
    for place, name in enumerate(table.rows):
        if not named[place] and walker.would_keep(table.base / name):
            gone.append((table.line(place), f"{name!r} {_why_gone(name, reasons)}"))
    table.refuse(
        gone,
        f"The names in the column file_name are relative to {table.base}. To have class folders "
        f"read instead, rename {table.path.name}.",
    )


def _why_gone(name: str, reasons: Mapping[str, str]) -> str:
    """Say why an image was not found: one of the folders above it may have been passed over."""
    for place in (name, *(parent.as_posix() for parent in PurePosixPath(name).parents)):
        if place in reasons:
            return f"is passed over: {reasons[place]}"
    return "is not there"


def without_tables(ignored: Iterable[Ignored], *tables: ImageTable) -> tuple[Ignored, ...]:
    """Return what was passed over, sorted; tables, which were read, do not count."""
    read = {table.path for table in tables}
    return tuple(sorted(entry for entry in ignored if entry[0] not in read))


def folder_from(
    table: ImageTable,
    samples: Sequence[Sample],
    walker: Walker,
    training: bool,
    allow_empty_classes: bool,
    *,
    data: Path | None = None,
) -> ImageFolder:
    """Return the folder of labelled images, split by the table's column if there is one.

    `data` is what was given as the data, if that is not the folder of the table.
    """
    splits = _split_by_column(table, samples, walker)
    if not any(splits.values()):
        if walker.left_out:
            raise all_left_out(table.path, walker)
        raise DataError(f"{table.path} names no image.", suggestion="Add a row for each image.")
    folder = ImageFolder(
        table.base,
        splits,
        classes_of(splits),
        without_tables(walker.ignored, table),
        table,
        data=data,
        left_out=walker.left_out,
        unmatched=tuple(walker.unmatched()),
    )
    if training:
        check_trainable(folder, str(table.path), allow_empty_classes)
    return folder


def all_left_out(data: Path, walker: Walker) -> DataError:
    """Return the error for patterns that leave out all images."""
    return DataError(
        f"--include and --exclude leave out all of the {counted(walker.left_out, 'image')} in "
        f"{data}.",
        suggestion="A pattern with a slash is compared with the whole path below DATA, one "
        "without a slash with each name in it.",
    )


def classes_of(splits: Mapping[str, Sequence[Sample]]) -> tuple[str, ...]:
    """Return the classes of the samples of all splits, sorted."""
    return tuple(sorted({sample.label for samples in splits.values() for sample in samples}))


def _split_by_column(
    table: ImageTable, samples: Sequence[Sample], walker: Walker
) -> dict[str, tuple[Sample, ...]]:
    if SPLIT not in table.columns:
        return {UNSPLIT: tuple(samples)}
    table.check(SPLIT, _split_fault)
    found = defaultdict(list)
    for sample in samples:
        place = table.place(sample.name_in(table.base))
        if place is None:
            walker.ignore(sample.path, f"not in {table.path.name}")
        else:
            found[SPLIT_OF[table.cell(place, SPLIT).lower()]].append(sample)
    return {split: tuple(found[split]) for split in SPLIT_NAMES if split in found}


def _split_fault(name: str) -> str | None:
    if name.lower() in SPLIT_OF:
        return None
    return f"the split {name!r} is none of {', '.join(SPLIT_NAMES)}"


def check_trainable(folder: ImageFolder, where: str, allow_empty_classes: bool) -> None:
    """Raise DataError unless there are images of two classes, and of every class, to train on."""
    source = UNSPLIT if UNSPLIT in folder.splits else "train"
    if source not in folder.splits:
        raise DataError(
            f"{where} marks images as {' and '.join(folder.splits)}, but none as train.",
            suggestion="Training needs rows with the split train, or no column split.",
        )
    if len(folder.classes) == 1:
        raise DataError(
            f"1 class found in {where}: {folder.classes[0]}. A classifier needs 2 or more.",
            suggestion="Add images with other labels.",
        )
    counts = folder.count(source)
    if not allow_empty_classes and not all(counts.values()):
        raise empty_classes(counts, "" if source == UNSPLIT else "in the train split ")


def joined_tables(tables: Sequence[ImageTable], root: Path) -> ImageTable | None:
    """Return one table of those in folders of a folder, with names relative to it; None of none."""
    if not tables:
        return None
    whole = ImageTable(tables[0].path, (), root, tables[0].unit)
    for table in tables:
        above = "" if table.base == root else f"{table.base.relative_to(root).as_posix()}/"
        for name, row in table.rows.items():
            whole.add(row.line, above + name, row.cells.items())
    return whole.with_its_columns()


# ---- Lists -----------------------------------------------------------------------------------


def is_list(path: Path) -> bool:
    """Say whether a file is a list of images, by its extension."""
    return path.suffix.lower() in TABLE_EXTENSIONS


def read_list(path: Path, walker: Walker) -> tuple[ImageTable, list[Sample]]:
    """Read a list of images: a table that is itself the data, and may name files anywhere.

    Names are relative to the folder of the list, or absolute; samples are sorted by class and path.
    Raises DataError as `read_table` does, and for a file that is not there or is none.
    """
    file = open_table(path)
    assert file is not None, "whoever calls has seen it"
    if lacking := lacking_columns(path, (FILE_NAME, LABEL), LIST_SYNONYMS):
        raise DataError(
            f"{path} is no list of images: {lacking}",
            suggestion="The first line names the columns, such as file_name,label.",
        )
    table = read_rows(file, inside=False)
    samples, faults = [], []
    base = text_of(table.base)
    for place, name in enumerate(table.written()):
        if not walker.keep(name):
            continue
        full = name if name.startswith("/") else joined(base, name)
        if fault := _file_fault(full):
            faults.append((table.line(place), f"{name!r} {fault}"))
            continue
        folder, slash, file_name = full.rpartition("/")
        samples.append(Sample.at(folder or slash, file_name, table.cell(place, LABEL)))
    table.refuse(faults, f"Names are relative to {table.base.absolute()}, or absolute.")
    return table, sorted(samples, key=lambda sample: (sample.label, path_order(sample.text)))


def _file_fault(path: str) -> str | None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is not there"
    except ValueError:  # a NUL, or characters that no file system has
        return "is no name of a file"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if stat.S_ISREG(mode):
        return None
    return "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"
