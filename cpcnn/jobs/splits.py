"""Which images of a folder train and which validate, in groups if the user or a table says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..core.errors import UsageError
from ..data.layouts.folder import scan_folder
from ..data.layouts.image_folder import UNSPLIT, ImageFolder, Sample, counted, listing
from ..data.splits.grouping import choose_grouping, group_images
from ..data.splits.split import fold_samples, split_samples
from .settings import TrainSettings

CLASSES_SHOWN = 5


@dataclass(frozen=True)
class SplitChoice:
    """The images of each split, whether those to validate were drawn from the others, remarks."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    drawn: bool
    notes: tuple[str, ...]


class FolderSettings(Protocol):
    """The settings that say how the folder of images is read."""

    @property
    def data(self) -> Path: ...
    @property
    def allow_empty_classes(self) -> bool: ...
    @property
    def allow_nested(self) -> bool: ...
    @property
    def include(self) -> tuple[str, ...]: ...
    @property
    def exclude(self) -> tuple[str, ...]: ...


def scan_as_set(settings: FolderSettings) -> ImageFolder:
    """Read the folder of a training as its settings say; raises what `scan_folder` does."""
    return scan_folder(
        settings.data,
        allow_empty_classes=settings.allow_empty_classes,
        allow_nested=settings.allow_nested,
        include=settings.include,
        exclude=settings.exclude,
    )


def split_as_set(settings: TrainSettings, folder: ImageFolder, fold: int | None) -> SplitChoice:
    """Split it as the settings say, with one of their folds if there are any."""
    return choose_splits(
        folder,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
        group_by=settings.group_by,
        folds=settings.folds,
        fold=fold,
    )


def choose_splits(
    folder: ImageFolder,
    *,
    val_fraction: float,
    seed: int,
    group_by: str | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> SplitChoice:
    """Split a folder of images: by its own folders or table, else `val_fraction` by their hashes.

    With `folds`, those of one `fold` validate, see `fold_samples`. Groups are a column of the table
    or a pattern, see `choose_grouping`. Raises UsageError when no group can be held out, and for
    folds of a folder that has images to validate.
    """
    notes = list(_pattern_notes(folder))
    grouping = choose_grouping(folder, group_by)
    if grouping is not None:
        folder, remarks = group_images(folder, grouping)
        notes.extend(remarks)
    if folder.table is not None and folder.table.is_file and folder.table.unused(group_by):
        columns = listing(repr(name) for name in folder.table.unused(group_by))
        notes.append(f"{folder.table.path.name} has columns that are not used: {columns}.")
    splits = folder.splits
    train = splits[UNSPLIT] if UNSPLIT in splits else splits["train"]
    validation = splits.get("validation", ())
    drawn = not validation
    if folds is not None:
        train, validation = _one_fold(folder, train, validation, fold, folds, seed)
        notes.extend(_without_validation(train, validation))
    elif drawn:
        train, validation = split_samples(train, folder.root, val_fraction, seed)
        if grouping is not None and not validation:
            raise _nothing_to_hold_out(train, grouping.source)
        notes.extend(_without_validation(train, validation))
    return SplitChoice(train, validation, splits.get("test", ()), drawn, tuple(notes))


def _one_fold(
    folder: ImageFolder,
    train: tuple[Sample, ...],
    validation: tuple[Sample, ...],
    fold: int | None,
    folds: int,
    seed: int,
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    if fold is None:
        raise UsageError(
            f"--folds {folds} is a cross-validation, which is several trainings.",
            suggestion="In Python, `cpcnn.jobs.train_folds` trains them all; a `fold` is one.",
        )
    if validation:
        raise UsageError(
            f"{folder.source} has a split of {counted(len(validation), 'image')} to validate; "
            "--folds makes splits of its own.",
            suggestion="Leave the images of that split out with --exclude, such as --exclude val, "
            "or leave out --folds.",
        )
    train, validation = fold_samples(train, folder.root, fold, folds, seed)
    if not validation:
        raise UsageError(
            f"Fold {fold} of {folds} holds no image to validate, as there are too few images or "
            "groups.",
            suggestion="Give fewer --folds.",
        )
    return train, validation


def _pattern_notes(folder: ImageFolder) -> Iterator[str]:
    """Yield what --include and --exclude leave out, and the patterns that match nothing."""
    if folder.left_out:
        verb = "is" if folder.left_out == 1 else "are"
        yield f"{counted(folder.left_out, 'image')} {verb} left out by --include and --exclude."
    for pattern in folder.unmatched:
        yield f"{pattern} matches nothing in {folder.source}."


def _nothing_to_hold_out(samples: tuple[Sample, ...], source: str) -> UsageError:
    groups = len({sample.group or sample.path for sample in samples})
    return UsageError(
        f"{counted(groups, 'group')} by {source}: none can be held out, as every class needs two "
        "or more.",
        suggestion="Group by something finer, or give a split of images to validate.",
    )


def _without_validation(train: tuple[Sample, ...], validation: tuple[Sample, ...]) -> Iterator[str]:
    """Yield a remark on the classes that have no image to validate."""
    held_out = {sample.label for sample in validation}
    counts = Counter(sample.label for sample in train if sample.label not in held_out)
    if validation and counts:
        classes = counted(len(counts), "class has", "classes have")
        shown = listing(
            (f"{name} {count}" for name, count in sorted(counts.items())), CLASSES_SHOWN
        )
        yield f"{classes} no image to validate, as there are too few (images: {shown})."
