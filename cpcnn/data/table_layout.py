"""A folder of images whose metadata.csv gives each its label, or its split, or both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from ..core.errors import DataError
from .image_folder import SPLIT_NAMES, SPLIT_OF, UNSPLIT, ImageFolder, Sample, empty_classes
from .metadata import LABEL, SPLIT, TABLE, ImageTable
from .walk import Ignored, Walker


def labelled_by(table: ImageTable, walker: Walker) -> list[Sample]:
    """Return the images that the table names, with its labels, sorted by class and path."""
    root = table.path.parent
    samples, named = [], set()
    for image in walker.images(root):
        row = table.row(image)
        if row is None:
            walker.ignore(image, f"not in {TABLE}")
        else:
            samples.append(Sample(image, row.cells[LABEL]))
            named.add(row.line)
    reasons = {path.relative_to(root).as_posix(): reason for path, reason in walker.ignored}
    gone = [
        (row.line, f"{name!r} {_why_gone(name, reasons)}")
        for name, row in table.rows.items()
        if row.line not in named
    ]
    table.refuse(
        gone,
        f"The names in the column file_name are relative to {root}. To have class folders read "
        f"instead, rename {TABLE}.",
    )
    return sorted(samples, key=lambda sample: (sample.label, sample.path))


def _why_gone(name: str, reasons: Mapping[str, str]) -> str:
    """Say why an image was not found: one of the folders above it may have been passed over."""
    for place in (name, *(parent.as_posix() for parent in PurePosixPath(name).parents)):
        if place in reasons:
            return f"is passed over: {reasons[place]}"
    return "is not there"


def without_table(ignored: Iterable[Ignored], table: ImageTable) -> tuple[Ignored, ...]:
    """Return what was passed over, sorted; the table, which was read, does not count."""
    return tuple(sorted(entry for entry in ignored if entry[0] != table.path))


def folder_from(
    table: ImageTable,
    samples: Sequence[Sample],
    walker: Walker,
    training: bool,
    allow_empty_classes: bool,
) -> ImageFolder:
    """Return the folder of labelled images, split by the table's column if there is one."""
    splits = _split_by_column(table, samples, walker)
    if not any(splits.values()):
        raise DataError(f"{table.path} names no image.", suggestion="Add a row for each image.")
    classes = tuple(sorted({sample.label for part in splits.values() for sample in part}))
    folder = ImageFolder(
        table.path.parent, splits, classes, without_table(walker.ignored, table), table
    )
    if training:
        _check_table_training(table, folder, allow_empty_classes)
    return folder


def _split_by_column(
    table: ImageTable, samples: Sequence[Sample], walker: Walker
) -> dict[str, tuple[Sample, ...]]:
    if SPLIT not in table.columns:
        return {UNSPLIT: tuple(samples)}
    table.check(SPLIT, _split_fault)
    found = defaultdict(list)
    for sample in samples:
        row = table.row(sample.path)
        if row is None:
            walker.ignore(sample.path, f"not in {TABLE}")
        else:
            found[SPLIT_OF[row.cells[SPLIT].lower()]].append(sample)
    return {split: tuple(found[split]) for split in SPLIT_NAMES if split in found}


def _split_fault(name: str) -> str | None:
    if name.lower() in SPLIT_OF:
        return None
    return f"the split {name!r} is none of {', '.join(SPLIT_NAMES)}"


def _check_table_training(
    table: ImageTable, folder: ImageFolder, allow_empty_classes: bool
) -> None:
    source = UNSPLIT if UNSPLIT in folder.splits else "train"
    if source not in folder.splits:
        raise DataError(
            f"{table.path} marks images as {' and '.join(folder.splits)}, but none as train.",
            suggestion="Training needs rows with the split train, or no column split.",
        )
    if len(folder.classes) == 1:
        raise DataError(
            f"1 class found in {table.path}: {folder.classes[0]}. A classifier needs 2 or more.",
            suggestion="Add images with other labels.",
        )
    counts = folder.count(source)
    if not allow_empty_classes and not all(counts.values()):
        raise empty_classes(counts, "" if source == UNSPLIT else "in the train split ")
