"""Reading a folder of images: its splits, its classes, and everything that was passed over.

Class folders, `root/<class>/…/<image>`; split folders, `root/<split>/<class>/…/<image>`, where a
split goes by any of its usual names; images anywhere below a root, or a split folder, whose table
gives each its label, and perhaps its split; a list of paths; tar files of images with labels, alone
or in a root or in split folders. In folders the class is always the first one below the root or the
split; deeper folders only group its images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import DataError
from .class_folders import find_splits, samples_of, scan_classes, scan_splits
from .folder_checks import (
    LAYOUT,
    ClassImages,
    check_nesting,
    check_training,
    holds_images,
    no_images,
    only_loose_images,
)
from .globs import Globs
from .image_folder import UNSPLIT, ImageFolder, Sample
from .image_table import LABEL, SPLIT, ImageTable
from .metadata import read_table
from .shards import TAR, is_shard, read_shards, splits_by_name
from .table_layout import (
    all_left_out,
    check_trainable,
    classes_of,
    folder_from,
    is_list,
    joined_tables,
    labelled_by,
    read_list,
    without_tables,
)
from .walk import Walker

ARCHIVES = frozenset({".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})


@dataclass(frozen=True)
class _Wishes:
    """What a folder must hold, and what may be taken for granted."""

    training: bool
    allow_empty_classes: bool
    allow_nested: bool
    find_splits: bool
    use_table: bool


def scan_folder(
    root: Path | str,
    *,
    training: bool = True,
    allow_empty_classes: bool = False,
    allow_nested: bool = False,
    find_splits: bool = True,
    follow_links: bool = True,
    use_table: bool = True,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> ImageFolder:
    """Find the classes, splits and image files of a folder, a list or a tar file; open no image.

    A metadata.csv, .jsonl or .parquet with the columns `file_name` and `label` stands for class
    folders; images it does not name are passed over. A column `split` in it stands for split
    folders, also where the classes are folders. A root, or split folders, with tar files and no
    class folders are shards. Without `use_table` tables and tar files are files like any other.

    With `training`, there must be images to train on (a train split or an unsplit folder) of two
    classes or more, and of every class unless `allow_empty_classes`; a test folder that is not
    sorted into classes is passed over. Without it, any split with a class will do.

    Images lying in several folders inside class folders are taken as groups of one class, unless
    all of a split's images lie so and no two classes share a folder name: that may as well be
    `<group>/<class>/`, and is refused unless `allow_nested`. So is a folder inside a class folder
    that has the name of another class. Without `find_splits` every folder is a class, whatever its
    name. Without `follow_links`, links to folders inside class folders are passed over.

    Of the files, those count that a pattern of `include` matches (all if there is none) and none of
    `exclude` does; see `globs.py`. Raises DataError for every layout that cannot be used, saying
    what was found; UsageError for a pattern that can match nothing.
    """
    root = Path(root)
    globs = Globs(include, exclude)
    wishes = _Wishes(training, allow_empty_classes, allow_nested, find_splits, use_table)
    if use_table and (is_list(root) or is_shard(root)) and os.path.isfile(root):
        return _scan_file(root, globs, wishes)
    _check_root(root)
    seen = [root, *root.resolve().parents]
    walker = Walker(seen, follow_links=follow_links, root=root, globs=globs)
    return _scan_root(root, walker, wishes)


def _scan_file(file: Path, globs: Globs, wishes: _Wishes) -> ImageFolder:
    """Return what a list names, or what lies in a tar file."""
    if is_shard(file):
        return _scan_shards(file, [file], Walker([], root=file, globs=globs), wishes)
    walker = Walker([], root=file.parent, globs=globs)
    table, samples = read_list(file, walker)
    return folder_from(
        table, samples, walker, wishes.training, wishes.allow_empty_classes, data=file
    )


def _check_root(root: Path) -> None:
    try:
        if root.is_dir():
            return
        exists = root.exists()
    except OSError as error:
        raise DataError(f"cannot read {root} ({error.strerror or error}).") from error
    if not exists:
        raise DataError(f"{root} does not exist.", suggestion="Check the path.")
    hint = LAYOUT
    if root.suffix in ARCHIVES:
        hint = "Unpack the archive and point at the folder."
        if root.suffixes[-2:-1] == [TAR] or root.suffix == ".tgz":
            hint += f" If it is in the form of WebDataset, make it a {TAR} (gunzip)."
    raise DataError(f"{root} is a file, not a folder of images.", suggestion=hint)


def _scan_root(root: Path, walker: Walker, wishes: _Wishes) -> ImageFolder:
    table = read_table(root) if wishes.use_table else None
    if table is not None and LABEL in table.columns:
        samples = labelled_by(table, walker)
        return folder_from(table, samples, walker, wishes.training, wishes.allow_empty_classes)
    folders, files = walker.entries(root)
    folders = walker.unseen(walker.not_excluded(folders))
    split_folders = find_splits(root, folders, walker) if wishes.find_splits else {}
    if split_folders:
        found = scan_splits(
            root, split_folders, walker, training=wishes.training, use_table=wishes.use_table
        )
        if found.labelled:
            walker.loose_images(files)
            samples_by_split = {
                split: found.labelled.get(split) or samples_of(found.classes.get(split, {}))
                for split in split_folders
                if split in found.labelled or split in found.classes
            }
            return _labelled_folder(root, samples_by_split, found.tables, walker, wishes)
        classes = found.classes
    else:
        shards = [file for file in files if is_shard(file)] if wishes.use_table else []
        if shards and not any(map(holds_images, folders)):
            walker.loose_images(file for file in files if file not in shards)
            return _scan_shards(root, shards, walker, wishes)
        classes = {UNSPLIT: scan_classes(folders, walker)}
    _check_classes(root, classes, walker.loose_images(files), walker, wishes)
    return _with_table(_image_folder(root, classes, walker), table, walker, wishes)


def _check_classes(
    root: Path,
    found: dict[str, ClassImages],
    loose: Sequence[Path],
    walker: Walker,
    wishes: _Wishes,
) -> None:
    if not any(len(images) for classes in found.values() for _, images in classes.values()):
        raise only_loose_images(root, loose) if loose else no_images(root, found, walker)
    if wishes.training:
        check_training(root, found, wishes.allow_empty_classes)
    if not wishes.allow_nested:
        for classes in found.values():
            check_nesting(root, classes)


def _image_folder(root: Path, found: dict[str, ClassImages], walker: Walker) -> ImageFolder:
    return ImageFolder(
        root,
        {split: tuple(samples_of(classes)) for split, classes in found.items()},
        tuple(sorted({label for classes in found.values() for label in classes})),
        tuple(sorted(walker.ignored)),
        left_out=walker.left_out,
        unmatched=tuple(walker.unmatched()),
    )


def _with_table(
    folder: ImageFolder, table: ImageTable | None, walker: Walker, wishes: _Wishes
) -> ImageFolder:
    """Return class or split folders with the table beside them, split by it if it says so."""
    if table is None:
        return folder
    folder = replace(folder, table=table, ignored=without_tables(folder.ignored, table))
    if SPLIT not in table.columns:
        return folder
    if UNSPLIT not in folder.splits:
        raise DataError(
            f"{folder.root} is split twice: by its folders and by the column {SPLIT} of "
            f"{table.path.name}.",
            suggestion="Rename the column, or sort the images into class folders alone.",
        )
    samples = folder.splits[UNSPLIT]
    return folder_from(table, samples, walker, wishes.training, wishes.allow_empty_classes)


# ---- Shards, and tables in split folders -------------------------------------------------------


def _scan_shards(
    root: Path, shards: Sequence[Path], walker: Walker, wishes: _Wishes
) -> ImageFolder:
    """Return what lies in the shards of one folder, split by their names or by their fields."""
    by_split = splits_by_name(shards) if root.is_dir() and wishes.find_splits else None
    if by_split is not None:
        parts = {split: read_shards(paths, root, walker) for split, paths in by_split.items()}
        samples = {split: part.samples for split, part in parts.items()}
        tables = [part.table for part in parts.values() if part.table is not None]
        return _labelled_folder(root, samples, tables, walker, wishes)
    index = read_shards(shards, root, walker)
    if index.table is not None and SPLIT in index.table.columns:
        return folder_from(
            index.table, index.samples, walker, wishes.training, wishes.allow_empty_classes
        )
    tables = [index.table] if index.table is not None else []
    return _labelled_folder(root, {UNSPLIT: index.samples}, tables, walker, wishes)


def _labelled_folder(
    root: Path,
    samples: dict[str, list[Sample]],
    tables: Sequence[ImageTable],
    walker: Walker,
    wishes: _Wishes,
) -> ImageFolder:
    """Return the folder of samples that something else than folders gave labels."""
    if not any(samples.values()):
        if walker.left_out:
            raise all_left_out(root, walker)
        raise DataError(f"there are no images in {root}.", suggestion=LAYOUT)
    splits = {split: tuple(part) for split, part in samples.items()}
    folder = ImageFolder(
        root,
        splits,
        classes_of(splits),
        without_tables(walker.ignored, *tables),
        joined_tables(tables, root),
        left_out=walker.left_out,
        unmatched=tuple(walker.unmatched()),
    )
    if wishes.training:
        check_trainable(folder, str(root), wishes.allow_empty_classes)
    return folder
