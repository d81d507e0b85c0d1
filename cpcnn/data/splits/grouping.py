"""Groups of images that no split may tear apart: frames of one track, pictures of one patient."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from unicodedata import normalize

from ...core.errors import UsageError
from ..layouts.image_folder import ImageFolder, Sample, counted, listing
from ..layouts.image_table import FILE_NAME, GROUP, ImageTable, in_nfc

NAMES_SHOWN = 3


@dataclass(frozen=True)
class Grouping:
    """Where the name of an image's group comes from, in words, and how it is found.

    `find` returns an empty name for an image that is a group of its own.
    """

    source: str
    find: Callable[[Sample], str]


def choose_grouping(folder: ImageFolder, by: str | None = None) -> Grouping | None:
    """Return the grouping by a column of the folder's table, or by a pattern in the paths.

    `by` is a column if the table has it, else a regular expression that is searched in the path
    relative to the folder, in NFC and with forward slashes; the group is its first capture group,
    or all that matches. Without `by` it is the table's column `group`, or nothing. Raises
    UsageError for a pattern that is none, or that matches no path at all.
    """
    table = folder.table
    if by is None:
        by = GROUP if table is not None and GROUP in table.columns else None
    if by is None:
        return None
    if table is not None and by in table.columns and by != FILE_NAME:
        return Grouping(f"the column {by} of {table.path.name}", _by_column(table, by))
    grouping = Grouping(f"the pattern '{by}'", _by_pattern(folder, by))
    if not any(grouping.find(sample) for part in folder.splits.values() for sample in part):
        raise UsageError(
            f"--group-by '{by}' matches the path of no image.", suggestion=_hint(folder)
        )
    return grouping


def _by_column(table: ImageTable, column: str) -> Callable[[Sample], str]:
    def find(sample: Sample) -> str:
        place = table.place(sample.name_in(table.base))
        return "" if place is None else table.cell(place, column)

    return find


def _by_pattern(folder: ImageFolder, text: str) -> Callable[[Sample], str]:
    try:
        pattern = re.compile(normalize("NFC", text))
    except re.error as error:
        raise UsageError(
            f"--group-by '{text}' is no regular expression: {error}.", suggestion=_hint(folder)
        ) from None

    def find(sample: Sample) -> str:
        match = pattern.search(in_nfc(sample.name_in(folder.root)))
        if match is None:
            return ""
        first = match[1] if pattern.groups else None
        return match[0] if first is None else first

    return find


def _hint(folder: ImageFolder) -> str:
    example = next(sample for part in folder.splits.values() for sample in part)
    path = example.name_in(folder.root)
    hint = f"It is searched in paths like {path!r}; 'track\\d+', for instance, finds track7."
    if folder.table is not None:
        columns = (name for name in folder.table.columns if name)
        hint += f" The columns of {folder.table.path.name} are {listing(columns)}."
    return hint


def group_images(folder: ImageFolder, grouping: Grouping) -> tuple[ImageFolder, tuple[str, ...]]:
    """Return the folder with the group of every image, and remarks on them.

    They say how many groups there are, how many images stand alone, and which groups lie on both
    sides of the folder's own splits, which are never changed.
    """
    splits = {
        split: tuple(sample.in_group(sys.intern(grouping.find(sample))) for sample in samples)
        for split, samples in folder.splits.items()
    }
    notes = (_note_groups(splits, grouping.source), *_notes_straddling(splits))
    return replace(folder, splits=splits), tuple(filter(None, notes))


def _note_groups(splits: dict[str, tuple[Sample, ...]], source: str) -> str:
    samples = [sample for part in splits.values() for sample in part]
    groups = {sample.group for sample in samples if sample.group}
    alone = [sample.path.name for sample in samples if not sample.group]
    note = f"{counted(len(groups), 'group')} by {source}"
    if alone:
        verb = "has" if len(alone) == 1 else "have"
        names = listing(alone, NAMES_SHOWN)
        note += f"; {counted(len(alone), 'image')} {verb} none and stand alone ({names})"
    return note + "."


def _notes_straddling(splits: dict[str, tuple[Sample, ...]]) -> list[str]:
    places = defaultdict(list)
    for split, samples in splits.items():
        for group in sorted({sample.group for sample in samples if sample.group}):
            places[group].append(split)
    torn = [group for group, where in places.items() if "train" in where and len(where) > 1]
    if not torn:
        return []
    verb = "has" if len(torn) == 1 else "have"
    return [
        f"{counted(len(torn), 'group')} {verb} images to train on and others in another split of "
        f"the data folder ({listing(torn, NAMES_SHOWN)}): that split is easier than new images are."
    ]
